"""Maps: stimuli or layers placed in the plane, distances following their dissimilarities."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

from . import tables
from .canvas import GREY, MARKERS, category_legend, colour_of, colours, new_figure, styled
from .pictures import place_picture, to_pixels

HALO = withStroke(linewidth=2, foreground="white")  # keeps a name legible on lines


@styled
def mds_map(
    rdm: xr.DataArray,
    thumbnails: Sequence[Any] | None = None,
    categories: tables.Categories | None = None,
) -> Figure:
    """Draw stimuli where metric multidimensional scaling puts them, with the stress.

    See `scale` for the method; the same RDM always gives the same map.

    Parameters
    ----------
    rdm : DataArray, dims (pair,)
        One RDM.
    thumbnails : sequence of Tensor or array, optional
        A picture of each stimulus, in the RDM's order; points if not given.
    categories : mapping, Series or sequence, optional
        The category of each stimulus, by id or in order: the colour of its frame or point.

    Returns
    -------
    Figure

    Raises
    ------
    TypeError, ValueError
        When there is more than one RDM, fewer than three stimuli, pairs without a value, or
        thumbnails or categories do not fit.
    """
    dissimilarities, stimuli, name = _one_rdm(rdm)
    places, stress = scale(dissimilarities)
    note = f"MDS, stress {stress:.2f}"
    return _draw_map(places, stimuli, thumbnails, categories, f"{name}\n{note}" if name else note)


@styled
def tsne_map(
    rdm: xr.DataArray,
    thumbnails: Sequence[Any] | None = None,
    categories: tables.Categories | None = None,
    *,
    perplexity: float | None = None,
) -> Figure:
    """Draw stimuli where t-SNE puts them: neighbours stay neighbours, distances are lost.

    It starts from classical scaling rather than at random, which keeps the arrangement of the
    clusters meaningful and the map the same every time (Kobak & Berens 2019).

    Parameters
    ----------
    rdm, thumbnails, categories
        As for `mds_map`.
    perplexity : float, optional
        The number of neighbours that count; 30, or a third of the others if that is less.

    Returns
    -------
    Figure

    Raises
    ------
    TypeError, ValueError
        As `mds_map`; or when the perplexity is not below the number of stimuli.
    """
    from sklearn.manifold import TSNE

    dissimilarities, stimuli, name = _one_rdm(rdm)
    if perplexity is None:
        perplexity = min(30.0, (len(stimuli) - 1) / 3)
    if not 0 < perplexity < len(stimuli):
        raise ValueError(
            f"perplexity must lie between 0 and the number of stimuli, {len(stimuli)}; "
            f"got {perplexity}"
        )
    distances = np.nan_to_num(tables.square(dissimilarities.clip(min=0)))
    start = classical_scaling(distances)
    start *= 1e-4 / max(start[:, 0].std(), np.finfo(float).tiny)
    search = TSNE(metric="precomputed", init=start, perplexity=perplexity, random_state=0)
    note = f"t-SNE, perplexity {perplexity:.3g}"
    places = _principal(search.fit_transform(distances).astype(float))
    return _draw_map(places, stimuli, thumbnails, categories, f"{name}\n{note}" if name else note)


@styled
def layer_map(similarities: pd.DataFrame, *, label: str = "similarity") -> Figure:
    """Draw layers where metric multidimensional scaling puts them, a line through each model.

    The dissimilarity is 1 - similarity; see `scale`. The first layer of a model is an open
    marker; the last is named.

    Parameters
    ----------
    similarities : DataFrame
        Symmetric, 1 for the same; rows and columns have the levels model and layer, layers from
        the input upwards.
    label : str
        What the similarity is.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        When the table is not square with two levels, has fewer than three layers, or holds values
        that are not finite.
    """
    index = similarities.index
    if index.nlevels != 2 or not index.equals(similarities.columns):
        raise ValueError("a map of layers needs rows and columns of the same (model, layer)")
    values = similarities.to_numpy(dtype=float)
    if len(values) < 3 or not np.isfinite(values).all():
        raise ValueError("a map needs three layers or more, and similarities that are finite")
    places, stress = scale(1 - values[np.triu_indices(len(values), 1)])
    models = index.get_level_values(0)
    figure = new_figure(6.4, 4.4)
    ax = figure.add_subplot()
    ax.set(aspect="equal", title=f"MDS of 1 - {label}, stress {stress:.2f}", xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    handles = []
    for (model, colour), marker in zip(colour_of(models).items(), MARKERS * 4, strict=False):
        rows = np.flatnonzero(models == model)
        path = places[rows]
        ax.plot(*path.T, color=colour, linewidth=1, zorder=2)
        ax.plot(*path[1:].T, marker, color=colour, zorder=3)
        ax.plot(*path[:1].T, marker, color=colour, markerfacecolor="white", zorder=3)
        if len(rows) > 1:
            last = str(index[rows[-1]][1])
            ax.annotate(last, path[-1], (4, 3), textcoords="offset points", path_effects=[HALO])
        handles.append(Line2D([], [], color=colour, marker=marker, linewidth=1, label=str(model)))
    figure.legend(handles=handles, loc="outside right center")
    return figure


@styled
def shepard_plot(rdm: xr.DataArray) -> Figure:
    """Draw distances on the map of `mds_map` against the dissimilarities they stand for.

    The closer to the line, the more of the RDM the map shows (Shepard 1962).

    Parameters
    ----------
    rdm : DataArray, dims (pair,)
        One RDM.

    Returns
    -------
    Figure

    Raises
    ------
    TypeError, ValueError
        As `mds_map`.
    """
    dissimilarities, _, name = _one_rdm(rdm)
    places, stress = scale(dissimilarities)
    wanted, distances = dissimilarities.clip(min=0), pdist(places)
    figure = new_figure(3.2, 3.3)
    ax = figure.add_subplot()
    size, alpha = max(1.0, 12 - 2.5 * np.log10(wanted.size)), min(1.0, 20 / wanted.size**0.5)
    ax.scatter(
        wanted, distances, s=size, color=colours(1)[0], alpha=alpha, linewidths=0, rasterized=True
    )
    most = max(wanted.max(), distances.max()) * 1.03
    ax.plot([0, most], [0, most], color=GREY, linewidth=0.8)
    correlation = spearmanr(wanted, distances).statistic
    ax.set(
        xlim=(0, most),
        ylim=(0, most),
        aspect="equal",
        xlabel="dissimilarity",
        ylabel="distance on the map",
        title=f"{name}\nstress {stress:.2f}, Spearman {correlation:.2f}".strip(),
    )
    return figure


def scale(dissimilarities: np.ndarray) -> tuple[np.ndarray, float]:
    """Place stimuli in the plane by metric multidimensional scaling.

    SMACOF (de Leeuw 1977), started from classical scaling instead of at random: one run, the
    same each time. Negative dissimilarities, which unbiased estimates have, count as zero.

    Parameters
    ----------
    dissimilarities : ndarray, shape (pair,)
        The upper triangle, row by row.

    Returns
    -------
    places : ndarray, shape (stimulus, 2)
        Centred, the direction of most variance first.
    stress : float
        Kruskal's stress-1: the root of the summed squared differences between dissimilarities
        and distances over the summed squared distances (Kruskal 1964).
    """
    from sklearn.manifold import smacof

    wanted = np.nan_to_num(tables.square(dissimilarities.clip(min=0)))
    if not wanted.any():
        raise ValueError("all dissimilarities are zero: there is no map to draw")
    start = classical_scaling(wanted)
    places, _ = smacof(
        wanted, init=start, n_init=1, max_iter=1000, eps=1e-9, normalized_stress=False
    )
    places = _principal(places)
    distances = pdist(places)
    misfit = ((distances - dissimilarities.clip(min=0)) ** 2).sum() / (distances**2).sum()
    return places, float(np.sqrt(misfit))


def classical_scaling(distances: np.ndarray) -> np.ndarray:
    """Place stimuli in the plane by classical scaling (Torgerson 1952).

    Parameters
    ----------
    distances : ndarray, shape (stimulus, stimulus)

    Returns
    -------
    ndarray, shape (stimulus, 2)
    """
    squares = distances**2
    means = squares.mean(axis=0)
    products = -(squares - means - means[:, None] + means.mean()) / 2
    values, vectors = np.linalg.eigh(products)
    largest = [-1, -2]
    return _signed(vectors[:, largest] * np.sqrt(values[largest].clip(min=0)))


def _principal(places: np.ndarray) -> np.ndarray:
    """Turn a map so that it is widest along x: its own direction is arbitrary."""
    centred = places - places.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return _signed(centred @ axes.T)


def _signed(places: np.ndarray) -> np.ndarray:
    """Choose the arbitrary signs: the place farthest out along each axis is positive."""
    farthest = np.abs(places).argmax(axis=0)
    return places * np.where(places[farthest, [0, 1]] < 0, -1.0, 1.0)


def _one_rdm(rdm: xr.DataArray) -> tuple[np.ndarray, list[Hashable], str]:
    table = tables.as_rdms(rdm)
    if table.sizes["rdm"] != 1:
        raise ValueError(
            f"a map shows one RDM, not {table.sizes['rdm']}: choose one, or average them"
        )
    values, stimuli = table.values[0], tables.stimulus_ids(table)
    if len(stimuli) < 3:
        raise ValueError(f"a map needs at least three stimuli, not {len(stimuli)}")
    missing = np.flatnonzero(np.isnan(values))
    if missing.size:
        rows, columns = np.triu_indices(len(stimuli), 1)
        first = stimuli[rows[missing[0]]], stimuli[columns[missing[0]]]
        raise ValueError(
            f"{missing.size} pairs have no dissimilarity, {first[0]!r} with {first[1]!r} the "
            "first: leave out the stimuli they belong to"
        )
    return values, stimuli, tables.rdm_names(table)[0]


def _draw_map(
    places: np.ndarray,
    stimuli: Sequence[Hashable],
    thumbnails: Sequence[Any] | None,
    categories: tables.Categories | None,
    title: str,
) -> Figure:
    labels = None if categories is None else tables.category_list(categories, stimuli)
    palette = colour_of(labels) if labels else {}
    frames = [palette[label] for label in labels] if labels else None
    width, height = np.ptp(places, axis=0)
    side = 1.1 * max(width, height) / max(4.0, len(stimuli) ** 0.5 * 1.6)
    figure = new_figure(5.6, max(2.2, 5.6 * (height + 1.2 * side) / (width + 1.2 * side)) + 0.5)
    ax = figure.add_subplot()
    low, high = places.min(axis=0) - 0.6 * side, places.max(axis=0) + 0.6 * side
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", title=title)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    if thumbnails is None:
        ax.scatter(places[:, 0], places[:, 1], c=frames, s=22, linewidths=0)
    else:
        _place_all(ax, thumbnails, places, side, frames)
    if palette:
        category_legend(figure, palette)
    return figure


def _place_all(
    ax: Axes, thumbnails: Sequence[Any], places: np.ndarray, side: float, frames: Any
) -> None:
    tables.check_count(thumbnails, len(places), "thumbnails")
    for index, image in enumerate(thumbnails):
        frame = None if frames is None else frames[index]
        centre = (float(places[index, 0]), float(places[index, 1]))
        place_picture(ax, to_pixels(image), centre, side, frame=frame)
