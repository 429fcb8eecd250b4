import numpy as np
import pytest
import torch
from PIL import Image

import cnnperception as cp
from cnnperception.synthesis import Animation, Preview, judgement, noise_like, watchers

BRICK = cp.exemplar("brick", size=256)[0]


def test_noise_fails_and_the_exemplar_and_its_texture_pass() -> None:
    left = BRICK[..., :128]
    noise = noise_like(left[None], (256, 128), 5)[0].clamp(0, 1)
    table = cp.verdict(noise, left)
    assert not table["converged"].any()
    assert (table["error"] / table["noise"]).between(0.8, 1.2).all()
    assert "not converged" in judgement(table)
    same = cp.verdict(left, left)
    assert same["error"].max() < 1e-9
    assert same["converged"].all()
    assert "as near to the exemplar" in judgement(same)
    made = cp.texture(left, layers=["scale1", "scale2"], evaluations=60).image
    assert cp.verdict(made, left, layers=["scale1", "scale2"])["converged"].all()


def test_the_floor_is_the_mean_error_of_the_halves() -> None:
    left = BRICK[..., :128]
    halves = [left[:, :128], left[:, 128:], left[..., :64], left[..., 64:]]
    errors = [cp.verdict(half, left)["error"] for half in halves]
    np.testing.assert_allclose(cp.verdict(left, left)["floor"], sum(errors) / 4, rtol=1e-5)


def test_a_shifted_copy_is_found_and_other_bricks_are_not() -> None:
    copied = cp.verbatim_copies(BRICK.roll((40, 70), dims=(1, 2)), BRICK)
    assert copied.share > 0.6
    assert copied.copied
    grass = cp.exemplar("grass", size=256)[0]
    other = cp.verbatim_copies(grass[..., :128], grass[..., 128:])
    assert other.share < 0.05
    assert not other.copied
    assert "found almost verbatim" in judgement(cp.verdict(BRICK, BRICK), copied)


def test_flat_images_hold_no_copies_and_small_ones_are_refused() -> None:
    flat = torch.full((3, 96, 96), 0.5)
    assert cp.verbatim_copies(flat, flat).share == 0
    with pytest.raises(ValueError, match="64 pixels or more"):
        cp.verbatim_copies(flat[..., :40], flat)


def test_a_preview_and_a_film_are_written_while_it_runs(tmp_path) -> None:
    preview = Preview(tmp_path / "now.png", every=4)
    with Animation(tmp_path / "film.gif", every=2, side=48) as film:
        cp.texture(BRICK, layers=["scale1"], size=96, evaluations=12, watch=watchers(preview, film))
    assert np.asarray(Image.open(tmp_path / "now.png")).shape == (96, 96, 3)
    with Image.open(tmp_path / "film.gif") as shown:
        assert shown.n_frames >= 5
        assert shown.size == (48, 48)


def test_a_preview_and_a_film_end_with_the_last_image_of_a_search_that_ends_early(tmp_path) -> None:
    with (
        Preview(tmp_path / "now.png", every=50) as preview,
        Animation(tmp_path / "film.gif", every=50) as film,
    ):
        result = cp.texture(
            BRICK,
            layers=["scale1"],
            size=64,
            evaluations=90,
            target_loss=1e9,
            watch=watchers(preview, film),
        )
    assert len(result.losses) < 90
    shown = cp.images.read(tmp_path / "now.png")
    torch.testing.assert_close(shown, result.images, rtol=0, atol=1 / 255)
    assert len(film.frames) >= 1


def test_long_pictures_are_small_once_they_are_reduced() -> None:
    long = torch.rand((3, 64, 512), generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="64 pixels or more"):
        cp.verbatim_copies(long, long)


def test_other_endings_are_refused_before_the_work(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"\.gif or \.mp4"):
        Animation(tmp_path / "film.avi")
    with pytest.raises(ValueError):
        Preview(tmp_path / "now.xyz")
