"""Tests of models' evaluations: against zero, each other and the noise ceiling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

# As rsatoolbox: a variance of zero would make any difference infinitely sure.
_SMALLEST_VARIANCE = np.finfo(float).eps


def t_test(
    difference: np.ndarray, variance: np.ndarray, degrees_of_freedom: int, *, one_sided: bool
) -> np.ndarray:
    """Return p-values of t-tests of differences against zero.

    Parameters
    ----------
    difference, variance : ndarrays of the same shape
    degrees_of_freedom : int
    one_sided : bool
        Whether only differences above zero count.
    """
    t = difference / np.sqrt(np.maximum(variance, _SMALLEST_VARIANCE))
    if one_sided:
        return stats.t.sf(t, degrees_of_freedom)
    return 2 * stats.t.sf(np.abs(t), degrees_of_freedom)


def bootstrap_above_zero(samples: np.ndarray) -> np.ndarray:
    """Return how often bootstrap samples are not above zero, the data counted as one of them.

    (#(sample <= 0) + 1) / (N + 1). rsatoolbox divides by N, and so exceeds 1.

    Parameters
    ----------
    samples : ndarray, shape (sample, ...)
    """
    return ((samples <= 0).sum(axis=0) + 1) / (len(samples) + 1)


def bootstrap_two_sided(differences: np.ndarray) -> np.ndarray:
    """Return twice the smaller share of bootstrap differences on one side of zero.

    Ties are left out; 1/N is the smallest p-value (Schuett et al. 2023; as rsatoolbox). NaN where
    there are no samples.

    Parameters
    ----------
    differences : ndarray, shape (sample, ...)
    """
    count = len(differences)
    if not count:
        return np.full(differences.shape[1:], np.nan)
    untied = count - (differences == 0).sum(axis=0)
    below = np.divide(
        (differences < 0).sum(axis=0), untied, out=np.full(untied.shape, 0.5), where=untied > 0
    )
    return 2 * np.minimum(below, 1 - below) * (count - 1) / count + 1 / count


def wilcoxon(differences: np.ndarray) -> np.ndarray:
    """Return two-sided p-values of Wilcoxon's signed-rank test over subjects.

    Parameters
    ----------
    differences : ndarray, shape (..., subject)
    """
    flat = differences.reshape(-1, differences.shape[-1])
    found = [stats.wilcoxon(row).pvalue if row.any() else 1.0 for row in flat]
    return np.array(found).reshape(differences.shape[:-1])


def maximum_statistic(
    samples: np.ndarray, estimate: np.ndarray, variance: np.ndarray
) -> np.ndarray:
    """Return p-values against zero, corrected for having looked at the best of several models.

    Each model's t is compared with the largest t, over models, that bootstrap samples centred at
    the estimate reach (Westfall & Young 1993, single step).

    Parameters
    ----------
    samples : ndarray, shape (sample, model)
    estimate, variance : ndarrays, shape (model,)
    """
    spread = np.maximum(samples.std(axis=0, ddof=1), np.sqrt(_SMALLEST_VARIANCE))
    largest = ((samples - samples.mean(axis=0)) / spread).max(axis=1)
    t = estimate / np.sqrt(np.maximum(variance, _SMALLEST_VARIANCE))
    return ((largest[:, None] >= t[None]).sum(axis=0) + 1) / (len(samples) + 1)


def adjust_fdr(p: np.ndarray) -> np.ndarray:
    """Return p-values adjusted for the false discovery rate (Benjamini & Hochberg 1995).

    Significant at q where the adjusted value is at most q. NaN stays, and does not count.

    Parameters
    ----------
    p : ndarray, shape (test,)
    """
    return _adjusted(p, _benjamini_hochberg)


def adjust_holm(p: np.ndarray) -> np.ndarray:
    """Return p-values adjusted for the family-wise error (Holm 1979). NaN stays.

    Parameters
    ----------
    p : ndarray, shape (test,)
    """
    return _adjusted(p, _holm)


def _benjamini_hochberg(ordered: np.ndarray) -> np.ndarray:
    count = len(ordered)
    scaled = ordered * count / np.arange(1, count + 1)
    return np.minimum.accumulate(scaled[::-1])[::-1]


def _holm(ordered: np.ndarray) -> np.ndarray:
    return np.maximum.accumulate(ordered * np.arange(len(ordered), 0, -1))


def _adjusted(p: np.ndarray, method: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full(values.shape, np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    adjusted[order] = np.minimum(method(values[order]), 1)
    return adjusted
