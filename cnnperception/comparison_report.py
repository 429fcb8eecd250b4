"""Sections of a report on models that are compared: their RDMs, maps and similarities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from . import evaluation, figures, rsa
from .compared import file_names
from .report import Picture, Section, Table

# A section, and its figures by file name.
Part = tuple[Section, dict[str, Figure]]

FEWEST_ON_A_MAP = 3
MOST_PROFILES = 3
MOST_NAMED = 5


def rdm_sections(rdms: Sequence[xr.DataArray], categories: Sequence[str] | None) -> list[Part]:
    """Return a section a model with the RDM of each of its layers.

    Parameters
    ----------
    rdms : sequence of DataArray
        One a model, as `recipes.layer_rdms` gives.
    categories : sequence of str, optional
        Of the stimuli, in the RDMs' order.
    """
    names = [str(model["model"][0].item()) for model in rdms]
    parts: list[Part] = []
    for model, name, file in zip(rdms, names, file_names(names), strict=True):
        titled = model.assign_coords(rdm=model["layer"].to_numpy())
        figure = figures.rdm_heatmaps(titled, categories)
        section = Section(
            f"Representational dissimilarity: {name}",
            "Each cell is a pair of stimuli, in percentiles: dark pairs are alike to the "
            "layer, bright ones are not.",
            [Picture(figure, f"RDM of each layer of {name}")],
        )
        parts.append((section, {f"rdms_{file}": figure}))
    return parts


def layers_section(between: pd.DataFrame, method: str) -> Part:
    """Return the section with the similarity of every layer with every layer."""
    figure = figures.similarity_matrix(between, label=_label(method))
    section = Section(
        "Layer by layer",
        f"How alike the RDMs of all layers are ({_label(method)}).",
        [Picture(figure, "Similarity of every layer with every layer")],
    )
    return section, {"model_similarity": figure}


def maps_section(
    rdms: Sequence[xr.DataArray], pictures: Sequence[Any], categories: Sequence[str] | None
) -> Part:
    """Return the section with a map of the stimuli for each RDM.

    Parameters
    ----------
    rdms : sequence of DataArray, dims (pair,)
        Each with a name, its coordinate `rdm`.
    pictures : sequence of Tensor or array
        Of the stimuli, in the RDMs' order.
    categories : sequence of str, optional
        Of the stimuli, in the same order.
    """
    names = [str(rdm["rdm"].item()) for rdm in rdms]
    drawn: dict[str, Figure] = {}
    shown, missing = [], []
    for rdm, name, file in zip(rdms, names, file_names(names), strict=True):
        ids, kept = rsa.stimulus_ids(rdm), comparable(rdm)
        if len(kept) < FEWEST_ON_A_MAP:
            missing.append(
                f"There is no map of {name}: it needs {FEWEST_ON_A_MAP} stimuli whose "
                f"dissimilarities are defined, and there are {len(kept)}."
            )
            continue
        places = [ids.index(one) for one in kept]
        figure = figures.mds_map(
            rsa.select(rdm, kept),
            [pictures[place] for place in places],
            None if categories is None else [categories[place] for place in places],
        )
        drawn[f"map_{file}"] = figure
        caption = f"Stimuli as {name} sees them: near means alike"
        shown.append(Picture(figure, caption + _without([one for one in ids if one not in kept])))
    return Section("Maps of the deepest layers", "\n\n".join(missing), shown), drawn


def comparable(rdm: xr.DataArray) -> list[str]:
    """Return the stimuli, in order, that are left when no pair of them is undefined.

    The stimulus with most undefined pairs is left out first, until there are none.

    Parameters
    ----------
    rdm : DataArray, dims (pair,)
    """
    undefined = np.isnan(rsa.square(rdm))
    left_out = set()
    while undefined.any():
        worst = int(undefined.sum(axis=0).argmax())
        undefined[worst] = undefined[:, worst] = False
        left_out.add(worst)
    return [name for place, name in enumerate(rsa.stimulus_ids(rdm)) if place not in left_out]


def _without(ids: Sequence[str]) -> str:
    if not ids:
        return ""
    more = f" and {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else ""
    return (
        f". Without {', '.join(ids[:MOST_NAMED])}{more}, whose dissimilarities to others are "
        "undefined"
    )


def data_section(
    data: xr.DataArray, with_data: pd.DataFrame, categories: Sequence[str] | None, method: str
) -> Part:
    """Return the section on the similarity of each layer with the data.

    Parameters
    ----------
    data : DataArray, dims (rdm, pair)
    with_data : DataFrame
        As `recipes.compare_models` returns it.
    categories : sequence of str, optional
    method : str
    """
    drawn = {"rdms_data": figures.rdm_heatmaps(data, categories)}
    pictures = [Picture(drawn["rdms_data"], "RDMs of the data")]
    names = list(dict.fromkeys(with_data["data"]))[:MOST_PROFILES]
    for name, file in zip(names, file_names(names), strict=True):
        rows = with_data[with_data["data"] == name]
        figure = figures.layer_profile(rows, label=f"{_label(method)} with {name}")
        drawn[f"profile_{file}"] = figure
        pictures.append(Picture(figure, f"Similarity of each layer with {name}"))
    wide = with_data.pivot_table(
        index=["model", "layer"], columns="data", values="similarity", sort=False
    )
    section = Section(
        "Models and data",
        f"How alike the RDM of each layer is to each RDM of the data ({_label(method)}).",
        pictures,
        [Table(wide.round(3), "Similarity of each layer with each RDM of the data")],
    )
    return section, drawn


def _label(method: str) -> str:
    return evaluation.LABELS.get(method, method)
