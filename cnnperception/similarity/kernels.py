"""Similarities of representations as functions of their kernels (stimulus, stimulus).

A linear kernel X X^T of units centred over stimuli holds all that a rotation of the units leaves:
whatever number of units there is, two kernels are compared in the space of stimuli.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .patterns import blocks

# A share of the largest eigenvalue below which an eigenvalue is rounding.
RANK_TOLERANCE = 1e-10


def linear_kernel(patterns: Any, name: str = "patterns") -> np.ndarray:
    """Return X X^T with units centred over stimuli, summed over blocks of units.

    Raises
    ------
    ValueError
        For patterns that do not vary, or are not finite.
    """
    kernel: np.ndarray | None = None
    size = 0.0
    for block in blocks(patterns, name):
        size = max(size, float(np.abs(block).max()))
        centred = block - block.mean(axis=0)
        part = centred @ centred.T
        kernel = part if kernel is None else kernel + part
    if kernel is None:
        raise ValueError(f"{name} have no units")
    if kernel.trace() <= (1e-14 * size) ** 2 * len(kernel):
        raise ValueError(f"{name} do not vary between stimuli: no similarity is defined")
    return kernel


def biased_alignment(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    """Return tr(K L) / (|K| |L|): linear CKA (Kornblith et al. 2019)."""
    return float((k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum()))


def u_centred(kernel: np.ndarray) -> np.ndarray:
    """Return a kernel centred so that its products estimate HSIC without bias.

    The diagonal is left out (Szekely & Rizzo 2014); the sum of the product of two, divided by
    n (n - 3), is the estimate of Song et al. (2012).
    """
    count = len(kernel)
    if count < 4:
        raise ValueError(f"an estimate without bias needs four stimuli or more; got {count}")
    off = kernel - np.diag(kernel.diagonal())
    means = off.sum(axis=0) / (count - 2)
    total = off.sum() / ((count - 1) * (count - 2))
    centred = off - means[:, None] - means[None] + total
    np.fill_diagonal(centred, 0)
    return centred


def alignment_of_centred(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    """Return the cosine of two U-centred kernels: debiased CKA.

    Zero where one has no structure beyond chance, which makes its norm zero or less.
    """
    norms = (k * k).sum() * (l * l).sum()
    return float((k * l).sum() / np.sqrt(norms)) if norms > 0 else 0.0


def nuclear_norm(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    """Return |X^T Y|_*, the sum of singular values, from X X^T and Y Y^T."""
    return float(np.linalg.svd(_root(k).T @ _root(l), compute_uv=False).sum())


def basis(kernel: np.ndarray, share: float = 1.0) -> np.ndarray:
    """Return an orthonormal basis of what patterns span, in the space of stimuli.

    Parameters
    ----------
    kernel : ndarray, shape (stimulus, stimulus)
    share : float
        Of the variance, which the largest components have to reach; 1 keeps all.

    Returns
    -------
    ndarray, shape (stimulus, component)
    """
    values, vectors = np.linalg.eigh(kernel)
    values, vectors = values[::-1], vectors[:, ::-1]
    known = values > RANK_TOLERANCE * values[0]
    if share < 1:
        before = np.concatenate([[0.0], np.cumsum(values)[:-1]]) / values[known].sum()
        known &= before < share
    return vectors[:, known]


def distances(kernel: np.ndarray) -> np.ndarray:
    """Return the Euclidean distances of stimuli."""
    own = kernel.diagonal()
    return np.sqrt(np.maximum(own[:, None] + own[None] - 2 * kernel, 0))


def _root(kernel: np.ndarray) -> np.ndarray:
    """Return R with R R^T the kernel."""
    values, vectors = np.linalg.eigh(kernel)
    known = values > RANK_TOLERANCE * values[-1]
    return vectors[:, known] * np.sqrt(values[known])
