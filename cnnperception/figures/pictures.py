"""Pictures side by side, at their true aspect, and small ones inside other plots."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .canvas import Colour, new_figure, styled
from .tables import check_count

# A little beyond the range is rounding; more is another convention of pixels.
_TOLERANCE = 1e-3

_PANEL_WIDTH, _PANEL_HEIGHT = 7.0, 3.2
_CHARACTER, _LINE = 0.056, 0.11  # inches that a label's character is wide, and a line high


def to_pixels(image: Any) -> np.ndarray:
    """Return a picture as rows of RGB pixels.

    Parameters
    ----------
    image : Tensor or array
        A tensor (3, height, width) on any device, or an array (height, width, 3), (3, height,
        width) or grey (height, width); floats in [0, 1] or unsigned bytes.

    Returns
    -------
    ndarray, shape (height, width, 3)
        float64 in [0, 1].

    Raises
    ------
    ValueError
        When it has another shape, no pixels, or values that are NaN or beyond [0, 1].
    """
    is_tensor = hasattr(image, "detach")
    if is_tensor:
        image = image.detach().cpu()
        # NumPy has no bfloat16.
        image = (image.double() if image.is_floating_point() else image).numpy()
    pixels = np.asarray(image)
    shape = pixels.shape
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    elif pixels.ndim == 3 and shape[0] == 3 and (is_tensor or shape[2] != 3):
        pixels = np.moveaxis(pixels, 0, 2)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        hint = "; take one image out of the batch" if pixels.ndim == 4 else ""
        raise ValueError(
            f"a picture is (3, height, width) or (height, width, 3); got {shape}{hint}"
        )
    pixels = pixels / 255 if pixels.dtype == np.uint8 else pixels.astype(float)
    low, high = pixels.min(), pixels.max()
    if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):
        raise ValueError(f"pixels lie in [0, 1]; this picture's go from {low:.4g} to {high:.4g}")
    return pixels.clip(0, 1)


@styled
def panel(
    images: Sequence[Any], titles: Sequence[str] | None = None, *, same_scale: bool = True
) -> Figure:
    """Draw pictures in a row, an exemplar beside its synthesis, at their true aspect.

    Parameters
    ----------
    images : sequence of Tensor or array
        As `to_pixels` takes them.
    titles : sequence of str, optional
        One above each picture.
    same_scale : bool
        A pixel is as large in every picture, so that the grain of textures can be compared;
        otherwise all pictures are as tall as each other.

    Returns
    -------
    Figure
    """
    pictures = [to_pixels(image) for image in images]
    if not pictures:
        raise ValueError("there is no picture to draw")
    if titles is not None:
        check_count(titles, len(pictures), "titles", of="pictures")
    sizes = np.array([[pixels.shape[1], pixels.shape[0]] for pixels in pictures], dtype=float)
    if not same_scale:
        sizes /= sizes[:, 1:]
    inches = min(_PANEL_WIDTH / sizes[:, 0].sum(), _PANEL_HEIGHT / sizes[:, 1].max())
    room = 0.1 * (len(pictures) + 1), 0.1 + (0.25 if titles is not None else 0)
    figure = new_figure(sizes[:, 0].sum() * inches + room[0], sizes[:, 1].max() * inches + room[1])
    axes = figure.subplots(1, len(pictures), width_ratios=list(sizes[:, 0]), squeeze=False)[0]
    for place, (ax, pixels) in enumerate(zip(axes, pictures, strict=True)):
        ax.imshow(pixels)
        ax.set_anchor("N")
        ax.set_axis_off()
        if titles is not None:
            ax.set_title(titles[place])
    return figure


@styled
def contact_sheet(
    images: Sequence[Any], labels: Sequence[str] | None = None, columns: int | None = None
) -> Figure:
    """Draw many pictures in a grid, each as large as its cell allows, with its label below.

    Parameters
    ----------
    images : sequence of Tensor or array
        As `to_pixels` takes them.
    labels : sequence of str, optional
        One below each picture; long ones in several lines.
    columns : int, optional
        Pictures in a row; about 1.5 times the number of rows if not given.

    Returns
    -------
    Figure
        One axes holds all pictures, a cell being one unit wide.
    """
    pictures = [to_pixels(image) for image in images]
    if not pictures:
        raise ValueError("there is no picture to draw")
    if labels is not None:
        check_count(labels, len(pictures), "labels", of="pictures")
    if columns is None:
        columns = min(len(pictures), max(4, round((1.5 * len(pictures)) ** 0.5)))
    if columns < 1:
        raise ValueError(f"a contact sheet has at least one column, not {columns}")
    rows = -(-len(pictures) // columns)
    cell = min(1.3, 7.2 / columns)
    texts = [wrap(str(label), int(cell / _CHARACTER)) for label in labels or ()]
    lines = max((text.count("\n") + 1 for text in texts), default=0)
    height = 1 + (0.03 + _LINE * lines if lines else 0) / cell
    figure = new_figure(columns * cell + 0.1, rows * height * cell + 0.1)
    ax = figure.add_subplot()
    ax.set(xlim=(0, columns), ylim=(rows * height, 0), aspect="equal")
    ax.set_axis_off()
    for place, pixels in enumerate(pictures):
        x, y = place % columns + 0.5, place // columns * height + 0.5
        place_picture(ax, pixels, (x, y), 0.94)
        if texts:
            ax.text(x, y + 0.49, texts[place], ha="center", va="top", fontsize=6.5)
    return figure


def place_picture(
    ax: Axes,
    pixels: np.ndarray,
    centre: tuple[float, float],
    side: float,
    *,
    frame: Colour | None = None,
) -> None:
    """Draw a picture inside other axes, its longer side `side` data units, framed in a colour.

    The limits of the axes must have been set: they say which way is up.
    """
    height, width = pixels.shape[:2]
    half = np.array([width, height]) / max(height, width) * side / 2
    (x, y), (dx, dy) = centre, half
    up = -1 if ax.yaxis_inverted() else 1
    ax.imshow(
        pixels,
        extent=(x - dx, x + dx, y - up * dy, y + up * dy),
        aspect=ax.get_aspect(),
        zorder=2,
        clip_on=False,
    )
    if frame is not None:
        corner = (x - dx, y - dy)
        ax.add_patch(
            # As high as the picture itself: what is placed later covers both.
            Rectangle(corner, 2 * dx, 2 * dy, fill=False, edgecolor=frame, linewidth=1.2, zorder=2)
        )


def wrap(text: str, length: int) -> str:
    """Return a text in lines of at most `length` characters, broken after separators if it can."""
    lines = []
    for line in text.splitlines():
        lines.append("")
        for part in re.split(r"(?<=[\s_/-])", line):
            if len(lines[-1]) + len(part.rstrip()) > length:
                pieces = [part[start : start + length] for start in range(0, len(part), length)]
                lines += pieces
            else:
                lines[-1] += part
    return "\n".join(line.strip() for line in lines if line.strip())


def shorten(text: str, length: int) -> str:
    """Return a text of at most `length` characters; what tells names apart is often their end."""
    if len(text) <= length:
        return text
    head = length // 4
    return f"{text[:head]}…{text[len(text) - (length - head - 1) :]}"
