from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision import models as torchvision_models

import cnnperception as cp
from cnnperception.models import TorchvisionNetwork, fingerprint, normalised
from cnnperception.models.tracing import without_numbers

LAYERS = ["conv1_1", "conv2_1", "conv3_2", "conv5_2"]


def _images(count: int = 5, side: int = 48) -> Tensor:
    return torch.rand((count, 3, side, side), generator=torch.Generator().manual_seed(0))


def _network(name: str, folder: Path, pooling: str = "max", silent: int = 0) -> TorchvisionNetwork:
    """Return a VGG without classifier; the first filters of conv1_1 may be made silent."""
    with without_numbers():
        convolutions = torchvision_models.get_model(name).features
    random = torch.Generator().manual_seed(0)
    state = {}
    for key, value in convolutions.state_dict().items():
        drawn = torch.randn(value.shape, generator=random)
        if value.ndim > 1:
            drawn *= (2 / value[0].numel()) ** 0.5
        elif key.endswith("running_var") or (key.endswith("weight") and value.ndim == 1):
            drawn = drawn.abs() + 0.5
        else:
            drawn *= 0.05
        state[f"features.{key}"] = drawn.to(value.dtype)
    if silent:
        state["features.0.weight"][:silent] = 0
        state["features.0.bias"][:silent] = -1
    path = folder / f"{name}.pth"
    torch.save(state, path)
    return TorchvisionNetwork(name, weights=path, pooling=pooling)


def _means(model: TorchvisionNetwork, images: Tensor, layer: str) -> Tensor:
    return cp.channel_mean(model.features(images, [layer])[layer]).mean(dim=0)


@pytest.mark.parametrize(
    ("name", "pooling"), [("vgg11", "max"), ("vgg11", "avg"), ("vgg11_bn", "max")]
)
def test_normalising_makes_mean_activations_one_and_changes_scale_alone(
    tmp_path: Path, name: str, pooling: str
) -> None:
    model, images = _network(name, tmp_path, pooling), _images()
    scaled = normalised(model, images)
    unseen = _images(7)[5:]
    for layer in LAYERS:
        before = _means(model, images, layer)
        alive = before > 1e-6 * before.mean()
        torch.testing.assert_close(
            _means(scaled, images, layer)[alive], torch.ones(int(alive.sum())), rtol=1e-3, atol=0
        )
        expected = model.features(unseen, [layer])[layer]
        restored = scaled.features(unseen, [layer])[layer] * before[:, None, None]
        difference = (restored - expected)[:, alive].norm()
        assert difference < 1e-4 * expected.norm()


def test_normalising_leaves_the_answer_of_the_classifier() -> None:
    model, images = TorchvisionNetwork("vgg11", weights=None), _images(2)
    expected = model.features(images, ["fc8"])["fc8"]
    ours = normalised(model, images).features(images, ["fc8"])["fc8"]
    assert (ours - expected).norm() < 1e-4 * expected.norm()


def test_normalising_returns_a_copy_that_says_what_it_is(tmp_path: Path) -> None:
    model, images = _network("vgg11", tmp_path), _images()
    before = fingerprint(model)
    scaled = normalised(model, images)
    assert scaled.provenance == model.provenance | {"normalised": scaled.provenance["normalised"]}
    assert scaled.provenance["normalised"]["images"] == 5
    assert fingerprint(model) == before != fingerprint(scaled)
    assert not any(parameter.requires_grad for parameter in scaled.parameters())


def test_images_of_any_size_count_by_their_positions(tmp_path: Path) -> None:
    model = _network("vgg11", tmp_path)
    large, small = _images(2, 64), _images(3, 32)
    scaled = normalised(model, iter([large, small]))
    assert scaled.provenance["normalised"]["images"] == 5
    positions = [2 * 64 * 64, 3 * 32 * 32]
    means = [_means(scaled, images, "conv1_1") for images in (large, small)]
    together = sum(m * p for m, p in zip(means, positions, strict=True)) / sum(positions)
    torch.testing.assert_close(together, torch.ones(64), rtol=1e-4, atol=1e-4)


def test_silent_filters_stay_silent_and_are_counted(tmp_path: Path) -> None:
    model = _network("vgg11", tmp_path, silent=3)
    responses = model.features(_images(), [layer for layer in model.layers if "conv" in layer])
    silent = [int((response.amax(dim=(0, 2, 3)) == 0).sum()) for response in responses.values()]
    assert silent[0] == 3
    scaled = normalised(model, _images())
    assert scaled.provenance["normalised"]["silent_filters"] == sum(silent)
    means = _means(scaled, _images(), "conv1_1")
    assert torch.equal(means[:3], torch.zeros(3))
    torch.testing.assert_close(means[3:], torch.ones(61), rtol=1e-4, atol=1e-4)
    assert all(parameter.isfinite().all() for parameter in scaled.parameters())


def test_normalising_needs_a_vgg_and_images(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="VGG family can be normalised; got squeezenet1_1"):
        normalised(TorchvisionNetwork("squeezenet1_1", weights=None), _images())
    model = _network("vgg11", tmp_path)
    with pytest.raises(ValueError, match="at least one image"):
        normalised(model, _images(0))
    with pytest.raises(ValueError, match="'conv1_1' of vgg11 is not finite"):
        normalised(model, _images() * torch.nan)
