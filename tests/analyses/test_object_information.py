"""The study of Gram matrices: chance where there is nothing, and a small run from end to end."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cnnperception as cp
from analyses import object_information
from cnnperception.objects import CATEGORIES


def _labelled(random: np.random.Generator) -> tuple[np.ndarray, pd.DataFrame, np.ndarray]:
    """Return patterns that tell 16 categories, the table of their stimuli, and those held out."""
    categories = np.repeat(list(CATEGORIES), 36)
    objects = [f"{name}-{place // 2}" for place, name in enumerate(categories)]
    centres = random.normal(size=(len(CATEGORIES), 40))
    units = centres[np.repeat(np.arange(16), 36)] + 0.3 * random.normal(size=(576, 40))
    held = np.tile(np.arange(36) >= 24, 16)
    return units, pd.DataFrame({"category": categories, "object": objects}), held


def test_what_units_tell_is_found_and_shuffled_labels_are_at_chance() -> None:
    random = np.random.default_rng(0)
    units, table, held = _labelled(random)
    told = object_information.named({"layer": units}, table, held, 0)
    assert (told["taken_for"] == told["category"]).mean() > 0.95
    assert len(told) == held.sum()
    # Pairs of views keep one label; all are as often there as before, on either side.
    shuffled = table.copy()
    for side in (held, ~held):
        pairs = table["category"][side].to_numpy().reshape(-1, 2)
        shuffled.loc[side, "category"] = random.permutation(pairs).reshape(-1)
    chance = object_information.named({"layer": units}, shuffled, held, 0)
    share = (chance["taken_for"] == chance["category"]).mean()
    # Three standard deviations of 96 pairs, were both of a pair always named alike.
    assert abs(share - 1 / 16) < 3 * np.sqrt(1 / 16 * 15 / 16 / 96)


def test_a_difference_of_a_reading_from_itself_is_exactly_nothing() -> None:
    told = object_information.named({"layer": _labelled(np.random.default_rng(1))[0]}, *_rest(), 0)
    rows = [told.assign(model="m", read=read) for read in ("a", "b")]
    answers = pd.concat(rows).assign(correct=lambda t: t["taken_for"] == t["category"])
    chosen = {"model": "m", "read": "a", "layer": "layer"}
    text = object_information.difference(answers, chosen, {"read": "b"}, 0)
    assert text == "+0.0 [+0.0, +0.0]"


def _rest() -> tuple[pd.DataFrame, np.ndarray]:
    _, table, held = _labelled(np.random.default_rng(1))
    return table, held


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    layers = {name: [name] for name in ("pool1", "pool4")}
    networks = {"VGG, trained": "objects-vgg", "VGG, untrained": "objects-vgg:none"}
    models = {name: (spec, layers, 32) for name, spec in networks.items()}
    monkeypatch.setattr(object_information, "MODELS", models)
    monkeypatch.setattr(object_information, "QUICK", tuple(models))
    monkeypatch.setattr(object_information, "POOLS", layers)
    monkeypatch.setattr(object_information, "BACKGROUNDS", {"blank": "on a uniform background"})
    monkeypatch.setattr(object_information, "SIDE", 32)
    output = tmp_path / "object_information"
    monkeypatch.setattr(
        sys, "argv", ["script", "--quick", "--images", "144", "--output", str(output)]
    )
    return output


def test_a_small_run_reads_gram_matrices_and_is_not_computed_twice(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_information.main()
    table = pd.read_csv(small / "accuracy.csv").set_index(["model", "layer", "read"])
    deepest = table.loc[("VGG, trained", "pool4", "Gram matrix")]
    assert deepest["lower"] > object_information.CHANCE
    assert deepest["units"] == 192 * 193 / 2
    assert deepest["accuracy"] > table.loc[("VGG, trained", "pool1", "Gram matrix"), "accuracy"]
    assert (table["lower"] <= table["accuracy"]).all()
    assert (table["accuracy"] <= table["upper"]).all()
    record = json.loads((small / "findings.json").read_text(encoding="utf-8"))
    assert "Chance is 6.2%" in record["shows"]
    for figure in record["figures"]:
        assert (small / figure["file"]).with_suffix(".pdf").exists()

    def computed(*args: object, **kwargs: object) -> None:
        raise AssertionError("a step that was remembered is computed again")

    monkeypatch.setattr(cp, "extract", computed)
    object_information.main()


def test_a_layer_without_positions_is_read_by_its_features_alone() -> None:
    stimuli, held = object_information.pictures("blank", 48, 0)
    assert held.sum() == 16
    layers = {"map": ["c1/band1"], "vector": ["c2/4"]}
    found = {
        read: object_information.patterns("hmax", layers, 64, stimuli[:2], read, "cpu")
        for read in ("gram", "mean", "projection")
    }
    assert {read: list(values) for read, values in found.items()} == {
        "gram": ["map"],
        "mean": ["map"],
        "projection": ["map", "vector"],
    }
    assert found["gram"]["map"].shape == (2, 4 * 5 / 2)


def test_no_object_is_both_learnt_from_and_tested() -> None:
    stimuli, held = object_information.pictures("blank", 96, 0)
    objects = stimuli.table["object"]
    assert not set(objects[held]) & set(objects[~held])


def test_more_models_have_the_layers_they_recommend() -> None:
    chosen = argparse.Namespace(quick=True, model=["random-filters"])
    spec, layers, _ = object_information.models(chosen)["random-filters"]
    assert spec == "random-filters"
    assert list(layers) == [f"scale{n}" for n in range(1, 6)]
