"""From one value to another, step by step: which step is how large."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from .canvas import GREY, Colour, colours, legend_below, new_figure, styled
from .tables import check_columns, check_finite

_BAR = 0.62  # of the distance between two rows
_UP, _DOWN = colours(2)
_PANEL = 2.3  # inches


@styled
def waterfall(
    table: pd.DataFrame,
    *,
    row: str,
    value: str,
    panel: str,
    points: pd.DataFrame | None = None,
    reference: float | None = None,
    reference_name: str = "chance",
) -> Figure:
    """Draw a path of values: a bar from each value to the next one, rows below each other.

    Parameters
    ----------
    table : DataFrame
        The columns named below, and `lower` and `upper`: the ends of an interval of the value.
        In each panel the rows are the steps, from top to bottom; the first is where the path
        begins.
    row : str
        What was changed; the rows of every panel of a column of panels are the same.
    value : str
        What the path has come to: shares, written in percent.
    panel : str
        A panel for each value.
    points : DataFrame, optional
        Columns `row`, `value` and `panel` too: single values, drawn as small dots.
    reference : float, optional
        A dotted line.
    reference_name : str

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        When a column is missing, there are no rows, or a value is no finite number.
    """
    check_columns(table, [row, value, panel, "lower", "upper"])
    check_finite(table, value, [row, panel])
    panels = list(dict.fromkeys(table[panel]))
    parts = [table[table[panel] == name] for name in panels]
    longest = max(len(str(name)) for name in table[row])
    most = max(len(part) for part in parts)
    figure = new_figure(_PANEL * len(panels) + 0.055 * longest, 0.24 * most + 1.2)
    axes: Any = figure.subplots(1, len(panels), sharex=True, squeeze=False)[0]
    shared = all(list(part[row]) == list(parts[0][row]) for part in parts)
    for place, (ax, part, name) in enumerate(zip(axes, parts, panels, strict=True)):
        _path(ax, part.reset_index(drop=True), value)
        if points is not None:
            rows = list(part[row])
            chosen = points[(points[panel] == name) & points[row].isin(rows)]
            at = [rows.index(label) for label in chosen[row]]
            ax.plot(chosen[value], at, ".", color="0.2", markersize=3, zorder=4)
        if reference is not None:
            ax.axvline(reference, color=GREY, linewidth=0.8, linestyle=":")
        labels = [str(label) for label in part[row]]
        ax.set_yticks(range(len(part)), labels if place == 0 or not shared else [])
        ax.set_ylim(len(part) - 0.4, -0.6)
        ax.set_title(str(name))
        ax.set_xlabel(value)
        ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes[0].set_xlim(left=0)
    legend_below(figure, _legend(points is not None, reference, reference_name))
    return figure


def _path(ax: Axes, part: pd.DataFrame, value: str) -> None:
    values = part[value].to_numpy(float)
    for place, reached in enumerate(values):
        before = values[place - 1] if place else reached
        colour = _colour(before, reached)
        ax.barh(place, reached - before, left=before, height=_BAR, color=colour, alpha=0.75)
        ax.vlines(reached, place - _BAR / 2, place + _BAR / 2, color="0.2", linewidth=1.4)
        if place + 1 < len(values):
            ends = [place + _BAR / 2, place + 1 - _BAR / 2]
            ax.plot([reached, reached], ends, color=GREY, linewidth=0.6)
    ax.hlines(range(len(part)), part["lower"], part["upper"], color="0.2", linewidth=1, zorder=3)


def _colour(before: float, reached: float) -> Colour:
    return _UP if reached >= before else _DOWN


def _legend(dots: bool, reference: float | None, reference_name: str) -> list[Patch | Line2D]:
    handles: list[Patch | Line2D] = [
        Patch(color=_UP, alpha=0.75, label="gain"),
        Patch(color=_DOWN, alpha=0.75, label="loss"),
        Line2D([], [], color="0.2", linewidth=1, label="95 % interval"),
    ]
    if dots:
        handles.append(Line2D([], [], color="0.2", marker=".", linestyle="", label="one seed"))
    if reference is not None:
        handles.append(Line2D([], [], color=GREY, linestyle=":", label=reference_name))
    return handles
