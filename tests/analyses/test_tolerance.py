"""The study of tolerance: half-widths of known curves, and a small run from end to end."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analyses import tolerance
from cnnperception.objects import CATEGORIES

CHANCE = 1 / len(CATEGORIES)


def _width(*curves: list[float]) -> dict[str, float | bool]:
    return tolerance.half_width(np.array([0.0, 1.0, 2.0]), np.array(curves))


def test_the_half_width_of_a_straight_line_is_where_it_crosses_half_way() -> None:
    start = CHANCE + 0.8
    line = [start, start - 0.3, start - 0.6]  # half-way is 0.4 below the start
    found = _width(line, line, line)
    assert found["width"] == pytest.approx(4 / 3)
    assert found["lower"] == found["upper"] == found["width"]
    assert not found["beyond"]


def test_a_curve_that_stays_above_half_way_has_its_half_width_beyond() -> None:
    stays, falls = [0.9, 0.9, 0.8], [0.9, 0.3, 0.1]
    found = _width(stays, *[falls] * 20, *[stays] * 20)
    assert found["beyond"]
    assert found["width"] == found["upper"] == 2
    assert 0 < found["lower"] < 1


def test_at_chance_there_is_no_half_width() -> None:
    assert np.isnan(_width([CHANCE, 0.0, 0.0], [0.5, 0.1, 0.1])["width"])


def test_responses_are_like_themselves_and_not_like_others() -> None:
    random = np.random.default_rng(0)
    reference = random.normal(size=(200, 50))
    shown = pd.DataFrame(
        {
            "variable": [tolerance.REFERENCE] * 200 + ["same"] * 200 + ["other"] * 200,
            "number": np.tile(np.arange(200), 3),
        }
    )
    units = np.concatenate([reference, reference, random.permutation(reference)])
    found = tolerance.similarities(units, shown)
    np.testing.assert_allclose(found[:400], 1)
    assert abs(found[400:].mean()) < 0.05


def test_every_category_goes_both_ways_as_often() -> None:
    sets = list(tolerance.both_ways(tolerance.POSITION, 0.2, 64, 0))
    for stimuli, way in zip(sets, (1, -1), strict=True):
        assert stimuli.table["category"].value_counts().eq(2).all()
        np.testing.assert_allclose(stimuli.table["x"], way * 0.2)
    numbers = pd.concat([stimuli.table["number"] for stimuli in sets])
    assert sorted(numbers) == list(range(64))


def test_weights_of_resamples_are_of_whole_objects() -> None:
    weights = tolerance.resampled(pd.Index(["a", "b", "a", "c"]), 0)
    np.testing.assert_allclose(weights[0], 0.25)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert (weights[:, 0] == weights[:, 2]).all()


def test_a_small_run_shows_that_pixels_tolerate_no_shift(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tolerance, "SIDE", 32)
    monkeypatch.setattr(tolerance, "QUICK", ("pixels", "VGG, trained"))
    networks = {"VGG trained, average": ["average"], "VGG trained, pool1": ["pool1"]}
    monkeypatch.setattr(
        tolerance,
        "MODELS",
        {
            "pixels": ("pixels", {"pixels": ["pixels"]}, 32),
            "VGG, trained": ("objects-vgg", networks, 32),
        },
    )
    amounts = {tolerance.POSITION: (0.3, 0.5), tolerance.CLUTTER: (1.0,)}
    monkeypatch.setattr(tolerance, "AMOUNTS", amounts)
    monkeypatch.setattr(tolerance, "numbers", lambda settings: (160, 48, 1))
    output = tmp_path / "tolerance"
    monkeypatch.setattr(sys, "argv", ["script", "--quick", "--output", str(output)])
    tolerance.main()
    curves = pd.read_csv(output / "curves.csv")
    reference = curves[curves["displacement"] == 0]
    np.testing.assert_allclose(reference["similarity"], 1)
    widths = pd.read_csv(output / "half_widths.csv").set_index(["layer", "variable"])
    pixels = widths.loc[("pixels", tolerance.POSITION)]
    trained = widths.loc[("VGG trained, average", tolerance.POSITION)]
    assert pixels["upper"] < 0.5
    assert pixels["upper"] < trained["width"]
    assert (widths["lower"] <= widths["width"]).all()
    assert (output / "half_widths.pdf").exists()
