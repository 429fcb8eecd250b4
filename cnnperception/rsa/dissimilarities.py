"""Dissimilarities of every pair of patterns: functions of a (stimulus, channel) matrix.

Each takes float64 and returns the full symmetric matrix (stimulus, stimulus). Where a formula
subtracts large numbers, the patterns are first moved to where little is lost to rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.spatial.distance import pdist, squareform
from scipy.stats import rankdata
from torch import Tensor


def euclidean(matrix: Tensor) -> Tensor:
    """Return squared Euclidean distances divided by the number of channels."""
    # Distances do not change with the origin, and near the patterns least is lost to rounding.
    return from_kernel(self_product(matrix - matrix.mean(dim=0))) / matrix.shape[1]


def correlation(matrix: Tensor) -> Tensor:
    """Return 1 - Pearson correlation over channels; a constant pattern's are NaN."""
    centred = matrix - matrix.mean(dim=1, keepdim=True)
    # What is left of a constant pattern, once its mean is gone, is rounding alone.
    rounding = 1e-12 * matrix.shape[1] ** 0.5 * matrix.abs().amax(dim=1)
    return _angle(self_product(centred), rounding)


def cosine(matrix: Tensor) -> Tensor:
    """Return 1 - cosine; a pattern of zeros has NaN."""
    return _angle(self_product(matrix), torch.zeros_like(matrix[:, 0]))


def spearman(matrix: Tensor) -> Tensor:
    """Return 1 - Spearman correlation over channels, ties at their mean rank."""
    ranks = rankdata(matrix.cpu().numpy(), axis=1)
    return correlation(torch.from_numpy(ranks).to(matrix.device))


def manhattan(matrix: Tensor) -> Tensor:
    """Return the sums of absolute differences divided by the number of channels."""
    if matrix.device.type == "cpu":
        return torch.from_numpy(squareform(pdist(matrix.numpy(), "cityblock"))) / matrix.shape[1]
    return torch.cdist(matrix, matrix, p=1) / matrix.shape[1]


def mahalanobis(matrix: Tensor, precision: Tensor | None) -> Tensor:
    """Return (x - y)^T P (x - y) / channels; P is (channel, channel), or its diagonal alone."""
    if precision is None:
        return euclidean(matrix)
    centred = matrix - matrix.mean(dim=0)
    return from_kernel(weigh(centred, precision) @ centred.T) / matrix.shape[1]


def poisson(matrix: Tensor, prior_rate: float, prior_weight: float) -> Tensor:
    """Return symmetrised Kullback-Leibler divergences of Poisson rates, divided by channels."""
    rates = posterior_rates(matrix, prior_rate, prior_weight)
    return from_kernel(rates @ rates.log().T) / matrix.shape[1]


def posterior_rates(counts: Tensor, prior_rate: float, prior_weight: float) -> Tensor:
    """Return the mean rates under a Gamma prior, so that none is zero.

    Raises
    ------
    ValueError
        For counts below zero, or a prior that leaves rates of zero.
    """
    rates = (counts + prior_rate * prior_weight) / (1 + prior_weight)
    if (rates <= 0).any():
        raise ValueError(
            "Poisson dissimilarities are of counts or rates: zero or more, with a prior above zero"
        )
    return rates


def from_kernel(kernel: Tensor) -> Tensor:
    """Return k_ii + k_jj - k_ij - k_ji for every pair of a (stimulus, stimulus) kernel."""
    own = kernel.diagonal()
    return own[:, None] + own[None, :] - kernel - kernel.T


def weigh(matrix: Tensor, precision: Tensor | None) -> Tensor:
    """Return the patterns times the precision of the noise: a matrix, its diagonal or nothing."""
    if precision is None:
        return matrix
    return matrix * precision if precision.ndim == 1 else matrix @ precision


def self_product(matrix: Tensor) -> Tensor:
    """Return M M^T; on the CPU by the routine for symmetric products, in half the time."""
    if matrix.device.type != "cpu":
        return matrix @ matrix.T
    values = matrix.numpy()
    return torch.from_numpy(values @ values.T)


def _angle(kernel: Tensor, rounding: Tensor) -> Tensor:
    length = kernel.diagonal().sqrt()
    length = torch.where(length > rounding, length, torch.nan)
    return 1 - kernel / (length[:, None] * length[None, :])


# ---- channels that are missing (NaN) in a pattern are left out of its pairs ----


def euclidean_with_gaps(matrix: Tensor) -> Tensor:
    """Return squared distances divided by the number of channels that both patterns have."""
    present, filled = _gaps(matrix - matrix.nanmean(dim=0))
    squares = (filled**2) @ present.T
    return (squares + squares.T - 2 * self_product(filled)) / self_product(present)


def correlation_with_gaps(matrix: Tensor) -> Tensor:
    """Return 1 - Pearson correlation over the channels that both patterns have."""
    present, filled = _gaps(matrix - matrix.nanmean(dim=1, keepdim=True))
    count, sums, squares = self_product(present), filled @ present.T, (filled**2) @ present.T
    variance = squares - sums**2 / count
    variance = torch.where(variance > 1e-24 * squares, variance, torch.nan)
    covariance = self_product(filled) - sums * sums.T / count
    return 1 - covariance / (variance * variance.T).sqrt()


def cosine_with_gaps(matrix: Tensor) -> Tensor:
    """Return 1 - cosine over the channels that both patterns have."""
    present, filled = _gaps(matrix)
    squares = (filled**2) @ present.T
    return 1 - self_product(filled) / (squares * squares.T).sqrt()


def _gaps(matrix: Tensor) -> tuple[Tensor, Tensor]:
    missing = matrix.isnan()
    return (~missing).to(matrix.dtype), matrix.masked_fill(missing, 0.0)


WITH_GAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "euclidean": euclidean_with_gaps,
    "correlation": correlation_with_gaps,
    "cosine": cosine_with_gaps,
}


def upper_triangle(matrix: Tensor) -> np.ndarray:
    """Return the pairs of a square matrix row by row, as `scipy.spatial.distance.squareform`."""
    values = matrix.cpu().numpy()
    return values[np.triu(np.ones(values.shape, dtype=bool), 1)]
