"""RDM entries freed of the correlations they have because pairs share stimuli.

Under independent patterns with covariance S between stimuli, the entries of an RDM covary as
V = (C S C^T)^2 elementwise, C the contrasts of pairs (Diedrichsen et al. 2021). The products
r^T V^-1 q below never build V: a vector of distances stands for all kernels G + a 1^T + 1 a^T,
and V^-1 measures the one that is smallest after whitening.
"""

from __future__ import annotations

import numpy as np


def whitened_cosine(
    a: np.ndarray, b: np.ndarray, present: np.ndarray, sigma_k: np.ndarray | None
) -> np.ndarray:
    """Return r^T V^-1 q / sqrt(r^T V^-1 r q^T V^-1 q) for every r in a and q in b.

    Parameters
    ----------
    a, b : ndarrays, shape (rdm, pair)
    present : bool array, shape (pair,)
        The pairs to compare by.
    sigma_k : ndarray, shape (stimulus, stimulus) or (stimulus,), or None
        The covariance of the patterns of different stimuli, or its diagonal; the identity when
        None. The cosine is then the linear CKA of the kernels.
    """
    stacked = np.concatenate([a, b])
    if sigma_k is not None and not present.all():
        products = _products_by_covariance(stacked, present, sigma_k)
    elif sigma_k is not None:
        products = _products_of_whitened(stacked, sigma_k)
    else:
        count = _stimuli(len(present))
        weights = _symmetric(present.astype(np.float64), count)
        kernels = _symmetric(np.where(present, stacked, 0.0), count)
        products = whitened_products(kernels, weights[None], np.ones((1, count)))[0]
    own = np.sqrt(np.maximum(products.diagonal(), 0))
    length = own[: len(a), None] * own[None, len(a) :]
    cross = products[: len(a), len(a) :]
    return np.divide(cross, length, out=np.zeros_like(cross), where=length > 0)


def whitened_products(
    distances: np.ndarray, pair_weights: np.ndarray, stimulus_weights: np.ndarray
) -> np.ndarray:
    """Return r^T V^-1 q of all RDMs, up to one factor, S the identity, with weights.

    The weights say how often a stimulus and a pair are there: a bootstrap sample is one with
    whole numbers, missing pairs have weight zero. The smallest kernel is found by least squares:
    a minimises sum_ij W_ij (r_ij - a_i - a_j)^2 + sum_i w_i (2 a_i)^2.

    Parameters
    ----------
    distances : ndarray, shape (rdm, stimulus, stimulus)
    pair_weights : ndarray, shape (sample, stimulus, stimulus)
        Symmetric, with a diagonal of zeros.
    stimulus_weights : ndarray, shape (sample, stimulus)

    Returns
    -------
    ndarray, shape (sample, rdm, rdm)
    """
    flat = distances.reshape(len(distances), -1)
    raw = np.stack([(flat * weights.ravel()) @ flat.T for weights in pair_weights])
    sums = np.einsum("sij,kij->ski", pair_weights, distances, optimize=True)
    return raw - shared_by_stimuli(sums, pair_weights, stimulus_weights)


def shared_by_stimuli(
    sums: np.ndarray, pair_weights: np.ndarray, stimulus_weights: np.ndarray
) -> np.ndarray:
    """Return what the products lose to terms a_i + a_j, from the weighted row sums of the RDMs.

    Parameters
    ----------
    sums : ndarray, shape (sample, rdm, stimulus)
    pair_weights : ndarray, shape (sample, stimulus, stimulus)
    stimulus_weights : ndarray, shape (sample, stimulus)

    Returns
    -------
    ndarray, shape (sample, rdm, rdm)
    """
    normal = pair_weights.copy()
    rows = np.arange(normal.shape[1])
    # Stimuli that are not there have empty rows: any other diagonal than zero gives a = 0.
    absent = (stimulus_weights == 0).astype(np.float64)
    normal[:, rows, rows] = pair_weights.sum(axis=2) + 2 * stimulus_weights + absent
    terms = np.linalg.solve(normal, sums.transpose(0, 2, 1))
    return 2 * sums @ terms


def _products_of_whitened(stacked: np.ndarray, sigma_k: np.ndarray) -> np.ndarray:
    count = _stimuli(stacked.shape[1])
    precision = np.linalg.inv(_covariance(sigma_k, count))
    kernels = _symmetric(stacked, count) / -2
    # The smallest kernel has no part along P 1: centre by the weighted mean.
    weights = precision.sum(axis=1)
    centring = np.eye(count) - weights / weights.sum()
    root = np.linalg.cholesky(precision).T @ centring
    whitened = (root @ kernels @ root.T).reshape(len(stacked), -1)
    return whitened @ whitened.T


def _products_by_covariance(
    stacked: np.ndarray, present: np.ndarray, sigma_k: np.ndarray
) -> np.ndarray:
    count = _stimuli(len(present))
    i, j = (index[present] for index in np.triu_indices(count, 1))
    s = _covariance(sigma_k, count)
    contrasts = s[np.ix_(i, i)] - s[np.ix_(i, j)] - s[np.ix_(j, i)] + s[np.ix_(j, j)]
    known = stacked[:, present]
    return known @ np.linalg.solve(contrasts**2, known.T)


def _covariance(sigma_k: np.ndarray, count: int) -> np.ndarray:
    sigma = np.asarray(sigma_k, dtype=np.float64)
    matrix = np.diag(sigma) if sigma.ndim == 1 else sigma
    if matrix.shape != (count, count):
        raise ValueError(f"sigma_k must be ({count}, {count}) or its diagonal; got {sigma.shape}")
    return matrix


def _stimuli(pairs: int) -> int:
    return round((1 + (1 + 8 * pairs) ** 0.5) / 2)


def _symmetric(vectors: np.ndarray, count: int) -> np.ndarray:
    matrix = np.zeros((*vectors.shape[:-1], count, count))
    i, j = np.triu_indices(count, 1)
    matrix[..., i, j] = matrix[..., j, i] = vectors
    return matrix
