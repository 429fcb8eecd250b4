"""Representational similarity analysis: dissimilarities, and how alike they are."""

from .comparison import METHODS, compare
from .rdm import METRICS, concat, condensed, rdm, select, square, stimulus_ids

__all__ = [
    "METHODS",
    "METRICS",
    "compare",
    "concat",
    "condensed",
    "rdm",
    "select",
    "square",
    "stimulus_ids",
]
