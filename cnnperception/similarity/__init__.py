"""How alike two representations of the same stimuli are, beyond their RDMs."""

from .layers import MEASURES, similarity_matrix
from .measures import (
    angular_shape_distance,
    biased_cka,
    canonical_correlations,
    cca,
    cka,
    distance_correlation,
    knn_overlap,
    procrustes,
    pwcca,
    svcca,
)
from .predictivity import pls_predictivity, ridge_predictivity, split_half_reliability

__all__ = [
    "MEASURES",
    "angular_shape_distance",
    "biased_cka",
    "canonical_correlations",
    "cca",
    "cka",
    "distance_correlation",
    "knn_overlap",
    "pls_predictivity",
    "procrustes",
    "pwcca",
    "ridge_predictivity",
    "similarity_matrix",
    "split_half_reliability",
    "svcca",
]
