"""Where activations are kept: memory, a zarr folder, or netCDF by way of one."""

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

# The attributes of a zarr group: how far the writing is travels with what is written.
STATUS_FILE = ".zattrs"


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

    def coordinates(self) -> dict[str, Any]:
        """Return the stimulus ids and the table's other columns, along `stimulus`."""
        columns = {"stimulus": self.table["stimulus_id"]}
        columns |= {str(n): self.table[n] for n in self.table.columns if n != "stimulus_id"}
        return {name: ("stimulus", _plain(column)) for name, column in columns.items()}

    def tree(self, arrays: Mapping[str, Any]) -> xr.DataTree:
        """Return arrays as a DataTree."""
        nodes = {
            layer: xr.Dataset(
                {"activations": (self.dims(layer), array)},
                coords=self.coordinates(),
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
    if not overwrite:
        _refuse_other(path, layout.key)
    status = _status(folder)
    if overwrite or status.get("key") != layout.key or status.get("batch") != layout.batch:
        if folder.exists():
            shutil.rmtree(folder)
        _create(folder, layout)
    return _Store(path, folder, layout)


def finished_store(path: Path, key: str) -> bool:
    """Return whether a store is complete and of this key."""
    if path.suffix == ".nc" and path.is_file():
        return _netcdf_key(path) == key
    status = _status(path)
    return status.get("key") == key and bool(status.get("finished"))


def open_store(path: Path) -> xr.DataTree:
    """Open stored activations; arrays are read when they are used.

    Raises
    ------
    FileNotFoundError
        When there is no store of this name.
    ValueError
        When the extraction that writes it has not finished.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: there are no stored activations")
    if path.suffix == ".nc":
        return _in_order(xr.open_datatree(path, engine="h5netcdf"))
    if not _status(path).get("finished"):
        raise ValueError(f"{path} is not complete; run the same extraction again to go on with it")
    return _in_order(xr.open_datatree(path, engine="zarr", consolidated=False, chunks=None))


def _in_order(tree: xr.DataTree) -> xr.DataTree:
    """Return a tree with its layers from the input upwards: stores keep no order of groups."""
    layers = json.loads(tree.attrs["layers"])
    ordered = xr.DataTree.from_dict({layer: tree[layer].to_dataset() for layer in layers})
    ordered.attrs = {name: tree.attrs[name] for name in ("provenance", "key", "layers")}
    ordered.set_close(tree.close)
    return ordered


def _refuse_other(path: Path, key: str) -> None:
    advice = "give another name, or overwrite it (overwrite=True, --overwrite)"
    if path.suffix == ".nc":
        if path.exists() and _netcdf_key(path) != key:
            raise ValueError(f"{path} holds other weights, images or settings; {advice}")
        return
    if path.exists() and any(path.iterdir()):
        status = _status(path)
        if not status:
            raise ValueError(f"{path} is a folder of something else; {advice}")
        if status["key"] != key:
            raise ValueError(f"{path} holds other weights, images or settings; {advice}")


def _netcdf_key(path: Path) -> str | None:
    try:
        with xr.open_dataset(path, engine="h5netcdf") as root:
            return root.attrs.get("key")
    except (OSError, ValueError):
        return None


def _status(folder: Path) -> dict[str, Any]:
    file = folder / STATUS_FILE
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def _create(folder: Path, layout: Layout) -> None:
    import zarr

    root = zarr.open_group(folder, mode="w", zarr_format=2)
    for layer in layout.shapes:
        coordinates = xr.Dataset(coords=layout.coordinates(), attrs={"layer": layer})
        coordinates.to_zarr(folder, group=layer, mode="a", zarr_format=2, consolidated=False)
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
        self.arrays: dict[str, Any] = {
            layer: root[f"{layer}/activations"] for layer in layout.shapes
        }
        self.status = _status(folder)

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
        self.status["finished"] = True
        write_json(self.folder / STATUS_FILE, self.status)
        if self.path != self.folder:
            with open_store(self.folder) as tree, atomic_path(self.path) as temporary:
                tree.to_netcdf(temporary, engine="h5netcdf")
            shutil.rmtree(self.folder)
        return open_store(self.path)


def _plain(column: pd.Series) -> np.ndarray:
    """Return a column as numbers, booleans or strings, whatever pandas holds it in."""
    values = column.to_numpy()
    if values.dtype.kind in "biuf":
        return values
    return np.array(["" if pd.isna(value) else str(value) for value in column], dtype=object)
