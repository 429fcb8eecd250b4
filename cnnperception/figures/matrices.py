"""Similarities of everything with everything: layers by layers, models by models."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .canvas import new_figure, styled

# More cells than this leave no room for a number in each.
_MOST_NUMBERS = 24
_CHARACTER = 0.075  # inches that a character of a model's name is wide


@styled
def similarity_matrix(
    table: pd.DataFrame | xr.DataArray, *, label: str = "similarity", colormap: str = "viridis"
) -> Figure:
    """Draw a table of similarities as a heatmap with its values written in.

    Parameters
    ----------
    table : DataFrame or two-dimensional DataArray
        Rows and columns are layers or models. Where an index has two levels, (model, layer),
        lines separate the models and their names stand at the upper and right side.
    label : str
        What the values are; names the colour scale.
    colormap : str
        A matplotlib colormap. It starts at 0, or at the smallest value if that is negative.

    Returns
    -------
    Figure

    Raises
    ------
    TypeError, ValueError
        When the table is of another type, empty, or holds NaN or infinite values.
    """
    import seaborn

    frame = _frame(table)
    rows, columns = frame.shape
    cell = 0.34 if max(rows, columns) <= _MOST_NUMBERS else max(0.09, 8 / max(rows, columns))
    written = max(rows, columns) <= _MOST_NUMBERS
    figure = new_figure(max(2.2, columns * cell + 1.9), max(1.7, rows * cell + 1.1))
    ax = figure.add_subplot()
    seaborn.heatmap(
        frame.set_axis(_layers(frame.index)).set_axis(_layers(frame.columns), axis=1),
        ax=ax,
        cmap=colormap,
        vmin=min(0.0, float(frame.min().min())),
        annot=written,
        fmt=".2f",
        annot_kws={"fontsize": 6.5},
        square=True,
        # A mesh of many cells is slow to open in a PDF.
        rasterized=not written,
        xticklabels=True,
        yticklabels=True,
        cbar_kws={"label": label, "shrink": 0.75, "aspect": 25},
    )
    ax.set(xlabel="", ylabel="")
    size = min(7.5, cell * 72 * 0.8)
    ax.tick_params(length=0, labelsize=size)
    ax.tick_params(axis="x", labelrotation=90)
    ax.tick_params(axis="y", labelrotation=0)
    _separate(ax, frame.columns, cell, along="x")
    _separate(ax, frame.index, cell, along="y")
    return figure


def _frame(table: pd.DataFrame | xr.DataArray) -> pd.DataFrame:
    if isinstance(table, xr.DataArray):
        if table.ndim != 2:
            raise ValueError(f"a matrix has two dimensions; this array has {table.dims}")
        table = pd.DataFrame(
            table.values, table.indexes.get(table.dims[0]), table.indexes.get(table.dims[1])
        )
    if not isinstance(table, pd.DataFrame):
        raise TypeError(
            f"similarities must be a pandas DataFrame or a DataArray, not {type(table).__name__}"
        )
    if table.empty:
        raise ValueError("the table has no cells: there is nothing to draw")
    bad = np.argwhere(~np.isfinite(table.to_numpy(dtype=float)))
    if len(bad):
        row, column = table.index[bad[0][0]], table.columns[bad[0][1]]
        raise ValueError(
            f"{len(bad)} similarities are not finite numbers, the first of {row!r} with {column!r}"
        )
    return table.astype(float)


def _layers(index: pd.Index) -> list[str]:
    return [str(name) for name in index.get_level_values(-1)]


def _separate(ax: Axes, index: pd.Index, cell: float, *, along: str) -> None:
    """Draw a line between models and write their names on the side without layer names."""
    if index.nlevels < 2:
        return
    runs = _runs(list(index.get_level_values(0)))
    # Where a name is longer than its model's cells, all stand across the blocks, not along them.
    fits = all(
        len(str(model)) * _CHARACTER <= (last + 1 - first) * cell for model, first, last in runs
    )
    for model, first, last in runs:
        middle = (first + last + 1) / 2
        draw = ax.axvline if along == "x" else ax.axhline
        if first:
            draw(first, color="white", linewidth=2)
        if along == "x":
            ax.annotate(
                str(model),
                (middle, 1),
                (0, 4),
                xycoords=ax.get_xaxis_transform(),
                textcoords="offset points",
                ha="center",
                va="bottom",
                rotation=0 if fits else 90,
                fontweight="bold",
            )
        else:
            ax.annotate(
                str(model),
                (1, middle),
                (4, 0),
                xycoords=ax.get_yaxis_transform(),
                textcoords="offset points",
                ha="left",
                va="center",
                rotation=-90 if fits else 0,
                fontweight="bold",
            )


def _runs(names: Sequence[Hashable]) -> list[tuple[Hashable, int, int]]:
    """Return each run of equal neighbours as (name, first index, last index)."""
    starts = [i for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
    ends = [*(start - 1 for start in starts[1:]), len(names) - 1]
    return [(names[start], start, end) for start, end in zip(starts, ends, strict=True)]
