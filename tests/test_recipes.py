"""The verbs in their usual order: models and stored activations compared, and reported on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import cnnperception as cp
from cnnperception import recipes, rsa

IDS = [f"{kind}{number}" for kind in ("cat", "dog") for number in range(3)]


def make_stimuli() -> cp.StimulusSet:
    rng = np.random.default_rng(0)
    pictures = [rng.random((16, 16, 3)).astype(np.float32) for _ in IDS]
    return cp.StimulusSet.from_arrays(
        pictures, ids=IDS, table=pd.DataFrame({"category": [name[:3] for name in IDS]})
    )


def make_data(subjects: list[str]) -> xr.DataArray:
    rng = np.random.default_rng(1)
    rdms = {f"group {n}": rsa.condensed(rng.random(15), IDS) for n in range(len(subjects))}
    return rsa.concat(rdms).assign_coords(subject=("rdm", subjects))


def store(path: Path, stimuli: cp.StimulusSet, seed: int = 0) -> Path:
    model = cp.load_model("random-filters", seed=seed, device="cpu")
    cp.extract(model, stimuli, ["scale1", "scale2"], size=32, readout="mean", store=path)
    return path


def layers_in(folder: Path) -> list[tuple[str, str]]:
    table = pd.read_csv(folder / "model_similarity.csv", header=[0, 1], index_col=[0, 1])
    return list(table.index)


def test_pictures_and_categories_follow_the_order_of_a_store(tmp_path, monkeypatch) -> None:
    stimuli = make_stimuli()
    order = [4, 0, 5, 2, 1, 3]
    path = store(tmp_path / "other_order.zarr", stimuli[order])
    shown = {}
    sections = recipes.comparison_sections

    def spied(rdms, chosen, *rest, **options):
        shown.update(rdms=rsa.stimulus_ids(rdms[0]), stimuli=chosen)
        return sections(rdms, chosen, *rest, **options)

    monkeypatch.setattr(recipes, "comparison_sections", spied)
    recipes.run_rsa([], stimuli, tmp_path / "out", activations=[path])
    assert shown["rdms"] == shown["stimuli"].ids == [IDS[place] for place in order]
    assert shown["stimuli"].table["category"].tolist() == [IDS[place][:3] for place in order]
    assert np.array_equal(shown["stimuli"].sources[0], stimuli.sources[4])


def test_a_store_of_stimuli_that_are_not_given_is_refused(tmp_path: Path) -> None:
    stimuli = make_stimuli()
    path = store(tmp_path / "all.zarr", stimuli)
    with pytest.raises(ValueError, match=r"all.zarr holds stimuli .*'dog1', 'dog2'; give"):
        recipes.run_rsa([], stimuli[:4], tmp_path / "out", activations=[path])
    assert not (tmp_path / "out").exists()


def test_stores_of_the_same_model_are_told_apart(tmp_path: Path) -> None:
    stimuli = make_stimuli()
    paths = [store(tmp_path / f"seed{seed}.zarr", stimuli, seed) for seed in (0, 5)]
    recipes.run_rsa(
        [],
        stimuli,
        tmp_path / "out",
        activations=paths,
        data=make_data(["anne", "bert"]),
        bootstrap=None,
    )
    names = [f"random-filters (seed{seed})" for seed in (0, 5)]
    layers = [(name, layer) for name in names for layer in ("scale1", "scale2")]
    assert layers_in(tmp_path / "out") == layers
    tested = pd.read_csv(tmp_path / "out" / "evaluation_layers.csv")
    assert tested["model"].tolist() == [f"{name} {layer}" for name, layer in layers]
    drawn = {path.name for path in (tmp_path / "out").glob("rdms_r*.png")}
    assert drawn == {"rdms_random-filters_seed0.png", "rdms_random-filters_seed5.png"}


def test_a_model_given_twice_is_numbered(tmp_path: Path) -> None:
    pixels = cp.load_model("pixels", device="cpu")
    recipes.run_rsa([pixels, pixels], make_stimuli(), tmp_path)
    assert layers_in(tmp_path) == [("pixels", "pixels"), ("pixels (2)", "pixels")]
    assert {"rdms_pixels.png", "rdms_pixels_2.png"} <= {path.name for path in tmp_path.iterdir()}
    kept = rsa.read_rdms(tmp_path / "rdms.nc")
    assert kept["rdm"].to_numpy().tolist() == ["pixels pixels", "pixels (2) pixels"]


def test_layers_are_those_of_stores_too(tmp_path: Path) -> None:
    stimuli = make_stimuli()
    path = store(tmp_path / "filters.zarr", stimuli)
    pixels = cp.load_model("pixels", device="cpu")
    recipes.run_rsa(
        [pixels], stimuli, tmp_path / "out", activations=[path], layers=["pixels", "*2"]
    )
    assert layers_in(tmp_path / "out") == [("pixels", "pixels"), ("random-filters", "scale2")]
    with pytest.raises(ValueError, match="layer 'nonsense' is not in random-filters"):
        recipes.run_rsa([], stimuli, tmp_path / "none", activations=[path], layers="nonsense")


def test_without_single_subjects_nothing_is_tested_and_the_report_says_so(tmp_path: Path) -> None:
    pixels = cp.load_model("pixels", device="cpu")
    with pytest.warns(UserWarning, match="not tested"):
        table, report = recipes.run_rsa(
            [pixels], make_stimuli(), tmp_path, data=make_data(["", ""])
        )
    assert table.columns.tolist() == ["group 0", "group 1"]
    text = report.read_text()
    assert "Tests against subjects" in text
    assert "Models were not tested" in text
    assert not list(tmp_path.glob("evaluation*"))


def test_a_picture_without_contrast_is_left_out_of_maps_alone(tmp_path: Path) -> None:
    stimuli = make_stimuli()
    pictures = [np.full_like(stimuli.sources[0], 0.5), *stimuli.sources[1:]]
    grey = cp.StimulusSet.from_arrays(pictures, ids=IDS)
    with pytest.warns(UserWarning, match="without variance"):
        _, report = recipes.run_rsa(
            [cp.load_model(name, device="cpu") for name in ("pixels", "v1")], grey, tmp_path
        )
    assert "Without cat0, whose dissimilarities to others are undefined" in report.read_text()
