"""The study of style transfer: what the judges say of known images, and a small run."""

import argparse
import sys
from pathlib import Path

import pandas as pd
import pytest

import cnnperception as cp
from analyses import style_transfer_grid as study
from cnnperception.synthesis import noise_like

SETTINGS = argparse.Namespace(
    quick=True, content=None, painting=None, model=None, judge=None, seed=0, device="cpu"
)
PAIR = "chelsea as ihc"


def test_judges_know_the_photograph_noise_and_the_painting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Lighter than the study's own, and of the same layers.
    monkeypatch.setattr(study, "STYLE_JUDGE", ("objects-vgg:none", study.STYLE_JUDGE[1]))
    judges = study.Judges(SETTINGS, PAIR)
    noise = noise_like(judges.painting, (study.SIDE, study.SIDE), 0).clamp(0, 1)
    assert judges.content_error(judges.photograph) == 0
    assert judges.content_error(noise) == pytest.approx(1)
    assert judges.style_error(judges.photograph) == pytest.approx(1)
    assert judges.style_error(judges.painting) == pytest.approx(0, abs=1e-6)
    # Colours are no part of the content's judgement, the arrangement is none of the style's.
    grey = cp.images.luminance(judges.photograph).expand(1, 3, -1, -1)
    assert judges.content_error(grey) < 1e-6
    mirrored = judges.painting.flip(-1)
    assert judges.style_error(mirrored) < 0.5 * judges.style_error(noise)


def test_every_layer_has_every_weight_and_every_start_is_tried() -> None:
    table = pd.DataFrame([vars(t) for t in study.transfers(SETTINGS)])
    table = table[(table["model"] == "VGG, trained") & (table["pair"] == PAIR)]
    grid = table[table["part"] == "grid"]
    assert not grid.duplicated(["content_layer", "weight"]).any()
    assert len(grid) == grid["content_layer"].nunique() * len(study.WEIGHTS) == 12
    sets = table[table["part"] == "style layers"]["style_layers"]
    assert [len(layers) for layers in sets] == [1, 2, 3, 4]
    assert tuple(table[table["part"] == "start"]["start"]) == study.STARTS


def test_files_are_given_in_pairs_and_must_be_readable(tmp_path: Path) -> None:
    alone = argparse.Namespace(**{**vars(SETTINGS), "content": "photograph.png"})
    with pytest.raises(SystemExit, match="go together"):
        study.pairs(alone)
    with pytest.raises(SystemExit, match="gone.png"):
        study.picture(str(tmp_path / "gone.png"))


def test_a_small_run_on_files_trades_content_for_style(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unsaved_figures: dict
) -> None:
    files = [tmp_path / "photograph.png", tmp_path / "painting.png"]
    for name, file in zip(("chelsea", "ihc"), files, strict=True):
        cp.images.write(file, cp.exemplar(name, size=96)[0])
    monkeypatch.setattr(study, "SIDE", 48)
    monkeypatch.setattr(study, "STYLE_JUDGE", ("objects-vgg:none", ("conv1_1",)))
    monkeypatch.setattr(study, "CONTENT_JUDGE", ("hmax", ("c1/band1",)))
    monkeypatch.setattr(study, "WEIGHTS", (0.01, 1.0, 10.0))
    monkeypatch.setattr(
        study, "MODELS", {"random filters": ("random-filters", ("normalised1",), 20)}
    )
    output = tmp_path / "grid"
    given = ["--content", str(files[0]), "--painting", str(files[1])]
    argv = ["script", "--quick", *given, "--evaluations", "8", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", argv)
    study.main()
    table = pd.read_csv(output / "transfers.csv")
    grid = table[table["part"] == "grid"].set_index("weight")
    assert grid.loc[10, "content error"] < 1
    assert grid.loc[10, "style error"] > grid.loc[0.01, "style error"]
    starts = table[table["part"] == "start"].set_index("start")
    assert starts.loc["photograph", study.FROM_PHOTOGRAPH] == 0
    assert starts.loc["noise 1", study.FROM_NOISE] > 0
    monkeypatch.delattr(cp, "stylize")
    monkeypatch.setattr(study, "draw_pictures", lambda *_: None)
    monkeypatch.setattr(study, "draw_errors", lambda *_: None)
    study.main()
