"""The study of controversial pictures: sides by hand, and a small run."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import cnnperception as cp
from analyses import controversial

SMALL = controversial.Pairing(
    "c1",
    controversial.Party("HMAX C1", "hmax", ("c1/band1",)),
    controversial.Party("VGG pool1", "objects-vgg", ("pool1",)),
    side=32,
)
ROWS = [
    ("HMAX C1", "HMAX C1", 0.01, 1.0),
    ("VGG pool1", "HMAX C1", 10.0, 1.0),
    ("HMAX C1", "V1", 0.3, 0.3),
    ("VGG pool1", "V1", 0.2, 0.02),
]


def test_a_judge_sides_with_whom_it_finds_the_same_pictures_far() -> None:
    columns = ["held", "judge", "distance", "noise"]
    table = pd.DataFrame(ROWS, columns=columns).assign(pairing="c1", picture="p")
    side = controversial.sides(table).set_index("judge")["side"]
    assert side["HMAX C1"] == pytest.approx(-3, abs=1e-3)
    assert side["V1"] == pytest.approx(-1, abs=1e-3)


def test_what_did_not_change_is_on_no_side() -> None:
    columns = ["held", "judge", "distance", "noise"]
    rows = [("HMAX C1", "V1", 0.0, 0.0), ("VGG pool1", "V1", 0.0, 0.0)]
    table = pd.DataFrame(rows, columns=columns).assign(pairing="c1", picture="p")
    assert controversial.sides(table)["side"].tolist() == [0.0]


def test_a_small_run_holds_the_one_and_drives_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controversial, "PAIRINGS", (SMALL,))
    judges = {name: controversial.JUDGES[name] for name in ("pixels", "untrained VGG")}
    monkeypatch.setattr(controversial, "JUDGES", judges)
    output = tmp_path / "controversial"
    command = ["script", "--quick", "--evaluations", "15", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", [*command, "--output", str(output)])
    controversial.main()
    table = pd.read_csv(output / "distances.csv").set_index(["picture", "held", "judge"])
    assert len(table) == 2 * 2 * 4
    pixels = table.xs("pixels", level="judge")
    assert pixels["distance"].tolist() == pytest.approx(pixels["noise"].tolist(), rel=1e-3)
    distance = table["distance"].unstack("held")
    assert (distance["HMAX C1"] < distance["VGG pool1"]).xs("HMAX C1", level="judge").all()
    assert (distance["VGG pool1"] < distance["HMAX C1"]).xs("VGG pool1", level="judge").all()
    names = pd.read_csv(output / "names.csv", keep_default_na=False)
    originals = names[(names["held"] == "") & (names["category"] != "")]
    assert (originals["named"] == originals["category"]).all()
    shows = json.loads((output / "findings.json").read_text())["shows"]
    assert "HMAX C1 against VGG pool1" in shows
    assert (output / "pictures_c1.png").exists()
    # A second run finds the pictures of the first.
    monkeypatch.delattr(cp, "controversial")
    controversial.main()


def test_pictures_are_as_files_hold_them() -> None:
    image = torch.rand((1, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    rounded = 255 * controversial.in_8_bits(image)
    torch.testing.assert_close(rounded, rounded.round())
