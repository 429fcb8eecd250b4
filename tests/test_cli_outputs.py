"""What commands write, in which order, and what they say of it."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import cnnperception as cp
from cnnperception import figures
from cnnperception.cli import app
from cnnperception.files import check_target

QUICK = ("--evaluations", 3, "--device", "cpu", "-q")


def _run(*arguments: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result.output


def test_a_long_texture_is_judged_too(tmp_path: Path) -> None:
    out = tmp_path / "long.png"
    _run("texture", "brick", "-o", out, "--size", "64x512", "--exemplar-size", 160, *QUICK)
    assert "copies" not in cp.images.read_provenance(out)["verdict"]


@pytest.mark.filterwarnings("ignore:the image did not come near")
def test_the_picture_is_there_when_something_after_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(figures, "save", failing)
    out = tmp_path / "out.png"
    asked = ("--loss-curve", tmp_path / "curve.png")
    printed = _run("texture", "brick", "-o", out, "--size", 64, *asked, *QUICK, status=1)
    assert "the disk is full" in printed
    assert Image.open(out).size == (64, 64)


@pytest.mark.parametrize("option", ["-o", "--animation", "--loss-curve", "--preview"])
def test_places_that_cannot_be_written_are_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    ending = "gif" if option == "--animation" else "png"
    asked = {"-o": tmp_path / "out.png", option: tmp_path / "file" / f"x.{ending}"}
    monkeypatch.setattr("cnnperception.synthesis.texture", lambda *_, **__: pytest.fail("began"))
    given = [part for pair in asked.items() for part in pair]
    assert "is no folder" in _run("texture", "brick", *given, *QUICK, status=1)


def test_files_that_cannot_be_written_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_target(tmp_path / "new" / "deep" / "x.png")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_target(tmp_path)
    (tmp_path / "x").write_text("")
    with pytest.raises(NotADirectoryError, match="is no folder"):
        check_target(tmp_path / "x" / "y.png")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(PermissionError, match="nothing can be written to"):
        check_target(tmp_path / "y.png")


@pytest.mark.filterwarnings("ignore:the image did not come near")
def test_a_grey_texture_is_judged_by_its_exemplar_in_grey(tmp_path: Path) -> None:
    out = tmp_path / "grey.png"
    asked = ("--grey", "--layers", "scale1", "--size", 64, "--exemplar-size", 96)
    _run("texture", "coffee", "-o", out, *asked, "--evaluations", 20, "--device", "cpu", "-q")
    grey = cp.synthesis.colour.grey(cp.exemplar("coffee", size=96))[0]
    made = cp.images.read(out)[0]
    expected = cp.verdict(made, grey, layers=["scale1"])
    told = pd.DataFrame(cp.images.read_provenance(out)["verdict"]["layers"])
    # The picture has 8 bits a channel.
    assert told["error"][0] == pytest.approx(expected["error"][0], rel=0.1)


@pytest.mark.filterwarnings("ignore:the image did not come near")
def test_a_texture_of_a_part_is_not_judged_by_the_whole(tmp_path: Path) -> None:
    mask = tmp_path / "mask.png"
    cp.images.write(mask, (torch.arange(160) < 80).float().expand(3, 160, 160))
    out = tmp_path / "part.png"
    asked = ("--mask", mask, "--exemplar-size", 160, "--size", 64)
    _run("texture", "brick", "-o", out, *asked, *QUICK)
    assert "verdict" not in cp.images.read_provenance(out)


@pytest.mark.filterwarnings("ignore:the image did not come near")
def test_large_strokes_are_those_of_the_whole_painting(tmp_path: Path) -> None:
    painting, out = cp.exemplar("brick", size=512), tmp_path / "styled.png"
    cp.images.write(tmp_path / "painting.png", painting)
    asked = ("--size", 32, "--style-scale", 6, "--style-layers", "scale1")
    _run("style", "coffee", tmp_path / "painting.png", "-o", out, *asked, *QUICK)
    record = cp.images.read_provenance(out)["sources"]
    assert record["style"]["shape"][-2:] == [384, 384]


@pytest.mark.parametrize("wrong", [("--evaluations", 0), ("--size", 0)])
def test_nothing_is_no_number_of_pixels_or_evaluations(tmp_path: Path, wrong: tuple) -> None:
    printed = _run("style", "coffee", "brick", "-o", tmp_path / "x.png", *wrong, "-q", status=1)
    assert wrong[0].strip("-") in printed
    assert "Traceback" not in printed
