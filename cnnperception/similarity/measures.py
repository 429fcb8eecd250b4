"""Similarity measures of two representations of the same stimuli.

Each takes two sets of patterns, (stimulus, unit ...) arrays, Tensors or DataArrays. The latter
may have their dimension `stimulus` in any place, and are matched by their coordinate of that
name. Units are centred over stimuli.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from . import kernels
from .patterns import matched, matrix


def cka(x: Any, y: Any) -> float:
    """Return the debiased linear centred kernel alignment.

    About 0 for unrelated representations, however many units they have, and possibly below it; 1
    for those that differ by a rotation and a scale alone (Song et al. 2012; Murphy et al. 2024).
    """
    return kernels.alignment_of_centred(*(kernels.u_centred(k) for k in _kernels(x, y)))


def biased_cka(x: Any, y: Any) -> float:
    """Return the linear centred kernel alignment as first published (Kornblith et al. 2019).

    It grows with the number of units: for independent patterns of as many units as stimuli it is
    about a half. Prefer `cka`.
    """
    return kernels.biased_alignment(*_kernels(x, y))


def procrustes(x: Any, y: Any) -> float:
    """Return the Procrustes distance of patterns scaled to unit norm, 0 to sqrt(2).

    sqrt(2 - 2 |X^T Y|_* / (|X| |Y|)): what the best rotation leaves (Williams et al. 2021).
    """
    return float(np.sqrt(max(0.0, 2 - 2 * _shape_cosine(x, y))))


def angular_shape_distance(x: Any, y: Any) -> float:
    """Return the angular Procrustes distance, a metric, in radians from 0 to pi / 2.

    arccos(|X^T Y|_* / (|X| |Y|)) (Williams et al. 2021, as in netrep).
    """
    return float(np.arccos(_shape_cosine(x, y)))


def canonical_correlations(x: Any, y: Any) -> np.ndarray:
    """Return the canonical correlations, the largest first, as many as the smaller rank."""
    return _canonical(*(kernels.basis(k) for k in _kernels(x, y)))


def cca(x: Any, y: Any) -> float:
    """Return the mean canonical correlation (Raghu et al. 2017; Kornblith et al. 2019).

    With as many units as stimuli any two representations have a correlation of one: a warning
    says so.
    """
    return float(canonical_correlations(x, y).mean())


def svcca(x: Any, y: Any, *, share: float = 0.99) -> float:
    """Return the mean canonical correlation of the components that hold most of the variance.

    Parameters
    ----------
    x, y : array, Tensor or DataArray, shape (stimulus, unit ...)
    share : float
        Of the variance, which the principal components kept have to reach (Raghu et al. 2017).
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1; got {share}")
    return float(_canonical(*(kernels.basis(k, share) for k in _kernels(x, y))).mean())


def pwcca(x: Any, y: Any) -> float:
    """Return the projection-weighted canonical correlation (Morcos et al. 2018).

    Correlations weighed by how much of the units of `x` their canonical variates account for:
    the sum over units of |h_i . x_j|. Not symmetric.
    """
    x, y = matched(x, y)
    first = matrix(x, "the first patterns")
    bases = [kernels.basis(kernels.linear_kernel(p, n)) for p, n in _both(x, y)]
    _warn_if_full(*bases)
    left, correlations, _ = np.linalg.svd(bases[0].T @ bases[1], full_matrices=False)
    variates = bases[0] @ left
    weights = np.abs(variates.T @ (first - first.mean(axis=0))).sum(axis=1)
    return float(weights @ np.clip(correlations, 0, 1) / weights.sum())


def distance_correlation(x: Any, y: Any) -> float:
    """Return the bias-corrected squared distance correlation (Szekely & Rizzo 2013).

    About 0 for independent patterns, possibly below; it also sees relations that are not linear.
    """
    u = [kernels.u_centred(kernels.distances(k)) for k in _kernels(x, y)]
    return kernels.alignment_of_centred(*u)


def knn_overlap(x: Any, y: Any, *, neighbours: int = 10) -> float:
    """Return the share of each stimulus's nearest neighbours that both representations have.

    Parameters
    ----------
    x, y : array, Tensor or DataArray, shape (stimulus, unit ...)
    neighbours : int
        How many of the nearest by Euclidean distance count. By chance the share is
        neighbours / (stimuli - 1).
    """
    return overlap_of_neighbours(*_kernels(x, y), neighbours=neighbours)


def overlap_of_neighbours(k: np.ndarray, l: np.ndarray, *, neighbours: int = 10) -> float:  # noqa: E741
    """Return the share of common nearest neighbours, from kernels."""
    count = len(k)
    if not 0 < neighbours < count:
        raise ValueError(f"neighbours must be from 1 to {count - 1}; got {neighbours}")
    nearest = []
    for kernel in (k, l):
        apart = kernels.distances(kernel)
        np.fill_diagonal(apart, np.inf)
        # Ties go to the stimulus that comes first, in both alike.
        order = apart.argsort(axis=1, kind="stable")[:, :neighbours]
        chosen = np.zeros((count, count), dtype=bool)
        np.put_along_axis(chosen, order, True, axis=1)
        nearest.append(chosen)
    return float((nearest[0] & nearest[1]).sum() / (count * neighbours))


def _both(x: Any, y: Any) -> tuple[tuple[Any, str], tuple[Any, str]]:
    return (x, "the first patterns"), (y, "the second patterns")


def _kernels(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    x, y = matched(x, y)
    first, second = (kernels.linear_kernel(p, name) for p, name in _both(x, y))
    return first, second


def _shape_cosine(x: Any, y: Any) -> float:
    return shape_cosine_of(*_kernels(x, y))


def shape_cosine_of(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    """Return |X^T Y|_* / (|X| |Y|) from kernels, at most 1."""
    return min(1.0, kernels.nuclear_norm(k, l) / float(np.sqrt(k.trace() * l.trace())))


def _canonical(basis_x: np.ndarray, basis_y: np.ndarray) -> np.ndarray:
    _warn_if_full(basis_x, basis_y)
    return np.clip(np.linalg.svd(basis_x.T @ basis_y, compute_uv=False), 0, 1)


def _warn_if_full(basis_x: np.ndarray, basis_y: np.ndarray) -> None:
    count = len(basis_x)
    if basis_x.shape[1] + basis_y.shape[1] > count - 1:
        warnings.warn(
            f"the patterns span {basis_x.shape[1]} and {basis_y.shape[1]} dimensions of the "
            f"{count - 1} that {count} stimuli can differ in: some canonical correlations are 1 "
            "whatever the patterns are. Use fewer units (svcca), more stimuli, or cka",
            stacklevel=4,
        )
