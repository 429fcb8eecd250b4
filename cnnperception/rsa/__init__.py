"""Representational similarity analysis: dissimilarities, and how alike they are."""

from .comparison import METHODS, compare
from .inference import evaluate, fit
from .interoperation import (
    from_neuroids,
    from_rsatoolbox,
    from_rsatoolbox_dataset,
    read_rdms,
    to_neuroids,
    to_rsatoolbox,
    to_rsatoolbox_dataset,
    write_rdms,
)
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
    "from_neuroids",
    "from_rsatoolbox",
    "from_rsatoolbox_dataset",
    "interpolated",
    "noise_covariance",
    "noise_precision",
    "open_rdm",
    "permutation_test",
    "rdm",
    "read_rdms",
    "residuals",
    "select",
    "selected",
    "square",
    "stimulus_ids",
    "stream_rdm",
    "to_neuroids",
    "to_rsatoolbox",
    "to_rsatoolbox_dataset",
    "weighted",
    "write_rdms",
]
