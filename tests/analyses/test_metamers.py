"""The study of metamers: distances and differences by hand, and a small run."""

import sys
from pathlib import Path

import pandas as pd
import pytest

import cnnperception as cp
from analyses import metamers
from cnnperception.synthesis import noise_like

TABLE = pd.DataFrame(
    [
        ("a", "a", 0.1),
        ("a", "b", 0.5),
        ("a", "pixels", 0.9),
        ("b", "a", 0.2),
        ("b", "b", 0.3),
        ("b", "pixels", 0.9),
    ],
    columns=["made by", "judged by", "distance"],
).assign(seed=0)


def test_distances_are_relative_to_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metamers, "SIDE", 48)
    image = metamers.picture("chelsea", 48)
    noise = noise_like(image, (48, 48), 3).clamp(0, 1)
    middle = (image + noise) / 2
    maker = metamers.Maker("pixels", "pixels", side=48)
    model = cp.load_model("pixels", device="cpu")
    found = metamers.distances(model, maker, "chelsea", 3, [image, middle, noise])
    assert found == pytest.approx([0, 0.5, 1], abs=1e-6)


def test_other_models_judge_apart_from_the_maker() -> None:
    table = pd.concat([TABLE.assign(picture="p"), TABLE.assign(picture="q")])
    whose = metamers.by_whom(table).groupby(["made by", "judge"])["distance"].mean()
    assert whose["a", "itself"] == pytest.approx(0.1)
    assert whose["a", "the other models"] == pytest.approx(0.5)  # pixels are no model
    apart = metamers.differences(table).set_index(["made by", "judged by"])["distance"]
    assert apart["a", "b"] == pytest.approx(0.4)
    assert apart["b", "a"] == pytest.approx(-0.1)
    assert len(apart) == 2


def test_a_small_run_brings_metamers_nearer_for_their_makers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unsaved_figures: dict
) -> None:
    makers = {
        "V1": metamers.Maker("v1", "scale2", side=32),
        "VGG pool4, untrained": metamers.Maker("objects-vgg:none", "pool2", side=32),
        "VGG pool4, trained": metamers.Maker("objects-vgg", "pool2", side=32),
    }
    monkeypatch.setattr(metamers, "MAKERS", makers)
    monkeypatch.setattr(metamers, "SIDE", 32)
    monkeypatch.setattr(metamers, "PIXELS", {"pixels": metamers.Maker("pixels", "pixels", side=32)})
    output = tmp_path / "metamers"
    argv = ["script", "--quick", "--evaluations", "20", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", argv)
    metamers.main()
    table = pd.read_csv(output / "distances.csv")
    assert len(table) == 3 * 4 * 3
    own = table[table["made by"] == table["judged by"]].groupby("made by")["distance"].mean()
    assert (own < 0.8).all()
    assert set(unsaved_figures) == {"gallery", "judges", "own_and_others"}
    monkeypatch.delattr(cp, "metamer")
    monkeypatch.setattr(metamers, "draw", lambda *_: None)
    metamers.main()
