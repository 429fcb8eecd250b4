"""Dissimilarities between independent measurements of the same stimuli.

Measurement noise adds to a distance. Between folds (runs, sessions) it is independent, so that a
product of differences taken from two folds is unbiased, and negative as often as positive where
the true distance is zero.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .dissimilarities import from_kernel, posterior_rates, weigh

Precision = Tensor | Mapping[Hashable, Tensor] | None


def crossnobis(
    matrix: Tensor, stimuli: np.ndarray, folds: np.ndarray, precision: Precision
) -> Tensor:
    """Return cross-validated Mahalanobis distances, divided by the number of channels.

    Leave one fold out: (a_i - a_j)^T P (b_i - b_j) with b the mean patterns of a fold and a those
    of all other measurements, averaged over folds. With one precision a fold instead: the same
    for every two folds, with the inverse of the mean of their covariances (Walther et al. 2016,
    NeuroImage; as rsatoolbox has them).

    Parameters
    ----------
    matrix : Tensor, shape (measurement, channel), float64
    stimuli, folds : int arrays, shape (measurement,)
        Numbers from 0 up. A stimulus may be missing in a fold, or measured more often.
    precision : Tensor, mapping of fold number to Tensor, or None
        Matrices (channel, channel) or diagonals (channel,).
    """
    if isinstance(precision, Mapping):
        means = {f: mean_patterns(matrix, stimuli, folds == f) for f in np.unique(folds)}
        covariance = {f: torch.linalg.inv(_full(precision[f])) for f in means}
        parts = (
            _between(means[f], means[g], torch.linalg.inv((covariance[f] + covariance[g]) / 2))
            for f, g in combinations(means, 2)
        )
    else:
        parts = (
            _between(other, own, precision) for other, own in _leave_one_out(matrix, stimuli, folds)
        )
    return _mean_of_known(parts) / matrix.shape[1]


def poisson_cv(
    matrix: Tensor, stimuli: np.ndarray, folds: np.ndarray, prior_rate: float, prior_weight: float
) -> Tensor:
    """Return cross-validated symmetrised Poisson divergences, divided by the number of channels.

    The mean over folds of (m_i - m_j)^T (log n_i - log n_j), n the rates of the fold and m those
    of all other measurements. rsatoolbox 0.3 describes the same, but returns the last fold alone.
    """

    def of_fold(other: Tensor, own: Tensor) -> Tensor:
        # NaN, of a stimulus that the fold does not have, passes and comes out as NaN.
        rates = [posterior_rates(means, prior_rate, prior_weight) for means in (other, own)]
        return from_kernel(rates[0] @ rates[1].log().T)

    parts = (of_fold(*means) for means in _leave_one_out(matrix, stimuli, folds))
    return _mean_of_known(parts) / matrix.shape[1]


def decoding(
    matrix: Tensor, stimuli: np.ndarray, folds: np.ndarray, precision: Tensor | None
) -> Tensor:
    """Return how often a linear classifier tells two stimuli apart, from 0 to 1; chance is 0.5.

    Fisher's linear discriminant with a given precision of the noise: a measurement of the fold
    left out belongs to the nearer of the mean patterns of the other folds. Accuracies of the two
    stimuli are averaged over measurements, then with each other; equal distances count half.
    """
    size = int(stimuli.max()) + 1
    right = torch.zeros((size, size), dtype=matrix.dtype, device=matrix.device)
    tested = torch.zeros_like(right)
    for fold in np.unique(folds):
        own = folds == fold
        means = mean_patterns(matrix, stimuli, ~own)
        scores = weigh(matrix[own], precision) @ means.T
        scores = scores - 0.5 * (weigh(means, precision) * means).sum(dim=1)
        rows = torch.as_tensor(stimuli[own], device=matrix.device)
        margin = scores.gather(1, rows[:, None]) - scores
        right.index_add_(0, rows, (0.5 * (margin.sign() + 1)).nan_to_num())
        tested.index_add_(0, rows, (~margin.isnan()).to(matrix.dtype))
    accuracy = right / tested
    return (accuracy + accuracy.T) / 2


def default_folds(stimuli: np.ndarray) -> np.ndarray:
    """Return fold k for the k-th measurement of each stimulus.

    Raises
    ------
    ValueError
        When the stimuli were not measured equally often: then the folds must be given.
    """
    counts = np.bincount(stimuli)
    if counts.min() != counts.max():
        raise ValueError(
            f"stimuli were measured between {counts.min()} and {counts.max()} times: say with "
            "folds= which measurements belong to which independent run"
        )
    folds = np.empty_like(stimuli)
    for stimulus in range(len(counts)):
        folds[stimuli == stimulus] = np.arange(counts[0])
    return folds


def precisions(given: Any, folds: Sequence[Hashable], channels: int, like: Tensor) -> Precision:
    """Return noise precisions as tensors: one, or one for each fold by its number.

    Raises
    ------
    ValueError
        When shapes or the number of matrices do not fit.
    """
    if given is None:
        return None
    if isinstance(given, Mapping) or (
        isinstance(given, Sequence) and len(given) and np.ndim(given[0]) > 0
    ):
        many = given if isinstance(given, Mapping) else dict(zip(folds, given, strict=False))
        if set(many) != set(folds) or len(given) != len(folds):
            raise ValueError(f"give one precision, or one a fold: the folds are {list(folds)}")
        return {
            number: precision_matrix(many[fold], channels, like)
            for number, fold in enumerate(folds)
        }
    return precision_matrix(given, channels, like)


def mean_patterns(matrix: Tensor, stimuli: np.ndarray, chosen: np.ndarray) -> Tensor:
    """Return the mean of the chosen measurements of each stimulus; NaN where there is none."""
    rows = torch.as_tensor(stimuli[chosen], device=matrix.device)
    picked = matrix[torch.as_tensor(chosen, device=matrix.device)]
    sums = matrix.new_zeros((int(stimuli.max()) + 1, matrix.shape[1])).index_add_(0, rows, picked)
    counts = torch.bincount(rows, minlength=len(sums)).to(matrix.dtype)
    return sums / counts[:, None]


def _leave_one_out(
    matrix: Tensor, stimuli: np.ndarray, folds: np.ndarray
) -> Iterator[tuple[Tensor, Tensor]]:
    for fold in np.unique(folds):
        own = folds == fold
        yield mean_patterns(matrix, stimuli, ~own), mean_patterns(matrix, stimuli, own)


def _between(first: Tensor, second: Tensor, precision: Tensor | None) -> Tensor:
    # Differences do not change with the origin, and near the patterns least is lost to rounding.
    first, second = first - first.nanmean(dim=0), second - second.nanmean(dim=0)
    return from_kernel(weigh(first, precision) @ second.T)


def _mean_of_known(parts: Iterator[Tensor]) -> Tensor:
    return torch.stack(list(parts)).nanmean(dim=0)


def _full(precision: Tensor) -> Tensor:
    return torch.diag(precision) if precision.ndim == 1 else precision


def precision_matrix(precision: Any, channels: int, like: Tensor) -> Tensor:
    """Return the precision of the noise, a matrix or its diagonal, as a tensor."""
    matrix = torch.as_tensor(np.asarray(precision), dtype=like.dtype, device=like.device)
    if matrix.shape not in ((channels,), (channels, channels)):
        raise ValueError(
            f"the precision of the noise must be ({channels}, {channels}), or its diagonal; "
            f"got {tuple(matrix.shape)}"
        )
    return matrix
