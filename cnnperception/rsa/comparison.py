"""How alike two RDMs are."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import kendalltau, rankdata

from . import kernels
from .labels import is_square, select, stimuli_of_pairs, stimulus_ids
from .whitening import whitened_cosine


def compare(
    rdms_a: Any, rdms_b: Any, method: str = "spearman", *, sigma_k: np.ndarray | None = None
) -> np.ndarray:
    """Return the similarity of every RDM of one stack with every RDM of another.

    Parameters
    ----------
    rdms_a, rdms_b : DataArray (rdm, pair) or (pair,), or array of such shapes
        DataArrays are aligned by their stimulus ids, arrays by position.
    method : str
        "cosine". "corr": Pearson correlation. "spearman": of ranks, ties at their mean rank.
        "rho-a": the Spearman correlation expected when ties are broken at random, 12 x.y /
        (n^3 - n) of centred ranks. "tau-a", "tau-b" (or "kendall"): Kendall's, over all pairs of
        dissimilarities, or corrected for ties. "cosine_cov", "corr_cov": cosine and correlation
        of whitened RDMs (for "corr_cov" the plain mean is subtracted first); "cosine_cov" is the
        linear CKA when `sigma_k` is None. "neg_riem_dist": minus the Riemannian distance.
        "bures": Bures similarity. "bures_metric": the squared Bures distance, smaller for closer.
    sigma_k : ndarray, shape (stimulus, stimulus) or (stimulus,), optional
        For the whitened measures and neg_riem_dist: the covariance of the patterns between
        stimuli, or its diagonal; in the order of the stimuli of `rdms_a`.

    Returns
    -------
    ndarray, shape (n_a, n_b), float64
        Pairs of stimuli that are NaN in either of two RDMs are left out of their comparison. An
        RDM of zeros has cosine 0. NaN, with a warning, where a similarity is not defined.

    Raises
    ------
    ValueError
        For an unknown method, RDMs of different stimuli, or missing pairs where the method needs
        all of them.

    Notes
    -----
    Equal to rsatoolbox's `compare`, except that it refuses missing pairs that differ between
    RDMs; that its whitened measures with `sigma_k` are approximate (a diagonal is centred as if
    it were the identity, a matrix is solved for with a loose tolerance), where ours are exact.
    """
    if method not in METHODS:
        raise ValueError(f"no method is called {method!r}; there are {', '.join(METHODS)}")
    if sigma_k is not None and method not in ("cosine_cov", "corr_cov", "neg_riem_dist"):
        raise ValueError(f"{method!r} does not use sigma_k")
    a, b = _stacks(rdms_a, rdms_b)
    measure = METHODS[method]
    similarity = np.full((len(a), len(b)), np.nan)
    for rows, present_a in _by_presence(a):
        for columns, present_b in _by_presence(b):
            both = present_a & present_b
            if both.sum() > 1 or len(both) == 1:
                found = measure(a[rows], b[columns], both, sigma_k)
                similarity[np.ix_(rows, columns)] = found
    if np.isnan(similarity).any():
        warnings.warn(
            f"{int(np.isnan(similarity).sum())} similarities are NaN: the RDMs have fewer than "
            "two pairs of stimuli in common, or one does not vary",
            stacklevel=2,
        )
    return similarity


def _stacks(rdms_a: Any, rdms_b: Any) -> tuple[np.ndarray, np.ndarray]:
    labelled = isinstance(rdms_a, xr.DataArray) and isinstance(rdms_b, xr.DataArray)
    if labelled:
        ids_a, ids_b = stimulus_ids(rdms_a), stimulus_ids(rdms_b)
        if set(ids_a) != set(ids_b):
            only = sorted(set(ids_a) ^ set(ids_b))
            raise ValueError(f"the RDMs are of different stimuli: {only[0]!r} is in one alone")
        rdms_b = select(rdms_b, ids_a)
    a, b = (
        np.atleast_2d(np.asarray(r.transpose(..., "pair") if isinstance(r, xr.DataArray) else r))
        for r in (rdms_a, rdms_b)
    )
    # Three RDMs of three stimuli can look like it by chance.
    if any(len(one) > 3 and one.any() and is_square(one) for one in (a, b)):
        raise ValueError("a square RDM is compared as pairs: use rsa.condensed on it first")
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"the RDMs have {a.shape[1]} and {b.shape[1]} pairs of stimuli")
    return a.astype(np.float64), b.astype(np.float64)


def _by_presence(stack: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the rows that miss the same pairs, together, and which pairs they have."""
    patterns, group = np.unique(~np.isnan(stack), axis=0, return_inverse=True)
    return [
        (np.flatnonzero(group.ravel() == number), present)
        for number, present in enumerate(patterns)
    ]


# ---- the measures: (a, b, present pairs, sigma_k) -> (n_a, n_b) ----

Measure = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None], np.ndarray]


def _of_prepared(prepare: Callable[[np.ndarray], np.ndarray]) -> Measure:
    """Return the measure that is a product of vectors, each prepared on its own."""

    def measure(
        a: np.ndarray, b: np.ndarray, present: np.ndarray, sigma_k: np.ndarray | None
    ) -> np.ndarray:
        return prepare(a[:, present]) @ prepare(b[:, present]).T

    return measure


def _unit(values: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, length, out=np.zeros_like(values), where=length > 0)


def _unit_centred(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    rounding = 1e-13 * np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(centred, length, out=np.full_like(values, np.nan), where=length > rounding)


def _unit_ranks(values: np.ndarray) -> np.ndarray:
    return _unit_centred(rankdata(values, axis=1))


def _scaled_ranks(values: np.ndarray) -> np.ndarray:
    count = values.shape[1]
    return (rankdata(values, axis=1) - (count + 1) / 2) * np.sqrt(12 / (count**3 - count))


def _tau_b(
    a: np.ndarray, b: np.ndarray, present: np.ndarray, sigma_k: np.ndarray | None
) -> np.ndarray:
    a, b = a[:, present], b[:, present]
    # The p-value is not used: "asymptotic" spares scipy the exact one.
    return np.array([[kendalltau(x, y, method="asymptotic").statistic for y in b] for x in a])


def _tau_a(
    a: np.ndarray, b: np.ndarray, present: np.ndarray, sigma_k: np.ndarray | None
) -> np.ndarray:
    """Return (concordant - discordant) / all: tau-b times the square roots it divides by."""
    untied_a, untied_b = (
        np.array([_untied_pairs(x) for x in stack[:, present]], dtype=np.float64)
        for stack in (a, b)
    )
    scale = np.sqrt(untied_a[:, None] * untied_b[None, :])
    # A whole number; and zero, where all is tied and tau-b is not defined.
    difference = np.rint(np.nan_to_num(_tau_b(a, b, present, sigma_k)) * scale)
    count = int(present.sum())
    return difference / (count * (count - 1) // 2)


def _untied_pairs(values: np.ndarray) -> int:
    counts = np.unique(values, return_counts=True)[1].astype(np.int64)
    return (len(values) * (len(values) - 1) - int((counts * (counts - 1)).sum())) // 2


def _corr_cov(
    a: np.ndarray, b: np.ndarray, present: np.ndarray, sigma_k: np.ndarray | None
) -> np.ndarray:
    centred = []
    for stack in (a, b):
        known = stack - stack[:, present].mean(axis=1, keepdims=True)
        size = np.abs(stack[:, present]).max(axis=1, keepdims=True)
        varies = np.abs(known[:, present]).max(axis=1, keepdims=True) > 1e-13 * size
        centred.append(np.where(varies, known, np.nan))
    valid = [~np.isnan(stack[:, present]).any(axis=1) for stack in centred]
    similarity = np.full((len(a), len(b)), np.nan)
    found = whitened_cosine(centred[0][valid[0]], centred[1][valid[1]], present, sigma_k)
    similarity[np.ix_(*valid)] = found
    return similarity


def _of_matrices(measure: Callable[..., np.ndarray], name: str) -> Measure:
    """Return a measure of square RDMs, which needs all pairs."""

    def complete(
        a: np.ndarray, b: np.ndarray, present: np.ndarray, sigma_k: np.ndarray | None
    ) -> np.ndarray:
        if not present.all():
            raise ValueError(
                f"{name!r} needs every pair of stimuli: leave out the stimuli with missing ones "
                "by rsa.select"
            )
        more = () if name.startswith("bures") else (sigma_k,)
        return measure(_squares(a), _squares(b), *more)

    return complete


def _squares(stack: np.ndarray) -> np.ndarray:
    count = stimuli_of_pairs(stack.shape[1])
    matrices = np.zeros((len(stack), count, count))
    i, j = np.triu_indices(count, 1)
    matrices[:, i, j] = matrices[:, j, i] = stack
    return matrices


METHODS: dict[str, Measure] = {
    "cosine": _of_prepared(_unit),
    "corr": _of_prepared(_unit_centred),
    "spearman": _of_prepared(_unit_ranks),
    "rho-a": _of_prepared(_scaled_ranks),
    "tau-a": _tau_a,
    "tau-b": _tau_b,
    "kendall": _tau_b,
    "cosine_cov": whitened_cosine,
    "corr_cov": _corr_cov,
    "neg_riem_dist": _of_matrices(kernels.negative_riemannian_distance, "neg_riem_dist"),
    "bures": _of_matrices(kernels.bures_similarity, "bures"),
    "bures_metric": _of_matrices(kernels.bures_metric, "bures_metric"),
}
