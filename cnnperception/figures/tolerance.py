"""How a response to an object holds while the object moves, grows and turns."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from .canvas import GREY, MARKERS, colour_of, legend_below, new_figure, styled
from .tables import check_columns, check_finite


@styled
def tolerance_curves(table: pd.DataFrame, *, chance: float | None = None) -> Figure:
    """Draw similarity and identification against the size of each transformation.

    Parameters
    ----------
    table : DataFrame
        Columns transformation (str), amount (float), layer (str), similarity (float) and
        identified (float, a proportion). Amounts of one transformation that are all positive
        and lie around 1 are factors, and their axis is logarithmic.
    chance : float, optional
        Proportion identified by guessing, drawn as a line.

    Returns
    -------
    Figure
        A column a transformation; similarities above, proportions below.

    Raises
    ------
    ValueError
        When a column is missing, there are no rows, or a value is no finite number.
    """
    check_columns(table, ["transformation", "amount", "layer", "similarity", "identified"])
    for value in ("amount", "similarity", "identified"):
        check_finite(table, value, ["transformation", "layer"])
    transformations = list(dict.fromkeys(table["transformation"]))
    palette = colour_of(table["layer"])
    figure = new_figure(2.4 * len(transformations) + 0.4, 4.2)
    axes: Any = figure.subplots(2, len(transformations), sharey="row", sharex="col", squeeze=False)
    for column, transformation in enumerate(transformations):
        part = table[table["transformation"] == transformation]
        for row, value in enumerate(("similarity", "identified")):
            ax = axes[row, column]
            for (layer, colour), marker in zip(palette.items(), MARKERS * 3, strict=False):
                curve = part[part["layer"] == layer].sort_values("amount")
                ax.plot(curve["amount"], curve[value], color=colour, marker=marker)
            _scale(ax, part["amount"])
        axes[1, column].set_xlabel(transformation)
        axes[0, column].axhline(0, color=GREY, linewidth=0.7)
        if chance is not None:
            axes[1, column].axhline(chance, color=GREY, linewidth=0.7, linestyle=":")
    axes[0, 0].set_ylabel("similarity to the\nuntransformed object")
    axes[1, 0].set_ylabel("proportion identified")
    axes[1, 0].set_ylim(-0.04, 1.04)
    legend_below(
        figure,
        [
            Line2D([], [], color=colour, marker=marker, label=str(layer))
            for (layer, colour), marker in zip(palette.items(), MARKERS * 3, strict=False)
        ],
    )
    return figure


def _scale(ax: Axes, amounts: pd.Series) -> None:
    if amounts.min() > 0 and amounts.min() < 1 < amounts.max():
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_minor_formatter(NullFormatter())
        ticks = sorted(set(amounts))
        ax.xaxis.set_major_locator(FixedLocator(ticks))
        ax.set_xticklabels([f"{tick:g}" for tick in ticks])
