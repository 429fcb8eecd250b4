"""Patterns of activity as matrices (stimulus, unit), two of them with the same stimuli."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import xarray as xr

# Values of a block of units to hold at a time.
BLOCK_VALUES = 2**25


def matrix(patterns: Any, name: str = "patterns") -> np.ndarray:
    """Return patterns as a matrix (stimulus, unit), float64.

    Raises
    ------
    ValueError
        For fewer than two dimensions, no units, or values that are not finite.
    """
    values = np.asarray(_dense(stimuli_first(patterns)), dtype=np.float64)
    if values.ndim < 2 or values.shape[1:].count(0):
        raise ValueError(f"{name} must be (stimulus, unit ...); got the shape {values.shape}")
    values = values.reshape(len(values), -1)
    if not np.isfinite(values).all():
        bad = int(np.argmin(np.isfinite(values).all(axis=1)))
        raise ValueError(f"{name} are not finite at stimulus {bad}")
    return values


def matched(x: Any, y: Any) -> tuple[Any, Any]:
    """Return two sets of patterns with the stimuli of the second in the order of the first.

    DataArrays that both have a coordinate `stimulus` are matched by it, others by position.
    Stimuli become the first dimension of DataArrays that name theirs `stimulus`.
    """
    x, y = stimuli_first(x), stimuli_first(y)
    ids_x, ids_y = stimulus_ids(x), stimulus_ids(y)
    if ids_x is not None and ids_y is not None and ids_x != ids_y:
        place = {name: number for number, name in enumerate(ids_y)}
        if set(ids_x) != set(ids_y) or len(place) < len(ids_y):
            only = sorted(set(ids_x) ^ set(ids_y)) or ["a repeated one"]
            raise ValueError(f"the patterns are of different stimuli: {only[0]!r}")
        y = y.isel(stimulus=[place[name] for name in ids_x])
    if len(x) != len(y):
        raise ValueError(f"the patterns are of {len(x)} and {len(y)} stimuli")
    return x, y


def stimuli_first(patterns: Any) -> Any:
    """Return patterns with the dimension `stimulus`, where they name one so, in front."""
    if isinstance(patterns, xr.DataArray) and "stimulus" in patterns.dims:
        return patterns.transpose("stimulus", ...)
    return patterns


def stimulus_ids(patterns: Any) -> list[str] | None:
    """Return the ids of the stimuli, where patterns have them."""
    if isinstance(patterns, xr.DataArray) and "stimulus" in patterns.coords:
        return [str(name) for name in patterns["stimulus"].to_numpy()]
    return None


def blocks(patterns: Any, name: str) -> Iterator[np.ndarray]:
    """Yield (stimulus, unit) matrices of some units at a time, float64, read as they are needed.

    Patterns are cut along their second dimension, so that of a stored array no more is read than
    a block.
    """
    patterns = stimuli_first(patterns)
    array = patterns if isinstance(patterns, xr.DataArray) else _dense(patterns)
    if array.ndim < 2:
        raise ValueError(f"{name} must be (stimulus, unit ...); got the shape {array.shape}")
    each = max(1, int(np.prod(array.shape)) // array.shape[1])
    size = max(1, BLOCK_VALUES // each)
    for start in range(0, array.shape[1], size):
        yield matrix(array[:, start : start + size], name)


def _dense(patterns: Any) -> Any:
    if isinstance(patterns, torch.Tensor):
        return patterns.detach().cpu().numpy()
    if isinstance(patterns, xr.DataArray):
        return patterns.to_numpy()
    return np.asarray(patterns)
