"""Stimulus sets: the grid, the table, the controls, and what survives a kill."""

import importlib.util
import json
import multiprocessing
import random
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import cnnperception as cp
from cnnperception import images, stimuli
from cnnperception.cli import app
from cnnperception.files import atomic_path, remove_leftovers, sha256
from cnnperception.stimulus_sets import make_stimulus_set
from cnnperception.synthesis import baselines, colour

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

MORE = """
[crops]
size = 24
per_image = 3
contrast = "exemplar"

[trials]
standard = "pixel-shuffled"
"""

# What takes long to import.
PRELOADED = ["cnnperception.stimulus_sets", "torch.fx.experimental.symbolic_shapes"]


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
    grid = CONFIG.replace('"exemplar", ', "").replace("seeds = [0, 1]", "seeds = [0, 1, 2]")
    config.write_text(f"batch = 2{grid}{MORE}")
    out = tmp_path / "out"
    # Forked from a process that has imported everything already.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    moments, made = random.Random(0), {}
    for pattern in ("*.png", "*_fine_*.png", "crops/*.png"):
        process = context.Process(
            target=make_stimulus_set, args=(config, out), kwargs={"device": "cpu"}
        )
        process.start()
        before = len(_pictures(out, pattern))
        while len(_pictures(out, pattern)) <= before and process.is_alive():
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.2))
        process.kill()
        process.join()
        for path in _pictures(out):
            images.read(path)  # no half of a picture
            assert path.with_name(f"{path.name}.json").exists()
            assert made.setdefault(path, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
    assert len(made) > 24
    make_stimulus_set(config, out, device="cpu")
    assert all(path.stat().st_mtime_ns == moment for path, moment in made.items())
    whole = tmp_path / "whole"
    make_stimulus_set(config, whole, device="cpu")
    for table, count in (("stimuli.csv", 24), ("crops.csv", 72), ("trials.csv", 18 * 6)):
        found = pd.read_csv(out / table)
        assert len(found) == count
        pd.testing.assert_frame_equal(found, pd.read_csv(whole / table))
        if table != "trials.csv":
            assert [sha256(out / file) for file in found["file"]] == found["sha256"].tolist()
    assert len(_pictures(out)) == 24 + 72
    for path in _pictures(out):
        one, other = images.read(path), images.read(whole / path.relative_to(out))
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    # Nothing else is left: no temporary file, no checkpoint.
    left = [{path.relative_to(root) for path in root.rglob("*")} for root in (out, whole)]
    assert left[0] == left[1]
    assert not any(path.suffix == ".checkpoint" for path in left[0])


def _pictures(folder: Path, pattern: str = "*.png") -> list[Path]:
    found = folder.rglob("[!.]*.png")
    return sorted(p for p in found if p.stem != "contact_sheet" and p.match(pattern))


def test_what_killed_writes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = ["a.png", ".a.png", ".other.abcdefgh.png", ".a.abcdefgh.jpg", ".a.toolong_by_far.png"]
    with atomic_path(tmp_path / "b.png.json") as temporary:
        left_behind = temporary.name
    for name in (*kept, left_behind, ".a.abc_efg9.png"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path, {"a.png", "b.png.json"})
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "b.png.json"}


@pytest.mark.filterwarnings("ignore:the image did not come near")
def test_a_row_says_all_that_is_needed_to_make_the_picture_again(tmp_path: Path) -> None:
    config = {
        "exemplars": ["brick"],
        "size": 64,
        "grey": True,
        "seeds": [3, 5],
        "batch": 2,
        "evaluations": 12,
        "baselines": ["exemplar"],
        "models": [{"name": "random-filters", "options": {"scales": 2, "channels": 12}}],
    }
    if importlib.util.find_spec("plenoptic") is not None:
        config["baselines"].append("portilla-simoncelli")
    table = make_stimulus_set(config, tmp_path, device="cpu")
    shipped = stimuli.builtin_exemplars(["brick"]).sha256("brick")
    assert table["exemplar_sha256"].eq(shipped).all()
    assert table["version"].eq(metadata.version("cnnperception")).all()
    assert table["largest_clip"].between(0, 1).all()
    for path in tmp_path.glob("brick*.png"):
        picture = images.read(path)
        assert torch.equal(picture[0, 0], picture[0, 2])
    matched = table[table["kind"] == "portilla-simoncelli"]
    assert matched["evaluations"].eq(12).all()
    assert matched["loss_pixel_statistics"].notna().all()
    textures = table[table["kind"] == "texture"]
    assert textures["condition"].eq("random-filters/default").all()
    told = textures[["evaluations", "batch", "seed"]].to_numpy()
    assert told.tolist() == [[12, 2, 3], [12, 2, 5]]
    row = textures.iloc[1]
    model = cp.load_model(row["model"], device="cpu", **json.loads(row["model_options"]))
    exemplar = cp.exemplar("brick", size=(64, 64))
    made = cp.texture(
        exemplar,
        model=model,
        layers=row["layers"].split(),
        statistic=row["statistic"],
        grey=row["grey"],
        seed=int(row["seed"]),
        evaluations=int(row["evaluations"]),
        precision=row["precision"],
    )
    assert made.provenance["model"]["sha256"] == row["model_sha256"]
    torch.testing.assert_close(made.images, images.read(tmp_path / row["file"]), atol=3e-3, rtol=0)
    layers = row["layers"].split()
    judged = cp.synthesis.verdict(made.image, colour.grey(exemplar), model, layers=layers)
    assert row["converged"] == judged["converged"].all()


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
        ({"size": 0}, "size must not be 0"),
        ({"grey": 1}, "grey must not be 1"),
        ({"evaluations": True}, "evaluations must not be True"),
        ({"baselines": []}, "nothing to make"),
        ({"crops": 16}, "crops must not be 16"),
        ({"crops": {}}, "crops need a size"),
        ({"crops": {"side": 8}}, "unknown key 'crops.side'; there are size, per_image"),
        ({"crops": {"size": 8, "places": "ring"}}, "must be grid or random; got 'ring'"),
        ({"crops": {"size": 8, "contrast": "high"}}, "crops.contrast must be a number or"),
        ({"crops": {"size": 40}}, "crops of 40 pixels do not fit into pictures of 32"),
        ({"crops": {"size": 16, "per_image": 5}}, "room for 4 crops of 16 pixels"),
        ({"trials": {}}, "add \\[crops\\] with per_image = 3 or more"),
        ({"crops": {"size": 8, "per_image": 2}, "trials": {}}, "per_image = 3 or more"),
        ({"crops": {"size": 8}, "trials": {}}, "standard 'exemplar' with other .* pixel-shuffled"),
        ({"models": [{"layers": {}}]}, "models, number 1: a model is a table with a name"),
        ({"models": [{"name": "v1"}, {"name": "v1"}]}, "is there twice"),
        ({"models": [{"name": "v1", "layer": {}}]}, "a model has name, layers, options; got layer"),
        ({"models": ["random-filters"]}, "number 1: .* with a name, .* got 'random-filters'"),
        ({"models": [{"name": "v1"}, {"name": 3}]}, "models, number 2: .* with a name"),
        ({"models": [{"name": "v1", "layers": ["a"]}]}, r"layers are sets by name, .* got \['a'\]"),
        ({"models": [{"name": "v1", "layers": {"fine": [1]}}]}, "layers are sets by name"),
        ({"models": [{"name": "v1", "layers": {"fine": 1}}]}, "layers are sets by name"),
        ({"models": [{"name": "v1", "options": ["a"]}]}, "options are a table"),
        ({"models": [{"name": "v1", "options": {"device": "cpu"}}]}, "device is not one of"),
        ({"models": [{"name": "v1", "options": {"scales": "a"}}]}, "options of v1, .*scales"),
        ({"exemplars": [1]}, "exemplars are names between quotes; got 1"),
        ({"baselines": [["exemplar"]]}, "baselines are names between quotes; got"),
        ({"seeds": [0, 0]}, "pixel-shuffled.*seed 0, would both be brick_pixel-shuffled_0.png"),
        ({"size": 24, "baselines": ["portilla-simoncelli"]}, "24 x 24 .* need 32 along each side"),
    ],
)
def test_mistakes_in_the_file_are_named(change: dict, message: str, tmp_path: Path) -> None:
    config = {"exemplars": ["brick"], "size": 32, "models": []}
    config |= {"baselines": ["pixel-shuffled"], **change}
    with pytest.raises(ValueError, match=message):
        make_stimulus_set(config, tmp_path / "out", device="cpu")


def test_layer_sets_that_would_share_a_file_are_named_before_anything_is_made(
    tmp_path: Path,
) -> None:
    model = {
        "name": "random-filters",
        "options": {"scales": 2, "channels": 12},
        "layers": {"a/b": ["scale1"], "a-b": ["scale2"]},
    }
    config = {"exemplars": ["brick"], "size": 32, "models": [model]}
    with pytest.raises(
        ValueError, match="'random-filters/a/b' .* and 'random-filters/a-b' "
    ) as told:
        make_stimulus_set(config, tmp_path, device="cpu")
    assert "brick_random-filters_a-b_0.png" in str(told.value)
    assert not list(tmp_path.iterdir())


CONTROLS = {"exemplars": ["brick"], "size": 32, "models": [], "baselines": ["pixel-shuffled"]}
PICTURE = "brick_pixel-shuffled_0.png"


@pytest.mark.parametrize("change", ["replaced", "edited", "no picture"])
def test_a_picture_that_is_not_the_one_that_was_made_is_refused(
    change: str, tmp_path: Path
) -> None:
    make_stimulus_set(CONTROLS, tmp_path, device="cpu")
    path, table = tmp_path / PICTURE, (tmp_path / "stimuli.csv").read_bytes()
    made, provenance = images.read(path), images.read_provenance(path)
    if change == "replaced":
        Image.new("RGB", (32, 32), "red").save(path)
    elif change == "edited":
        images.write(path, 1 - made, provenance)
    else:
        path.write_text("a note")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"{PICTURE} was changed .* or is something else"):
        make_stimulus_set(CONTROLS, tmp_path, device="cpu")
    assert path.read_bytes() == before
    assert (tmp_path / "stimuli.csv").read_bytes() == table
    path.unlink()
    make_stimulus_set(CONTROLS, tmp_path, device="cpu")
    assert torch.equal(images.read(path), made)
    assert (tmp_path / "stimuli.csv").read_bytes() == table


def test_a_set_without_hashes_of_its_pixels_is_still_read(tmp_path: Path) -> None:
    table = make_stimulus_set(CONTROLS, tmp_path, device="cpu")
    path = tmp_path / PICTURE
    provenance = images.read_provenance(path)
    assert provenance.pop("pixels") == images.pixel_hash(images.read(path))
    images.write(path, images.read(path), provenance)
    again = make_stimulus_set(CONTROLS, tmp_path, device="cpu")
    assert again["sha256"].tolist() == [sha256(path)]
    pd.testing.assert_frame_equal(*(each.drop(columns="sha256") for each in (again, table)))


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
