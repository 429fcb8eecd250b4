"""Values with intervals along an axis, a curve for each model, a panel for each condition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from .canvas import GREY, MARKERS, colour_of, new_figure, styled
from .tables import check_columns, check_finite

SPREAD = 0.35  # of the distance between two places: how far curves are moved apart


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
) -> Figure:
    """Draw a curve for each model, with intervals.

    Parameters
    ----------
    table : DataFrame
        The columns named below, and `lower` and `upper`: the ends of an interval of `y` (not
        drawn where they are missing). Rows in the order in which places and curves are shown.
    x : str
        Numbers, or names; names stand at equal distances, and curves a little apart.
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

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        When a column is missing, there are no rows, or a value is no finite number.
    """
    check_columns(table, [x, y, curve, *([panel] if panel else [])])
    check_finite(table, y, [x, curve])
    panels = list(dict.fromkeys(table[panel])) if panel else [None]
    palette = colour_of(table[curve])
    numeric = pd.api.types.is_numeric_dtype(table[x])
    places = list(dict.fromkeys(table[x]))
    width = 3.0 if numeric else max(2.6, 0.5 * len(places) + 0.4)
    names = [*palette, *([] if reference is None else [reference_name])]
    beside = 0.08 * max(len(str(name)) for name in names) + 0.6
    figure = new_figure(width * len(panels) + beside, 3.1)
    axes: Any = figure.subplots(1, len(panels), sharey=True, squeeze=False)
    markers = dict(zip(palette, MARKERS * 4, strict=False))
    shift = dict(zip(palette, np.linspace(-0.5, 0.5, len(palette)) * SPREAD, strict=True))
    for ax, shown in zip(axes[0], panels, strict=True):
        part = table if panel is None else table[table[panel] == shown]
        for name, colour in palette.items():
            rows = part[part[curve] == name]
            if rows.empty:
                continue
            at = rows[x] if numeric else rows[x].map(places.index) + shift[name]
            ax.plot(at, rows[y], color=colour, marker=markers[name], markersize=4)
            if {"lower", "upper"} <= set(rows):
                ax.vlines(at, rows["lower"], rows["upper"], color=colour, linewidth=1.2)
        if reference is not None:
            ax.axhline(reference, color=GREY, linewidth=0.8, linestyle=":")
        if not numeric:
            room = width / len(places)
            long = max(len(str(place)) for place in places) * 0.075 > room
            ax.set_xticks(range(len(places)), [str(place) for place in places])
            if long:
                ax.tick_params(axis="x", rotation=90)
        ax.set_xlabel(x)
        if shown is not None:
            ax.set_title(str(shown))
    axes[0, 0].set_ylabel(y)
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
