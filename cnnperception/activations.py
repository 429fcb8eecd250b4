"""Activations of a model's layers to a set of stimuli, in memory or stored, resumable."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from . import runtime
from .activation_store import Layout, finished_store, resume_or_create
from .images import ImageError
from .models.interface import VisionModel, device_of, fingerprint, resolve_layers
from .readouts import READOUTS, Layer, Readout, check
from .stimuli import StimulusSet
from .stored_activations import open_finished

BATCH_BYTES = 2**28  # of activations: what one batch of automatic size may take
LARGEST_BATCH = 64
RESERVED = ("stimulus", "activations")  # what every layer of a result holds by itself


def extract(
    model: VisionModel,
    stimuli: StimulusSet,
    layers: str | Iterable[str] | None = None,
    *,
    size: int | tuple[int, int] | None = None,
    batch_size: int | str = "auto",
    readout: str | Mapping[str, str] = "full",
    store: str | os.PathLike[str] | None = None,
    skip_unreadable: bool = False,
    overwrite: bool = False,
    seed: int = 0,
    progress: bool = False,
) -> xr.DataTree:
    """Return the activations of a model's layers to stimuli.

    Computed in float32 on every device, without TensorFloat-32 or autocast, so that what one
    machine has stored another can go on with.

    Parameters
    ----------
    model : VisionModel
    stimuli : StimulusSet
    layers : str or iterable of str, optional
        Names, groups or patterns; every layer when left out.
    size : int or (int, int), optional
        Height and width (one number: both) to which images are resized; needed when they differ.
    batch_size : int or "auto"
        "auto" keeps a batch's activations below a quarter of a GiB.
    readout : {"full", "mean", "gram", "projection", "pca"}, or mapping of layers to these
        What is kept of each layer: all; the mean over positions; Gram matrices; a sparse random
        projection that keeps distances; principal components. A mapping's keys are names, groups
        or patterns, of which the last that fits counts; other layers are kept whole.
    store : path-like, optional
        A folder ending in .zarr or a file ending in .nc. Written batch by batch; a run that was
        killed goes on where it stopped, to the same bytes. A finished store of the same
        weights, images and settings is opened and returned, with the columns that the table now
        has. In memory when left out.
    skip_unreadable : bool
        Leave out stimuli that cannot be read, with a warning, instead of raising.
    overwrite : bool
        Replace a store of other settings.
    seed : int
        Of random projections.
    progress : bool
        Show a bar with the time left.

    Returns
    -------
    DataTree
        A node for each layer with the variable `activations`, dims (stimulus, channel, y, x) or
        (stimulus, unit), the table's columns as coordinates along `stimulus`. The attribute
        `provenance` of the root is JSON.

    Raises
    ------
    ImageError
        For a stimulus that cannot be read, before anything is computed.
    ValueError
        For unknown layers, a layer within another, a column of the table called `stimulus` or
        `activations`, images of different size, or a store of other settings.
    FloatingPointError
        When an activation is not finite; the message names layer and stimulus.
    """
    names = resolve_layers(model, model.layers if layers is None else layers)
    _check_layers(names)
    _check_columns(stimuli.table)
    chosen = _chosen_readouts(model, names, readout)
    common = (size, size) if isinstance(size, int) else size
    usable, hashes, unreadable = _readable(stimuli, common, skip_unreadable)
    identity = {
        "model": fingerprint(model),
        "layers": list(names),
        "size": common,
        "readout": chosen,
        "seed": seed,
        "stimuli": usable.ids,
        "images": hashes,
    }
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    path = None if store is None else Path(store)
    if path is not None and not overwrite and finished_store(path, key):
        return open_finished(path, usable.table)

    readouts = _prepared(model, usable, chosen, common, seed)

    def respond(images: Tensor) -> dict[str, Tensor]:
        with torch.no_grad(), runtime.full_precision(images.device):
            features = model.features(images, names)
            return {name: readouts[name].apply(features[name]) for name in names}

    shapes = _shapes(respond, usable, common, device_of(model))
    batch = _batch_size(batch_size, shapes)
    provenance = {
        "model": {"name": model.name, **model.provenance, "sha256": identity["model"]},
        "readout": {name: {"name": chosen[name], **readouts[name].settings} for name in names},
        "size": common,
        "seed": seed,
        "unreadable": unreadable,
        "versions": runtime.versions(),
    }
    layout = Layout(usable.table, shapes, batch, key, json.dumps(provenance, default=str))
    target = resume_or_create(path, layout, overwrite=overwrite)
    waiting = target.waiting()
    bar = runtime.progress(waiting, f"{model.name}: activations", show=progress)
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        pending = None
        for rows, images in _ahead(reader, usable, bar, waiting, batch, common):
            responses = respond(images.to(device_of(model)))
            values = {name: response.float().cpu().numpy() for name, response in responses.items()}
            _check_finite(values, [usable.ids[i] for i in rows], model.name)
            if pending is not None:
                pending.result()
            pending = writer.submit(target.write, rows, values)
        if pending is not None:
            pending.result()
    return target.finish()


def _check_layers(layers: Collection[str]) -> None:
    """Raise ValueError when one layer lies within another: a tree has arrays at its ends alone."""
    for layer in layers:
        for parent in map(str, PurePosixPath(layer).parents):
            if parent in layers:
                raise ValueError(
                    f"layers {parent!r} and {layer!r} cannot be kept together: names are paths, "
                    "and no layer can lie within another. Choose one of the two, or rename one"
                )


def _check_columns(table: pd.DataFrame) -> None:
    """Raise ValueError for a column of the stimulus table that cannot be a coordinate."""
    for name in map(str, table.columns):
        if name in RESERVED:
            raise ValueError(
                f"the stimulus table has a column {name!r}, a name that activations need for "
                "their own (the ids are `stimulus`, the values `activations`); rename the column"
            )
        if "/" in name:
            raise ValueError(
                f"the stimulus table has a column {name!r}; a coordinate's name holds no '/': "
                "rename the column"
            )


def _chosen_readouts(
    model: VisionModel, names: Sequence[str], readout: str | Mapping[str, str]
) -> dict[str, str]:
    """Return the name of each layer's readout."""
    if isinstance(readout, str):
        check(readout)
        return dict.fromkeys(names, readout)
    chosen = dict.fromkeys(names, "full")
    for pattern, name in readout.items():
        check(name)
        fitting = [layer for layer in resolve_layers(model, [pattern]) if layer in chosen]
        if not fitting:
            raise ValueError(f"the readout of {pattern!r} is of no layer that is extracted")
        chosen |= dict.fromkeys(fitting, name)
    return chosen


def _prepared(
    model: VisionModel,
    stimuli: StimulusSet,
    chosen: Mapping[str, str],
    size: tuple[int, int] | None,
    seed: int,
) -> dict[str, Readout]:
    """Return each layer's readout, fitted where it has to be."""

    def features(layer: str, count: int) -> Tensor:
        rows = np.unique(np.linspace(0, len(stimuli) - 1, min(count, len(stimuli))).astype(int))
        parts = np.array_split(rows, -(-len(rows) // LARGEST_BATCH))
        with torch.no_grad(), runtime.full_precision(device_of(model)):
            found = [
                model.features(stimuli.batch(p.tolist(), size).to(device_of(model)), [layer])[layer]
                for p in parts
            ]
        return torch.cat(found)

    return {
        layer: READOUTS[name](Layer(partial(features, layer), len(stimuli), seed))
        for layer, name in chosen.items()
    }


def _readable(
    stimuli: StimulusSet, size: tuple[int, int] | None, skip: bool
) -> tuple[StimulusSet, list[str], dict[str, str]]:
    """Read every stimulus once: the usable ones, their hashes, and the faults of the others."""

    def look(index: int) -> tuple[str, tuple[int, ...]] | ImageError:
        try:
            shape = tuple(stimuli.image(index).shape[-2:])
            return stimuli.sha256(index), shape
        except ImageError as error:
            return error

    with ThreadPoolExecutor(4) as pool:
        looks = list(pool.map(look, range(len(stimuli))))
    faults = {stimuli.ids[i]: str(x) for i, x in enumerate(looks) if isinstance(x, ImageError)}
    if faults and not skip:
        first = next(iter(faults.values()))
        more = f" ({len(faults) - 1} more cannot be read either)" if len(faults) > 1 else ""
        raise ImageError(f"{first}{more}; remove it, or leave such stimuli out (skip_unreadable)")
    if len(faults) == len(stimuli):
        raise ImageError(f"no stimulus can be read; the first: {next(iter(faults.values()))}")
    if faults:
        warnings.warn(f"left out: {'; '.join(faults.values())}", stacklevel=3)
    places = [i for i, x in enumerate(looks) if not isinstance(x, ImageError)]
    hashes = [x[0] for x in looks if not isinstance(x, ImageError)]
    usable = stimuli[places] if faults else stimuli
    if size is None:
        usable.batch([0])
        sizes = [x[1] for x in looks if not isinstance(x, ImageError)]
        other = next((i for i, s in enumerate(sizes) if s != sizes[0]), None)
        if other is not None:
            usable.batch([0, other])  # raises, naming both
    return usable, hashes, faults


def _shapes(
    respond: Any, stimuli: StimulusSet, size: tuple[int, int] | None, device: torch.device
) -> dict[str, tuple[int, ...]]:
    responses = respond(stimuli.batch([0], size).to(device))
    return {name: tuple(response.shape[1:]) for name, response in responses.items()}


def _batch_size(batch_size: int | str, shapes: dict[str, tuple[int, ...]]) -> int:
    if batch_size == "auto":
        one = 4 * sum(int(np.prod(shape)) for shape in shapes.values())
        return max(1, min(LARGEST_BATCH, BATCH_BYTES // max(one, 1)))
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be 'auto' or a number from 1; got {batch_size!r}")
    return batch_size


def _ahead(
    reader: ThreadPoolExecutor,
    stimuli: StimulusSet,
    bar: Iterator[int],
    waiting: list[int],
    batch: int,
    size: tuple[int, int] | None,
) -> Iterator[tuple[list[int], Tensor]]:
    """Yield each batch's rows and images, reading the next while one is worked on."""

    def rows_of(number: int) -> list[int]:
        return list(range(number * batch, min((number + 1) * batch, len(stimuli))))

    following = dict(itertools.pairwise(waiting))
    coming = reader.submit(stimuli.batch, rows_of(waiting[0]), size) if waiting else None
    for number in bar:
        assert coming is not None
        images = coming.result()
        if number in following:
            coming = reader.submit(stimuli.batch, rows_of(following[number]), size)
        yield rows_of(number), images


def _check_finite(values: dict[str, np.ndarray], ids: list[str], model: str) -> None:
    for layer, array in values.items():
        finite = np.isfinite(array.reshape(len(ids), -1)).all(axis=1)
        if not finite.all():
            raise FloatingPointError(
                f"layer {layer!r} of {model} gives values that are not finite for stimulus "
                f"{ids[int(np.argmin(finite))]!r}; check its weights"
            )
