"""What all figures share: their look, their colours and how they are saved."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, ParamSpec

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..files import atomic_path

Parameters = ParamSpec("Parameters")
Colour = tuple[float, float, float]

# Sizes in points at the figure's own size: 8 is what journals ask of a printed figure.
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "figure.dpi": 100,
}

# TrueType in PDFs: journals reject the Type 3 fonts that are matplotlib's default.
_EMBEDDED_FONTS: dict[Any, Any] = {"pdf.fonttype": 42, "ps.fonttype": 42}

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
DASHES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
GREY = "0.45"

# matplotlib's settings are global: two threads that change them at once leave them changed.
_SETTINGS = threading.RLock()


def styled(draw: Callable[Parameters, Figure]) -> Callable[Parameters, Figure]:
    """Give what a function draws the project's look, leaving matplotlib's settings as they were."""

    @functools.wraps(draw)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Figure:
        with _SETTINGS, mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapper


def new_figure(
    width: float, height: float, layout: Literal["constrained", "compressed"] = "constrained"
) -> Figure:
    """Return an empty figure, in inches, that lays itself out and belongs to no window.

    "compressed" is for several axes of a fixed aspect: it closes the gaps between them.
    """
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | os.PathLike[str], *, dpi: int = 300) -> tuple[Path, Path]:
    """Write a figure as PNG and as PDF with embedded TrueType fonts.

    The files carry no time stamp: the same figure gives the same bytes at every run.

    Parameters
    ----------
    figure : Figure
    path : path-like
        Where to write, with or without the ending .png or .pdf.
    dpi : int
        Dots per inch of the PNG and of the pictures inside the PDF.

    Returns
    -------
    tuple of Path
        The PNG and the PDF.
    """
    given = Path(path)
    stem = given.name.removesuffix(".png").removesuffix(".pdf")
    png, pdf = given.with_name(f"{stem}.png"), given.with_name(f"{stem}.pdf")
    with _SETTINGS, mpl.rc_context(_EMBEDDED_FONTS):
        with atomic_path(png) as temporary:
            figure.savefig(temporary, dpi=dpi)
        with atomic_path(pdf) as temporary:
            figure.savefig(temporary, dpi=dpi, metadata={"CreationDate": None})
    return png, pdf


def colours(count: int) -> list[Colour]:
    """Return colours that colour-blind readers can tell apart, for up to ten things.

    Further ones are lighter tints of the ten.
    """
    import seaborn

    palette = seaborn.color_palette("colorblind", 10)
    # The two oranges and the tan apart, and the colours that are faint on white last.
    base = [palette[i] for i in (0, 1, 2, 4, 9, 3, 7, 5, 6, 8)]
    rounds = -(-count // len(base))
    tints = [
        tuple(1 - (1 - value) * (1 - turn / rounds) for value in colour)
        for turn in range(rounds)
        for colour in base
    ]
    return [(red, green, blue) for red, green, blue in tints[:count]]


def colour_of(names: Iterable[Hashable]) -> dict[Hashable, Colour]:
    """Return a colour for each distinct name, in the order of first appearance."""
    distinct = list(dict.fromkeys(names))
    return dict(zip(distinct, colours(len(distinct)), strict=True))


def category_legend(figure: Figure, palette: dict[Hashable, Colour]) -> None:
    """Name the categories' colours below the figure."""
    handles = [Patch(facecolor=colour, label=str(name)) for name, colour in palette.items()]
    legend_below(figure, handles)


def legend_below(figure: Figure, handles: Sequence[Patch | Line2D]) -> None:
    """Put a legend below everything else, in as many columns as the width has room for."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    room = int(figure.get_figwidth() / (0.07 * longest + 0.45))
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=max(1, min(len(handles), room)),
        handlelength=1.4,
        columnspacing=1.4,
    )
