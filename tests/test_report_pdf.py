"""A PDF report says what the page says, fits its paper, and needs nothing else."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pypdf import PdfReader

from cnnperception.report import Picture, Section, Table
from cnnperception.report_pdf import write_pdf

TABLE = pd.DataFrame({"model": ["HMAX", "V1"], "accuracy": [0.41, np.nan]})


def _text(path: Path) -> str:
    return " ".join(" ".join(page.extract_text() for page in PdfReader(path).pages).split())


def test_it_holds_title_paragraphs_captions_tables_and_settings(tmp_path: Path) -> None:
    picture = Picture(torch.rand(3, 20, 30), caption="A caption: naïve, 5 µm, ≥ 95 %")
    section = Section("Results", "One thing.\n\nAnother thing.", [picture], [Table(TABLE, "Rates")])
    path = write_pdf(tmp_path / "report.pdf", "A title", [section], {"seed": 17})
    text = _text(path)
    for said in ("A title", "One thing.", "Another thing.", picture.caption, "HMAX", "0.41", "–"):
        assert said in text
    assert "Rates" in text
    assert '"seed": 17' in text
    assert '"torch":' in text


def test_sections_are_bookmarks_in_their_order(tmp_path: Path) -> None:
    sections = [Section("First", "a"), Section("Second", "b")]
    path = write_pdf(tmp_path / "report.pdf", "A title", sections, {})
    titles = [str(entry.title) for entry in PdfReader(path).outline if not isinstance(entry, list)]
    assert titles == ["First", "Second", "Settings and versions"]


@pytest.mark.parametrize("shape", [(3, 2400, 600), (3, 200, 3000), (3, 8, 8)])
def test_pictures_of_any_form_fit_the_paper_with_their_captions(
    tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    pictures = [
        Picture(torch.zeros(shape), caption=f"Picture {i}. " + 30 * "words ") for i in (1, 2)
    ]
    path = write_pdf(tmp_path / "report.pdf", "A title", [Section("S", "", pictures)], {})
    pages = PdfReader(path).pages
    for number in (1, 2):
        holding = [page for page in pages if f"Picture {number}." in page.extract_text()]
        assert len(holding) == 1
        assert len(holding[0].images) >= 1
    images = [image.image for page in pages for image in page.images]
    ratios = [image.width / image.height for image in images if image is not None]
    assert ratios == pytest.approx(len(ratios) * [shape[2] / shape[1]], rel=0.01)


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    section = Section("S", "text", [Picture(torch.ones(3, 4, 4), caption="c")])
    one, other = (
        write_pdf(tmp_path / name, "A title", [section], {"a": 1}).read_bytes()
        for name in ("one.pdf", "other.pdf")
    )
    assert one == other


@pytest.mark.parametrize(
    ("sections", "error", "message"),
    [
        ([], ValueError, "at least one section"),
        ([Section("S", "", [Picture(torch.ones(3, 4, 4))])], ValueError, "neither caption nor alt"),
        ([Section("S", "", [], [Table([1, 2])])], TypeError, "not a DataFrame"),  # type: ignore[arg-type]
    ],
)
def test_a_report_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, sections: list[Section], error: type[Exception], message: str
) -> None:
    path = tmp_path / "report.pdf"
    path.write_text("old")
    with pytest.raises(error, match=message):
        write_pdf(path, "A title", sections, {})
    assert path.read_text() == "old"
