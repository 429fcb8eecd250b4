"""The study of IT: references and ceilings by hand, and a run on data made here."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import cnnperception as cp
from analyses import it_geometry

COUNT = 24


def _data(subjects: int = 3) -> tuple[cp.StimulusSet, xr.DataArray]:
    """Return images, half of them animate, and RDMs of subjects who see their pixels."""
    random = np.random.default_rng(0)
    pictures = random.random((COUNT, 32, 32, 3))
    kinds = {"category": ["body", "face", "fruit", "tool"] * (COUNT // 4)}
    table = pd.DataFrame(kinds).assign(
        animate=lambda t: t["category"].isin(["body", "face"]),
        face=lambda t: t["category"] == "face",
    )
    stimuli = cp.StimulusSet.from_arrays(pictures, table=table)
    pixels = cp.rsa.rdm(pictures.reshape(COUNT, -1), stimulus_ids=stimuli.ids)
    names = ["human IT", "monkey IT", *(f"human IT subject {n + 1}" for n in range(subjects))]
    noise = pixels.std().item() * random.normal(size=(len(names), pixels.size))
    rdms = cp.rsa.concat({name: pixels + extra for name, extra in zip(names, noise, strict=True)})
    labels = ["", "", *(f"subject {n + 1}" for n in range(subjects))]
    return stimuli, rdms.assign_coords(subject=("rdm", labels))


def test_references_say_which_pairs_are_of_different_kinds() -> None:
    stimuli, _ = _data()
    animate, face, categories = it_geometry.references(stimuli)
    kinds = np.array(stimuli.table["category"])
    alive = np.isin(kinds, ["body", "face"])
    np.testing.assert_array_equal(cp.rsa.square(animate)[0], alive[:, None] != alive)
    np.testing.assert_array_equal(
        cp.rsa.square(face)[0], (kinds == "face")[:, None] != (kinds == "face")
    )
    np.testing.assert_array_equal(cp.rsa.square(categories)[0], kinds[:, None] != kinds)


def test_subjects_against_the_others_are_the_noise_ceiling() -> None:
    _, data = _data()
    subjects, monkey = data[2:], data[1].drop_vars(["rdm", "subject"])
    found = it_geometry.single_subjects({}, monkey, subjects)
    result = cp.rsa.evaluate({"monkey IT": monkey}, subjects, it_geometry.METHOD, bootstrap=None)
    assert found["other subjects"].mean() == pytest.approx(float(result["ceiling_lower"]))
    assert found["all subjects"].mean() == pytest.approx(float(result["ceiling_upper"]))
    assert found["monkey IT"].mean() == pytest.approx(float(result["similarity"][0]))


def test_a_run_finds_the_model_that_the_data_were_made_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unsaved_figures: dict
) -> None:
    monkeypatch.setattr(cp.datasets, "load_92images", lambda folder: _data())
    models = {
        "VGG, trained": ("pixels", ["pixels"], 32),
        "HMAX": ("v1", ["scale1", "scale2"], 32),
    }
    monkeypatch.setattr(it_geometry, "MODELS", models)
    output = tmp_path / "it_geometry"
    argv = ["script", "--quick", "--n-boot", "20", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", argv)
    it_geometry.main()
    table = pd.read_csv(output / "models.csv").set_index("model")
    assert table["similarity"].idxmax() == "VGG, trained"
    assert table.loc["VGG, trained", "lower"] > table.loc["HMAX", "upper"]
    assert table.loc["VGG, trained", "p_zero_fdr"] < 0.001
    layers = pd.read_csv(output / "layers.csv")
    assert set(layers["data"]) == {"human IT", "monkey IT"}
    assert set(unsaved_figures) == {"models", "layers_human", "layers_monkey", "subjects", "rdms"}

    def again(*args: object, **kwargs: object) -> None:
        raise AssertionError("activations that are known are computed again")

    monkeypatch.setattr(cp, "extract", again)
    monkeypatch.setattr(it_geometry, "draw", lambda *_: None)
    monkeypatch.setattr(it_geometry, "draw_rdms", lambda *_: None)
    it_geometry.main()


def test_missing_data_are_named_with_the_option_that_gives_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["script", "--data", str(tmp_path), "--output", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit, match=r"supplementalData.mat does not exist.*\n.*--data"):
        it_geometry.main()
    monkeypatch.setattr(cp.datasets, "load_92images", lambda folder: _data(subjects=0))
    with pytest.raises(SystemExit, match="92_brainRDMs.mat, from https.*--data"):
        it_geometry.main()
