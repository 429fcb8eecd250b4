"""The form of RDMs: condensed, labelled by pairs of stimuli, aligned by label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ..labels import listed

ROUNDING = 1e-6  # of the largest dissimilarity: what may stand on the diagonal


def labelled(values: np.ndarray, ids: Sequence[str] | None) -> xr.DataArray:
    count = stimuli_of_pairs(values.shape[-1])
    names = np.asarray([str(i) for i in (range(count) if ids is None else listed(ids))])
    if len(names) != count:
        raise ValueError(f"there are {len(names)} stimulus ids for {count} stimuli")
    if len(set(names)) != count:
        raise ValueError("stimulus ids must be unique")
    a, b = np.triu_indices(count, 1)
    return xr.DataArray(
        values,
        dims="pair",
        coords={"stimulus_a": ("pair", names[a]), "stimulus_b": ("pair", names[b])},
    )


def stimuli_of_pairs(pairs: int) -> int:
    count = round((1 + (1 + 8 * pairs) ** 0.5) / 2)
    if count * (count - 1) // 2 != pairs or count < 2:
        raise ValueError(f"{pairs} is not a number of pairs of stimuli")
    return count


def stimulus_ids(rdms: xr.DataArray) -> list[str]:
    """Return the ids of the stimuli of RDMs, in their order.

    Raises
    ------
    ValueError
        When pairs are without stimuli, or not in the order of an upper triangle, row by row.
    """
    unnamed = [name for name in ("stimulus_a", "stimulus_b") if name not in rdms.coords]
    if unnamed:
        raise ValueError(
            f"the RDMs have no coordinate {unnamed[0]!r}: label them with rsa.condensed"
        )
    first, last = rdms["stimulus_a"].to_numpy(), rdms["stimulus_b"].to_numpy()
    count = stimuli_of_pairs(len(first))
    names = np.array([first[0], *last[: count - 1]])
    a, b = np.triu_indices(count, 1)
    if (names[a] != first).any() or (names[b] != last).any():
        raise ValueError(
            "the pairs of the RDMs are not in the order of an upper triangle, row by row: "
            "stimulus_a stays while stimulus_b runs through the stimuli that follow it"
        )
    return [str(name) for name in names]


def stack(rdms: xr.DataArray, name: str) -> xr.DataArray:
    """Return RDMs as (rdm, pair); one alone under its own name where it has one."""
    if "rdm" in rdms.dims:
        return rdms
    own = str(rdms["rdm"].item()) if "rdm" in rdms.coords else str(rdms.name or name)
    return rdms.drop_vars("rdm", errors="ignore").expand_dims(rdm=[own])


def square(rdm: xr.DataArray) -> np.ndarray:
    """Return RDMs as symmetric matrices (..., stimulus, stimulus) with a diagonal of zeros."""
    count = stimuli_of_pairs(rdm.sizes["pair"])
    values = rdm.transpose(..., "pair").to_numpy()
    matrix = np.zeros((*values.shape[:-1], count, count))
    a, b = np.triu_indices(count, 1)
    matrix[..., a, b] = values
    matrix[..., b, a] = values
    return matrix


def is_square(values: np.ndarray) -> bool:
    """Return whether an array is one square RDM: symmetric, with nothing on the diagonal."""
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        return False
    largest = np.nanmax(np.abs(values), initial=0.0)
    empty = (np.isnan(values) | (np.abs(values) <= ROUNDING * largest)).diagonal().all()
    return bool(empty) and _symmetric(values)


def _symmetric(values: np.ndarray) -> bool:
    return bool(np.allclose(values, values.T, equal_nan=True, rtol=1e-4, atol=1e-8))


def condensed(matrix: Any, stimulus_ids: Sequence[str] | None = None) -> xr.DataArray:
    """Return a square RDM, or a vector of pairs, as a labelled (pair,) DataArray.

    Raises
    ------
    ValueError
        When it is neither, or a square one is not symmetric.
    """
    values = np.asarray(matrix, dtype=np.float64)
    if values.ndim == 1:
        return labelled(values, stimulus_ids)
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise ValueError(f"an RDM is square, or a vector of pairs; got the shape {values.shape}")
    if not _symmetric(values):
        raise ValueError("a square RDM must be symmetric")
    return labelled(values[np.triu_indices(len(values), 1)], stimulus_ids)


def concat(rdms: Mapping[str, xr.DataArray] | Sequence[xr.DataArray]) -> xr.DataArray:
    """Return RDMs of the same stimuli as one DataArray (rdm, pair), aligned by stimulus id.

    Parameters
    ----------
    rdms : mapping of str to DataArray, or sequence of DataArray
        Dims (pair,); the keys, or 0, 1 ..., become the coordinate `rdm`. The first gives the
        order of the stimuli.

    Raises
    ------
    ValueError
        When there are none, or they are of different stimuli.
    """
    named = dict(rdms) if isinstance(rdms, Mapping) else {str(i): r for i, r in enumerate(rdms)}
    if not named:
        raise ValueError("there are no RDMs to put together")
    ids = stimulus_ids(next(iter(named.values())))
    for name, rdm in named.items():
        only = sorted(set(ids) ^ set(stimulus_ids(rdm)))
        if only:
            raise ValueError(f"RDM {name!r} is of other stimuli than the first: {only[0]!r}")
    aligned = [select(one, ids).drop_attrs() for one in named.values()]
    return xr.concat(aligned, dim="rdm").assign_coords(rdm=list(named))


def select(rdms: xr.DataArray, ids: Sequence[str]) -> xr.DataArray:
    """Return RDMs of some of their stimuli, in the order of `ids`.

    Raises
    ------
    ValueError
        When a stimulus is not among the RDMs', or is wanted twice.
    """
    present, ids = stimulus_ids(rdms), [str(name) for name in listed(ids)]
    if ids == present:
        return rdms
    if len(set(ids)) < len(ids):
        raise ValueError("a stimulus is wanted twice, and has no dissimilarity to itself")
    place = {name: index for index, name in enumerate(present)}
    missing = [name for name in ids if name not in place]
    if missing:
        raise ValueError(f"stimulus {missing[0]!r} is not in the RDM ({len(missing)} are missing)")
    count = len(present)
    number = np.zeros((count, count), dtype=int)
    a, b = np.triu_indices(count, 1)
    number[a, b] = number[b, a] = np.arange(len(a))
    wanted = np.array([place[name] for name in ids])
    i, j = np.triu_indices(len(wanted), 1)
    names = np.asarray(ids)
    chosen = rdms.isel(pair=number[wanted[i], wanted[j]])
    return chosen.assign_coords(stimulus_a=("pair", names[i]), stimulus_b=("pair", names[j]))
