"""RDMs compared as what they are of: the second moments of patterns."""

from __future__ import annotations

import numpy as np
from scipy import linalg, optimize


def bures_similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return tr sqrt(A^1/2 B A^1/2) / sqrt(tr A tr B) of the centred kernels of two RDMs.

    Between 0 and 1 for Euclidean RDMs: the cosine of the Procrustes (shape) distance.

    Parameters
    ----------
    a, b : ndarrays, shape (rdm, stimulus, stimulus)

    Returns
    -------
    ndarray, shape (n_a, n_b)
    """
    fidelity, trace_a, trace_b = _fidelity(a, b)
    return fidelity / np.sqrt(trace_a[:, None] * trace_b[None, :])


def bures_metric(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the squared Bures distance tr A + tr B - 2 tr sqrt(A^1/2 B A^1/2).

    A distance: smaller is closer. As in rsatoolbox, which calls it the metric, it is squared.
    """
    fidelity, trace_a, trace_b = _fidelity(a, b)
    return trace_a[:, None] + trace_b[None, :] - 2 * fidelity


def negative_riemannian_distance(
    a: np.ndarray, b: np.ndarray, sigma_k: np.ndarray | None
) -> np.ndarray:
    """Return minus the Riemannian distance of second moments, noise and scale fitted to it.

    The kernels are relative to the first stimulus; exp(s) A + exp(t) Sigma is compared with B,
    with the s and t that bring them closest. B must be positive definite.
    """
    count = a.shape[1]
    sigma = np.eye(count) if sigma_k is None else np.asarray(sigma_k, dtype=np.float64)
    sigma = np.diag(sigma) if sigma.ndim == 1 else sigma
    contrast = np.block([-np.ones((count - 1, 1)), np.eye(count - 1)])
    noise = contrast @ sigma @ contrast.T
    similarity = np.empty((len(a), len(b)))
    moments = [[_from_first(matrix) for matrix in matrices] for matrices in (a, b)]
    for i, first in enumerate(moments[0]):
        for j, second in enumerate(moments[1]):
            similarity[i, j] = -_fitted_distance(first, second, noise)
    return similarity


def _fitted_distance(first: np.ndarray, second: np.ndarray, noise: np.ndarray) -> float:
    def distance(scales: np.ndarray) -> float:
        mixed = np.exp(scales[0]) * first + np.exp(scales[1]) * noise
        return np.sqrt((np.log(linalg.eigvalsh(mixed, second)) ** 2).sum())

    try:
        return float(optimize.minimize(distance, (0, 0), method="Nelder-Mead").fun)
    except linalg.LinAlgError as error:
        raise ValueError(
            "'neg_riem_dist' needs RDMs of patterns with more channels than stimuli and squared "
            "Euclidean (or mahalanobis) distances: the kernel of one is not positive definite"
        ) from error


def _from_first(matrix: np.ndarray) -> np.ndarray:
    to_first = matrix[0, 1:]
    return (to_first[:, None] + to_first[None, :] - matrix[1:, 1:]) / 2


def _fidelity(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return tr sqrt(A^1/2 B A^1/2) of every two kernels, and the traces.

    It is the sum of the singular values of A^1/2 B^1/2. rsatoolbox takes the roots of the
    eigenvalues instead: the kernels' zero ones, off by 1e-16, then add 1e-8.
    """
    a, b = _centred(a), _centred(b)
    roots_a, roots_b = _roots(a), _roots(b)
    found = [np.linalg.svdvals(root @ roots_b).sum(axis=1) for root in roots_a]
    return np.stack(found), np.trace(a, axis1=1, axis2=2), np.trace(b, axis1=1, axis2=2)


def _roots(kernels: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(kernels)
    scaled = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]
    return scaled @ vectors.transpose(0, 2, 1)


def _centred(distances: np.ndarray) -> np.ndarray:
    kernel = distances / -2
    rows = kernel.mean(axis=1, keepdims=True)
    return kernel - rows - rows.transpose(0, 2, 1) + rows.mean(axis=2, keepdims=True)
