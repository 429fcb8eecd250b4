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

Coordinates = dict[str, tuple[str, np.ndarray]]


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


def coordinates_of(table: pd.DataFrame) -> Coordinates:
    """Return the stimulus ids and the table's other columns, along `stimulus`."""
    columns = {"stimulus": table["stimulus_id"]}
    columns |= {str(name): table[name] for name in table.columns if name != "stimulus_id"}
    return {name: ("stimulus", _plain(column)) for name, column in columns.items()}


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


def open_finished(path: Path, table: pd.DataFrame) -> xr.DataTree:
    """Open a complete store with the columns of this table.

    They are no part of a store's key: what is said of the same stimuli may have changed since.

    Parameters
    ----------
    path : Path
    table : DataFrame
        Of the stimuli that the store holds.

    Raises
    ------
    ValueError
        When the store lacks a layer.
    """
    coordinates = coordinates_of(table)
    if not _has_coordinates(path, coordinates):
        _write_other_coordinates(path, coordinates)
    return open_store(path)


def open_store(path: Path) -> xr.DataTree:
    """Open stored activations; arrays are read when they are used.

    Raises
    ------
    FileNotFoundError
        When there is no store of this name.
    ValueError
        When what is there are no activations, or not all: the extraction has not finished, or a
        layer is gone.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: there are no stored activations")
    if path.suffix != ".nc":
        status = _status(path)
        if not _describes_activations(status):
            raise ValueError(_no_store(path))
        if not status.get("finished") or status.get("relabelling"):
            raise ValueError(
                f"{path} is not complete; run the same extraction again to go on with it"
            )
    return _opened(path)


def _opened(path: Path) -> xr.DataTree:
    """Return the tree in a file or folder, with its layers from the input upwards."""
    try:
        if path.suffix == ".nc":
            tree = xr.open_datatree(path, engine="h5netcdf")
        else:
            tree = xr.open_datatree(path, engine="zarr", consolidated=False, chunks=None)
    except (OSError, ValueError) as error:
        raise ValueError(f"{_no_store(path)} ({error})") from error
    try:
        return _in_order(tree, path)
    except ValueError:
        tree.close()
        raise


def _in_order(tree: xr.DataTree, path: Path) -> xr.DataTree:
    """Return a tree with its layers in the order it names them: stores keep none of groups."""
    if not _describes_activations(tree.attrs):
        raise ValueError(_no_store(path))
    layers = json.loads(tree.attrs["layers"])
    for layer in layers:
        if f"/{layer}" not in tree.groups or "activations" not in tree[layer].data_vars:
            raise ValueError(_lacks(path, layer))
    ordered = xr.DataTree.from_dict(
        {layer: _labelled(tree[layer].to_dataset()) for layer in layers}
    )
    ordered.attrs = {name: tree.attrs[name] for name in ("provenance", "key", "layers")}
    ordered.set_close(tree.close)
    return ordered


def _labelled(layer: xr.Dataset) -> xr.Dataset:
    """Return a layer with all columns as coordinates: files cannot mark those with a space so."""
    return layer.set_coords([name for name in layer.data_vars if name != "activations"])


def _describes_activations(attributes: Mapping[Any, Any]) -> bool:
    return {"provenance", "key", "layers"} <= set(attributes)


def _no_store(path: Path) -> str:
    return f"{path} is no store of activations, as `extract` and `cnnperception extract` write them"


def _lacks(path: Path, layer: str) -> str:
    return (
        f"{path} is no complete store of activations: its layer {layer!r} is gone. Extract them "
        "again, replacing it (overwrite=True, --overwrite)"
    )


def _refuse_other(path: Path, key: str) -> None:
    advice = "give another name, or overwrite it (overwrite=True, --overwrite)"
    if path.suffix == ".nc":
        if path.exists() and _netcdf_key(path) != key:
            raise ValueError(f"{path} holds other weights, images or settings; {advice}")
        return
    if path.exists() and any(path.iterdir()):
        status = _status(path)
        if not _describes_activations(status):
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
    """Return the attributes of a zarr group; none of a folder that is something else."""
    file = folder / STATUS_FILE
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except ValueError:
        return {}
    return dict(found) if isinstance(found, dict) else {}


def _create(folder: Path, layout: Layout) -> None:
    import zarr

    root = zarr.open_group(folder, mode="w", zarr_format=2)
    for layer in layout.shapes:
        _write_coordinates(folder, layer, coordinates_of(layout.table))
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


def _write_coordinates(folder: Path, layer: str, coordinates: Coordinates) -> None:
    dataset = xr.Dataset(coords=coordinates, attrs={"layer": layer})
    dataset.to_zarr(folder, group=layer, mode="a", zarr_format=2, consolidated=False)


def _has_coordinates(path: Path, coordinates: Coordinates) -> bool:
    """Return whether every layer of a store has these coordinates and no others."""
    if path.suffix != ".nc" and _status(path).get("relabelling"):
        return False
    with _opened(path) as tree:
        layers = [node.to_dataset() for node in tree.leaves]
        return all(
            set(layer.coords) == set(coordinates)
            and all(_equal(layer[n].to_numpy(), column) for n, (_, column) in coordinates.items())
            for layer in layers
        )


def _equal(stored: np.ndarray, column: np.ndarray) -> bool:
    """Return whether a column has come back as it is: text may be in any dtype that holds it."""
    kinds = [
        array.dtype.kind if array.dtype.kind in "biuf" else "text" for array in (stored, column)
    ]
    if kinds[0] != kinds[1]:
        return False
    if kinds[0] == "f":
        return np.array_equal(stored, column, equal_nan=True)
    return bool(stored.tolist() == column.tolist())


def _write_other_coordinates(path: Path, coordinates: Coordinates) -> None:
    """Put other coordinates in the place of those that a store has; activations stay."""
    if path.suffix == ".nc":
        with _opened(path) as tree, atomic_path(path) as temporary:
            for node in tree.leaves:
                old = node.to_dataset()
                node.dataset = old.drop_vars(list(old.coords)).assign_coords(coordinates)
            tree.to_netcdf(temporary, engine="h5netcdf")
        return
    status = _status(path)
    # When this is cut short, the store is neither opened as it then is nor computed again.
    write_json(path / STATUS_FILE, {**status, "relabelling": True})
    for layer in json.loads(status["layers"]):
        for folder in (path / layer).iterdir():
            if folder.is_dir() and folder.name != "activations":
                shutil.rmtree(folder)
        _write_coordinates(path, layer, coordinates)
    status.pop("relabelling", None)
    write_json(path / STATUS_FILE, status)


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
                raise ValueError(_lacks(path, layer))
            self.arrays[layer] = root[f"{layer}/activations"]
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
        # The table may have changed since an extraction that this one goes on with.
        coordinates = coordinates_of(self.layout.table)
        if not _has_coordinates(self.folder, coordinates):
            _write_other_coordinates(self.folder, coordinates)
        write_json(self.folder / STATUS_FILE, {**_status(self.folder), "finished": True})
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
