"""RDMs and patterns to and from the forms that other toolboxes and files have."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from ..files import atomic_path
from .labels import concat, condensed, is_square, labelled, select, square, stack, stimulus_ids

if TYPE_CHECKING:
    import rsatoolbox

# rsatoolbox's name of each metric.
_MEASURES = {"euclidean": "squared euclidean", "mahalanobis": "squared mahalanobis"}
# What an array of a .npz cannot be called: arguments of `np.savez`, and the ids.
_TAKEN = ("file", "allow_pickle", "stimulus")
# How missing dissimilarities are written in tables.
_GAPS = ("", "NA", "N/A", "NULL", "null", "None")


# ---- rsatoolbox ----


def to_rsatoolbox(rdms: xr.DataArray) -> rsatoolbox.rdm.RDMs:
    """Return RDMs as rsatoolbox's, in the same order of stimuli.

    Stimulus ids become the pattern descriptor `stimulus_id`; coordinates along `rdm`, its name
    included, RDM descriptors. (rsatoolbox's own functions may sort conditions by name: align by
    the descriptor.)

    Parameters
    ----------
    rdms : DataArray, dims (rdm, pair) or (pair,)
    """
    import rsatoolbox

    stacked = stack(rdms, "0").transpose("rdm", "pair")
    descriptors = {
        str(name): [str(value) for value in values.to_numpy()]
        for name, values in stacked.coords.items()
        if values.dims == ("rdm",)
    }
    metric = str(rdms.attrs.get("metric", "")) or None
    return rsatoolbox.rdm.RDMs(
        stacked.to_numpy().astype(np.float64),
        dissimilarity_measure=_MEASURES.get(metric or "", metric),
        rdm_descriptors=descriptors,
        pattern_descriptors={"stimulus_id": stimulus_ids(rdms)},
    )


def from_rsatoolbox(
    rdms: rsatoolbox.rdm.RDMs, stimulus_descriptor: str | None = None
) -> xr.DataArray:
    """Return rsatoolbox's RDMs as a DataArray (rdm, pair).

    Parameters
    ----------
    rdms : rsatoolbox.rdm.RDMs
    stimulus_descriptor : str, optional
        The pattern descriptor that holds the ids; when left out, `stimulus_id`, `conds` or
        `stimuli`, whichever there is first, or the only other one that repeats nothing;
        `index`, the place, where there is none.

    Raises
    ------
    ValueError
        When there is no such descriptor, it is not clear which, or its ids are not unique.
    """
    known = rdms.pattern_descriptors
    name = stimulus_descriptor or _descriptor(known)
    if name not in known:
        raise ValueError(f"no pattern descriptor is called {name!r}; there are {', '.join(known)}")
    ids = [str(value) for value in known[name]]
    stacked = [labelled(np.asarray(v, dtype=np.float64), ids) for v in rdms.dissimilarities]
    array = concat(stacked)
    coordinates = {
        key: ("rdm", np.asarray(values))
        for key, values in rdms.rdm_descriptors.items()
        if key != "index" and len(values) == rdms.n_rdm
    }
    names = coordinates.pop("rdm", ("rdm", [str(n) for n in range(rdms.n_rdm)]))
    back = {theirs: ours for ours, theirs in _MEASURES.items()}
    measure = rdms.dissimilarity_measure
    attrs = {"metric": back.get(measure, measure)} if measure else {}
    return array.assign_coords({"rdm": names, **coordinates}).assign_attrs(attrs)


def _descriptor(known: Mapping[str, Sequence[Any]]) -> str:
    usual = [name for name in ("stimulus_id", "conds", "stimuli") if name in known]
    others = [
        name
        for name, values in known.items()
        if name != "index" and len({str(value) for value in values}) == len(values)
    ]
    if not usual and len(others) > 1:
        raise ValueError(
            f"which pattern descriptor holds the ids of the stimuli? There are "
            f"{', '.join(others)}: name one as stimulus_descriptor"
        )
    return next(iter([*usual, *others, "index"]))


def to_rsatoolbox_dataset(patterns: xr.DataArray) -> rsatoolbox.data.Dataset:
    """Return patterns (stimulus, ...) as rsatoolbox's Dataset, coordinates as descriptors."""
    import rsatoolbox

    flat = patterns.to_numpy().reshape(patterns.shape[0], -1)
    first = patterns.dims[0]
    descriptors = {
        ("stimulus_id" if name == "stimulus" else str(name)): values.to_numpy().tolist()
        for name, values in patterns.coords.items()
        if values.dims == (first,)
    }
    return rsatoolbox.data.Dataset(flat, obs_descriptors=descriptors)


def from_rsatoolbox_dataset(
    dataset: rsatoolbox.data.Dataset, stimulus_descriptor: str
) -> xr.DataArray:
    """Return rsatoolbox's Dataset as patterns (stimulus, unit), descriptors as coordinates."""
    known = dataset.obs_descriptors
    if stimulus_descriptor not in known:
        raise ValueError(
            f"no descriptor is called {stimulus_descriptor!r}; there are {', '.join(known)}"
        )
    coordinates = {
        ("stimulus" if name == stimulus_descriptor else name): ("stimulus", np.asarray(values))
        for name, values in known.items()
    }
    coordinates |= {
        name: ("unit", np.asarray(values)) for name, values in dataset.channel_descriptors.items()
    }
    return xr.DataArray(dataset.measurements, dims=("stimulus", "unit"), coords=coordinates)


# ---- Brain-Score ----


def to_neuroids(activations: xr.DataTree, model: str) -> xr.DataArray:
    """Return activations in the form of Brain-Score: dims (presentation, neuroid).

    Parameters
    ----------
    activations : DataTree
        As `extract` returns.
    model : str
        Its name, in the neuroids' ids.

    Returns
    -------
    DataArray
        Plain coordinates: stimulus_id and the table's columns along presentation; neuroid_id,
        neuroid_num, model, layer, and, NaN where a layer has no positions, channel, channel_x
        (the row) and channel_y (the column) along neuroid.
    """
    layers = []
    for node in activations.leaves:
        layer = node.path.strip("/")
        array = node["activations"]
        units = int(np.prod(array.shape[1:]))
        places = np.full((3, units), np.nan)
        if array.ndim == 4:
            places = np.indices(array.shape[1:]).reshape(3, -1).astype(float)
        flat = xr.DataArray(
            array.to_numpy().reshape(len(array), -1),
            dims=("presentation", "neuroid"),
            coords={
                "neuroid_id": ("neuroid", [f"{model}.{layer}.{n}" for n in range(units)]),
                "neuroid_num": ("neuroid", np.arange(units)),
                "model": ("neuroid", [model] * units),
                "layer": ("neuroid", [layer] * units),
                "channel": ("neuroid", places[0]),
                "channel_x": ("neuroid", places[1]),
                "channel_y": ("neuroid", places[2]),
            },
        )
        columns = {
            ("stimulus_id" if name == "stimulus" else str(name)): (
                "presentation",
                values.to_numpy(),
            )
            for name, values in array.coords.items()
            if values.dims == ("stimulus",)
        }
        layers.append(flat.assign_coords(columns))
    return xr.concat(layers, dim="neuroid", join="exact", coords="different", compat="equals")


def from_neuroids(assembly: xr.DataArray) -> xr.DataArray:
    """Return an assembly of Brain-Score as patterns (stimulus, neuroid), presentations averaged.

    Parameters
    ----------
    assembly : DataArray, dims presentation and neuroid (and time_bin of size one)
        With a coordinate, or level of the index of presentations, `stimulus_id`.

    Returns
    -------
    DataArray, dims (stimulus, neuroid)
        Stimuli in the order of their first presentation; coordinates along neuroid are kept. NaN
        only where a stimulus has no presentation with a value.

    Raises
    ------
    ValueError
        For other dimensions, several time bins, or no `stimulus_id`.
    """
    if "time_bin" in assembly.dims:
        if assembly.sizes["time_bin"] > 1:
            raise ValueError("the assembly has several time bins: choose or average them first")
        assembly = assembly.isel(time_bin=0, drop=True)
    if set(assembly.dims) != {"presentation", "neuroid"}:
        raise ValueError(f"an assembly has the dims presentation and neuroid; got {assembly.dims}")
    indexed = [dim for dim in assembly.dims if isinstance(assembly.indexes.get(dim), pd.MultiIndex)]
    plain = assembly.reset_index(indexed).transpose("presentation", "neuroid")
    if "stimulus_id" not in plain.coords:
        raise ValueError("the assembly has no coordinate stimulus_id along presentation")
    ids = [str(value) for value in plain["stimulus_id"].to_numpy()]
    unique = list(dict.fromkeys(ids))
    number = {name: place for place, name in enumerate(unique)}
    membership = np.zeros((len(unique), len(ids)))
    membership[[number[name] for name in ids], np.arange(len(ids))] = 1
    values = plain.to_numpy().astype(np.float64)
    counts = membership @ ~np.isnan(values)
    sums = membership @ np.nan_to_num(values)
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    kept = {
        str(name): ("neuroid", values.to_numpy())
        for name, values in plain.coords.items()
        if values.dims == ("neuroid",)
    }
    return xr.DataArray(means, dims=("stimulus", "neuroid"), coords={"stimulus": unique, **kept})


# ---- files ----


def read_rdms(path: str | os.PathLike[str], ids: list[str] | None = None) -> xr.DataArray:
    """Read RDMs from a file.

    Parameters
    ----------
    path : path-like
        .csv: square, with stimulus ids as header and first column. .npy or .npz: square, pairs in
        the order of squareform, or a stack of these; of an .npz each array is an RDM (or a stack),
        and one called `stimulus` holds the ids. .nc: RDMs that `write_rdms` wrote. .h5 or .hdf5:
        RDMs that rsatoolbox saved.
    ids : list of str, optional
        The stimuli wanted, in order; for files without ids, the stimuli there are.

    Returns
    -------
    DataArray, dims (rdm, pair)

    Raises
    ------
    FileNotFoundError, ValueError
        When there is no such file, it is of another kind, or it lacks a stimulus.
    """
    source = Path(path)
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist")
    if source.suffix not in _READERS:
        raise ValueError(f"{source}: RDMs are read from {', '.join(_READERS)}")
    try:
        rdms = _READERS[source.suffix](source, ids)
        return rdms if ids is None else select(rdms, ids)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    except (KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{source} is damaged, or holds no RDMs ({error})") from error


def write_rdms(path: str | os.PathLike[str], rdms: xr.DataArray) -> None:
    """Write RDMs to .nc (all of it), .npz (an array an RDM, and `stimulus`) or .csv (one RDM).

    Raises
    ------
    ValueError
        For another kind of file, several RDMs to a .csv, or names that a .npz cannot tell apart.
    """
    target = Path(path)
    stacked = stack(rdms, "rdm")
    # Without a coordinate the rows are numbered.
    names = [str(name) for name in stacked["rdm"].to_numpy()]
    with atomic_path(target) as temporary:
        if target.suffix == ".nc":
            stacked.to_dataset(name="rdm_values").to_netcdf(temporary, engine="h5netcdf")
        elif target.suffix == ".npz":
            _check_names(names)
            arrays: dict[str, Any] = dict(zip(names, stacked.to_numpy(), strict=True))
            np.savez(temporary, stimulus=np.array(stimulus_ids(rdms)), **arrays)
        elif target.suffix == ".csv":
            if len(names) > 1:
                raise ValueError(f"a .csv holds one RDM; got {len(names)}: write .nc or .npz")
            index = stimulus_ids(rdms)
            pd.DataFrame(square(stacked)[0], index=index, columns=index).to_csv(temporary)
        else:
            raise ValueError(f"{target}: RDMs are written as .nc, .npz or .csv")


def _check_names(names: list[str]) -> None:
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise ValueError(f"a .npz needs RDMs of different names; {repeated[0]!r} comes twice")
    taken = [name for name in names if name in _TAKEN]
    if taken:
        raise ValueError(f"in a .npz no RDM can be called {taken[0]!r}; write .nc")


def _read_csv(path: Path, ids: list[str] | None) -> xr.DataArray:
    # As text: the ids of stimuli may look like numbers (001) or like gaps (NA).
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table = table.set_index(table.columns[0])
    missing = [name for name in ids or [] if name not in table.index]
    if missing:
        raise ValueError(f"there is no row for stimulus {missing[0]!r}")
    names = list(table.index)
    if set(names) != set(table.columns):
        raise ValueError("the rows and columns of a square RDM must be of the same stimuli")
    values = table.loc[:, names].replace(list(_GAPS), "nan").to_numpy(float)
    return concat({path.stem: condensed(values, names)})


def _read_npy(path: Path, ids: list[str] | None) -> xr.DataArray:
    return _stack(path.stem, np.load(path, allow_pickle=False), ids)


def _read_npz(path: Path, ids: list[str] | None) -> xr.DataArray:
    with np.load(path, allow_pickle=False) as content:
        arrays = {name: content[name] for name in content.files}
    names = arrays.pop("stimulus", None)
    known = ids if names is None else [str(name) for name in names]
    if not arrays:
        raise ValueError("it holds no RDM")
    stacks = [_stack(name, values, known) for name, values in arrays.items()]
    return xr.concat(stacks, dim="rdm", join="exact")


def _read_netcdf(path: Path, ids: list[str] | None) -> xr.DataArray:
    with xr.open_dataset(path, engine="h5netcdf") as content:
        if "rdm_values" not in content:
            raise ValueError("it has no variable rdm_values")
        rdms = content["rdm_values"].load()
    stimulus_ids(rdms)
    return rdms


def _read_hdf5(path: Path, ids: list[str] | None) -> xr.DataArray:
    import rsatoolbox

    rdms = rsatoolbox.rdm.load_rdm(str(path), file_type="hdf5")
    holding = (
        name
        for name, values in rdms.pattern_descriptors.items()
        if ids is not None and set(ids) <= {str(value) for value in values}
    )
    return from_rsatoolbox(rdms, next(holding, None))


_READERS = {
    ".csv": _read_csv,
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".nc": _read_netcdf,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
}


def _stack(name: str, values: np.ndarray, ids: list[str] | None) -> xr.DataArray:
    """Return an array of one RDM or several, square or of pairs, as (rdm, pair)."""
    if not np.issubdtype(values.dtype, np.number) or values.ndim not in (1, 2, 3):
        raise ValueError(f"{name!r} is no RDM: an array {values.shape} of {values.dtype}")
    one = values.ndim == 1 or is_square(values)
    rdms = [condensed(v, ids) for v in (values[None] if one else values)]
    return concat({name if one else f"{name} {n + 1}": rdm for n, rdm in enumerate(rdms)})
