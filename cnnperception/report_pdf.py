"""The same report on paper: a PDF of sections, figures and tables."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from . import runtime
from .files import atomic_path, json_text
from .report import Section, checked, compressed, paragraphs_of, shown, table_as_text

if TYPE_CHECKING:
    from fpdf import FPDF

MARGIN, WIDTH, HEIGHT = 18.0, 174.0, 261.0  # of the text on A4, in millimetres
PIXEL = 25.4 / 96  # of CSS, in millimetres
LINE = 1.4  # heights of a line of text
LONGEST_SIDE = 1400  # pixels of a picture: some 200 to the inch


def write_pdf(
    path: str | os.PathLike[str],
    title: str,
    sections: Sequence[Section],
    settings: Mapping[str, Any],
) -> Path:
    """Write a report as a PDF on A4, with bookmarks, as `report.write_report` writes it as HTML.

    The same content gives the same bytes.

    Parameters
    ----------
    path, title, sections, settings
        As for `report.write_report`.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    TypeError, ValueError
        As `report.write_report`. Nothing is written then.
    """
    checked(sections)
    page = _document(title)
    _text(page, title, 20, bold=True, after=6)
    for section in sections:
        _section(page, section)
    _heading(page, "Settings and versions")
    for record in (settings, runtime.versions()):
        _text(page, " ".join(json_text(record).split()), 7, after=2)
    with atomic_path(Path(path)) as temporary:
        page.output(str(temporary))
    return Path(path)


def _document(title: str) -> FPDF:
    from fpdf import FPDF

    class Document(FPDF):
        def footer(self) -> None:
            self.set_y(-12)
            self.set_font("DejaVu", size=8)
            self.set_text_color(110)
            self.cell(0, 5, str(self.page_no()), align="C")
            self.set_text_color(0)

    page = Document(format="A4")
    # No date: two reports of the same content are the same.
    page.set_creation_date(datetime(1970, 1, 1, tzinfo=UTC))
    page.set_title(title)
    page.set_lang("en")
    page.set_creator("cnnperception")
    fonts = _fonts()
    page.add_font("DejaVu", "", fonts / "DejaVuSans.ttf")
    page.add_font("DejaVu", "B", fonts / "DejaVuSans-Bold.ttf")
    page.set_margin(MARGIN)
    page.set_auto_page_break(True, MARGIN)
    page.add_page()
    return page


def _fonts() -> Path:
    """Return the folder of the fonts that come with matplotlib: any letter or sign prints."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def _section(page: FPDF, section: Section) -> None:
    _heading(page, section.title)
    for paragraph in paragraphs_of(section.text):
        _text(page, " ".join(paragraph.split()), 10, after=2)
    for picture in section.pictures:
        _picture(page, picture, section.title)
    for table in section.tables:
        _table(page, table, section.title)
    for paragraph in paragraphs_of(section.details):
        _text(page, " ".join(paragraph.split()), 8, after=2)


def _heading(page: FPDF, title: str) -> None:
    # A heading at the foot of a page would stand alone there.
    if page.get_y() > HEIGHT * 0.85:
        page.add_page()
    page.ln(4)
    page.set_font("DejaVu", "B", 14)
    page.start_section(title)
    _text(page, title, 14, bold=True, after=2)


def _text(page: FPDF, text: str, size: float, *, bold: bool = False, after: float = 0) -> None:
    page.set_font("DejaVu", "B" if bold else "", size)
    page.multi_cell(WIDTH, size * 0.3528 * LINE, text, align="L", new_x="LMARGIN", new_y="NEXT")
    page.ln(after)


def _picture(page: FPDF, picture: Any, section: str) -> None:
    from fpdf.enums import MethodReturnValue

    pixels, pixels_wide, pixels_high = shown(picture, section, LONGEST_SIDE)
    page.set_font("DejaVu", "", 8.5)
    line = 8.5 * 0.3528 * LINE
    lines = page.multi_cell(
        WIDTH, line, picture.caption, dry_run=True, output=MethodReturnValue.LINES
    )
    caption = line * len(lines)  # type: ignore[arg-type]
    room = HEIGHT - caption - 8
    scale = min(PIXEL, WIDTH / pixels_wide, room / pixels_high)
    high = pixels_high * scale
    if page.get_y() + high + caption + 6 > MARGIN + HEIGHT:
        page.add_page()
    data, exact = compressed(pixels, lossless="PNG", lossy="JPEG")
    page.image(
        _in_few_colours(pixels) if exact else io.BytesIO(data),
        w=pixels_wide * scale,
        h=high,
        alt_text=picture.alt or picture.caption,
    )
    page.ln(1.5)
    if picture.caption:
        page.set_text_color(80)
        _text(page, picture.caption, 8.5)
        page.set_text_color(0)
    page.ln(4)


def _in_few_colours(pixels: Image.Image) -> Image.Image:
    """Return a plot in 256 colours, which are enough: PDF keeps three bytes for each of more."""
    return pixels.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def _table(page: FPDF, table: Any, section: str) -> None:
    header, rows = table_as_text(table, section)
    page.set_font("DejaVu", "", 7)
    with page.table(
        line_height=4, width=WIDTH, padding=0.5, borders_layout="HORIZONTAL_LINES"
    ) as t:
        for cells in (header, *rows):
            row = t.row()
            for cell in cells:
                row.cell(cell)
    page.ln(1.5)
    if table.caption:
        _text(page, table.caption, 8.5)
    page.ln(4)
