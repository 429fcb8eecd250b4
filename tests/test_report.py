"""A report is one file that says everything it was given, safely, and needs nothing else."""

from __future__ import annotations

import argparse
import base64
import io
import json
import re
from dataclasses import FrozenInstanceError
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from cnnperception import figures, runtime, studies
from cnnperception.cli import app
from cnnperception.report import Picture, Section, Table, write_report

VOID = {"meta", "img", "link", "br", "hr", "input"}


class Page(HTMLParser):
    """What a browser would find: elements with their attributes, their text, well nested."""

    def __init__(self, path: Path):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.texts.setdefault(tag, []).append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.texts[self.open[-1]][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def pictures(self) -> list[Image.Image]:
        sources = [str(image["src"]) for image in self.all("img")]
        start = "data:image/webp;base64,"
        assert all(source.startswith(start) for source in sources)
        return [
            Image.open(io.BytesIO(base64.b64decode(source.removeprefix(start), validate=True)))
            for source in sources
        ]


def write(path: Path, *sections: Section, title: str = "A title", **values: object) -> Page:
    return Page(write_report(path / "report.html", title, sections or [Section("One")], values))


def test_a_report_holds_titles_paragraphs_and_links_to_its_sections(tmp_path):
    page = write(
        tmp_path,
        Section("One", "First paragraph,\non two lines.\n\n  Second.\n\n\n"),
        Section("Two"),
        Section("Three"),
    )
    assert page.texts["title"] == page.texts["h1"] == ["A title"]
    assert page.texts["h2"] == ["One", "Two", "Three"]
    assert page.texts["p"] == ["First paragraph,\non two lines.", "Second."]
    links = [link["href"] for link in page.all("a")]
    assert links == [f"#{heading['id']}" for heading in page.all("h2")]


def test_nothing_is_fetched_from_elsewhere_and_nothing_runs(tmp_path):
    figure = figures.panel([torch.rand(3, 8, 8)])
    page = write(tmp_path, Section("One", pictures=[Picture(figure, "A panel")]))
    for tag, attributes in page.elements:
        assert tag not in {"script", "link", "iframe", "object", "embed"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"src", "href", "srcset"}:
                assert str(value).startswith(("data:image/webp;base64,", "#"))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|@import|url\(", text)
    policy = next(meta for meta in page.all("meta") if "http-equiv" in meta)
    assert "default-src 'none'" in str(policy["content"])


def test_a_tensor_is_embedded_pixel_by_pixel(tmp_path):
    values = torch.arange(2 * 3 * 4 * 3).reshape(3, 4, 6) * 3
    page = write(tmp_path, Section("One", pictures=[Picture(values / 255, "Ramp")]))
    (picture,) = page.pictures()
    assert np.array_equal(np.asarray(picture), values.permute(1, 2, 0).numpy())
    assert (page.all("img")[0]["width"], page.all("img")[0]["height"]) == ("6", "4")


@pytest.mark.parametrize("suffix", ["png", "tiff", "bmp"])
def test_an_image_file_is_embedded_and_not_linked_to(tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    file = tmp_path / f"picture.{suffix}"
    Image.fromarray(pixels).save(file)
    page = write(tmp_path, Section("One", pictures=[Picture(file, "File")]))
    (picture,) = page.pictures()
    assert np.array_equal(np.asarray(picture), pixels)


def test_plots_keep_each_pixel_and_photographs_almost(tmp_path):
    rng = np.random.default_rng(0)
    smooth = np.asarray(
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((256, 256))
    )
    noisy = np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)
    plot = np.full((256, 256, 3), 255, dtype=np.uint8)
    plot[::7, ::3] = rng.integers(0, 256, (37, 86, 1))
    given = [Picture(noisy / 255, "Photograph"), Picture(plot / 255, "Plot")]
    page = write(tmp_path, Section("One", pictures=given))
    photograph, kept = (np.asarray(picture).astype(float) for picture in page.pictures())
    assert np.array_equal(kept, plot)
    difference = np.abs(photograph - noisy)
    assert 0 < difference.mean() < 4


def test_large_pictures_are_reduced(tmp_path):
    file = tmp_path / "wide.png"
    Image.new("RGB", (2400, 10), "teal").save(file)
    page = write(tmp_path, Section("One", pictures=[Picture(file, "Wide")]))
    (picture,) = page.pictures()
    assert picture.width == 2000 == int(str(page.all("img")[0]["width"]))


def test_a_figure_is_embedded_sharply_and_shown_at_its_own_size(tmp_path):
    figure = figures.panel([torch.rand(3, 8, 8)])
    page = write(tmp_path, Section("One", pictures=[Picture(figure, "Panel")]))
    width = figure.get_figwidth()
    assert page.all("img")[0]["width"] == str(round(96 * width))
    assert page.pictures()[0].width == pytest.approx(200 * width, abs=1)


def test_large_pictures_are_made_smaller(tmp_path):
    page = write(tmp_path, Section("One", pictures=[Picture(np.zeros((100, 4000)), "Wide")]))
    assert page.pictures()[0].size == (2000, 50)


def test_details_are_folded_below_the_pictures(tmp_path):
    picture = Picture(torch.zeros(3, 2, 2), "A picture")
    write(tmp_path, Section("S", "text", [picture], details="One.\n\nTwo."))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    inside = text[text.index("<details>") : text.index("</details>")]
    assert "<p>One.</p>\n<p>Two.</p>" in inside
    assert text.index("A picture") < text.index("<details>")


def test_every_picture_has_an_alt_text_and_captions_are_shown(tmp_path):
    pixels = np.zeros((2, 2, 3))
    page = write(
        tmp_path,
        Section(
            "One",
            pictures=[
                Picture(pixels, "A caption"),
                Picture(pixels, "Another", "What it shows"),
                Picture(pixels, alt="Only alt"),
            ],
        ),
    )
    assert [image["alt"] for image in page.all("img")] == [
        "A caption",
        "What it shows",
        "Only alt",
    ]
    assert page.texts["figcaption"] == ["A caption", "Another"]


def test_tables_show_values_names_and_missing_values(tmp_path):
    frame = pd.DataFrame(
        {"model": ["hmax", "vgg19"], "corr": [0.123456, np.nan], "units": [256, 4096]}
    ).assign(significant=[True, False])
    page = write(tmp_path, Section("One", tables=[Table(frame, "Results")]))
    assert page.texts["caption"] == ["Results"]
    header = [text for text in page.texts["th"] if text in frame.columns]
    assert header == list(frame.columns)
    cells = page.texts["td"][:8]
    assert cells == ["hmax", "0.1235", "256", "yes", "vgg19", "–", "4096", "no"]
    numbers = ["class" in cell for cell in page.all("td")[:8]]
    assert numbers == [False, True, True, False] * 2


def test_a_tables_index_is_shown_when_it_names_rows(tmp_path):
    index = pd.MultiIndex.from_tuples([("vgg19", "pool1")], names=["model", None])
    columns = pd.MultiIndex.from_tuples([("corr", "lower"), ("corr", "upper")])
    page = write(
        tmp_path, Section("One", tables=[Table(pd.DataFrame([[0.5, 1e-9]], index, columns))])
    )
    assert page.texts["td"][:4] == ["vgg19", "pool1", "0.5", "1e-09"]
    heads = [text.strip(" /") for text in page.texts["th"][:4]]
    assert heads[0] == "model"
    assert heads[2:] == ["corr / lower", "corr / upper"]


NASTY = "</pre></title><script>alert(1)</script>\" onload='x' &amp; <img src=http://x>"


def test_everything_a_user_writes_is_escaped(tmp_path):
    frame = pd.DataFrame({NASTY: [NASTY]}, index=pd.Index([NASTY], name=NASTY))
    page = write(
        tmp_path,
        Section(NASTY, NASTY, [Picture(np.zeros((2, 2)), NASTY, NASTY)], [Table(frame, NASTY)]),
        title=NASTY,
        **{NASTY: NASTY},
    )
    assert "script" not in page.texts
    assert len(page.all("img")) == 1
    for tag in ("title", "h1", "h2", "p", "figcaption", "caption"):
        assert page.texts[tag] == [NASTY]
    assert page.texts["td"][:2] == [NASTY] * 2
    assert page.all("img")[0]["alt"] == NASTY
    assert not any(name.startswith("on") for _, found in page.elements for name in found)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(st.text(), plain))
def test_settings_are_read_back_as_they_were(tmp_path, values):
    path = write_report(tmp_path / "report.html", "T", [Section("One")], values)
    assert json.loads(Page(path).texts["pre"][0]) == values


def test_settings_of_numpy_and_paths_become_plain(tmp_path):
    values = {"seed": np.int64(3), "weights": np.array([0.5, 1.0]), "out": Path("a/b.png")}
    page = write(tmp_path, **values)
    assert json.loads(page.texts["pre"][0]) == {
        "seed": 3,
        "weights": [0.5, 1.0],
        "out": "a/b.png",
    }


def test_versions_are_stated_and_folded_with_the_settings(tmp_path):
    page = write(tmp_path)
    found = dict(zip(page.texts["th"], page.texts["td"], strict=True))
    assert found == runtime.versions()
    assert len(page.all("details")) == 2
    assert not any("open" in details for details in page.all("details"))


def test_the_same_content_gives_the_same_bytes(tmp_path):
    def content() -> list[Section]:
        figure = figures.panel([np.eye(4), torch.ones(3, 4, 4)], ["left", "right"])
        return [Section("One", "Text", [Picture(figure, "Panel")])]

    first = write_report(tmp_path / "a.html", "T", content(), {"seed": 0})
    second = write_report(tmp_path / "b.html", "T", content(), {"seed": 0})
    assert first.read_bytes() == second.read_bytes()


def test_a_section_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Section("One").title = "Two"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("sections", "error", "message"),
    [
        ([], ValueError, "at least one section"),
        ([Section("One", pictures=[Picture(np.zeros((2, 2)))])], ValueError, "'One'.*neither"),
        ([Section("One", pictures=[Picture(np.zeros(2), "x")])], ValueError, "a picture is"),
        ([Section("One", tables=[Table([1], "x")])], TypeError, "'One' is a list"),  # type: ignore[arg-type]
        ([Section("One", pictures=[Picture("gone.png", "x")])], ValueError, "gone.png"),
    ],
)
def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path, sections, error, message):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(error, match=message):
        write_report(path, "T", sections, {})
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_studies_become_one_page_with_figures_findings_and_limits(tmp_path):
    chosen = argparse.Namespace(output=tmp_path / "gap", quick=True, seed=3)
    found = studies.study("gap", "The gap", "Who sees more?", chosen)
    table = pd.DataFrame({"model": ["a", "b"], "level": [1, 1], "share": [0.2, 0.7]})
    found.table("shares", table)
    found.figure(
        "shares", figures.interval_curves(table, x="level", y="share", curve="model"), "Two models."
    )
    found.conclude("Mostly b.", "b sees more.", "Two models alone.")
    result = CliRunner().invoke(app, ["report", "--reports", str(tmp_path)])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    for text in ("Who sees more?", "b sees more.", "Limits: Two models alone."):
        assert page.count(text) == 1
    assert "<figcaption>Two models.</figcaption>" in page
    assert "The gap. Mostly b." in page  # among the answers in short
    assert "<p>Mostly b.</p>" in page
    assert "data:image/webp;base64," in page
    assert (tmp_path / "gap" / "shares.pdf").exists()


def test_a_remembered_step_is_computed_once_for_the_same_settings(tmp_path):
    found = studies.study("gap", "", "", argparse.Namespace(output=tmp_path / "gap"))
    calls = []

    def compute():
        calls.append(1)
        return pd.DataFrame({"n": [len(calls)]})

    assert found.remember("step", compute, seed=1)["n"].tolist() == [1]
    assert found.remember("step", compute, seed=1)["n"].tolist() == [1]
    assert found.remember("step", compute, seed=2)["n"].tolist() == [2]


def test_without_findings_the_report_says_what_to_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="run the scripts in analyses"):
        studies.assemble(tmp_path, tmp_path / "index.html")
