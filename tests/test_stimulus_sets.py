"""Stimulus sets: the grid, the table, the controls, and what survives a kill."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import cnnperception as cp
from cnnperception import images
from cnnperception.cli import app
from cnnperception.files import sha256
from cnnperception.stimulus_sets import make_stimulus_set
from cnnperception.synthesis import baselines

CONFIG = """
exemplars = ["brick", "mine*.png"]
size = 64
seeds = [0, 1]
evaluations = 8
baselines = ["exemplar", "phase-randomised", "pixel-shuffled"]
luminance = 0.5
contrast = 0.1

[[models]]
name = "random-filters"
options = { scales = 2, channels = 12 }
layers = { fine = ["scale1"], both = ["scale*"] }
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "set.toml"
    path.write_text(CONFIG)
    images.write(tmp_path / "mine.png", cp.exemplar("gravel", size=80))
    return path


@pytest.mark.filterwarnings("ignore:the image did not come near")
def test_every_cell_of_the_grid_has_a_picture_and_a_row(config: Path, tmp_path: Path) -> None:
    found = CliRunner().invoke(
        app, ["stimuli", str(config), "-o", str(tmp_path / "out"), "--device", "cpu", "-q"]
    )
    assert found.exit_code == 0, found.output
    table = pd.read_csv(tmp_path / "out" / "stimuli.csv")
    # Two exemplars, each: itself, two controls of two seeds, two layer sets of two seeds.
    assert len(table) == 2 * (1 + 2 * 2 + 2 * 2)
    assert set(table["kind"]) == {"exemplar", "phase-randomised", "pixel-shuffled", "texture"}
    for row in table.itertuples():
        path = tmp_path / "out" / str(row.file)
        assert sha256(path) == row.sha256
        luminance = images.luminance(images.read(path))
        assert float(luminance.mean()) == pytest.approx(row.mean_luminance, abs=1e-5)
        assert float(luminance.std(correction=0)) == pytest.approx(row.rms_contrast, abs=1e-5)
        assert row.mean_luminance == pytest.approx(0.5, abs=0.01)
        assert row.rms_contrast == pytest.approx(0.1, abs=0.01)
        assert images.read_provenance(path)["row"]["seed"] == row.seed
    textures = table[table["kind"] == "texture"]
    assert textures["loss"].notna().all()
    assert textures.loc[textures["layer_set"] == "fine", "loss_scale2"].isna().all()
    assert (tmp_path / "out" / "contact_sheet.png").exists()


@pytest.mark.filterwarnings("ignore:the image did not come near")
def test_a_set_killed_again_and_again_is_completed_and_nothing_is_made_twice(
    config: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-c",
        "from cnnperception.cli import main; main()",
        "stimuli",
        str(config),
        "-o",
        str(out),
        "--device",
        "cpu",
        "-q",
    ]
    moments = random.Random(0)
    made: dict[str, int] = {}
    for _ in range(3):
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
        before = len(list(out.glob("[!.]*.png")))
        while len(list(out.glob("[!.]*.png"))) <= before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        process.kill()
        process.wait()
        for path in out.glob("[!.]*.png"):
            if path.stem != "contact_sheet":
                images.read(path)  # no half of a picture
                assert (
                    made.setdefault(path.name, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
                )
    assert made
    table = make_stimulus_set(config, out, device="cpu")
    for name, moment in made.items():
        assert (out / name).stat().st_mtime_ns == moment
    assert set(table["file"]) == {p.name for p in out.glob("[!.]*.png")} - {"contact_sheet.png"}
    assert [sha256(out / file) for file in table["file"]] == table["sha256"].tolist()
    whole = make_stimulus_set(config, tmp_path / "whole", device="cpu")
    for file in table["file"]:
        one, other = (images.read(folder / file) for folder in (out, tmp_path / "whole"))
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert list(whole["file"]) == list(table["file"])


def test_phase_randomised_noise_has_the_power_spectrum_and_channels_of_its_image() -> None:
    image = cp.exemplar("brick", size=64)
    noise = baselines.phase_randomised(image, seed=3)
    for channel in range(3):
        torch.testing.assert_close(
            torch.fft.fft2(noise[0, channel]).abs(),
            torch.fft.fft2(image[0, channel]).abs(),
            rtol=1e-3,
            atol=1e-2,
        )
    flat = [torch.cov(x.flatten(2)[0]) for x in (noise, image)]
    torch.testing.assert_close(*flat, rtol=1e-3, atol=1e-5)
    assert not torch.allclose(noise, baselines.phase_randomised(image, seed=4), atol=0.05)


def test_shuffled_pixels_are_the_same_pixels() -> None:
    image = cp.exemplar("coffee", size=(20, 30))
    mixed = baselines.pixel_shuffled(image, seed=1)
    pixels = [sorted(map(tuple, x.flatten(2)[0].T.tolist())) for x in (image, mixed)]
    assert pixels[0] == pixels[1]
    assert not torch.equal(image, mixed)


def test_luminance_and_contrast_are_as_asked_and_clipping_is_told() -> None:
    image = cp.exemplar("coffee", size=32)
    changed, clipped = baselines.with_luminance(image, 0.4, 0.05)
    luminance = images.luminance(changed)
    assert clipped == 0
    assert float(luminance.mean()) == pytest.approx(0.4, abs=1e-5)
    assert float(luminance.std(correction=0)) == pytest.approx(0.05, abs=1e-5)
    _, clipped = baselines.with_luminance(image, 0.9, 0.3)
    assert clipped > 0.1
    same, clipped = baselines.with_luminance(image)
    torch.testing.assert_close(same, image)
    assert clipped == 0
    with pytest.raises(ValueError, match="between 0 and 1"):
        baselines.with_luminance(image, mean=128)
    with pytest.raises(ValueError, match="uniform"):
        baselines.with_luminance(torch.full((1, 3, 4, 4), 0.5), contrast=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exemplar": ["brick"]}, "unknown key 'exemplar'"),
        ({"exemplars": []}, "one exemplar or more"),
        ({"size": "big"}, "size must not be 'big'"),
        ({"seeds": []}, "seeds must be whole numbers"),
        ({"baselines": ["white"]}, "no baseline is called 'white'"),
        ({"luminance": "mean"}, "luminance must be a number or 'exemplar'"),
        ({"models": [{"layers": {}}]}, "a model has name"),
        ({"models": [{"name": "v1"}, {"name": "v1"}]}, "is there twice"),
    ],
)
def test_mistakes_in_the_file_are_named(change: dict, message: str, tmp_path: Path) -> None:
    config = {"exemplars": ["brick"], "size": 32, "models": [], **change}
    with pytest.raises(ValueError, match=message):
        make_stimulus_set(config, tmp_path / "out", device="cpu")


def test_files_that_are_not_there_or_made_otherwise_are_named(tmp_path: Path) -> None:
    config = {"exemplars": ["brick"], "size": 32, "models": [], "baselines": ["exemplar"]}
    with pytest.raises(FileNotFoundError, match="neither a built-in exemplar"):
        make_stimulus_set({**config, "exemplars": ["nothing*.png"]}, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        make_stimulus_set(tmp_path / "none.toml", tmp_path / "out")
    (tmp_path / "bad.toml").write_text("size = ")
    with pytest.raises(ValueError, match="not a TOML file"):
        make_stimulus_set(tmp_path / "bad.toml", tmp_path / "out")
    table = make_stimulus_set(config, tmp_path / "out", device="cpu")
    assert np.isnan(table.get("loss", np.nan)).all()
    with pytest.raises(ValueError, match="made with other settings"):
        make_stimulus_set({**config, "contrast": 0.2}, tmp_path / "out", device="cpu")
