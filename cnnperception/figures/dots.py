"""Values with intervals, a row for each of many things with long names."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .canvas import GREY, colour_of, new_figure, styled
from .tables import check_columns

GAP = 0.6  # rows between groups
BEYOND = "beyond"


@styled
def interval_dots(
    table: pd.DataFrame, *, row: str, value: str, group: str, panel: str, columns: int | None = None
) -> Figure:
    """Draw a dot with its interval for each thing, things below each other.

    Parameters
    ----------
    table : DataFrame
        The columns named below, and `lower` and `upper`: the ends of an interval. A value that is
        missing is not drawn. Where a column `beyond` is true, the value is the largest that was
        looked at, and the true one lies beyond: an open triangle points there.
    row : str
        Names, from top to bottom in the order of the table.
    value : str
        Numbers; the axis begins at 0, or, where an interval reaches below it, has a line there.
    group : str
        A colour, and a gap before it, for each value. The same row may be in several groups.
    panel : str
        A panel for each value, which names the axis: each has its own scale.
    columns : int, optional
        Panels in a row; all of them when left out.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        When a column is missing, there are no rows, or `columns` is below 1.
    """
    check_columns(table, [row, value, group, panel, "lower", "upper"])
    panels = list(dict.fromkeys(table[panel]))
    across = min(len(panels) if columns is None else columns, len(panels))
    if across < 1:
        raise ValueError(f"a row has at least one panel, not {columns}")
    down = -(-len(panels) // across)
    places, labels = _places(table, row, group)
    longest = max(len(label) for label in labels)
    height = 0.16 * max(places.values()) + 0.75
    figure = new_figure(1.75 * across + 0.07 * longest, height * down)
    axes: Any = figure.subplots(down, across, sharey=True, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    palette = colour_of(table[group])
    for ax, shown in zip(axes.flat, panels, strict=False):
        part = table[(table[panel] == shown) & table[value].notna()]
        for name, rows in part.groupby(group, sort=False):
            at = [places[name, label] for label in rows[row]]
            ax.hlines(at, rows["lower"], rows["upper"], color=palette[name], linewidth=1.2)
            open_ = rows[BEYOND].astype(bool) if BEYOND in rows else rows[value].isna()
            for far, marker, face in ((False, "o", palette[name]), (True, ">", "white")):
                chosen = (open_ == far).to_numpy()
                ax.plot(
                    rows[value][chosen],
                    [y for y, wanted in zip(at, chosen, strict=True) if wanted],
                    marker,
                    color=palette[name],
                    markerfacecolor=face,
                    markersize=4.5,
                )
        ax.set_xlabel(str(shown).replace(" (", "\n("))
        if (part["lower"] < 0).any():
            ax.axvline(0, color=GREY, linewidth=0.8)
        else:
            ax.set_xlim(left=0)
        ax.grid(axis="x", color="0.9", linewidth=0.6)
        ax.set_axisbelow(True)
    axes[0, 0].set_yticks(list(places.values()), labels)
    axes[0, 0].set_ylim(max(places.values()) + 0.6, -0.6)
    if BEYOND in table and table[BEYOND].any():
        arrow = Line2D([], [], color=GREY, marker=">", linestyle="", markerfacecolor="white")
        arrow.set_label("beyond what was shown")
        figure.legend(handles=[arrow], loc="outside lower right")
    return figure


def _places(
    table: pd.DataFrame, row: str, group: str
) -> tuple[dict[tuple[Any, Any], float], list[str]]:
    """Return the height of each group's rows, from the top, and their labels."""
    pairs = list(dict.fromkeys(zip(table[group], table[row], strict=True)))
    order = list(dict.fromkeys(name for name, _ in pairs))
    pairs.sort(key=lambda pair: order.index(pair[0]))
    places = {pair: number + GAP * order.index(pair[0]) for number, pair in enumerate(pairs)}
    return places, [str(label) for _, label in pairs]
