import pandas as pd
import pytest
import torch
from torch import Tensor

import cnnperception as cp
from cnnperception.models import RandomFilters
from cnnperception.synthesis import Level, Objective, noise_like
from cnnperception.synthesis.result import LOSS_COLUMNS, Moment

from .interruptions import interrupt_at


def _stripes(side: int = 96, period: int = 12) -> Tensor:
    rows = torch.arange(side)
    wave = 0.5 + 0.4 * torch.sin(2 * torch.pi * rows / period)
    tint = torch.tensor([1.0, 0.6, 0.3]).view(3, 1, 1)
    grain = torch.rand((3, side, side), generator=torch.Generator().manual_seed(5))
    return (tint * wave.view(1, side, 1)).expand(3, side, side) * 0.9 + 0.1 * grain


MODEL = RandomFilters(scales=3, channels=24)


def test_a_texture_takes_the_statistics_and_not_the_pixels_of_its_exemplar() -> None:
    exemplar = _stripes()
    result = cp.texture(exemplar, model=MODEL, statistic="gram", evaluations=120)
    assert result.finished
    assert result.final_losses().max() < 0.05
    image = result.image
    assert image.shape == (3, 96, 96)
    assert image.min() >= 0
    assert image.max() <= 1
    torch.testing.assert_close(image.mean((1, 2)), exemplar.mean((1, 2)), atol=0.02, rtol=0)
    # Striped across, as the exemplar, and not a copy of it.
    down, across = image.diff(dim=1).square().mean(), image.diff(dim=2).square().mean()
    assert down > 2 * across
    assert (image - exemplar).abs().mean() > 0.02


def test_the_loss_falls_along_each_level_and_is_recorded_for_each_layer() -> None:
    losses = cp.texture(_stripes(), model=MODEL, evaluations=60).losses
    assert set(losses["term"]) == {"texture/scale1", "texture/scale2", "texture/scale3", "range"}
    assert losses["evaluation"].nunique() == 60
    total = losses.groupby(["level", "evaluation"])["loss"].sum()
    assert total.loc[0].iloc[-1] < 0.2 * total.loc[0].iloc[0]


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_image() -> None:
    def make(seed: int) -> Tensor:
        return cp.texture(_stripes(64), model=MODEL, evaluations=12, seed=seed).image

    assert torch.equal(make(1), make(1))
    assert not torch.equal(make(1), make(2))


def test_the_size_may_differ_from_the_exemplars() -> None:
    result = cp.texture(_stripes(64), model=MODEL, size=(80, 130), evaluations=6)
    assert result.image.shape == (3, 80, 130)
    assert result.provenance["size"] == [80, 130]


def test_a_tileable_texture_has_no_seam() -> None:
    exemplar = _stripes(96)
    result = cp.texture(exemplar, model=MODEL, evaluations=80, tileable=True)
    image = result.image
    inside = (image[:, 1:] - image[:, :-1]).square().mean()
    seam = (image[:, 0] - image[:, -1]).square().mean()
    assert seam < 3 * inside
    plain = cp.texture(exemplar, model=MODEL, evaluations=80).image
    assert (plain[:, 0] - plain[:, -1]).square().mean() > seam


def test_a_tileable_texture_has_no_seam_where_coarser_levels_came_first() -> None:
    schedule = [Level((48, 48), 30), Level((96, 96), 15)]
    exemplar = cp.exemplar("gravel", size=(96, 96))
    seeds = [0, 1, 2, 3]
    made = cp.texture(exemplar, model=MODEL, schedule=schedule, tileable=True, seed=seeds).images
    for axis in (-1, -2):
        steps = (made - made.roll(1, axis)).square()
        seam = steps.narrow(axis, 0, 1).mean()
        assert 0.5 < seam / steps.mean() < 1.5


def test_a_texture_from_coarse_to_fine_has_neither_pairs_of_pixels_nor_a_frame() -> None:
    schedule = [Level((48, 48), 60), Level((96, 96), 60)]
    exemplar = cp.exemplar("gravel", size=(96, 96))
    made = cp.texture(exemplar, model=MODEL, schedule=schedule, seed=[0, 1, 2, 3]).images
    for axis in (-1, -2):
        steps = made.diff(dim=axis).square().mean(dim=(0, 1, -1 if axis == -2 else -2))
        assert 0.88 < steps[::2].mean() / steps[1::2].mean() < 1.12
        frame = torch.stack([*steps[:2], *steps[-2:]]).mean()
        # About what an image that was never enlarged has.
        assert 0.8 < frame / steps.mean() < 1.4


def test_what_cannot_tile_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot tile"):
        cp.texture(_stripes(), model=MODEL, size=(90, 90), tileable=True)
    pixels = cp.load_model("pixels", device="cpu")
    with pytest.raises(ValueError, match="no padded convolutions"):
        cp.texture(_stripes(), model=pixels, layers="pixels", tileable=True)


def test_bad_inputs_are_named() -> None:
    exemplar = _stripes()
    with pytest.raises(ValueError, match="no layers were given"):
        cp.texture(exemplar, model=MODEL, layers=[])
    with pytest.raises(ValueError, match="did you mean 'scale3'"):
        cp.texture(exemplar, model=MODEL, layers=["scale33"])
    with pytest.raises(ValueError, match=r"sees 34; use only scale1, scale2"):
        cp.texture(exemplar[:, :30, :30], model=MODEL, layers="scale*")
    with pytest.raises(FloatingPointError, match="exemplar has pixels"):
        cp.texture(torch.full_like(exemplar, torch.nan), model=MODEL)
    with pytest.raises(ValueError, match="divide 8-bit pixels by 255"):
        cp.texture(255 * exemplar, model=MODEL)
    with pytest.raises(ValueError, match="one RGB image"):
        cp.texture(exemplar[:1], model=MODEL)
    with pytest.raises(ValueError, match="whitened-gram, gram"):
        cp.texture(exemplar, model=MODEL, statistic="histogram")
    with pytest.raises(ValueError, match="must be positive"):
        cp.texture(exemplar, model=MODEL, size=0)


def test_weights_that_are_not_numbers_are_named() -> None:
    broken = RandomFilters(scales=3, channels=24)
    broken.filters.weight[0] = torch.inf
    with pytest.raises(FloatingPointError, match="responses of layer 'scale1'"):
        cp.texture(_stripes(), model=broken)


@pytest.mark.parametrize("stop", [3, 26, 41])
def test_a_broken_synthesis_resumes_to_the_same_losses(tmp_path, monkeypatch, stop: int) -> None:
    settings = {"model": MODEL, "evaluations": 50, "seed": 3}
    unbroken = cp.texture(_stripes(), **settings)
    path = tmp_path / "texture.checkpoint"
    evaluations = interrupt_at(monkeypatch, stop)
    partial = cp.texture(_stripes(), **settings, checkpoint=path)
    assert not partial.finished
    assert partial.image.shape == (3, 96, 96)
    assert path.exists()
    resumed = cp.texture(_stripes(), **settings, checkpoint=path)
    assert evaluations() > stop
    assert resumed.finished
    assert torch.equal(resumed.image, unbroken.image)
    pd.testing.assert_frame_equal(resumed.losses, unbroken.losses)
    assert not path.exists()


def test_a_checkpoint_of_other_settings_is_refused(tmp_path, monkeypatch) -> None:
    path = tmp_path / "texture.checkpoint"

    def stop(self: Objective, images: Tensor):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Objective, "__call__", stop)
        cp.texture(_stripes(), model=MODEL, seed=1, checkpoint=path)
    with pytest.raises(ValueError, match="other settings"):
        cp.texture(_stripes(), model=MODEL, seed=2, checkpoint=path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="not a checkpoint"):
        cp.texture(_stripes(), model=MODEL, seed=2, checkpoint=path)


def test_style_transfer_keeps_the_scene_and_takes_the_colours() -> None:
    style = _stripes()
    content = torch.full((3, 96, 96), 0.8)
    content[:, 30:66, 30:66] = 0.2
    result = cp.stylize(content, style, model=MODEL, evaluations=80)
    image = result.image
    square, ground = image[:, 36:60, 36:60].mean(), image[:, :20].mean()
    assert square < ground
    distance = (image.mean((1, 2)) - style.mean((1, 2))).abs().sum()
    assert distance < 0.7 * (content.mean((1, 2)) - style.mean((1, 2))).abs().sum()


def test_more_content_weight_keeps_more_of_the_scene() -> None:
    content, style = _stripes(96, period=40).flip(0), _stripes()
    errors = [
        cp.stylize(content, style, model=MODEL, evaluations=40, content_weight=weight)
        .final_losses()
        .filter(like="content")
        .mean()
        for weight in (0.01, 1.0)
    ]
    assert errors[1] < errors[0]


def test_style_refuses_what_it_cannot_do() -> None:
    image = _stripes()
    with pytest.raises(ValueError, match="'content', 'noise' or an image"):
        cp.stylize(image, image, model=MODEL, start="middle")
    with pytest.raises(ValueError, match="must not be negative"):
        cp.stylize(image, image, model=MODEL, content_weight=-1)
    unadvised = RandomFilters(scales=3)
    unadvised.recommended = {}
    with pytest.raises(ValueError, match="does not say which layers suit content"):
        cp.stylize(image, image, model=unadvised)


def test_images_and_models_of_any_kind_go_through_the_same_functions() -> None:
    hmax = cp.load_model("hmax", device="cpu")
    result = cp.texture(_stripes(), model=hmax, layers="c1/band1", evaluations=15)
    losses = result.losses.query("term == 'texture/c1/band1'").groupby("level")["loss"]
    assert losses.last().iloc[-1] < losses.first().iloc[0]


def test_noise_has_the_colours_of_its_source() -> None:
    source = _stripes()[None]
    noise = noise_like(source, (256, 256), seed=0)
    torch.testing.assert_close(cp.channel_mean(noise), cp.channel_mean(source), atol=5e-3, rtol=0)
    torch.testing.assert_close(
        cp.channel_covariance(noise), cp.channel_covariance(source), atol=2e-3, rtol=0.05
    )


def test_provenance_says_all_that_is_needed_to_make_it_again() -> None:
    result = cp.texture(_stripes(), model=MODEL, evaluations=6, seed=7)
    record = result.provenance
    assert record["seed"] == 7
    assert record["model"]["name"] == "random-filters"
    assert len(record["model"]["sha256"]) == 64
    assert record["layers"] == ["scale1", "scale2", "scale3"]
    assert "torch" in record["versions"]
    assert record["evaluations"] == 6


def test_a_schedule_can_be_given() -> None:
    schedule = [Level((48, 48), 3), Level((96, 96), 2)]
    result = cp.texture(_stripes(), model=MODEL, schedule=schedule)
    heights = result.losses.drop_duplicates("evaluation")["height"]
    assert heights.tolist() == [48, 48, 48, 96, 96]
    assert tuple(result.losses.columns) == LOSS_COLUMNS


def test_a_level_ends_when_the_target_loss_is_reached() -> None:
    exemplar, levels = _stripes(), (Level((96, 96), 60),)
    whole = cp.texture(exemplar, model=MODEL, schedule=levels)
    weighed = whole.losses.groupby("evaluation")["loss"].sum()
    target = float(weighed.iloc[20]) / 3
    reached = cp.texture(exemplar, model=MODEL, schedule=levels, target_loss=target)
    assert 1 < reached.provenance["evaluations"] < 60


def test_a_synthesis_ends_in_time_and_at_full_size() -> None:
    result = cp.texture(_stripes(128), model=MODEL, seconds=0.5, evaluations=10_000)
    assert result.provenance["evaluations"] < 10_000
    assert result.image.shape == (3, 128, 128)
    assert result.losses["level"].nunique() == 3


def test_whoever_watches_sees_every_evaluation() -> None:
    seen: list[Moment] = []
    cp.texture(_stripes(128), model=MODEL, evaluations=20, watch=seen.append)
    assert [moment.evaluation for moment in seen] == list(range(1, 21))
    assert {moment.evaluations for moment in seen} == {20}
    assert seen[0].images.shape[-2:] == (64, 64)
    assert seen[-1].images.shape[-2:] == (128, 128)
    assert seen[-1].terms.shape == (1, len(seen[-1].names))
