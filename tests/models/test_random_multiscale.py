import numpy as np
import pytest
import torch
from scipy import signal

import cnnperception as cp
from cnnperception.models import RandomMultiscale, receptive_field


def _image(side: int = 12) -> torch.Tensor:
    return torch.rand((1, 3, side, side), generator=torch.Generator().manual_seed(0))


def test_the_network_is_that_of_the_paper() -> None:
    model = RandomMultiscale()
    shapes = [tuple(convolution.weight.shape) for convolution in model.scales]
    assert shapes == [(128, 3, size, size) for size in (3, 5, 7, 11, 15, 23, 37, 55)]
    for convolution, shape in zip(model.scales, shapes, strict=True):
        bound = (6 / ((3 + 128) * shape[2] ** 2)) ** 0.5
        weights = convolution.weight
        assert convolution.bias is None
        assert 0.99 * bound < weights.abs().max() <= bound
        # Uniform: a third of the bound's square is its variance.
        assert weights.var() == pytest.approx(bound**2 / 3, rel=0.05)
    assert receptive_field(model, "filters") == 55


def test_responses_are_rectified_correlations_of_grey_levels_less_the_mean() -> None:
    model = RandomMultiscale(sizes=(3, 5), maps=2, seed=4)
    image = _image()
    found = model.features(image, ["filters"])["filters"][0].numpy()
    pixels = 255 * image[0].numpy() - np.array([123, 117, 104])[:, None, None]
    expected = []
    for convolution in model.scales:
        for kernel in convolution.weight.numpy():
            pairs = zip(pixels, kernel, strict=True)
            expected.append(sum(signal.correlate2d(p, k, mode="same") for p, k in pairs))
    np.testing.assert_allclose(found, np.maximum(expected, 0), rtol=1e-4, atol=1e-3)
    assert (np.asarray(expected) < 0).any()
    linear = RandomMultiscale(sizes=(3, 5), maps=2, seed=4, rectified=False)
    response = linear.features(image, ["filters"])["filters"][0].numpy()
    np.testing.assert_allclose(response, expected, rtol=1e-4, atol=1e-3)


def test_the_seed_decides_the_filters_and_leaves_the_global_state_alone() -> None:
    state = torch.random.get_rng_state()
    first, again, other = (RandomMultiscale(sizes=(3,), maps=4, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first.scales[0].weight, again.scales[0].weight)
    assert not torch.equal(first.scales[0].weight, other.scales[0].weight)


def test_sizes_that_have_no_middle_are_refused() -> None:
    with pytest.raises(ValueError, match="odd sizes"):
        cp.load_model("random-multiscale", sizes=(3, 4), device="cpu")
    with pytest.raises(ValueError, match="at least 1 map"):
        RandomMultiscale(maps=0)
