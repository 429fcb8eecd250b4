"""Dissimilarity matrices as heatmaps, with the stimuli and their categories along the sides."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from scipy.stats import rankdata

from . import tables
from .canvas import Colour, category_legend, colour_of, new_figure, styled
from .pictures import place_picture, shorten, to_pixels

Scale = Literal["percentile", "shared", "own"]

_MOST_TICKS = 24
_MISSING = "0.88"


@styled
def rdm_heatmaps(
    rdms: xr.DataArray,
    categories: tables.Categories | None = None,
    order: Sequence[Hashable] | None = None,
    *,
    scale: Scale = "percentile",
    thumbnails: Sequence[Any] | None = None,
    columns: int = 4,
    colormap: str = "viridis",
) -> Figure:
    """Draw RDMs as square heatmaps, all in the same order of stimuli.

    The diagonal, and pairs without a value, are grey.

    Parameters
    ----------
    rdms : DataArray, dims (rdm, pair) or (pair,)
        Upper triangles, row by row; stimuli named by the coordinates stimulus_a and stimulus_b on
        `pair`, RDMs by the coordinate `rdm`.
    categories : mapping, Series or sequence, optional
        The category of each stimulus, by id or in order; coloured bars along the sides.
    order : sequence, optional
        Every stimulus id, in the order to draw; the RDMs' own if not given.
    scale : {"percentile", "shared", "own"}
        "percentile": each RDM's dissimilarities as percentiles of their ranks, ties averaged, as
        in Kriegeskorte et al. (2008), which makes RDMs of different measures comparable by eye;
        "shared": the dissimilarities, one scale for all; "own": one scale each.
    thumbnails : sequence of Tensor or array, optional
        A picture of each stimulus, in the RDMs' own order, drawn along the sides.
    columns : int
        RDMs in a row, at most.
    colormap : str
        A matplotlib colormap.

    Returns
    -------
    Figure
        An axes for each RDM, in order, followed by the colour scales.

    Raises
    ------
    TypeError, ValueError
        When the RDMs are malformed, or the categories, the order or the thumbnails do not fit.
    """
    if scale not in ("percentile", "shared", "own"):
        raise ValueError(f"scale must be 'percentile', 'shared' or 'own', not {scale!r}")
    table = tables.as_rdms(rdms)
    stimuli = tables.stimulus_ids(table)
    placed = tables.positions(order, stimuli)
    labels = None if categories is None else tables.category_list(categories, stimuli)
    palette = colour_of(labels[i] for i in placed) if labels else {}
    bars = [palette[labels[i]] for i in placed] if labels else None
    pictures = _pictures(thumbnails, len(stimuli), placed)
    values = np.apply_along_axis(_percentiles, 1, table.values) if scale == "percentile" else table
    matrices = [tables.square(row)[np.ix_(placed, placed)] for row in np.asarray(values)]

    figure, axes = _grid(len(matrices), columns, pictures is not None, scale == "own")
    limits = (0.0, 100.0) if scale == "percentile" else (np.nanmin(values), np.nanmax(values))
    images = []
    for ax, matrix, name in zip(axes, matrices, tables.rdm_names(table), strict=True):
        low, high = (np.nanmin(matrix), np.nanmax(matrix)) if scale == "own" else limits
        images.append(_heatmap(ax, matrix, low, high, colormap))
        depth = _sides(ax, bars, pictures, len(stimuli))
        _tick_names(ax, [stimuli[i] for i in placed], pictures is None and ax is axes[0])
        missing = np.isnan(matrix).sum() // 2 - len(stimuli) // 2
        ax.set(xlim=(-0.5 - depth, len(stimuli) - 0.5), ylim=(len(stimuli) - 0.5 + depth, -0.5))
        title = shorten(name, 28 if len(matrices) > 1 else 60) + (
            f"\n{missing} pairs missing (grey)" if missing else ""
        )
        # Above the matrix, not above the matrix and what stands beside it.
        ax.set_title(title, x=(depth + len(stimuli) / 2) / (depth + len(stimuli)))
    _colour_scales(figure, axes, images, scale, str(rdms.attrs.get("metric", "")))
    if palette:
        category_legend(figure, palette)
    return figure


def _percentiles(dissimilarities: np.ndarray) -> np.ndarray:
    """Return ranks as percentiles: the smallest 0, the largest 100, ties averaged, NaN kept."""
    ranks = rankdata(dissimilarities, nan_policy="omit")
    last = np.isfinite(dissimilarities).sum() - 1
    return (ranks - 1) / max(last, 1) * 100


def _pictures(
    thumbnails: Sequence[Any] | None, count: int, placed: np.ndarray
) -> list[np.ndarray] | None:
    if thumbnails is None:
        return None
    tables.check_count(thumbnails, count, "thumbnails")
    return [to_pixels(thumbnails[i]) for i in placed]


def _grid(count: int, columns: int, pictured: bool, scaled: bool) -> tuple[Figure, list[Axes]]:
    """Return axes for RDMs, larger with pictures, with room for a scale beside each or all."""
    if columns < 1:
        raise ValueError(f"RDMs are drawn in at least one column, not {columns}")
    columns = min(count, columns)
    rows = -(-count // columns)
    side = {1: 4.2, 2: 3.2, 3: 2.5}.get(columns, 2.1) * (1.4 if pictured else 1)
    width = columns * (side + (0.55 if scaled else 0)) + (0.2 if scaled else 0.7)
    figure = new_figure(width, rows * (side + 0.25) + 0.35, "compressed")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in grid[count:]:
        unused.remove()
    return figure, list(grid[:count])


def _heatmap(ax: Axes, matrix: np.ndarray, low: float, high: float, colormap: str) -> AxesImage:
    # An image, not a mesh: a thousand stimuli are a million cells, and in a PDF a million paths.
    shades = mpl.colormaps[colormap].with_extremes(bad=_MISSING)
    ax.spines[:].set_visible(False)
    return ax.imshow(np.ma.masked_invalid(matrix), cmap=shades, vmin=low, vmax=high)


def _sides(
    ax: Axes, bars: Sequence[Colour] | None, pictures: Sequence[np.ndarray] | None, count: int
) -> float:
    """Draw the category bars and the pictures left of and below a matrix; return their depth."""
    depth, last = 0.0, count - 0.5
    if bars is not None:
        gap, thick = 0.015 * count, 0.04 * count
        start, stop = depth + gap, depth + gap + thick
        strip = np.array(bars)
        left = (-0.5 - stop, -0.5 - start, last, -0.5)
        below = (-0.5, last, last + stop, last + start)
        ax.imshow(strip[:, None], extent=left, interpolation="nearest")
        ax.imshow(strip[None], extent=below, interpolation="nearest")
        depth = stop
    if pictures is not None:
        depth += 0.015 * count
        # Pictures larger than a cell stand in several ranks, each a step further out.
        ranks = max(1, round(count / 20))
        for place, pixels in enumerate(pictures):
            outwards = depth + (place % ranks + 0.5) * ranks
            place_picture(ax, pixels, (-0.5 - outwards, place), 0.96 * ranks)
            place_picture(ax, pixels, (place, last + outwards), 0.96 * ranks)
        depth += ranks * ranks
    return depth


def _tick_names(ax: Axes, stimuli: Sequence[Hashable], named: bool) -> None:
    """Name the stimuli along the sides, where there is room to read them."""
    if not named or len(stimuli) > _MOST_TICKS:
        ax.set(xticks=[], yticks=[])
        return
    names = [shorten(str(name), 18) for name in stimuli]
    ax.set_xticks(range(len(names)), names, rotation=90)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(length=0)


def _colour_scales(
    figure: Figure, axes: Sequence[Axes], images: Sequence[AxesImage], scale: Scale, metric: str
) -> None:
    label = f"dissimilarity ({metric})" if metric else "dissimilarity"
    if scale == "percentile":
        label = "percentile of dissimilarity"
    if scale == "own":
        bars = [
            figure.colorbar(image, ax=ax, shrink=0.7, aspect=18)
            for ax, image in zip(axes, images, strict=True)
        ]
        for ax, bar in zip(axes, bars, strict=True):
            spec = ax.get_subplotspec()
            if ax is axes[-1] or (spec is not None and spec.is_last_col()):
                bar.set_label(label)
    else:
        bars = [figure.colorbar(images[0], ax=list(axes), shrink=0.7, aspect=25, label=label)]
    for bar in bars:
        bar.outline.set_visible(False)
