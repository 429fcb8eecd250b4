"""What is compared is told apart by name, and has the layers and stimuli that were asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cnnperception as cp
from cnnperception import compared


def stimuli(count: int = 4) -> cp.StimulusSet:
    rng = np.random.default_rng(0)
    pictures = rng.random((count, 16, 16, 3)).astype(np.float32)
    return cp.StimulusSet.from_arrays(pictures, ids=[f"picture{i}" for i in range(count)])


def store(path: Path, layers: str = "c1/band[12]", count: int = 4) -> compared.Stored:
    model = cp.load_model("hmax", device="cpu")
    cp.extract(model, stimuli(count), layers, size=64, readout="mean", store=path)
    return compared.Stored.opened(path)


def test_names_that_differ_stay() -> None:
    assert compared.distinct([("a", "1 a"), ("b", "2 b")]) == ["a", "b"]
    assert compared.distinct([]) == []


def test_things_of_the_same_name_take_their_next_one_and_at_last_a_number() -> None:
    assert compared.distinct([("a", "1 a"), ("b", "1 b"), ("a", "2 a")]) == ["1 a", "b", "2 a"]
    assert compared.distinct([("a",), ("a", "2 a")]) == ["a", "2 a"]
    same = ("a", "1 a")
    assert compared.distinct([same, same, same]) == ["1 a", "1 a (2)", "1 a (3)"]


def test_a_number_never_makes_a_name_that_another_has() -> None:
    assert compared.distinct([("a",), ("a",), ("a (2)",)]) == ["a", "a (3)", "a (2)"]


def test_file_names_hold_nothing_odd_and_differ() -> None:
    names = ["hmax (b)", "hmax c2/8", "human IT", "a:b", "a b"]
    assert compared.file_names(names) == ["hmax_b", "hmax_c2-8", "human_IT", "a_b", "a_b (2)"]


def test_models_and_stores_of_one_name_are_told_apart(tmp_path: Path) -> None:
    one, two = store(tmp_path / "x" / "one.zarr"), store(tmp_path / "x" / "two.zarr")
    also_one = store(tmp_path / "y" / "one.nc")
    hmax, pixels = cp.load_model("hmax", device="cpu"), cp.load_model("pixels", device="cpu")
    assert compared.names_of([pixels], [one]) == ["pixels", "hmax"]
    assert compared.names_of([pixels, pixels], []) == ["pixels", "pixels (2)"]
    assert compared.names_of([hmax], [one]) == ["hmax", "hmax (one)"]
    assert compared.names_of([], [one, two]) == ["hmax (one)", "hmax (two)"]
    assert compared.names_of([], [one, also_one]) == ["hmax (x/one)", "hmax (y/one)"]


def test_layers_of_a_store_are_chosen_by_names_groups_and_patterns(tmp_path: Path) -> None:
    stored = store(tmp_path / "one.zarr")
    pixels = cp.load_model("pixels", device="cpu")
    assert compared.layers_of(stored, None, [stored]) is None
    assert compared.layers_of(stored, "c1/band2", [stored]) == ["c1/band2"]
    assert compared.layers_of(stored, ["c1"], [stored]) == ["c1/band1", "c1/band2"]
    assert compared.layers_of(stored, ["c1/*1", "pixels"], [pixels, stored]) == ["c1/band1"]
    assert compared.layers_of(pixels, ["c1/*1", "pixels"], [pixels, stored]) == ["pixels"]
    # Those of the others say nothing of a store: it has what it was made with.
    assert compared.layers_of(stored, "pixels", [pixels, stored]) is None


def test_layers_that_nothing_has_are_refused(tmp_path: Path) -> None:
    stored = store(tmp_path / "one.zarr")
    pixels = cp.load_model("pixels", device="cpu")
    with pytest.raises(ValueError, match="layer 'c2' is not in hmax; its layers are c1/band1, c1"):
        compared.layers_of(stored, ["c1/band1", "c2"], [stored, pixels])
    with pytest.raises(ValueError, match="none of the layers c1 is in pixels"):
        compared.layers_of(pixels, "c1", [stored, pixels])
    with pytest.raises(ValueError, match="no layers were given"):
        compared.layers_of(stored, [], [stored])


def test_a_store_of_other_stimuli_is_refused_with_their_ids(tmp_path: Path) -> None:
    stored = store(tmp_path / "one.zarr")
    compared.check_stimuli(stored, stimuli(5))
    with pytest.raises(ValueError, match=r"one.zarr .*'picture2', 'picture3'; give"):
        compared.check_stimuli(stored, stimuli()[:2])
    with pytest.raises(ValueError, match=r"'picture2' and 1 more; give"):
        compared.check_stimuli(stored, cp.StimulusSet.from_arrays(np.zeros((1, 8, 8, 3))))


def test_stimuli_are_put_in_the_order_of_ids() -> None:
    ordered = compared.in_order(stimuli(), ["picture3", "picture0"])
    assert ordered.ids == ["picture3", "picture0"]
    assert np.array_equal(ordered.sources[0], stimuli().sources[3])
