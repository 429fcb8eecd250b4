"""Tile by tile, an objective has the loss and gradient that it has in one piece."""

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

import cnnperception as cp
from cnnperception.models import RandomFilters
from cnnperception.synthesis import Objective, PixelTerm, tiling
from cnnperception.synthesis.measures import MEASURES
from cnnperception.synthesis.objective import match, out_of_range, total_variation, unchanged


def _image(height: int, width: int, seed: int = 0, batch: int = 1) -> Tensor:
    return torch.rand((batch, 3, height, width), generator=torch.Generator().manual_seed(seed))


VGG = cp.load_model("vgg19", weights=None, pooling="avg", device="cpu")
FILTERS = RandomFilters(scales=3, channels=16)


@pytest.mark.parametrize("statistic", ["gram", "balanced-gram", "whitened-gram", "mean-covariance"])
@pytest.mark.parametrize(
    ("model", "layers", "content", "size"),
    [
        (VGG, ["conv1_1", "pool1", "pool3", "pool4"], ["conv4_2"], (208, 250)),
        (FILTERS, ["scale1", "scale2", "scale3"], ["scale2"], (150, 101)),
    ],
)
def test_tiled_and_whole_gradients_agree(
    statistic: str, model: Any, layers: list[str], content: list[str], size: tuple[int, int]
) -> None:
    source, scene, images = _image(160, 144, 1), _image(*size, 2), _image(*size, 3, batch=2)
    if statistic == "mean-covariance":
        # Roots of nearly singular matrices magnify what sums in another order round otherwise.
        model, layers = copy.deepcopy(model).double(), layers[:3]
        source, scene, images = source.double(), scene.double(), images.double()
    tiles = tiling.fitting_tiles(model, [*layers, *content], 64)
    limits = [PixelTerm("range", out_of_range, 3.0), PixelTerm("smooth", total_variation, 0.1)]

    def objective(tiles: tiling.Tiles | None) -> Objective:
        terms = match("style", model, layers, MEASURES[statistic], source, tiles=tiles)
        terms += match("content", model, content, unchanged, scene, weight=0.3, tiles=tiles)
        return Objective(model, terms, limits, tiles=tiles)

    total, gradient, losses = objective(None)(images)
    tiled_total, tiled_gradient, tiled_losses = objective(tiles)(images)
    torch.testing.assert_close(tiled_total, total, rtol=1e-4, atol=0)
    torch.testing.assert_close(tiled_losses, losses, rtol=1e-4, atol=1e-9)
    error = (tiled_gradient - gradient).norm() / gradient.norm()
    assert error < 1e-4


@pytest.mark.parametrize("size", [(128, 96), (112, 144), (72, 20)])
def test_tiles_of_images_whose_borders_are_joined_agree_too(size) -> None:
    layers = ["scale1", "scale2", "scale3"]
    source, images = _image(96, 96, 1), _image(*size, 2)
    tiles = tiling.fitting_tiles(FILTERS, layers, 32, wrap=True)
    terms = match("texture", FILTERS, layers, MEASURES["gram"], source)
    whole = Objective(FILTERS, terms, tileable=True)
    _, gradient, losses = whole(images)
    _, tiled, tiled_losses = dataclasses.replace(whole, tiles=tiles)(images)
    torch.testing.assert_close(tiled_losses, losses, rtol=1e-4, atol=1e-9)
    assert (tiled - gradient).norm() < 1e-4 * gradient.norm()
    # Without the wrapping the borders are others.
    _, apart, _ = dataclasses.replace(whole, tileable=False)(images)
    assert (apart - gradient).norm() > 1e-2 * gradient.norm()


def test_joined_borders_need_sides_that_fit_the_strides() -> None:
    tiles = tiling.Tiles(side=48, halo=16, strides={"x": 8, "y": 2}, wrap=True)
    with pytest.raises(ValueError, match="100 x 96 pixels.*multiples of 8"):
        tiling.cut((100, 96), tiles)


def test_every_pixel_is_in_one_tile() -> None:
    tiles = tiling.Tiles(side=48, halo=16, strides={"x": 8})
    owned = torch.zeros(100, 130)
    for tile in tiling.cut((100, 130), tiles):
        owned[tile.top : tile.top + 48, tile.left : tile.left + 48] += 1
        assert int(tile.rows[0]) == max(0, tile.top - 16)
    assert (owned == 1).all()


def test_a_statistic_of_sorted_values_is_refused() -> None:
    tiles = tiling.fitting_tiles(FILTERS, ["scale1"], 32)
    with pytest.raises(ValueError, match="cannot be had in tiles"):
        match("x", FILTERS, ["scale1"], MEASURES["sliced-wasserstein"], _image(64, 64), tiles=tiles)
    terms = match("x", FILTERS, ["scale1"], MEASURES["sliced-wasserstein"], _image(64, 64))
    with pytest.raises(ValueError, match="cannot be had in tiles"):
        Objective(FILTERS, terms, tiles=tiles)(_image(64, 64, 1))


@pytest.mark.parametrize(("name", "layer"), [("hmax", "c2/8"), ("hmax", "c1/band8")])
def test_layers_that_see_the_whole_image_are_refused(name: str, layer: str) -> None:
    model = cp.load_model(name, device="cpu")
    with pytest.raises(ValueError, match="cannot be seen in tiles"):
        tiling.fitting_tiles(model, [layer], 64)
