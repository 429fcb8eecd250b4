"""Values with intervals along an axis, a curve for each model, a panel for each condition."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from .canvas import GREY, MARKERS, colour_of, new_figure, styled
from .tables import check_columns, check_finite

# Of the distance between two places: how far curves are moved apart, and all of them at most.
APART, SPREAD = 0.08, 0.35


@styled
def interval_curves(
    table: pd.DataFrame,
    *,
    x: str,
    y: str,
    curve: str,
    panel: str | None = None,
    reference: float | None = None,
    reference_name: str = "chance",
    percent: bool = False,
    columns: int | None = None,
) -> Figure:
    """Draw a curve for each model, with intervals.

    Parameters
    ----------
    table : DataFrame
        The columns named below, and `lower` and `upper`: the ends of an interval of `y` (not
        drawn where they are missing). Rows in the order in which places and curves are shown.
    x : str
        Numbers, or names; names stand at equal distances, and curves a little apart. Each panel
        has its own.
    y : str
    curve : str
        A colour and marker for each value.
    panel : str, optional
        A panel for each value.
    reference : float, optional
        A dotted line, of chance for example.
    reference_name : str
    percent : bool
        Write `y` in percent.
    columns : int, optional
        Panels in a row; all of them when left out.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        When a column is missing, there are no rows, a value is no finite number, or `columns` is
        below 1.
    """
    check_columns(table, [x, y, curve, *([panel] if panel else [])])
    check_finite(table, y, [x, curve])
    panels = list(dict.fromkeys(table[panel])) if panel else [None]
    if columns is not None and columns < 1:
        raise ValueError(f"a row has at least one panel, not {columns}")
    parts = [table if shown is None else table[table[panel] == shown] for shown in panels]
    palette = colour_of(table[curve])
    markers = dict(zip(palette, MARKERS * 4, strict=False))
    across = min(columns or len(panels), len(panels))
    down = -(-len(panels) // across)
    numeric = pd.api.types.is_numeric_dtype(table[x])
    most = max(part[x].nunique() for part in parts)
    width = (3.0 if across < 3 else 2.4) if numeric else max(2.6, 0.5 * most + 0.4)
    names = [*palette, *([] if reference is None else [reference_name])]
    beside = 0.08 * max(len(str(name)) for name in names) + 0.6
    figure = new_figure(width * across + beside, 3.1 if down == 1 else 2.7 * down)
    axes: Any = figure.subplots(down, across, sharey=True, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    for ax, part, shown in zip(axes.flat, parts, panels, strict=False):
        if not numeric:
            part = _at_places(ax, part, x, list(palette), curve, width)
        for name, colour in palette.items():
            rows = part[part[curve] == name]
            if rows.empty:
                continue
            ax.plot(rows[x], rows[y], color=colour, marker=markers[name], markersize=4)
            if {"lower", "upper"} <= set(rows):
                ax.vlines(rows[x], rows["lower"], rows["upper"], color=colour, linewidth=1.2)
        if reference is not None:
            ax.axhline(reference, color=GREY, linewidth=0.8, linestyle=":")
        ax.set_xlabel(x)
        if shown is not None:
            ax.set_title(str(shown))
    for ax in axes[:, 0]:
        ax.set_ylabel(y)
    if percent:
        axes[0, 0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    handles = [
        Line2D([], [], color=colour, marker=markers[name], label=str(name))
        for name, colour in palette.items()
    ]
    if reference is not None:
        handles.append(Line2D([], [], color=GREY, linestyle=":", label=reference_name))
    figure.legend(handles=handles, loc="outside right upper", handlelength=1.4)
    return figure


def _at_places(
    ax: Axes, part: pd.DataFrame, x: str, curves: list[Hashable], curve: str, width: float
) -> pd.DataFrame:
    """Return rows with numbers for the names of `x`, which are written at the axis."""
    places = list(dict.fromkeys(part[x]))
    spread = min(SPREAD, APART * (len(curves) - 1))
    shift = dict(zip(curves, np.linspace(-0.5, 0.5, len(curves)) * spread, strict=True))
    ax.set_xticks(range(len(places)), [str(place) for place in places])
    ax.set_xlim(-0.5, len(places) - 0.5)
    if max(len(str(place)) for place in places) * 0.075 > width / len(places):
        ax.tick_params(axis="x", rotation=90)
    return part.assign(**{x: part[x].map(places.index) + part[curve].map(shift)})
