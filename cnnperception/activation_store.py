"""Where activations are written: memory, a zarr folder, or netCDF by way of one."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import xarray as xr

from .files import atomic_path, write_json
from .stored_activations import (
    STATUS_FILE,
    coordinates_of,
    describes_activations,
    lacks,
    netcdf_key,
    open_store,
    status_of,
    update_columns,
    write_coordinates,
)


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a store will hold.

    Attributes
    ----------
    table : DataFrame
        Of the stimuli, a row for each.
    shapes : mapping of str to tuple of int
        Of one stimulus's activations, by layer.
    batch : int
        Stimuli in a batch. Resuming keeps it, so that every batch is computed in one piece.
    key : str
        Changes with anything the activations depend on.
    provenance : str
        JSON.
    """

    table: pd.DataFrame
    shapes: Mapping[str, tuple[int, ...]]
    batch: int
    key: str
    provenance: str

    @property
    def batches(self) -> list[int]:
        """The numbers of the batches."""
        return list(range(-(-len(self.table) // self.batch)))

    def dims(self, layer: str) -> tuple[str, ...]:
        """Return the dimensions of a layer's array."""
        maps = len(self.shapes[layer]) == 3
        return ("stimulus", "channel", "y", "x") if maps else ("stimulus", "unit")

    def shape(self, layer: str) -> tuple[int, ...]:
        """Return the shape of a layer's array; other than maps are flattened to units."""
        shape = self.shapes[layer]
        whole = shape if len(shape) == 3 else (int(np.prod(shape)),)
        return (len(self.table), *whole)

    def tree(self, arrays: Mapping[str, Any]) -> xr.DataTree:
        """Return arrays as a DataTree."""
        nodes = {
            layer: xr.Dataset(
                {"activations": (self.dims(layer), array)},
                coords=coordinates_of(self.table),
                attrs={"layer": layer},
            )
            for layer, array in arrays.items()
        }
        tree = xr.DataTree.from_dict(nodes)
        tree.attrs = self.attributes()
        return tree

    def attributes(self) -> dict[str, Any]:
        """Return what is recorded with the activations as a whole."""
        layers = json.dumps(list(self.shapes))
        return {"provenance": self.provenance, "key": self.key, "layers": layers}


class Target(Protocol):
    """Where batches are written to."""

    def waiting(self) -> list[int]:
        """Return the numbers of the batches that are still to be written."""
        ...

    def write(self, rows: list[int], values: Mapping[str, np.ndarray]) -> None:
        """Write one whole batch."""
        ...

    def finish(self) -> xr.DataTree:
        """Return the complete activations."""
        ...


def resume_or_create(path: Path | None, layout: Layout, *, overwrite: bool) -> Target:
    """Return where to write: memory, or a store, gone on with when it holds the same.

    Raises
    ------
    ValueError
        When the name ends in neither .zarr nor .nc, or there is a store of something else.
    """
    if path is None:
        return _Memory(layout)
    if path.suffix not in (".zarr", ".nc"):
        raise ValueError(f"{path}: activations are stored as .zarr or .nc")
    folder = path if path.suffix == ".zarr" else path.with_name(f"{path.name}.partial.zarr")
    if path.exists() and path.is_dir() != (path.suffix == ".zarr"):
        raise ValueError(
            f"{path}: a store ending in .zarr is a folder and one in .nc a file; give another name"
        )
    if not overwrite:
        _refuse_other(path, layout.key)
    status = status_of(folder)
    if overwrite or status.get("key") != layout.key or status.get("batch") != layout.batch:
        if folder.exists():
            shutil.rmtree(folder)
        _create(folder, layout)
    return _Store(path, folder, layout)


def finished_store(path: Path, key: str) -> bool:
    """Return whether a store is complete and of this key."""
    if path.suffix == ".nc" and path.is_file():
        return netcdf_key(path) == key
    status = status_of(path)
    return status.get("key") == key and bool(status.get("finished"))


def _refuse_other(path: Path, key: str) -> None:
    advice = "give another name, or overwrite it (overwrite=True, --overwrite)"
    if path.suffix == ".nc":
        if path.exists() and netcdf_key(path) != key:
            raise ValueError(f"{path} holds other weights, images or settings; {advice}")
        return
    if path.exists() and any(path.iterdir()):
        status = status_of(path)
        if not describes_activations(status):
            raise ValueError(f"{path} is a folder of something else; {advice}")
        if status["key"] != key:
            raise ValueError(f"{path} holds other weights, images or settings; {advice}")


def _create(folder: Path, layout: Layout) -> None:
    import zarr

    root = zarr.open_group(folder, mode="w", zarr_format=2)
    for layer in layout.shapes:
        write_coordinates(folder, layer, coordinates_of(layout.table))
        shape = layout.shape(layer)
        array = root.create_array(
            f"{layer}/activations",
            shape=shape,
            chunks=(min(layout.batch, shape[0]), *shape[1:]),
            dtype="float32",
            fill_value=np.nan,
        )
        array.attrs["_ARRAY_DIMENSIONS"] = list(layout.dims(layer))
    # Last: a folder without it was never begun.
    write_json(folder / STATUS_FILE, {**layout.attributes(), "batch": layout.batch, "done": []})


class _Memory:
    def __init__(self, layout: Layout):
        self.layout = layout
        self.arrays = {
            layer: np.empty(layout.shape(layer), dtype=np.float32) for layer in layout.shapes
        }

    def waiting(self) -> list[int]:
        return self.layout.batches

    def write(self, rows: list[int], values: Mapping[str, np.ndarray]) -> None:
        for layer, array in self.arrays.items():
            array[rows[0] : rows[-1] + 1] = values[layer].reshape(len(rows), *array.shape[1:])

    def finish(self) -> xr.DataTree:
        return self.layout.tree(self.arrays)


class _Store:
    def __init__(self, path: Path, folder: Path, layout: Layout):
        import zarr

        self.path, self.folder, self.layout = path, folder, layout
        root = zarr.open_group(folder, mode="r+", zarr_format=2)
        self.arrays: dict[str, Any] = {}
        for layer in layout.shapes:
            if f"{layer}/activations" not in root:
                raise ValueError(lacks(path, layer))
            self.arrays[layer] = root[f"{layer}/activations"]
        self.status = status_of(folder)

    def waiting(self) -> list[int]:
        done = set(self.status["done"])
        return [number for number in self.layout.batches if number not in done]

    def write(self, rows: list[int], values: Mapping[str, np.ndarray]) -> None:
        for layer, array in self.arrays.items():
            whole = values[layer].reshape(len(rows), *array.shape[1:])
            array[rows[0] : rows[-1] + 1] = whole
        # Said to be done only once it is written: a batch cut short is computed again.
        self.status["done"].append(rows[0] // self.layout.batch)
        write_json(self.folder / STATUS_FILE, self.status)

    def finish(self) -> xr.DataTree:
        # The table may have changed since an extraction that this one goes on with.
        update_columns(self.folder, self.layout.table)
        write_json(self.folder / STATUS_FILE, {**status_of(self.folder), "finished": True})
        if self.path != self.folder:
            with open_store(self.folder) as tree, atomic_path(self.path) as temporary:
                tree.to_netcdf(temporary, engine="h5netcdf")
            shutil.rmtree(self.folder)
        return open_store(self.path)
