"""How alike two RDMs are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import rankdata

from .labels import select, stimulus_ids


def compare(rdms_a: Any, rdms_b: Any, method: str = "spearman") -> np.ndarray:
    """Return the similarity of every RDM of one stack with every RDM of another.

    Parameters
    ----------
    rdms_a, rdms_b : DataArray (rdm, pair) or (pair,), or array of such shapes
        DataArrays are aligned by their stimulus ids, arrays by position.
    method : {"cosine", "corr", "spearman"}
        Cosine, Pearson correlation, or Spearman correlation with ties at their mean rank.

    Returns
    -------
    ndarray, shape (n_a, n_b), float64
        Pairs of stimuli that are NaN in either of two RDMs are left out of their comparison. An
        RDM of zeros has cosine 0; a constant one has no correlation: NaN.

    Raises
    ------
    ValueError
        For an unknown method, or RDMs of different stimuli.
    """
    if method not in METHODS:
        raise ValueError(f"no method is called {method!r}; there are {', '.join(METHODS)}")
    a, b = _stacks(rdms_a, rdms_b)
    prepare = METHODS[method]
    if np.isfinite(a).all() and np.isfinite(b).all():
        return prepare(a) @ prepare(b).T
    similarity = np.full((len(a), len(b)), np.nan)
    for i, j in np.ndindex(similarity.shape):
        both = np.isfinite(a[i]) & np.isfinite(b[j])
        if both.sum() > 1:
            similarity[i, j] = (prepare(a[i : i + 1, both]) @ prepare(b[j : j + 1, both]).T)[0, 0]
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
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"the RDMs have {a.shape[1]} and {b.shape[1]} pairs of stimuli")
    return a.astype(np.float64), b.astype(np.float64)


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


METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cosine": _unit,
    "corr": _unit_centred,
    "spearman": _unit_ranks,
}
