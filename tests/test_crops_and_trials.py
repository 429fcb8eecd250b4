"""Crops of a stimulus set, and the trials of an oddity task."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from cnnperception import images
from cnnperception.cli import app
from cnnperception.stimulus_sets import make_stimulus_set
from cnnperception.stimulus_sets.crops import crop_places, oddity_trials

CONFIG = {
    "exemplars": ["brick", "gravel"],
    "size": 64,
    "seeds": [0, 1],
    "baselines": ["exemplar", "phase-randomised", "pixel-shuffled"],
    "models": [],
    "crops": {"size": 20, "per_image": 5, "luminance": 0.4, "contrast": "exemplar"},
    "trials": {"repeats": 3, "seed": 1},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    make_stimulus_set(CONFIG, folder, device="cpu")
    return folder


def test_a_crop_is_the_part_of_its_picture_that_the_table_says(made: Path, tmp_path: Path) -> None:
    crops = pd.read_csv(made / "crops.csv")
    assert len(crops) == 10 * 5
    exemplar = images.luminance(images.read(made / "brick_exemplar.png"))
    for row in crops[crops["exemplar"] == "brick"].itertuples():
        crop, picture = images.read(made / row.file), images.read(made / row.parent)
        part = picture[..., row.top : row.top + 20, row.left : row.left + 20]
        both = torch.stack([images.luminance(x).flatten() for x in (crop, part)])
        assert torch.corrcoef(both)[0, 1] > 0.98  # some values are clipped
        luminance = images.luminance(crop)
        assert row.mean_luminance == pytest.approx(float(luminance.mean()), abs=1e-5)
        assert row.rms_contrast == pytest.approx(float(luminance.std(correction=0)), abs=1e-5)
        if row.clipped == 0:
            assert row.mean_luminance == pytest.approx(0.4, abs=2e-3)
            assert row.rms_contrast == pytest.approx(float(exemplar.std(correction=0)), abs=2e-3)
        else:
            assert row.largest_clip > 0
    assert (crops["clipped"] == 0).any()
    # Without an adjustment a crop has the very pixels of its picture.
    plain = {name: CONFIG[name] for name in ("exemplars", "size", "models")}
    plain |= {"crops": {"size": 32}, "baselines": ["exemplar"]}
    make_stimulus_set(plain, tmp_path, device="cpu")
    first = pd.read_csv(tmp_path / "crops.csv").iloc[-1]
    part = images.read(tmp_path / first["parent"])[..., 32:, 32:]
    assert (first["top"], first["left"]) == (32, 32)
    assert torch.equal(images.read(tmp_path / first["file"]), part)


def test_crops_on_a_grid_do_not_overlap_and_random_ones_differ() -> None:
    settings = {"size": 20, "per_image": 7, "places": "grid", "seed": 0}
    places = crop_places(64, settings)
    assert len(set(places)) == 7
    for (top, left), (other_top, other_left) in itertools.combinations(places, 2):
        assert abs(top - other_top) >= 20 or abs(left - other_left) >= 20
    assert places == crop_places(64, settings)
    assert places != crop_places(64, {**settings, "seed": 1})
    assert crop_places(30, {**settings, "per_image": 1}) == [(5, 5)]
    anywhere = crop_places(22, {**settings, "places": "random", "per_image": 9})
    assert sorted(anywhere) == list(itertools.product(range(3), repeat=2))


def test_a_trial_shows_two_crops_of_one_picture_and_an_odd_one(made: Path) -> None:
    trials = pd.read_csv(made / "trials.csv")
    crops = pd.read_csv(made / "crops.csv").set_index("file")
    # Each of 2 exemplars with 2 conditions of 2 seeds, either being odd, three times.
    assert len(trials) == 2 * 2 * 2 * 2 * 3
    assert trials["trial"].tolist() == list(range(1, len(trials) + 1))
    for row in trials.to_dict(orient="records"):
        shown = [crops.loc[row[f"image{number}"]] for number in (1, 2, 3)]
        odd = shown.pop(row["odd_position"] - 1)
        assert odd["parent"] == row["different"]
        assert [crop["parent"] for crop in shown] == [row["same"]] * 2
        assert odd["condition"] == row["odd"] != shown[0]["condition"]
        assert {row["standard"], row["comparison"]} == {odd["condition"], shown[0]["condition"]}
        assert {crop["exemplar"] for crop in (odd, *shown)} == {row["exemplar"]}
        assert len({crop["crop"] for crop in (odd, *shown)}) == 3
        assert (made / row["image1"]).exists()


def test_positions_and_conditions_of_the_odd_crop_are_balanced(made: Path) -> None:
    trials = pd.read_csv(made / "trials.csv")
    assert trials["standard"].eq("exemplar").all()
    # Three trials of each pair of pictures in each direction: the odd one once at each place.
    for _, its in trials.groupby(["same", "different"]):
        assert sorted(its["odd_position"]) == [1, 2, 3]
    assert trials.groupby("comparison")["odd"].value_counts().nunique() == 1
    # The order tells nothing: neither conditions nor positions come in a row.
    assert trials["comparison"].nunique() == 2
    assert (trials["comparison"].to_numpy()[1:] != trials["comparison"].to_numpy()[:-1]).sum() > 10
    crops = pd.read_csv(made / "crops.csv")
    settings = {"standard": "exemplar", "repeats": 1, "seed": 1}
    few = oddity_trials(crops, settings)
    counts = np.bincount(few["odd_position"], minlength=4)[1:]
    assert counts.max() - counts.min() <= 1
    pd.testing.assert_frame_equal(few, oddity_trials(crops, settings))
    assert not few["image1"].equals(oddity_trials(crops, {**settings, "seed": 2})["image1"])


def test_any_condition_can_be_the_standard(made: Path) -> None:
    crops = pd.read_csv(made / "crops.csv")
    trials = oddity_trials(crops, {"standard": "pixel-shuffled", "repeats": 1, "seed": 0})
    pairs = trials[trials["comparison"] == "phase-randomised"][["same", "different"]]
    # Of the same seed.
    assert pairs["same"].str[-5].tolist() == pairs["different"].str[-5].tolist()
    assert set(trials["comparison"]) == {"exemplar", "phase-randomised"}


def test_what_is_there_is_not_cut_again_and_a_crop_without_contrast_is_named(
    made: Path, tmp_path: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (made / "crops").iterdir()}
    make_stimulus_set({**CONFIG, "trials": {"seed": 5}}, made, device="cpu")
    assert {path: path.stat().st_mtime_ns for path in (made / "crops").iterdir()} == before
    changed = {**CONFIG, "crops": {"size": 20, "per_image": 5}}
    with pytest.raises(ValueError, match="crop1.png is there, and made with other settings"):
        make_stimulus_set(changed, made, device="cpu")
    images.write(tmp_path / "flat.png", torch.full((3, 64, 64), 0.5))
    flat = {"exemplars": [str(tmp_path / "flat.png")], "baselines": ["exemplar"], "models": []}
    flat |= {"size": 64, "crops": {"size": 20, "contrast": 0.1}}
    with pytest.raises(ValueError, match="crop 1 of flat_exemplar.png: a uniform image cannot"):
        make_stimulus_set(flat, tmp_path / "out", device="cpu")


def test_a_crop_that_was_changed_is_refused(tmp_path: Path) -> None:
    config = {"exemplars": ["brick"], "size": 32, "models": [], "baselines": ["exemplar"]}
    config |= {"crops": {"size": 16}}
    make_stimulus_set(config, tmp_path, device="cpu")
    path = tmp_path / "crops" / "brick_exemplar_crop2.png"
    images.write(path, images.read(path).flip(-1), images.read_provenance(path))
    with pytest.raises(ValueError, match="crop2.png was changed"):
        make_stimulus_set(config, tmp_path, device="cpu")


PLAIN = """
exemplars = ["brick"]
size = 32
models = []
baselines = ["exemplar", "pixel-shuffled"]
"""
CROPS = "[crops]\nsize = 8\nper_image = 3\n"


def test_tables_that_a_set_has_no_more_are_refused_and_not_listed(tmp_path: Path) -> None:
    config, out = tmp_path / "set.toml", tmp_path / "out"

    def run(text: str) -> tuple[int, str]:
        config.write_text(text)
        command = ["stimuli", str(config), "-o", str(out), "--device", "cpu", "-q"]
        found = CliRunner().invoke(app, command)
        return found.exit_code, "".join(found.output.splitlines())

    code, told = run(f"{PLAIN}{CROPS}[trials]")
    assert code == 0
    assert "crops.csv" in told
    assert "trials.csv" in told
    kept = (out / "trials.csv").read_bytes()
    for text, name in ((PLAIN + CROPS, "trials"), (PLAIN, "crops")):
        code, told = run(text)
        assert code == 1
        assert f"{name}.csv is there, and this set has no {name}" in told
        assert (out / "trials.csv").read_bytes() == kept
    for name in ("crops.csv", "trials.csv"):
        (out / name).rename(tmp_path / name)
    code, told = run(PLAIN)
    assert code == 0
    assert "stimuli.csv" in told
    assert "crops.csv" not in told
    assert "trials.csv" not in told
