"""Representational similarity analysis: dissimilarities, and how alike they are."""

from .comparison import METHODS, compare
from .labels import concat, condensed, select, square, stimulus_ids
from .noise import noise_covariance, noise_precision, residuals
from .rdm import METRICS, rdm

__all__ = [
    "METHODS",
    "METRICS",
    "compare",
    "concat",
    "condensed",
    "noise_covariance",
    "noise_precision",
    "rdm",
    "residuals",
    "select",
    "square",
    "stimulus_ids",
]
