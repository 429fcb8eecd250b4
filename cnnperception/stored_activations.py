"""Activations that are stored, in a zarr folder or a netCDF file, and the columns beside them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from .files import atomic_path, write_json

# The attributes of a zarr group: how far the writing is travels with what is written.
STATUS_FILE = ".zattrs"

Coordinates = dict[str, tuple[str, np.ndarray]]


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
    update_columns(path, table)
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
        status = status_of(path)
        if not describes_activations(status):
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
    if not describes_activations(tree.attrs):
        raise ValueError(_no_store(path))
    layers = json.loads(tree.attrs["layers"])
    for layer in layers:
        if f"/{layer}" not in tree.groups or "activations" not in tree[layer].data_vars:
            raise ValueError(lacks(path, layer))
    ordered = xr.DataTree.from_dict(
        {layer: _labelled(tree[layer].to_dataset()) for layer in layers}
    )
    ordered.attrs = {name: tree.attrs[name] for name in ("provenance", "key", "layers")}
    ordered.set_close(tree.close)
    return ordered


def _labelled(layer: xr.Dataset) -> xr.Dataset:
    """Return a layer with all columns as coordinates: files cannot mark those with a space so."""
    return layer.set_coords([name for name in layer.data_vars if name != "activations"])


def describes_activations(attributes: Mapping[Any, Any]) -> bool:
    """Return whether these are the attributes of a store, finished or not."""
    return {"provenance", "key", "layers"} <= set(attributes)


def _no_store(path: Path) -> str:
    return f"{path} is no store of activations, as `extract` and `cnnperception extract` write them"


def lacks(path: Path, layer: str) -> str:
    """Return what to tell of a store that a layer is gone from."""
    return (
        f"{path} is no complete store of activations: its layer {layer!r} is gone. Extract them "
        "again, replacing it (overwrite=True, --overwrite)"
    )


def netcdf_key(path: Path) -> str | None:
    """Return the key of a store in a netCDF file; none of a file that is something else."""
    try:
        with xr.open_dataset(path, engine="h5netcdf") as root:
            return root.attrs.get("key")
    except (OSError, ValueError):
        return None


def status_of(folder: Path) -> dict[str, Any]:
    """Return the attributes of a zarr group; none of a folder that is something else."""
    file = folder / STATUS_FILE
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except ValueError:
        return {}
    return dict(found) if isinstance(found, dict) else {}


# ---- the columns of the stimuli ----


def coordinates_of(table: pd.DataFrame) -> Coordinates:
    """Return the stimulus ids and the table's other columns, along `stimulus`."""
    columns = {"stimulus": table["stimulus_id"]}
    columns |= {str(name): table[name] for name in table.columns if name != "stimulus_id"}
    return {name: ("stimulus", _plain(column)) for name, column in columns.items()}


def _plain(column: pd.Series) -> np.ndarray:
    """Return a column as numbers, booleans or strings, whatever pandas holds it in."""
    values = column.to_numpy()
    if values.dtype.kind in "biuf":
        return values
    return np.array(["" if pd.isna(value) else str(value) for value in column], dtype=object)


def write_coordinates(folder: Path, layer: str, coordinates: Coordinates) -> None:
    """Write the columns of the stimuli into a layer of a zarr group; activations stay."""
    dataset = xr.Dataset(coords=coordinates, attrs={"layer": layer})
    dataset.to_zarr(folder, group=layer, mode="a", zarr_format=2, consolidated=False)


def update_columns(path: Path, table: pd.DataFrame) -> None:
    """Give every layer of a store the columns of this table, unless it has them."""
    coordinates = coordinates_of(table)
    if not _has_coordinates(path, coordinates):
        _write_other_coordinates(path, coordinates)


def _has_coordinates(path: Path, coordinates: Coordinates) -> bool:
    """Return whether every layer of a store has these coordinates and no others."""
    if path.suffix != ".nc" and status_of(path).get("relabelling"):
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
    status = status_of(path)
    # When this is cut short, the store is neither opened as it then is nor computed again.
    write_json(path / STATUS_FILE, {**status, "relabelling": True})
    for layer in json.loads(status["layers"]):
        for folder in (path / layer).iterdir():
            if folder.is_dir() and folder.name != "activations":
                shutil.rmtree(folder)
        write_coordinates(path, layer, coordinates)
    status.pop("relabelling", None)
    write_json(path / STATUS_FILE, status)
