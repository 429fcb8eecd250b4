"""Several images at once: each has its own exemplar, seed and losses, and comes out as alone."""

import pandas as pd
import pytest
import torch
from torch import Tensor

import cnnperception as cp
from cnnperception.models import RandomFilters
from cnnperception.synthesis.measures import MEASURES, spectrum_of
from cnnperception.synthesis.objective import match
from cnnperception.synthesis.tiling import fitting_tiles

from .interruptions import interrupt_at

MODEL = RandomFilters(scales=2, channels=12)
EXEMPLARS = torch.cat([cp.exemplar(name, size=(64, 64)) for name in ("brick", "gravel", "ihc")])
SETTINGS = {"model": MODEL, "evaluations": 15}


def _same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", MEASURES)
def test_a_statistic_is_fitted_to_each_source_by_itself(name: str) -> None:
    sources = EXEMPLARS.double()
    together = MEASURES[name](sources)
    others = sources.flip(0) * torch.tensor([0.5, 1.0, 0.8]).view(3, 1, 1, 1)
    alone = [
        MEASURES[name](source[None])(other[None])
        for source, other in zip(sources, others, strict=True)
    ]
    torch.testing.assert_close(together(others), torch.cat(alone))


def test_terms_of_several_sources_are_those_of_each() -> None:
    layers = ["scale1", "scale2"]
    together = match("texture", MODEL, layers, MEASURES["whitened-gram"], EXEMPLARS)
    pieces = fitting_tiles(MODEL, layers, 32)
    tiled = match("texture", MODEL, layers, MEASURES["whitened-gram"], EXEMPLARS, tiles=pieces)
    features = MODEL.features(EXEMPLARS.roll(1, dims=0), layers)
    for place, source in enumerate(EXEMPLARS.split(1)):
        alone = match("texture", MODEL, layers, MEASURES["whitened-gram"], source)
        for one, several, in_tiles in zip(alone, together, tiled, strict=True):
            loss = one.loss(features[one.layer][place : place + 1])[0]
            assert loss > 0.01
            for term in (several, in_tiles):
                torch.testing.assert_close(
                    term.loss(features[one.layer])[place], loss, rtol=1e-3, atol=0
                )
    penalties = spectrum_of(EXEMPLARS)(EXEMPLARS.roll(1, dims=0))
    expected = [
        spectrum_of(EXEMPLARS[k : k + 1])(EXEMPLARS[k - 1 : k] if k else EXEMPLARS[2:])
        for k in range(3)
    ]
    torch.testing.assert_close(penalties, torch.cat(expected))


def test_an_image_comes_out_the_same_alone_or_in_company() -> None:
    together = cp.texture(EXEMPLARS, seed=[4, 5, 4], **SETTINGS)
    assert together.images.shape == (3, 3, 64, 64)
    for place, seed in enumerate((4, 5, 4)):
        alone = cp.texture(EXEMPLARS[place], seed=seed, **SETTINGS)
        _same(together.images[place], alone.image)
        pd.testing.assert_series_equal(
            together.final_losses(place), alone.final_losses(), rtol=1e-3
        )


def test_several_seeds_of_an_exemplar_give_as_many_images() -> None:
    several = cp.texture(EXEMPLARS[0], seed=range(7, 9), **SETTINGS)
    assert several.provenance["seed"] == [7, 8]
    for one, seed in zip(several.each(), (7, 8), strict=True):
        alone = cp.texture(EXEMPLARS[0], seed=seed, **SETTINGS)
        _same(one.image, alone.image)
        assert one.provenance["seed"] == alone.provenance["seed"] == seed
        assert one.provenance["batch"] == {"images": 2, "place": seed - 7, "seeds": [7, 8]}
        assert one.losses.columns.tolist() == alone.losses.columns.tolist()
        assert one.losses["image"].eq(0).all()
        assert len(one.losses) == len(alone.losses)
        assert alone.each() == [alone]
    assert (several.images[0] - several.images[1]).abs().mean() > 0.05


def test_controls_go_with_batches() -> None:
    options = {"grey": True, "histogram": True, "statistic": "mean-covariance"}
    pair = EXEMPLARS[:2]
    blended = cp.texture([pair, EXEMPLARS[2]], weights=[2, 1], **options, **SETTINGS)
    spectral = cp.texture(pair, spectrum=0.1, **options, **SETTINGS)
    mask = torch.ones(64, 64)
    mask[:, :20] = 0
    masked = cp.texture(pair, mask=mask, statistic="gram", **SETTINGS)
    gridded = cp.texture(pair, pool_grid=2, statistic="whitened-gram", **SETTINGS)
    for place in range(2):
        source = EXEMPLARS[place]
        parts = [source, EXEMPLARS[2]]
        _same(blended.images[place], cp.texture(parts, weights=[2, 1], **options, **SETTINGS).image)
        alone = cp.texture(source, mask=mask, statistic="gram", **SETTINGS)
        _same(masked.images[place], alone.image)
        _same(spectral.images[place], cp.texture(source, spectrum=0.1, **options, **SETTINGS).image)
        _same(gridded.images[place], cp.texture(source, pool_grid=2, **SETTINGS).image)


def test_an_interrupted_batch_goes_on_to_the_same_bits(tmp_path, monkeypatch) -> None:
    options = {"seed": [1, 2], **SETTINGS, "evaluations": 26}
    whole = cp.texture(EXEMPLARS[:2], **options)
    interrupt_at(monkeypatch, 21)
    path = tmp_path / "batch.checkpoint"
    partial = cp.texture(EXEMPLARS[:2], checkpoint=path, **options)
    assert not partial.finished
    assert partial.images.shape == whole.images.shape
    with pytest.raises(ValueError, match="other settings"):
        cp.texture(EXEMPLARS[:1], checkpoint=path, **{**options, "seed": 1})
    assert torch.equal(cp.texture(EXEMPLARS[:2], checkpoint=path, **options).images, whole.images)


def test_numbers_that_do_not_go_together_are_named() -> None:
    with pytest.raises(ValueError, match="3 exemplar.* as many seeds, or one; got \\[1, 2\\]"):
        cp.texture(EXEMPLARS, seed=[1, 2], model=MODEL)
    with pytest.raises(ValueError, match="as many seeds"):
        cp.texture(EXEMPLARS[0], seed=[], model=MODEL)
    with pytest.raises(ValueError, match="the same number of images, or one; got \\[2, 3\\]"):
        cp.texture([EXEMPLARS, EXEMPLARS[:2]], model=MODEL)
    with pytest.raises(ValueError, match="at least one exemplar"):
        cp.texture(EXEMPLARS[:0], model=MODEL)
    silent = torch.stack([EXEMPLARS[0], torch.zeros(3, 64, 64)])
    with pytest.raises(ValueError, match="does not respond to the texture image"):
        match("texture", cp.load_model("pixels"), ["pixels"], MEASURES["gram"], silent)
