"""The verbs in their usual order, for the command line, the demo and scripts."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from . import evaluation, figures, rsa
from .activations import extract
from .compared import (
    Layered,
    Stored,
    check_stimuli,
    in_order,
    layers_of,
    model_name,
    names_of,
)
from .comparison_report import data_section, layers_section, maps_section, rdm_sections
from .files import atomic_path
from .models.interface import VisionModel
from .report import Section, write_report
from .stimuli import StimulusSet


def layer_rdms(
    model: VisionModel,
    stimuli: StimulusSet,
    *,
    name: str | None = None,
    layers: str | Iterable[str] | None = None,
    size: int | tuple[int, int] | None = None,
    metric: str = "correlation",
    store: str | os.PathLike[str] | None = None,
    skip_unreadable: bool = False,
    progress: bool = False,
) -> xr.DataArray:
    """Return the RDM of each layer of a model.

    Parameters
    ----------
    model : VisionModel
    stimuli : StimulusSet
    name : str, optional
        What to call the model; its own name when left out.
    layers : str or iterable of str, optional
        Names, groups or patterns; those the model recommends for comparison when left out, or
        all of them.
    size : int or (int, int), optional
        To which the images are resized.
    metric : str
        As for `rsa.rdm`.
    store : path-like, optional
        Zarr store for the activations; without one they stay in memory.
    skip_unreadable : bool
        Leave out stimuli that cannot be read.
    progress : bool

    Returns
    -------
    DataArray, dims (rdm, pair)
        Coordinate `rdm` is "model layer"; `model` and `layer` are coordinates along it.
    """
    chosen = layers if layers is not None else model.recommended.get("compare", model.layers)
    activations = extract(
        model,
        stimuli,
        layers=chosen,
        size=size,
        store=store,
        skip_unreadable=skip_unreadable,
        progress=progress,
    )
    return activation_rdms(activations, name or model.name, metric=metric)


def activation_rdms(
    activations: xr.DataTree,
    name: str | None = None,
    *,
    layers: Iterable[str] | None = None,
    metric: str = "correlation",
) -> xr.DataArray:
    """Return the RDM of each layer of activations, such as a store of `extract`.

    Parameters
    ----------
    activations : DataTree
    name : str, optional
        Of the model; as the activations' provenance has it when left out.
    layers : iterable of str, optional
        Names of layers; all when left out.
    metric : str
        As for `rsa.rdm`.

    Returns
    -------
    DataArray
        As `layer_rdms`.
    """
    if name is None:
        name = model_name(activations)
    chosen = layers if layers is not None else [n.path.strip("/") for n in activations.leaves]
    rdms = {layer: rsa.rdm(activations[layer]["activations"], metric=metric) for layer in chosen}
    stacked = rsa.concat({f"{name} {layer}": rdm for layer, rdm in rdms.items()})
    return stacked.assign_coords(model=("rdm", [name] * len(rdms)), layer=("rdm", list(rdms)))


def compare_models(
    rdms: Sequence[xr.DataArray], data: xr.DataArray | None = None, *, method: str = "spearman"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare every layer with every layer, and with data.

    Parameters
    ----------
    rdms : sequence of DataArray
        One a model, as `layer_rdms` gives.
    data : DataArray, dims (rdm, pair), optional
        RDMs of the same stimuli, e.g. of brains.
    method : str
        As for `rsa.compare`.

    Returns
    -------
    between : DataFrame
        Layers x layers; index and columns have the levels model and layer.
    with_data : DataFrame
        Columns model, layer, data, similarity; empty without data.
    """
    layers = xr.concat(list(rdms), dim="rdm", join="exact")
    names = pd.MultiIndex.from_arrays(
        [layers["model"].to_numpy(), layers["layer"].to_numpy()], names=["model", "layer"]
    )
    between = pd.DataFrame(rsa.compare(layers, layers, method=method), index=names, columns=names)
    rows = []
    if data is not None:
        similarity = rsa.compare(layers, data, method=method)
        rows = [
            (str(layers["model"][i].item()), str(layers["layer"][i].item()), str(name), value)
            for i, values in enumerate(similarity)
            for name, value in zip(data["rdm"].to_numpy(), values, strict=True)
        ]
    return between, pd.DataFrame(rows, columns=["model", "layer", "data", "similarity"])


def comparison_sections(
    rdms: Sequence[xr.DataArray],
    stimuli: StimulusSet,
    data: xr.DataArray | None = None,
    *,
    method: str = "spearman",
) -> tuple[list[Section], dict[str, Figure], pd.DataFrame]:
    """Return the report sections, the figures by file name, and the table of a comparison.

    Parameters
    ----------
    rdms : sequence of DataArray
        One a model, as `layer_rdms` gives.
    stimuli : StimulusSet
        Those of the RDMs, in their order.
    data : DataArray, dims (rdm, pair), optional
    method : str

    Returns
    -------
    sections : list of Section
    drawn : dict of str to Figure
    with_data : DataFrame
        As `compare_models` returns it.
    """
    between, with_data = compare_models(rdms, data, method=method)
    categories = _categories(stimuli)
    pictures = [stimuli.image(index, size=96)[0] for index in range(len(stimuli))]
    parts = [
        *rdm_sections(rdms, categories),
        layers_section(between, method),
        maps_section([model[-1] for model in rdms], pictures, categories),
    ]
    if data is not None:
        parts.append(data_section(data, with_data, categories, method))
    drawn = {name: figure for _, part in parts for name, figure in part.items()}
    return [section for section, _ in parts], drawn, with_data


def _categories(stimuli: StimulusSet) -> list[str] | None:
    if "category" not in stimuli.table:
        return None
    return [str(category) for category in stimuli.table["category"]]


def run_rsa(
    models: Sequence[VisionModel],
    stimuli: StimulusSet,
    output: str | os.PathLike[str],
    *,
    activations: Sequence[str | os.PathLike[str]] = (),
    data: xr.DataArray | None = None,
    layers: str | Iterable[str] | None = None,
    size: int | tuple[int, int] | None = None,
    metric: str = "correlation",
    method: str = "spearman",
    bootstrap: str | None = "auto",
    n_boot: int = 1000,
    seed: int = 0,
    skip_unreadable: bool = False,
    progress: bool = False,
) -> tuple[pd.DataFrame, Path]:
    """Compare models by representational similarity and write figures, tables and a report.

    Parameters
    ----------
    models : sequence of VisionModel
    stimuli : StimulusSet
    output : path-like
        Folder for `report.html`, figures (PNG and PDF), `rdms.nc`, tables (CSV) and the stored
        activations, from which a run that was interrupted goes on.
    activations : sequence of path-like
        Stores of `extract` to compare as well, for the same stimuli in any order. Models and
        stores of the same name are told apart in the results, by the store's name or a number.
    data : DataArray, dims (rdm, pair), optional
        RDMs of the same stimuli. Those of single subjects (all, or where the coordinate `subject`
        is not empty) are what models are tested on; where there are none, nothing is tested.
    layers, size, metric, skip_unreadable, progress
        As for `layer_rdms`; the layers are those of the stores too.
    method : str
        As for `rsa.compare`.
    bootstrap, n_boot, seed
        As for `evaluation.evaluate_layers`.

    Returns
    -------
    table : DataFrame
        Similarity of each layer with the data, or of every layer with every layer without data.
    report : Path

    Raises
    ------
    ValueError
        When there is nothing to compare, a layer is nowhere, or a store is of other stimuli.
    """
    folder = Path(output)
    if not models and not activations:
        raise ValueError("give a model, or stored activations, to compare")
    stores = [Stored.opened(Path(path)) for path in activations]
    for store in stores:
        check_stimuli(store, stimuli)
    names = names_of(models, stores)
    rdms = _all_rdms(
        models,
        stores,
        names,
        stimuli,
        layers=layers,
        metric=metric,
        folder=folder / "activations",
        size=size,
        skip_unreadable=skip_unreadable,
        progress=progress,
    )
    kept = rsa.stimulus_ids(rdms[0])
    shown = in_order(stimuli, kept)
    if data is not None:
        data = rsa.select(data, kept)
    sections, drawn, with_data = comparison_sections(rdms, shown, data, method=method)
    results: dict[str, xr.Dataset] = {}
    if data is not None and method in rsa.EVALUATION_METHODS:
        tests = {"bootstrap": bootstrap, "n_boot": n_boot, "seed": seed, "progress": progress}
        results = _evaluated(rdms, data, method=method, **tests)
        section, more = evaluation.evaluation_section(results, rdms)
        sections, drawn = [section, *sections], {**drawn, **more}
    for name, figure in drawn.items():
        figures.save(figure, folder / name)
    _write_results(results, folder)
    between, _ = compare_models(rdms, method=method)
    with atomic_path(folder / "model_similarity.csv") as path:
        between.to_csv(path)
    rsa.write_rdms(folder / "rdms.nc", xr.concat(rdms, dim="rdm", join="exact"))
    table = between
    if data is not None:
        with atomic_path(folder / "data_similarity.csv") as path:
            with_data.to_csv(path, index=False)
        table = with_data.pivot_table(
            index=["model", "layer"], columns="data", values="similarity", sort=False
        )
    settings = {
        "models": [
            {"name": name, **model.provenance}
            for model, name in zip(models, names[: len(models)], strict=True)
        ],
        "activations": [str(path) for path in activations],
        "stimuli": len(shown),
        "size": size,
        "metric": metric,
        "method": method,
        "evaluation": {name: result.attrs for name, result in results.items()},
    }
    report = write_report(folder / "report.html", "Representational similarity", sections, settings)
    return table.round(3), report


def _all_rdms(
    models: Sequence[VisionModel],
    stores: Sequence[Stored],
    names: Sequence[str],
    stimuli: StimulusSet,
    *,
    layers: str | Iterable[str] | None,
    metric: str,
    folder: Path,
    **reading: Any,
) -> list[xr.DataArray]:
    """Return the RDMs of each model, then each store, all of the first one's stimuli in order."""
    compared: list[Layered] = [*models, *stores]
    chosen = [layers_of(one, layers, compared) for one in compared]
    rdms = [
        layer_rdms(
            model,
            stimuli,
            name=names[index],
            layers=chosen[index],
            metric=metric,
            store=folder / f"{index}-{model.name.replace('/', '-')}.zarr",
            **reading,
        )
        for index, model in enumerate(models)
    ]
    rdms += [
        activation_rdms(store.activations, names[index], layers=chosen[index], metric=metric)
        for index, store in enumerate(stores, start=len(models))
    ]
    kept = rsa.stimulus_ids(rdms[0])
    return [rsa.select(one, kept) for one in rdms]


def _evaluated(
    rdms: Sequence[xr.DataArray], data: xr.DataArray, **settings: Any
) -> dict[str, xr.Dataset]:
    """Return models evaluated on those of the data that are single subjects', if there are any."""
    subjects = evaluation.subjects_of(data)
    if not subjects.sizes["rdm"]:
        warnings.warn(evaluation.NO_SUBJECTS, stacklevel=3)
        return {}
    return evaluation.evaluate_layers(rdms, subjects, **settings)


def _write_results(results: dict[str, xr.Dataset], folder: Path) -> None:
    for name, result in results.items():
        with atomic_path(folder / f"evaluation_{name}.nc") as path:
            result.to_netcdf(path, engine="h5netcdf")
        for suffix, frame in (
            ("", evaluation.table_of(result).reset_index()),
            ("_pairs", evaluation.pairs_of(result)),
        ):
            with atomic_path(folder / f"evaluation_{name}{suffix}.csv") as path:
                frame.to_csv(path, index=False)
