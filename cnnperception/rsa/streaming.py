"""RDMs of activations that do not fit in memory, tile by tile, into a file that can be resumed."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor

from .. import runtime
from ..files import write_json
from ..labels import listed

VALUES = "dissimilarities.npy"
STATUS = "rdm.json"
# Bytes of the patterns of two blocks of stimuli, and of a piece of them in float64.
BLOCK_BYTES = 2**31
_PIECE_BYTES = 2**28
# Patterns by which a run that goes on knows that they are the same as before.
_SAMPLED = 32

# How the products of centred or plain patterns become dissimilarities: from the product of two
# blocks of stimuli, their squared lengths and the number of channels.
Finish = Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]


def _one_minus_cosine(
    product: np.ndarray, a: np.ndarray, b: np.ndarray, channels: int
) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - product / np.sqrt(a[:, None] * b[None])


def _mean_square(product: np.ndarray, a: np.ndarray, b: np.ndarray, channels: int) -> np.ndarray:
    return (a[:, None] + b[None] - 2 * product) / channels


METRICS: dict[str, Finish] = {
    "correlation": _one_minus_cosine,
    "cosine": _one_minus_cosine,
    "euclidean": _mean_square,
}


def stream_rdm(
    patterns: Any,
    output: str | os.PathLike[str],
    metric: str = "correlation",
    *,
    stimulus_ids: Sequence[Any] | None = None,
    block_bytes: int = BLOCK_BYTES,
    progress: bool = False,
) -> xr.Dataset:
    """Compute an RDM of patterns that are read as they are needed, and write it to a folder.

    Two blocks of stimuli are in memory at a time. A run that was killed goes on with the first
    pair of blocks that is not written; that the patterns are still the same is seen from 32 of
    them, evenly spaced.

    Parameters
    ----------
    patterns : DataArray or array-like, shape (stimulus, ...)
        Read by slices of stimuli, such as an opened zarr or netCDF store of `extract`, or a
        memory map.
    output : path-like
        Folder to write.
    metric : {"correlation", "cosine", "euclidean"}
        As for `rdm`; products are summed in float64.
    stimulus_ids : sequence, optional
        The coordinate `stimulus` of patterns, or 0, 1, 2 ..., when left out.
    block_bytes : int
        For the patterns of two blocks of stimuli, as they are stored.
    progress : bool

    Returns
    -------
    Dataset
        As `open_rdm` returns.

    Raises
    ------
    ValueError
        For fewer than two stimuli, an unknown metric, values that are not finite, or a folder that
        holds the RDM of something else.
    """
    if metric not in METRICS:
        raise ValueError(f"cannot stream {metric!r}; there are {', '.join(METRICS)}")
    if isinstance(patterns, Tensor):
        patterns = patterns.detach().cpu().numpy()
    if isinstance(patterns, xr.DataArray) and "stimulus" in patterns.dims[1:]:
        raise ValueError(f"patterns must be (stimulus, ...); got the dims {patterns.dims}")
    count, channels = patterns.shape[0], int(np.prod(patterns.shape[1:]))
    if count < 2 or not channels:
        raise ValueError(f"an RDM needs two stimuli or more with channels; got {patterns.shape}")
    ids = _ids(patterns, stimulus_ids)
    each = channels * np.dtype(patterns.dtype).itemsize
    size = int(np.clip(block_bytes // (2 * each), 1, count))
    starts = range(0, count, size)
    tiles = [(i, j) for i in starts for j in starts if j >= i]
    identity = {
        "metric": metric,
        "stimuli": ids,
        "channels": channels,
        "dtype": str(patterns.dtype),
        "block": size,
        "sample": _sample(patterns),
    }
    folder = Path(output)
    done, values = _resume_or_create(folder, identity, count)
    held: tuple[int, np.ndarray] | None = None
    for i, j in runtime.progress(tiles, "blocks of stimuli", show=progress):
        if [i, j] in done:
            continue
        if held is None or held[0] != i:
            held = (i, _block(patterns, i, size, ids))
        rows = held[1]
        columns = rows if i == j else _block(patterns, j, size, ids)
        tile = _tile(rows, columns, metric)
        undefined = np.isnan(tile).all(axis=1)
        if undefined.any():
            warnings.warn(
                f"stimulus {ids[i + int(np.argmax(undefined))]!r} has a constant pattern: its "
                f"{metric} dissimilarities are NaN",
                stacklevel=2,
            )
        for place, row in enumerate(tile):
            number = i + place
            first = max(j, number + 1)
            offset = number * count - number * (number + 1) // 2 - number - 1
            values[offset + first : offset + j + len(row)] = row[first - j :]
        values.flush()
        done.append([i, j])
        write_json(folder / STATUS, identity | {"done": done, "finished": len(done) == len(tiles)})
    return open_rdm(folder)


def open_rdm(folder: str | os.PathLike[str]) -> xr.Dataset:
    """Open an RDM that `stream_rdm` wrote.

    Returns
    -------
    Dataset
        dissimilarity (pair,), float64, read when it is used, in the order of squareform; stimulus
        (stimulus,), the ids. `condensed(d["dissimilarity"], d["stimulus"])` labels every pair,
        where there is memory for as many names.

    Raises
    ------
    FileNotFoundError, ValueError
        When there is none, or it is not finished.
    """
    path = Path(folder)
    if not (path / STATUS).exists():
        raise FileNotFoundError(f"there is no RDM in {path}")
    status = json.loads((path / STATUS).read_text(encoding="utf-8"))
    if not status.get("finished"):
        raise ValueError(f"the RDM in {path} is not finished: run stream_rdm again to go on")
    values = np.load(path / VALUES, mmap_mode="r", allow_pickle=False)
    return xr.Dataset(
        {"dissimilarity": ("pair", values)},
        coords={"stimulus": status["stimuli"]},
        attrs={"metric": status["metric"], "channels": status["channels"]},
    )


def _ids(patterns: Any, stimulus_ids: Sequence[Any] | None) -> list[str]:
    if (
        stimulus_ids is None
        and isinstance(patterns, xr.DataArray)
        and "stimulus" in patterns.coords
    ):
        stimulus_ids = listed(patterns["stimulus"])
    given = range(patterns.shape[0]) if stimulus_ids is None else listed(stimulus_ids)
    names = [str(name) for name in given]
    if len(names) != patterns.shape[0]:
        raise ValueError(f"there are {len(names)} stimulus ids for {patterns.shape[0]} patterns")
    if len(set(names)) < len(names):
        raise ValueError("stimulus ids must be unique: average the repeats first")
    return names


def _sample(patterns: Any) -> str:
    """Return a hash of patterns from the first to the last: other data under the same ids show."""
    places = np.unique(np.linspace(0, patterns.shape[0] - 1, _SAMPLED).astype(int))
    found = hashlib.sha256()
    for place in places:
        found.update(np.ascontiguousarray(_dense(patterns[place : place + 1])).tobytes())
    return found.hexdigest()


def _resume_or_create(
    folder: Path, identity: dict[str, Any], count: int
) -> tuple[list[list[int]], np.memmap]:
    status, values = folder / STATUS, folder / VALUES
    pairs = count * (count - 1) // 2
    if status.exists() and values.exists():
        known = json.loads(status.read_text(encoding="utf-8"))
        other = [name for name in identity if known.get(name) != identity[name]]
        if other:
            raise ValueError(
                f"{folder} holds an RDM of something else (another {other[0]}); give another "
                "folder, or delete this one"
            )
        return known["done"], np.lib.format.open_memmap(values, mode="r+")
    folder.mkdir(parents=True, exist_ok=True)
    written = np.lib.format.open_memmap(values, mode="w+", dtype=np.float64, shape=(pairs,))
    write_json(status, identity | {"done": [], "finished": False})
    return [], written


def _block(patterns: Any, start: int, size: int, ids: list[str]) -> np.ndarray:
    block = _dense(patterns[start : start + size])
    block = block.reshape(len(block), -1)
    finite = np.isfinite(block).all(axis=1)
    if not finite.all():
        name = ids[start + int(np.argmin(finite))]
        raise ValueError(f"stimulus {name!r} has values that are not finite")
    return block


def _tile(rows: np.ndarray, columns: np.ndarray, metric: str) -> np.ndarray:
    """Return the dissimilarities of two blocks of stimuli, summed over pieces of the channels."""
    channels = rows.shape[1]
    product = np.zeros((len(rows), len(columns)))
    squares = [np.zeros(len(rows)), np.zeros(len(columns))]
    means = [b.mean(axis=1, keepdims=True, dtype=np.float64) for b in (rows, columns)]
    width = max(1, _PIECE_BYTES // (8 * (len(rows) + len(columns))))
    for start in range(0, channels, width):
        pieces = [b[:, start : start + width].astype(np.float64) for b in (rows, columns)]
        if metric == "correlation":
            pieces = [piece - mean for piece, mean in zip(pieces, means, strict=True)]
        elif metric == "euclidean":
            # Distances do not change with the origin, and near the patterns least is lost.
            origin = pieces[0].mean(axis=0)
            pieces = [piece - origin for piece in pieces]
        product += pieces[0] @ pieces[1].T
        for square, piece in zip(squares, pieces, strict=True):
            square += np.einsum("ij,ij->i", piece, piece)
    if metric == "correlation":
        # What is left of a constant pattern, once its mean is gone, is rounding alone.
        for square, mean in zip(squares, means, strict=True):
            square[square <= channels * (1e-12 * mean[:, 0]) ** 2] = 0
    return np.maximum(METRICS[metric](product, squares[0], squares[1], channels), 0)


def _dense(values: Any) -> np.ndarray:
    return values.to_numpy() if isinstance(values, xr.DataArray) else np.asarray(values)
