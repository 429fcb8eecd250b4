import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cnnperception as cp
from cnnperception import statistics


def _features(seed: int, shape: tuple[int, ...] = (2, 5, 6, 7)) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_gram_equals_a_loop_over_positions() -> None:
    features = _features(0)
    expected = np.zeros((2, 5, 5))
    for image, row, column in np.ndindex(2, 6, 7):
        vector = features[image, :, row, column].numpy()
        expected[image] += np.outer(vector, vector) / 42
    np.testing.assert_allclose(cp.gram(features).numpy(), expected, rtol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_gram_is_invariant_to_moving_pixels_around(seed: int) -> None:
    features = _features(seed)
    order = torch.randperm(42, generator=torch.Generator().manual_seed(seed))
    moved = features.flatten(2)[..., order].view_as(features)
    torch.testing.assert_close(cp.gram(moved), cp.gram(features))


def test_gram_is_covariance_plus_outer_product_of_means() -> None:
    features = _features(1)
    mean = cp.channel_mean(features)
    expected = cp.channel_covariance(features) + mean[:, :, None] * mean[:, None, :]
    torch.testing.assert_close(cp.gram(features), expected)


def test_covariance_equals_numpy() -> None:
    features = _features(2)
    expected = np.cov(features[0].flatten(1).numpy(), bias=True)
    np.testing.assert_allclose(cp.channel_covariance(features)[0].numpy(), expected, rtol=1e-12)


def test_gram_does_not_depend_on_image_size_for_a_repeated_pattern() -> None:
    features = _features(3)
    torch.testing.assert_close(cp.gram(features.repeat(1, 1, 3, 2)), cp.gram(features))


def test_gram_sums_half_precision_in_single() -> None:
    features = torch.full((1, 1, 512, 512), 100.0, dtype=torch.float16)
    assert cp.gram(features).dtype == torch.float32
    assert cp.gram(features).item() == pytest.approx(10_000, rel=1e-3)


def test_products_of_bfloat16_are_summed_in_single() -> None:
    features = _features(0, (2, 5, 60, 70)).to(torch.bfloat16)
    weights = _features(1, (60, 70)).abs()
    for weighing in (None, weights):
        found = statistics.product_sums(features, weighing)
        assert found.dtype == torch.float32
        expected = statistics.product_sums(features.double(), weighing).float()
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("statistic", [cp.gram, cp.channel_mean, cp.channel_covariance])
def test_gradients_equal_finite_differences(statistic) -> None:
    features = _features(4, (1, 3, 4, 3)).requires_grad_()
    assert torch.autograd.gradcheck(statistic, (features,))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_of_products_are_those_of_the_plain_formula(
    weighted: bool, channels_last: bool
) -> None:
    order = torch.channels_last if channels_last else torch.contiguous_format
    features = _features(3).contiguous(memory_format=order).requires_grad_()
    weights = _features(4, (6, 7)).abs() if weighted else None
    flat = features.flatten(2)
    sums = (flat if weights is None else flat * weights.flatten()) @ flat.mT
    found = statistics.product_sums(features, weights)
    torch.testing.assert_close(found, sums)
    change = _features(5, (2, 5, 5))
    (expected,) = torch.autograd.grad(sums, features, change)
    (ours,) = torch.autograd.grad(found, features, change)
    torch.testing.assert_close(ours, expected)
    # In the order of the features, so that nothing has to be rearranged on its way back.
    assert ours.is_contiguous(memory_format=order)
    assert torch.autograd.gradgradcheck(
        lambda x: statistics.product_sums(x, weights), _features(6).requires_grad_()
    )


def test_a_layer_without_positions_has_no_gram() -> None:
    with pytest.raises(ValueError, match="no positions"):
        cp.gram(torch.zeros(2, 10))


def test_flatten_and_spatial_mean_shapes() -> None:
    features = _features(5)
    assert statistics.flatten(features).shape == (2, 210)
    torch.testing.assert_close(statistics.spatial_mean(features), features.mean(dim=(2, 3)))
    units = features.flatten(1)
    assert statistics.spatial_mean(units) is units
