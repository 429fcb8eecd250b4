"""Lines: losses during a synthesis, similarities along the layers of models."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .canvas import DASHES, GREY, MARKERS, Colour, colours, legend_below, new_figure, styled
from .tables import check_columns, check_finite


@styled
def loss_curves(losses: pd.DataFrame) -> Figure:
    """Draw the loss of each term against the evaluations, the levels marked.

    Parameters
    ----------
    losses : DataFrame
        Columns evaluation (int), level (int, from coarse to fine), term (str), loss (float).
        Several images optimised at once, told apart by a column image, are averaged
        geometrically. Columns height and width, where present, name the levels by their size.

    Returns
    -------
    Figure
        One axes with a logarithmic scale; a loss of zero has no place on it and leaves a gap.

    Raises
    ------
    ValueError
        When a column is missing, there are no rows, or a loss is negative or no finite number.
    """
    check_columns(losses, ["evaluation", "level", "term", "loss"])
    check_finite(losses, "loss", ["evaluation", "term"])
    if (losses["loss"] < 0).any():
        raise ValueError("losses are drawn on a logarithmic scale: none may be negative")
    terms = list(dict.fromkeys(losses["term"]))
    logarithms = losses.assign(loss=np.log(losses["loss"].where(losses["loss"] > 0)))
    if logarithms["loss"].isna().all():
        raise ValueError("every loss is zero: there is nothing to draw on a logarithmic scale")
    means = logarithms.groupby(["level", "evaluation", "term"])["loss"].mean()
    curves = means.apply(np.exp).unstack("term")

    figure = new_figure(6.2, 3.2)
    ax = figure.add_subplot()
    handles = []
    for place, (term, colour) in enumerate(zip(terms, colours(len(terms)), strict=True)):
        dashes = DASHES[place // 10 % len(DASHES)]
        # A line a level: between levels the image changes size, and with it what the loss means.
        for _, level in curves[term].groupby(level="level"):
            x = level.index.get_level_values("evaluation")
            ax.plot(x, level, color=colour, linestyle=dashes, label=str(term))
        handles.append(Line2D([], [], color=colour, linestyle=dashes, label=str(term)))
    ax.set(yscale="log", xlabel="evaluation", ylabel="loss")
    ax.margins(x=0.01)
    _mark_levels(ax, losses)
    legend_below(figure, handles)
    return figure


def _mark_levels(ax: Axes, losses: pd.DataFrame) -> None:
    """Draw a line where each level begins, and write above it which one it is."""
    firsts = losses.sort_values("evaluation").drop_duplicates("level")
    for place, (_, first) in enumerate(firsts.iterrows()):
        if place:
            ax.axvline(first["evaluation"] - 0.5, color=GREY, linewidth=0.7, linestyle=":")
        sized = {"height", "width"} <= set(losses.columns)
        name = f"{first['height']} × {first['width']}" if sized else f"level {first['level']}"
        ax.annotate(
            name,
            (first["evaluation"], 1),
            (2, 2),
            xycoords=ax.get_xaxis_transform(),
            textcoords="offset points",
            fontsize=7,
            color=GREY,
        )


@styled
def layer_profile(
    table: pd.DataFrame,
    ceiling: tuple[float, float] | None = None,
    *,
    label: str = "similarity",
) -> Figure:
    """Draw similarity against the layers of each model.

    Models with the same layers share a panel; all panels share their scale.

    Parameters
    ----------
    table : DataFrame
        Columns model, layer, similarity; a row for each layer, from the input upwards. Where
        columns lower and upper are present, a band lies between them.
    ceiling : (float, float), optional
        The noise ceiling's lower and upper bound, drawn as a grey band across.
    label : str
        What the similarity is; names the axis.

    Returns
    -------
    Figure
        An axes for each group of models.

    Raises
    ------
    ValueError
        When a column is missing, there are no rows, a layer of a model comes twice, or a value
        is no finite number.
    """
    check_columns(table, ["model", "layer", "similarity"])
    bands = [name for name in ("lower", "upper") if name in table.columns]
    for column in ["similarity", *bands]:
        check_finite(table, column, ["model", "layer"])
    if len(bands) == 1:
        raise ValueError(f"the table has a column {bands[0]!r} alone; a band needs lower and upper")
    twice = table[table.duplicated(["model", "layer"])]
    if len(twice):
        model, layer = twice.iloc[0][["model", "layer"]]
        raise ValueError(f"layer {layer!r} of model {model!r} comes more than once")
    if ceiling is not None and not ceiling[0] <= ceiling[1]:
        raise ValueError(f"a noise ceiling is (lower, upper); got {ceiling}")

    models = list(dict.fromkeys(table["model"]))
    groups = _by_layers(table, models)
    widths = [max(1.4, 0.24 * len(layers)) for layers in groups]
    legend = 0.6 + 0.065 * max(len("noise ceiling"), *(len(str(model)) for model in models))
    figure = new_figure(min(12, sum(widths) + 0.7 + legend), 3)
    axes = figure.subplots(1, len(groups), sharey=True, width_ratios=widths, squeeze=False)[0]
    palette = dict(zip(models, colours(len(models)), strict=True))
    handles: list[Line2D | Patch] = []
    for ax, (layers, members) in zip(axes, groups.items(), strict=True):
        if ceiling is not None:
            ax.axhspan(*ceiling, color="0.85", linewidth=0, zorder=0)
        for model in members:
            rows = table[table["model"] == model]
            marker = MARKERS[models.index(model) % len(MARKERS)]
            handles.append(_profile(ax, rows, palette[model], marker))
        if ax.get_ylim()[0] < 0:
            ax.axhline(0, color=GREY, linewidth=0.7)
        ax.set_xticks(range(len(layers)), layers, rotation=90)
        ax.set_xlim(-0.6, len(layers) - 0.4)
    axes[0].set_ylabel(label)
    if ceiling is not None:
        handles.append(Patch(color="0.85", label="noise ceiling"))
    figure.legend(handles=handles, loc="outside right center")
    return figure


def _by_layers(table: pd.DataFrame, models: list[str]) -> dict[tuple[str, ...], list[str]]:
    """Return the models that have the same layers, by these layers."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for model in models:
        layers = tuple(map(str, table.loc[table["model"] == model, "layer"]))
        groups.setdefault(layers, []).append(model)
    return groups


def _profile(ax: Axes, rows: pd.DataFrame, colour: Colour, marker: str) -> Line2D:
    x = np.arange(len(rows))
    if "lower" in rows:
        lower, upper = rows["lower"].to_numpy(float), rows["upper"].to_numpy(float)
        ax.fill_between(x, lower, upper, color=colour, alpha=0.2, linewidth=0)
        # A band over a single layer has no width to be seen.
        ax.vlines(x, lower, upper, color=colour, linewidth=0.8)
    (line,) = ax.plot(
        x, rows["similarity"], color=colour, marker=marker, label=str(rows.iloc[0]["model"])
    )
    return line
