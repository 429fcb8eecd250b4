"""The command that sets two models against each other, as a user types it."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import cnnperception as cp
from cnnperception.cli import app

QUICK = ("--size", 32, "--evaluations", 6, "--device", "cpu", "-q")
MODELS = ("--hold", "pixels", "--hold-layers", "pixels", "--drive", "objects-vgg")


def _run(*arguments: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["controversial", *(str(argument) for argument in arguments)])
    assert result.exit_code == status, result.output
    return result.output


@pytest.mark.filterwarnings("ignore:image 1 is hardly")
def test_a_pair_and_its_table_are_written(tmp_path: Path) -> None:
    out, table = tmp_path / "c.png", tmp_path / "c.csv"
    asked = ("--drive-layers", "pool1,pool2", "--both", "--table", table, "--tolerance", 0.2)
    printed = _run("coins", "-o", out, *MODELS, *asked, *QUICK)
    for part in ("c.png", "c-reversed.png", "matched_noise"):
        assert part in printed
    names = ("c.png", "c-reversed.png")
    picture = cp.exemplar("coins", size=32)
    images = [cp.images.read(tmp_path / name) for name in names]
    assert all(image.shape == picture.shape for image in images)
    assert not torch.equal(*images)
    records = [cp.images.read_provenance(tmp_path / name) for name in names]
    assert records[0] == records[1]
    assert records[0]["tolerance"] == 0.2
    assert records[0]["drive_layers"] == ["pool1", "pool2"]
    rows = pd.read_csv(table)
    assert rows["layer"].tolist() == ["pixels", "pool1", "pool2", "pool1", "pool2", "pixels"]
    assert rows["role"].tolist() == ["hold", "drive", "drive", "hold", "hold", "drive"]
    assert not list(tmp_path.glob("*.checkpoint"))


@pytest.mark.filterwarnings("ignore:image 0 is hardly")
def test_weights_of_each_model_can_be_chosen(tmp_path: Path) -> None:
    out = tmp_path / "c.png"
    models = ("--hold", "objects-vgg", "--hold-layers", "pool1", "--hold-weights", "none")
    models += ("--hold-model-seed", 3, "--drive", "objects-vgg", "--drive-layers", "pool1")
    printed = _run("brick", "-o", out, *models, "--drive-weights", "self-supervised", *QUICK)
    assert "c-reversed.png" not in printed
    record = cp.images.read_provenance(out)
    assert record["model"]["seed"] == 3
    assert record["drive_model"]["weights"] == "objects_vgg_selfsupervised.safetensors"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("--drive-layers", "pool9"), "not in objects-vgg"),
        (("--drive-layers", ","), "no layers were given"),
        (("--drive-layers", "pool1", "--tolerance", "-1"), "tolerance must be a positive distance"),
    ],
)
def test_faults_are_one_line_that_says_what_to_do(wrong, message, tmp_path: Path) -> None:
    printed = " ".join(
        _run("brick", "-o", tmp_path / "c.png", *MODELS, *wrong, *QUICK, status=1).split()
    )
    assert "error:" in printed
    assert message in printed
    assert "Traceback" not in printed
    assert not list(tmp_path.iterdir())
