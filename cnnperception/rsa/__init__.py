"""Representational similarity analysis: dissimilarities, and how alike they are."""

from .comparison import METHODS, compare
from .inference import evaluate, fit
from .labels import concat, condensed, select, square, stimulus_ids
from .models import RDMModel, fixed, interpolated, selected, weighted
from .noise import noise_covariance, noise_precision, residuals
from .permutation import permutation_test
from .rdm import METRICS, rdm
from .resampled import METHODS as EVALUATION_METHODS
from .streaming import open_rdm, stream_rdm

__all__ = [
    "EVALUATION_METHODS",
    "METHODS",
    "METRICS",
    "RDMModel",
    "compare",
    "concat",
    "condensed",
    "evaluate",
    "fit",
    "fixed",
    "interpolated",
    "noise_covariance",
    "noise_precision",
    "open_rdm",
    "permutation_test",
    "rdm",
    "residuals",
    "select",
    "selected",
    "square",
    "stimulus_ids",
    "stream_rdm",
    "weighted",
]
