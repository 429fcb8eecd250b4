"""Models compared with data: how well each does, how sure that is, and which are better."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from . import tables
from .canvas import colour_of, colours, new_figure, styled

_INK = "0.2"
_CEILING = "0.85"
# Inches of room for it, right of the bars.
_LEGEND = 2.2


@styled
def model_results(
    result: xr.Dataset,
    groups: tables.Categories | None = None,
    *,
    alpha: float = 0.05,
    sort: bool = True,
    label: str = "similarity",
) -> Figure:
    """Draw how similar each model is to the data, with confidence, noise ceiling and tests.

    A star at the foot of a bar: better than zero. A triangle on the noise ceiling: below its
    lower bound. Above the bars, icicles: on each line a dot marks a model, and the icicles hang
    over the models it is better than.

    Parameters
    ----------
    result : Dataset
        similarity (model,), the models named by the coordinate `model`. Where present: lower and
        upper (model,), the bounds of a confidence interval; ceiling_lower and ceiling_upper, of
        the noise ceiling; p_zero (model,), p_ceiling (model,) and p_pairs (model, other_model),
        p-values corrected as they should be.
    groups : mapping, Series or sequence, optional
        The group of each model, by name or in order: the colour of its bar.
    alpha : float
        p-values below it are significant.
    sort : bool
        The best model first; otherwise in the order of the table.
    label : str
        What the similarity is; names the axis.

    Returns
    -------
    Figure
        The bars, and above them, where a model beats another, an axes with the icicles.

    Raises
    ------
    ValueError
        When the similarities are missing, of no model or not finite, or the groups do not fit.
    """
    _check(result)
    labels = None
    if groups is not None:
        labels = tables.category_list(groups, result["model"].values.tolist())
    if sort:
        order = np.argsort(-result["similarity"].values, kind="stable")
        result = result.isel(model=order, other_model=order, missing_dims="ignore")
        labels = None if labels is None else [labels[place] for place in order]
    models = [str(name) for name in result["model"].values]
    palette = colour_of(labels or [])
    wins = _wins(result, alpha)

    figure, ax, above = _axes(len(models), int(wins.any(axis=1).sum()))
    bars = [palette[name] for name in labels] if labels else [colours(1)[0]] * len(models)
    ax.bar(range(len(models)), result["similarity"].values, width=0.7, color=bars)
    handles: list[Patch | Line2D] = [
        Patch(facecolor=colour, label=str(name)) for name, colour in palette.items()
    ]
    handles += _uncertainty(ax, result) + _stars_and_triangles(ax, result, alpha)
    if above is not None:
        handles.append(_icicles(above, wins, alpha))
    ax.axhline(0, color=_INK, linewidth=0.7)
    ax.set_xticks(range(len(models)), models, rotation=90)
    ax.tick_params(axis="x", length=0)
    ax.set(xlim=(-0.6, len(models) - 0.4), ylabel=label)
    if handles:
        figure.legend(handles=handles, loc="outside right center")
    else:
        figure.set_figwidth(figure.get_figwidth() - _LEGEND)
    return figure


def _check(result: xr.Dataset) -> None:
    if "similarity" not in result or result["similarity"].dims != ("model",):
        raise ValueError(
            "results need a variable 'similarity' with the dimension 'model'; these hold "
            f"{', '.join(map(str, result.data_vars)) or 'nothing'}"
        )
    if not result.sizes["model"]:
        raise ValueError("the results are of no model: there is nothing to draw")
    bad = result["model"].values[~np.isfinite(result["similarity"].values)]
    if bad.size:
        raise ValueError(f"the similarity of {bad.size} models is not finite, {bad[0]!s} the first")


def _wins(result: xr.Dataset, alpha: float) -> np.ndarray:
    """Return whether the model of a row is significantly better than that of a column."""
    similarity = result["similarity"].values
    if "p_pairs" not in result:
        return np.zeros((similarity.size, similarity.size), dtype=bool)
    found = result["p_pairs"].transpose("model", "other_model").values < alpha
    return found & (similarity[:, None] > similarity)


def _axes(models: int, winners: int) -> tuple[Figure, Axes, Axes | None]:
    """Return a figure with axes for the bars and, where there are winners, for their icicles."""
    width = 0.3 * max(models, 4) + 0.9 + _LEGEND
    if not winners:
        figure = new_figure(width, 3.1)
        return figure, figure.add_subplot(), None
    room = 0.11 * winners + 0.08
    figure = new_figure(width, 3.1 + room)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[room, 2.2])
    return figure, below, above


def _uncertainty(ax: Axes, result: xr.Dataset) -> list[Patch | Line2D]:
    """Draw the confidence intervals and the noise ceiling; return what the legend says of them."""
    handles: list[Patch | Line2D] = []
    if "lower" in result and "upper" in result:
        ax.vlines(
            range(result.sizes["model"]),
            result["lower"].values,
            result["upper"].values,
            color=_INK,
            linewidth=1.1,
            zorder=3,
        )
        handles.append(Line2D([], [], color=_INK, linewidth=1.1, label="confidence interval"))
    if "ceiling_lower" in result and "ceiling_upper" in result:
        low, high = float(result["ceiling_lower"]), float(result["ceiling_upper"])
        ax.axhspan(low, high, color=_CEILING, linewidth=0, zorder=0)
        handles.append(Patch(color=_CEILING, label="noise ceiling"))
    return handles


def _stars_and_triangles(ax: Axes, result: xr.Dataset, alpha: float) -> list[Patch | Line2D]:
    """Mark the models above zero and those below the noise ceiling."""
    handles: list[Patch | Line2D] = []
    marks = [
        ("p_zero", "*", 0.0, "white", f"above 0 (p < {alpha:g})"),
        ("p_ceiling", "v", None, "0.45", f"below the noise ceiling (p < {alpha:g})"),
    ]
    for name, marker, height, colour, label in marks:
        if name not in result or (height is None and "ceiling_lower" not in result):
            continue
        y = float(result["ceiling_lower"]) if height is None else height
        # A test of both sides is also significant on the other one.
        beyond = np.greater if name == "p_zero" else np.less
        significant = result[name].values < alpha
        places = np.flatnonzero(significant & beyond(result["similarity"].values, y))
        ax.plot(
            places,
            np.full(places.size, y),
            marker,
            color=colour,
            markeredgecolor=_INK,
            markeredgewidth=0.5,
            markersize=6 if marker == "*" else 4,
            zorder=4,
        )
        handles.append(
            Line2D(
                [],
                [],
                marker=marker,
                linestyle="",
                color=colour,
                markeredgecolor=_INK,
                markeredgewidth=0.5,
                label=label,
            )
        )
    return handles


def _icicles(ax: Axes, wins: np.ndarray, alpha: float) -> Line2D:
    """Draw a line for each model that beats others, from its dot to the icicles over them."""
    winners = np.flatnonzero(wins.any(axis=1))
    for line, model in enumerate(winners):
        beaten = np.flatnonzero(wins[model])
        ends = [min(model, beaten[0]), max(model, beaten[-1])]
        y = len(winners) - line
        ax.plot(ends, [y, y], color=_INK, linewidth=0.7)
        ax.vlines(beaten, y - 0.55, y, color=_INK, linewidth=0.9)
        ax.plot(model, y, "o", color=_INK, markersize=3.2)
    ax.set(ylim=(0.3, len(winners) + 0.7))
    ax.set_axis_off()
    return Line2D(
        [],
        [],
        color=_INK,
        marker="o",
        markersize=3.2,
        linewidth=0.7,
        label=f"dot better than its icicles (p < {alpha:g})",
    )
