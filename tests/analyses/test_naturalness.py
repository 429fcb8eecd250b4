"""The study of naturalness: the index, its controls, and a small run from end to end."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import cnnperception as cp
from analyses import naturalness


def test_the_index_is_of_the_difference_relative_to_the_sum() -> None:
    response = np.array([1.0, 2.0, 0.0])
    assert naturalness.modulation(response, response) == 0
    assert naturalness.modulation(3 * response, response) == pytest.approx(0.5)
    assert naturalness.modulation(response, 3 * response) == pytest.approx(-0.5)
    # A channel that responds to neither does not count; one that responds to one alone does.
    assert naturalness.modulation(np.array([0.0, 1.0]), np.array([0.0, 0.0])) == 1
    assert np.isnan(naturalness.modulation(np.zeros(2), np.zeros(2)))


def test_an_interval_over_families_is_student_s() -> None:
    found = naturalness.over_families(pd.Series([1.0, 2.0, 3.0]))
    # t of 2 degrees of freedom is 4.3027 at 97.5 %; the standard error 1 / sqrt(3).
    assert found["lower"] == pytest.approx(2 - 4.30265 / 3**0.5, abs=1e-4)
    assert found["upper"] == pytest.approx(2 + 4.30265 / 3**0.5, abs=1e-4)


def test_noise_has_the_spectrum_mean_and_contrast_of_its_texture(tmp_path: Path) -> None:
    file = tmp_path / "brick.png"
    cp.images.write(file, naturalness.grey(cp.exemplar("brick", size=(64, 64))))
    made = pd.DataFrame([{"family": "brick", "kind": "photograph", "sample": 0, "file": file}])
    shown, clipped = naturalness.stimuli(made, 0)
    assert clipped < 0.01
    pictures = shown.batch(range(3))
    texture, noise, other = cp.images.luminance(pictures)[:, 0]
    for picture in (texture, noise, other):
        assert picture.mean().item() == pytest.approx(naturalness.MEAN, abs=1e-3)
        assert picture.std(correction=0).item() == pytest.approx(naturalness.CONTRAST, abs=1e-3)
    spectra = [torch.fft.fft2(picture - picture.mean()).abs() for picture in (texture, noise)]
    assert (spectra[0] - spectra[1]).norm() < 0.05 * spectra[0].norm()
    assert (noise - other).abs().mean() > 0.05


def test_a_small_run_finds_no_index_of_noise_against_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naturalness, "SIDE", 64)
    monkeypatch.setattr(naturalness, "EXEMPLAR", 144)
    monkeypatch.setattr(
        naturalness,
        "MODELS",
        {
            "V1": ("v1", {"scale1": ["scale1"], "scale2": ["scale2"]}),
            "VGG, trained": ("objects-vgg", {"pool1": ["pool1"], "pool3": ["pool3"]}),
        },
    )
    output = tmp_path / "naturalness"
    argv = ["script", "--quick", "--evaluations", "4", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", argv)
    naturalness.main()
    table = pd.read_csv(output / "indices.csv")
    control = table[table["kind"] == naturalness.CONTROL]
    assert (control[naturalness.INDEX].abs() < 0.02).all()
    assert ((control["lower"] <= 0) & (control["upper"] >= 0)).mean() >= 0.75
    assert table[naturalness.INDEX].between(-1, 1).all()
    made = sorted((tmp_path / ".cache").rglob("*.png"))
    assert len(made) == 3 * 2

    def again(*args: object, **kwargs: object) -> None:
        raise AssertionError("a texture that is there is made again")

    monkeypatch.setattr(cp, "texture", again)
    naturalness.main()
    assert pd.read_csv(output / "indices.csv").equals(table)


def test_a_folder_with_one_picture_is_refused(tmp_path: Path) -> None:
    cp.images.write(tmp_path / "one.png", torch.rand(3, 80, 80))
    chosen = type("Settings", (), {"folder": tmp_path, "quick": True})
    with pytest.raises(ValueError, match="two families"):
        naturalness.exemplars(chosen)
