"""Colour, masks, grids, blends: what each control promises, in numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import cnnperception as cp
from cnnperception.models import RandomFilters
from cnnperception.synthesis import Level, Objective, colour, guidance
from cnnperception.synthesis.measures import MEASURES
from cnnperception.synthesis.objective import match

MODEL = RandomFilters(scales=3, channels=16)
LAYERS = ["scale1", "scale2"]


def _noise(height: int, width: int, seed: int = 0, tint: tuple[float, ...] = (1, 1, 1)) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.rand((1, 3, height, width), generator=random) * torch.tensor(tint).view(1, 3, 1, 1)


def _grating(side: int, period: int, across: bool, tint: tuple[float, ...]) -> Tensor:
    wave = 0.5 + 0.4 * torch.sin(2 * torch.pi * torch.arange(side) / period)
    plane = (wave[None, :] if across else wave[:, None]).expand(side, side)
    return plane[None].mul(torch.tensor(tint).view(3, 1, 1))[None] * 0.9 + 0.1 * _noise(side, side)


DOWN, ACROSS = _grating(64, 8, False, (1, 0.6, 0.3)), _grating(64, 8, True, (0.3, 0.6, 1))


def test_matched_colours_have_the_targets_mean_and_covariance() -> None:
    source, target = _noise(40, 50, 1, (0.9, 0.3, 0.5)), _noise(30, 20, 2) ** 2
    target[:, 0] += 0.5 * target[:, 1]
    matched = colour.match_colours(source, target)
    torch.testing.assert_close(cp.channel_mean(matched), cp.channel_mean(target), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        cp.channel_covariance(matched), cp.channel_covariance(target), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(colour.match_colours(source, source), source, atol=1e-4, rtol=0)


def test_colours_of_a_grey_picture_stay_finite() -> None:
    grey = _noise(20, 20).mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    for one, other in ((grey, _noise(20, 20, 1)), (_noise(20, 20, 1), grey)):
        assert torch.isfinite(colour.match_colours(one, other)).all()


def test_histograms_are_matched_exactly_at_the_same_size_and_nearly_at_others() -> None:
    images, target = _noise(24, 24, 1), _noise(24, 24, 2) ** 3
    matched = colour.match_histograms(images, target)
    torch.testing.assert_close(
        matched.flatten(2).sort(dim=2).values, target.flatten(2).sort(dim=2).values
    )
    assert torch.equal(matched.flatten(2).argsort(dim=2), images.flatten(2).argsort(dim=2))
    other = colour.match_histograms(images, _noise(60, 30, 3) ** 3)
    quantiles = torch.tensor([0.1, 0.5, 0.9])
    for channel in range(3):
        found = other[0, channel].flatten().quantile(quantiles)
        torch.testing.assert_close(found, quantiles**3, atol=0.03, rtol=0)


def test_luminance_is_matched_and_put_back() -> None:
    source, target = _noise(20, 20, 1), 0.5 * _noise(30, 30, 2) + 0.2
    matched = colour.luminance(colour.match_luminance(source, target))
    wanted = colour.luminance(target)
    assert float(matched.mean()) == pytest.approx(float(wanted.mean()), abs=1e-5)
    assert float(matched.std()) == pytest.approx(float(wanted.std()), abs=1e-5)
    dull = 0.3 + 0.2 * _noise(20, 20, 4)
    brightness = torch.full((1, 1, 20, 20), 0.45)
    put = colour.with_luminance(dull, brightness)
    torch.testing.assert_close(colour.luminance(put), brightness, atol=1e-5, rtol=0)
    # Chrominance stays: differences between channels are the same.
    torch.testing.assert_close(put[:, 0] - put[:, 1], dull[:, 0] - dull[:, 1])


def test_a_mask_of_everything_changes_nothing() -> None:
    source, images = _noise(48, 48, 1), _noise(40, 56, 2)
    plain = match("x", MODEL, LAYERS, MEASURES["gram"], source)
    one = torch.zeros(1, 1, dtype=torch.long)
    masked = guidance.match_regions(
        "x", MODEL, LAYERS, MEASURES["gram"], source, one, one, (40, 56)
    )
    torch.testing.assert_close(
        Objective(MODEL, masked).losses(images), Objective(MODEL, plain).losses(images)
    )


@pytest.mark.parametrize("statistic", ["gram", "balanced-gram", "whitened-gram", "mean-covariance"])
def test_a_regions_target_is_the_statistic_of_that_region_alone(statistic: str) -> None:
    # Two halves, far wider than what a unit sees: each half's statistics are nearly its own.
    both = torch.cat([DOWN.repeat(1, 1, 2, 2), ACROSS.repeat(1, 1, 2, 2)], dim=3)
    labels = (torch.arange(256) >= 128).long()[None].expand(128, 256)
    measure = MEASURES[statistic]
    terms = guidance.match_regions(
        "x", MODEL, ["scale1"], measure, both, labels, labels, (128, 256)
    )
    alone = match("x", MODEL, ["scale1"], MEASURES["gram"], DOWN.repeat(1, 1, 2, 2))[0]
    if statistic == "gram":
        error = (terms[0].target - alone.target).norm() / alone.target.norm()
        assert error < 0.05
    swapped = torch.cat([both[..., 128:], both[..., :128]], dim=3)
    right = Objective(MODEL, terms).losses(both)
    wrong = Objective(MODEL, terms).losses(swapped)
    assert right.max() < 1e-6
    assert wrong.min() > 1e-3


def test_masks_that_do_not_pair_are_refused() -> None:
    one, two = torch.zeros(8, 8, dtype=torch.long), torch.ones(8, 8, dtype=torch.long)
    gram, size = MEASURES["gram"], (64, 64)
    with pytest.raises(ValueError, match=r"lacks region\(s\) \[1\]"):
        guidance.match_regions("style", MODEL, LAYERS, gram, DOWN, one, two, size)
    with pytest.raises(ValueError, match="has no region"):
        guidance.match_regions("style", MODEL, LAYERS, gram, DOWN, one, -two, size)
    with pytest.raises(ValueError, match="regions can have the statistics"):
        guidance.match_regions("s", MODEL, LAYERS, MEASURES["shifted-gram"], DOWN, one, one, size)


def test_a_region_too_small_for_a_layer_is_refused_or_left_out_of_coarse_levels() -> None:
    speck = torch.zeros(64, 64, dtype=torch.long)
    speck[0, :2] = 1
    layers, gram = ["scale1", "scale3"], MEASURES["gram"]
    with pytest.raises(ValueError, match="region 1 .* too small for layer 'scale3'"):
        guidance.match_regions("style", MODEL, layers, gram, DOWN, speck, speck, (64, 64))
    terms = guidance.match_regions(
        "style", MODEL, layers, gram, DOWN, speck, speck, (64, 64), every=False
    )
    assert {term.name for term in terms} == {
        *(f"style/{layer}/region0" for layer in layers),
        "style/scale1/region1",
    }
    with pytest.raises(ValueError, match="too small"):
        guidance.match_regions(
            "style", MODEL, ["scale3"], gram, DOWN, 1 - speck, -speck, (64, 64), every=False
        )


def test_a_thin_region_is_not_lost_in_a_small_picture() -> None:
    labels = torch.zeros(64, 64, dtype=torch.long)
    labels[:, 33] = 1  # between the columns that every fourth would be
    inside = guidance.coverage(labels == 1, (16, 16))
    assert inside.sum() == 4
    assert inside[..., 8].eq(0.25).all()
    result = cp.texture(
        torch.cat([DOWN, ACROSS], dim=3), model=MODEL, mask=labels, evaluations=10, size=32
    )
    assert result.image.isfinite().all()


def test_an_exemplar_or_painting_of_no_weight_has_no_terms() -> None:
    blended = cp.texture([DOWN, ACROSS], weights=[1, 0], model=MODEL, evaluations=12)
    alone = cp.texture(DOWN, model=MODEL, evaluations=12)
    assert torch.equal(blended.image, alone.image)
    assert set(blended.losses["term"].str.split("/").str[0]) == {"texture1", "range"}
    painted = cp.stylize(ACROSS, [DOWN, ACROSS], style_weights=[1, 0], model=MODEL, evaluations=12)
    alone = cp.stylize(ACROSS, DOWN, model=MODEL, evaluations=12)
    assert torch.equal(painted.image, alone.image)
    assert not painted.losses["term"].str.startswith("style2").any()


def test_regions_that_pair_do_so_at_every_level() -> None:
    labels = torch.zeros(96, 96, dtype=torch.long)
    labels[:, 50] = 1
    levels = [Level((16, 16), 4), Level((96, 96), 4)]
    painting = ACROSS.repeat(1, 1, 2, 2)[..., :96, :96]
    masks = (labels, labels)
    result = cp.stylize(painting, painting, model=MODEL, masks=masks, schedule=levels)
    assert any("region1" in term for term in result.final_losses().index)


def _orientation(image: Tensor) -> float:
    """Return how much an image changes downwards, relative to all change."""
    down, across = image.diff(dim=-2).square().mean(), image.diff(dim=-1).square().mean()
    return float(down / (down + across))


def test_regions_of_a_transfer_take_the_styles_of_their_pairs() -> None:
    painting = torch.cat([DOWN, ACROSS], dim=3)
    there = (torch.arange(128) >= 64).long()[None].expand(64, 128)
    here = 1 - there  # the other way round
    scene = 0.5 + 0.02 * _noise(64, 128)
    result = cp.stylize(
        scene,
        painting,
        model=MODEL,
        masks=(here, there),
        content_weight=0.0,
        statistic="gram",
        start="noise",
        evaluations=120,
    )
    assert _orientation(result.image[..., :56]) < 0.4
    assert _orientation(result.image[..., 72:]) > 0.6


def test_an_exemplars_mask_leaves_the_rest_out() -> None:
    both = torch.cat([DOWN, ACROSS], dim=3)
    mask = torch.zeros(64, 128)
    mask[:, :56] = 1
    masked = cp.texture(both, model=MODEL, mask=mask, statistic="gram", size=64, evaluations=80)
    assert _orientation(masked.image) > 0.6


def test_a_grid_keeps_what_is_where() -> None:
    both = torch.cat([DOWN, ACROSS], dim=3).repeat(1, 1, 2, 1)
    texform = cp.texture(both, model=MODEL, pool_grid=2, statistic="gram", evaluations=80)
    assert _orientation(texform.image[..., :56]) > 0.6
    assert _orientation(texform.image[..., 72:]) < 0.4
    assert guidance.grid((4, 6), 2).tolist() == [[0, 0, 0, 1, 1, 1]] * 2 + [[2, 2, 2, 3, 3, 3]] * 2


def test_a_blend_lies_between_its_exemplars_by_its_weights() -> None:
    def made(*weights: float) -> float:
        result = cp.texture(
            [DOWN[0], ACROSS[0]], model=MODEL, weights=weights, statistic="gram", evaluations=80
        )
        return _orientation(result.image)

    assert made(1, 0) > made(0.6, 0.4) > made(0, 1)
    assert made(1, 0) > 0.6


def test_grey_textures_have_no_colour_and_histograms_are_the_exemplars() -> None:
    grey = cp.texture(DOWN, model=MODEL, grey=True, evaluations=15).image
    assert torch.equal(grey[0], grey[1])
    same = cp.texture(DOWN, model=MODEL, histogram=True, evaluations=15).image
    torch.testing.assert_close(same.flatten(1).sort().values, DOWN[0].flatten(1).sort().values)


def test_a_spectrum_term_brings_the_spectrum_nearer() -> None:
    options = {"model": MODEL, "layers": ["scale1"], "evaluations": 60, "statistic": "gram"}
    target = cp.synthesis.measures.spectrum_of(DOWN)
    without = cp.texture(DOWN, **options)  # type: ignore[arg-type]
    within = cp.texture(DOWN, spectrum=1.0, **options)  # type: ignore[arg-type]
    assert target(within.images) < 0.5 * target(without.images)
    assert float(target(DOWN)) < 1e-10


@pytest.mark.parametrize("kept", ["luminance", "affine"])
def test_a_transfer_can_keep_the_photographs_colours(kept: str) -> None:
    scene, painting = _noise(64, 64, 1, (0.9, 0.5, 0.2)), ACROSS
    options = {"model": MODEL, "evaluations": 40, "content_weight": 0.0, "statistic": "gram"}
    ours = cp.stylize(scene, painting, colour=kept, **options).images  # type: ignore[arg-type]
    theirs = cp.stylize(scene, painting, **options).images  # type: ignore[arg-type]
    wanted = cp.channel_mean(scene)
    assert (cp.channel_mean(ours) - wanted).norm() < 0.3 * (cp.channel_mean(theirs) - wanted).norm()


def test_styles_can_bring_layers_of_their_own() -> None:
    result = cp.stylize(
        _noise(64, 64),
        [DOWN[0], ACROSS[0]],
        model=MODEL,
        style_layers=[["scale1"], ["scale2", "scale3"]],
        style_weights=[2, 1],
        smoothness=0.1,
        evaluations=5,
    )
    terms = set(result.losses["term"])
    assert {"style1/scale1", "style2/scale2", "smoothness"} <= terms
    assert "style1/scale2" not in terms
    assert result.provenance["style_weights"] == pytest.approx([2 / 3, 1 / 3])


def test_a_transfer_can_begin_with_an_image_of_ones_own() -> None:
    start = _noise(64, 64, 9)
    result = cp.stylize(DOWN, ACROSS, model=MODEL, start=start, evaluations=1)
    assert result.provenance["start"] == "image"
    assert "start" in result.provenance["sources"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"style_weights": [1, 2, 3]}, "a weight of 0 or more for each of the 2 styles"),
        ({"style_weights": [0, 0]}, "one above 0"),
        ({"style_layers": [["scale1"]]}, "1 sets of style layers for 2 styles"),
        ({"colour": "sepia"}, "style, luminance, affine; got 'sepia'"),
        ({"masks": (torch.zeros(4, 4), torch.zeros(4, 4))}, "masks go with one style"),
        ({"smoothness": -1}, "must not be negative"),
    ],
)
def test_controls_that_do_not_fit_are_named(options: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        cp.stylize(DOWN, [DOWN[0], ACROSS[0]], model=MODEL, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"mask": torch.zeros(8, 8)}, "not all 0"),
        ({"mask": torch.ones(8, 8), "pool_grid": 2}, "not both together"),
        ({"pool_grid": 5}, "from 1 to 4"),
        ({"spectrum": -1.0}, "must not be negative"),
        ({"statistic": "median"}, "no statistic is called 'median'"),
    ],
)
def test_texture_controls_that_do_not_fit_are_named(options: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        cp.texture(DOWN, model=MODEL, **options)  # type: ignore[arg-type]


def test_label_maps_are_read_by_colour_and_photographs_refused(tmp_path: Path) -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:, 3:] = (255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    labels = guidance.read_labels(tmp_path / "mask.png")
    assert labels.unique().tolist() == [0, 0xFF0000]
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    with pytest.raises(ValueError, match="more than 64 colours"):
        guidance.read_labels(tmp_path / "photo.png")
