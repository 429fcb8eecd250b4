"""The verbs in their usual order, for the command line, the demo and scripts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from . import evaluation, figures, rsa
from .activation_store import open_store
from .activations import extract
from .files import atomic_path
from .models.interface import VisionModel, resolve_layers
from .report import Picture, Section, Table, write_report
from .stimuli import StimulusSet


def layer_rdms(
    model: VisionModel,
    stimuli: StimulusSet,
    *,
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
    return activation_rdms(activations, model.name, metric=metric)


def activation_rdms(
    activations: xr.DataTree, name: str | None = None, *, metric: str = "correlation"
) -> xr.DataArray:
    """Return the RDM of each layer of activations, such as a store of `extract`.

    Parameters
    ----------
    activations : DataTree
    name : str, optional
        Of the model; as the activations' provenance has it when left out.
    metric : str
        As for `rsa.rdm`.

    Returns
    -------
    DataArray
        As `layer_rdms`.
    """
    if name is None:
        name = str(json.loads(activations.attrs["provenance"])["model"]["name"])
    rdms = {
        node.path.strip("/"): rsa.rdm(node["activations"], metric=metric)
        for node in activations.leaves
    }
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
    deepest = [model[-1] for model in rdms]
    drawn: dict[str, Figure] = {}
    sections = []
    for model in rdms:
        name = str(model["model"][0].item())
        titled = model.assign_coords(rdm=model["layer"].to_numpy())
        drawn[f"rdms_{name}"] = figures.rdm_heatmaps(titled, categories)
        sections.append(
            Section(
                f"Representational dissimilarity: {name}",
                "Each cell is a pair of stimuli, in percentiles: dark pairs are alike to the "
                "layer, bright ones are not.",
                [Picture(drawn[f"rdms_{name}"], f"RDM of each layer of {name}")],
            )
        )
    drawn["model_similarity"] = figures.similarity_matrix(between, label=_label(method))
    sections.append(
        Section(
            "Layer by layer",
            f"How alike the RDMs of all layers are ({_label(method)}).",
            [Picture(drawn["model_similarity"], "Similarity of every layer with every layer")],
        )
    )
    maps = []
    for rdm in deepest:
        name = str(rdm["rdm"].item())
        key = "map_" + name.replace("/", "-").replace(" ", "_")
        drawn[key] = figures.mds_map(rdm, pictures, categories)
        maps.append(Picture(drawn[key], f"Stimuli as {name} sees them: near means alike"))
    sections.append(Section("Maps of the deepest layers", "", maps))
    if data is not None:
        sections.append(_data_section(data, with_data, categories, method, drawn))
    return sections, drawn, with_data


def _data_section(
    data: xr.DataArray,
    with_data: pd.DataFrame,
    categories: Sequence[str] | None,
    method: str,
    drawn: dict[str, Figure],
) -> Section:
    drawn["rdms_data"] = figures.rdm_heatmaps(data, categories)
    pictures = [Picture(drawn["rdms_data"], "RDMs of the data")]
    for name in dict.fromkeys(with_data["data"]):
        key = f"profile_{name.replace(' ', '_')}"
        rows = with_data[with_data["data"] == name]
        drawn[key] = figures.layer_profile(rows, label=f"{_label(method)} with {name}")
        pictures.append(Picture(drawn[key], f"Similarity of each layer with {name}"))
        if len(pictures) > 3:
            break
    wide = with_data.pivot_table(
        index=["model", "layer"], columns="data", values="similarity", sort=False
    )
    return Section(
        "Models and data",
        f"How alike the RDM of each layer is to each RDM of the data ({_label(method)}).",
        pictures,
        [Table(wide.round(3), "Similarity of each layer with each RDM of the data")],
    )


def _categories(stimuli: StimulusSet) -> list[str] | None:
    if "category" not in stimuli.table:
        return None
    return [str(category) for category in stimuli.table["category"]]


def _label(method: str) -> str:
    return evaluation.LABELS.get(method, method)


def layers_of(
    model: VisionModel, layers: str | Iterable[str] | None, models: Sequence[VisionModel]
) -> list[str] | None:
    """Return those of the names and patterns that a model has, when each is some model's.

    Raises
    ------
    ValueError
        For a name that no model has, or a model that has none of them.
    """
    if layers is None:
        return None
    wanted = [layers] if isinstance(layers, str) else list(layers)
    owned: list[str] = []
    for name in wanted:
        owners = [m.name for m in models if _has(m, name)]
        if not owners:
            resolve_layers(model, [name])  # raises, with the model's own layers
        if model.name in owners:
            owned.append(name)
    if not owned:
        raise ValueError(f"none of the layers {', '.join(wanted)} is in {model.name}")
    return owned


def _has(model: VisionModel, layer: str) -> bool:
    try:
        return bool(resolve_layers(model, [layer]))
    except ValueError:
        return False


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
        Stores of `extract` to compare as well, for the same stimuli.
    data : DataArray, dims (rdm, pair), optional
        RDMs of the same stimuli. Those of single subjects (all, or where the coordinate `subject`
        is not empty) are what models are tested on.
    layers, size, metric, skip_unreadable, progress
        As for `layer_rdms`.
    method : str
        As for `rsa.compare`.
    bootstrap, n_boot, seed
        As for `evaluation.evaluate_layers`.

    Returns
    -------
    table : DataFrame
        Similarity of each layer with the data, or of every layer with every layer without data.
    report : Path
    """
    folder = Path(output)
    if not models and not activations:
        raise ValueError("give a model, or stored activations, to compare")
    rdms = [
        layer_rdms(
            model,
            stimuli,
            layers=layers_of(model, layers, models),
            size=size,
            metric=metric,
            store=folder / "activations" / f"{index}-{model.name.replace('/', '-')}.zarr",
            skip_unreadable=skip_unreadable,
            progress=progress,
        )
        for index, model in enumerate(models)
    ]
    rdms += [activation_rdms(open_store(Path(path)), metric=metric) for path in activations]
    kept = rsa.stimulus_ids(rdms[0])
    rdms = [rsa.select(one, kept) for one in rdms]
    chosen = stimuli[[index for index, name in enumerate(stimuli.ids) if name in kept]]
    if data is not None:
        data = rsa.select(data, kept)
    sections, drawn, with_data = comparison_sections(rdms, chosen, data, method=method)
    results: dict[str, xr.Dataset] = {}
    if data is not None and method in rsa.EVALUATION_METHODS:
        results = evaluation.evaluate_layers(
            rdms,
            evaluation.subjects_of(data),
            method=method,
            bootstrap=bootstrap,
            n_boot=n_boot,
            seed=seed,
            progress=progress,
        )
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
        "models": [{"name": model.name, **model.provenance} for model in models],
        "activations": [str(path) for path in activations],
        "stimuli": len(chosen),
        "size": size,
        "metric": metric,
        "method": method,
        "evaluation": {name: result.attrs for name, result in results.items()},
    }
    report = write_report(folder / "report.html", "Representational similarity", sections, settings)
    return table.round(3), report


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
