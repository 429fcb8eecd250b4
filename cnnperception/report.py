"""A self-contained HTML report: one file that any browser opens, from figures and tables."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from . import runtime
from .figures import to_pixels
from .files import json_text, write_text

_FIGURE_DPI = 200
# What a page of this width can show on a screen with two pixels to the point.
LONGEST_SIDE = 2000


@dataclass(frozen=True)
class Picture:
    """A picture of a report.

    Attributes
    ----------
    source : Figure, Tensor, ndarray or path
        A matplotlib figure; an image (3, height, width) with values in [0, 1], or an array as
        `figures.to_pixels` takes it; or the path of an image file.
    caption : str
        Stands below it.
    alt : str
        What the picture shows, for those who cannot see it; the caption if not given.
    """

    source: Any
    caption: str = ""
    alt: str = ""


@dataclass(frozen=True)
class Table:
    """A table of a report: a DataFrame, its index shown where it has names, and a caption."""

    frame: pd.DataFrame
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A section of a report: paragraphs parted by blank lines, then pictures, then tables.

    At the end stand the details, numbers and limits in full: paragraphs too, folded in HTML.
    """

    title: str
    text: str = ""
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    details: str = ""


def write_report(
    path: str | os.PathLike[str],
    title: str,
    sections: Sequence[Section],
    settings: Mapping[str, Any],
) -> Path:
    """Write a report as a single HTML file, pictures included.

    It needs no network and no script, follows the reader's choice of light or dark, and fits
    telephones and paper. The same content gives the same bytes.

    Parameters
    ----------
    path : path-like
        The file to write.
    title : str
    sections : sequence of Section
    settings : mapping
        What was asked for, seeds included; shown as JSON at the end, beside the versions of the
        packages, both folded.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    TypeError, ValueError
        When there is no section, a picture has neither caption nor alt text, or something else
        is given for a picture or a table. Nothing is written then.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    checked(sections)
    templates = Environment(
        loader=PackageLoader("cnnperception"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = templates.get_template("report.html.jinja").render(
        title=title,
        sections=[_section(section, number) for number, section in enumerate(sections, 1)],
        settings=json_text(settings),
        versions=runtime.versions(),
    )
    write_text(path, page)
    return Path(path)


def checked(sections: Sequence[Section]) -> None:
    """Raise ValueError when there is no section."""
    if not sections:
        raise ValueError("a report needs at least one section")


def _section(section: Section, number: int) -> dict[str, Any]:
    return {
        "id": f"section-{number}",
        "title": section.title,
        "paragraphs": paragraphs_of(section.text),
        "details": paragraphs_of(section.details),
        "pictures": [_picture(picture, section.title) for picture in section.pictures],
        "tables": [_table(table, section.title) for table in section.tables],
    }


def paragraphs_of(text: str) -> list[str]:
    """Return the paragraphs of a text, which blank lines part."""
    return [part.strip() for part in text.split("\n\n") if part.strip()]


def _picture(picture: Picture, section: str) -> dict[str, Any]:
    pixels, width, height = shown(picture, section, LONGEST_SIDE)
    data, _ = compressed(pixels, lossless="WEBP", lossy="WEBP")
    return {
        "data": base64.b64encode(data).decode("ascii"),
        "width": width,
        "height": height,
        "caption": picture.caption,
        "alt": picture.alt or picture.caption,
    }


def shown(picture: Picture, section: str, longest: int) -> tuple[Image.Image, int, int]:
    """Return a picture's pixels, and the width and height to show it at, in CSS pixels.

    Image files and arrays are reduced where a side has more than `longest` pixels.

    Raises
    ------
    ValueError
        When it has neither caption nor alt text; the section is named then.
    """
    if not (picture.caption or picture.alt):
        raise ValueError(f"a picture in section {section!r} has neither caption nor alt text")
    source = picture.source
    if isinstance(source, Figure):
        buffer = io.BytesIO()
        source.savefig(buffer, format="png", dpi=_FIGURE_DPI)
        width, height = source.get_size_inches()
        return Image.open(buffer).convert("RGB"), round(width * 96), round(height * 96)
    if isinstance(source, str | os.PathLike):
        from . import images

        source = images.read(source)[0]
    pixels = Image.fromarray((to_pixels(source) * 255).round().astype(np.uint8)).convert("RGB")
    pixels.thumbnail((longest, longest))
    return pixels, pixels.width, pixels.height


def compressed(pixels: Image.Image, lossless: str, lossy: str) -> tuple[bytes, bool]:
    """Return a picture as a file, and whether nothing is lost.

    With hardly any loss photographs and textures take less than half; of plots and matrices each
    pixel is kept.
    """

    def saved(kind: str, **options: Any) -> bytes:
        buffer = io.BytesIO()
        pixels.save(buffer, kind, **options)
        return buffer.getvalue()

    exact = saved(lossless, lossless=True)
    rough = saved(lossy, quality=85)
    return (rough, False) if 2 * len(rough) < len(exact) else (exact, True)


def _table(table: Table, section: str) -> dict[str, Any]:
    header, rows = _cells(table, section)
    return {"caption": table.caption, "header": header, "rows": rows}


def table_as_text(table: Table, section: str) -> tuple[list[str], list[list[str]]]:
    """Return a table's header and rows as text, numbers with four digits.

    Raises
    ------
    TypeError
        When it is not of a DataFrame; the section is named then.
    """
    header, rows = _cells(table, section)
    return header, [[text for text, _ in row] for row in rows]


def _cells(table: Table, section: str) -> tuple[list[str], list[list[tuple[str, bool]]]]:
    frame = table.frame
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(
            f"a table in section {section!r} is a {type(frame).__name__}, not a DataFrame"
        )
    header = [" / ".join(map(str, n)) if isinstance(n, tuple) else str(n) for n in frame.columns]
    rows: list[Any] = list(frame.itertuples(index=False, name=None))
    # The numbers 0, 1, 2 ... say nothing; any other index names the rows.
    if not isinstance(frame.index, pd.RangeIndex):
        header = [*(str(name or "") for name in frame.index.names), *header]
        names = [name if isinstance(name, tuple) else (name,) for name in frame.index]
        rows = [(*name, *row) for name, row in zip(names, rows, strict=True)]
    return header, [[_cell(value) for value in row] for row in rows]


def _cell(value: Any) -> tuple[str, bool]:
    """Return a value as text, four digits of it, and whether it is a number."""
    if isinstance(value, bool | np.bool_):
        return ("yes" if value else "no"), False
    if isinstance(value, Integral):
        return str(value), True
    if isinstance(value, Real):
        return ("–" if np.isnan(float(value)) else f"{float(value):.4g}"), True
    return ("–" if value is None or value is pd.NA else str(value)), False
