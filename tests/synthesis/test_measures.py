"""Each measure is 0 at its target, has the right gradient, and means the same at every size."""

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import Tensor

import cnnperception as cp
from cnnperception.models import RandomFilters
from cnnperception.synthesis import measures
from cnnperception.synthesis.measures import MEASURES
from cnnperception.synthesis.objective import Term, match

POOLED = [name for name in MEASURES if name != "features"]


def _features(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def _texture(side: int, seed: int, grain: float) -> Tensor:
    """Return stationary noise of one colour distribution, its correlation as wide as the grain."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((1, 3, side, side), generator=generator)
    down = torch.fft.fftfreq(side)[:, None]
    across = torch.fft.rfftfreq(side)
    filtered = torch.fft.irfft2(
        torch.fft.rfft2(noise) * torch.exp(-((down**2 + across**2) * grain**2)), s=(side, side)
    )
    return (0.5 + 0.15 * filtered / filtered.std()).clamp(0, 1)


@pytest.mark.parametrize("name", MEASURES)
def test_a_term_is_zero_at_its_target_and_its_gradient_is_right(name: str) -> None:
    source = _features(1, 3, 9, 8)
    statistic = MEASURES[name](source)
    term = Term("x", "x", statistic, statistic(source))
    assert float(term.loss(source)) < 1e-20
    other = _features(2, 3, 9, 8, seed=1).requires_grad_()
    assert (term.loss(other) > 1e-4).all()
    assert torch.autograd.gradcheck(term.loss, (other,), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", MEASURES)
def test_features_in_bfloat16_have_the_loss_of_the_same_numbers_in_float32(name: str) -> None:
    source = _features(1, 3, 9, 8).float()
    statistic = MEASURES[name](source)
    term = Term("x", "x", statistic, statistic(source))
    rough = _features(2, 3, 9, 8, seed=1).to(torch.bfloat16).requires_grad_()
    same = rough.detach().float().requires_grad_()
    loss, expected = term.loss(rough), term.loss(same)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected)
    (slope,) = torch.autograd.grad(loss.sum(), rough)
    (precise,) = torch.autograd.grad(expected.sum(), same)
    # Of the two factors of the product and of the product itself.
    assert (slope.float() - precise).norm() < 3 * 2**-9 * precise.norm()


@pytest.mark.parametrize("name", MEASURES)
def test_images_of_a_batch_do_not_influence_each_other(name: str) -> None:
    source, batch = _features(1, 3, 12, 12), _features(3, 3, 12, 12, seed=2)
    statistic = MEASURES[name](source)
    alone = torch.cat([statistic(image[None]) for image in batch])
    torch.testing.assert_close(statistic(batch), alone)


@pytest.mark.parametrize("name", POOLED)
def test_a_loss_is_the_same_at_every_size_of_a_stationary_texture(name: str) -> None:
    model, layers = RandomFilters(scales=2, channels=12), ["scale1", "scale2"]
    # Another grain, contrast and colour: the difference is far above the noise of one sample.
    target = 0.5 * _texture(256, 100, grain=1.0) * torch.tensor([1.0, 0.7, 0.4]).view(1, 3, 1, 1)
    terms = match("texture", model, layers, MEASURES[name], target)

    def loss(side: int) -> float:
        images = torch.cat([_texture(side, seed, grain=4.0) for seed in range(6)])
        features = model.features(images, layers)
        return float(sum(term.loss(features[term.layer]).mean() for term in terms))

    assert loss(128) == pytest.approx(loss(256), rel=0.05)
    assert loss(192) == pytest.approx(loss(256), rel=0.05)


def test_square_roots_equal_scipys() -> None:
    factors = _features(4, 6, 6)
    matrices = factors @ factors.mT + 0.01 * torch.eye(6, dtype=torch.float64)
    roots = measures.square_root(matrices)
    for matrix, root in zip(matrices, roots, strict=True):
        np.testing.assert_allclose(root.numpy(), linalg.sqrtm(matrix.numpy()), atol=1e-9)


def test_the_gradient_of_a_root_is_finite_where_eigenvalues_are_equal() -> None:
    matrix = torch.eye(4, dtype=torch.float64)[None].requires_grad_()
    assert torch.autograd.gradcheck(
        lambda m: measures.square_root((m + m.mT) / 2), (matrix,), atol=1e-6
    )


def test_mean_and_covariance_bound_the_wasserstein_distance_of_gaussians() -> None:
    for seed in range(5):
        one, two = _features(1, 4, 20, 20, seed=seed), 2 * _features(1, 4, 20, 20, seed=seed + 50)
        two[:, 1] += two[:, 0]
        statistic = measures.mean_covariance(one)
        difference = float((statistic(one) - statistic(two)).square().sum())
        c1, c2 = (cp.channel_covariance(x)[0].numpy() for x in (one, two))
        m1, m2 = (cp.channel_mean(x)[0].numpy() for x in (one, two))
        root = linalg.sqrtm(c1)
        bures = np.trace(c1 + c2 - 2 * linalg.sqrtm(root @ c2 @ root)).real
        transport = ((m1 - m2) ** 2).sum() + bures
        assert 0.999 * transport <= difference <= 2.001 * transport


def test_quantiles_of_as_many_values_are_the_sorted_values() -> None:
    values = _features(2, measures.QUANTILES)
    torch.testing.assert_close(measures.quantiles(values), values.sort(dim=-1).values)
    uniform = torch.linspace(0, 1, 4001, dtype=torch.float64)
    expected = (torch.arange(10) + 0.5) / 10
    torch.testing.assert_close(
        measures.quantiles(uniform, 10), expected.double(), atol=1e-3, rtol=0
    )


def test_sliced_wasserstein_does_not_see_where_features_are() -> None:
    features = _features(1, 5, 16, 16)
    places = torch.randperm(256, generator=torch.Generator().manual_seed(1))
    moved = features.flatten(2)[..., places].view_as(features)
    statistic = measures.sliced_wasserstein(features)
    torch.testing.assert_close(statistic(moved), statistic(features))
    # It sees what a Gram matrix does not: which values go together in a single pixel.
    flipped = features.mean(dim=(2, 3), keepdim=True) * 2 - features
    assert (statistic(flipped) - statistic(features)).abs().max() > 1e-3


def test_shifted_grams_begin_with_the_gram_matrix_and_equal_a_loop() -> None:
    features = _features(1, 3, 20, 24)
    found = measures.shifted_gram(features, shifts=(0, 4))(features)
    torch.testing.assert_close(found[:, 0], cp.gram(features))
    loop = torch.zeros(3, 3, dtype=torch.float64)
    for y in range(20):
        for x in range(20):
            loop += torch.outer(features[0, :, y, x], features[0, :, y, x + 4])
    torch.testing.assert_close(found[0, 2], loop / 400)


def test_autocorrelations_equal_a_loop() -> None:
    features = _features(1, 2, 10, 7)
    found = measures.autocorrelation(features, radius=3)(features)
    assert found.shape == (1, 2, 7, 7)
    values, dy, dx = features[0, 1].numpy(), 2, -3
    pairs = [
        values[y, x] * values[y + dy, x + dx]
        for y in range(10)
        for x in range(7)
        if 0 <= y + dy < 10 and 0 <= x + dx < 7
    ]
    assert float(found[0, 1, 3 + dy, 3 + dx]) == pytest.approx(np.mean(pairs))


def test_together_every_statistic_counts_alike() -> None:
    source, other = _features(1, 3, 12, 12), _features(1, 3, 12, 12, seed=3)
    both = measures.together(MEASURES["gram"], measures.histogram)(source)
    apart = [MEASURES["gram"](source), measures.histogram(source)]

    def relative(statistic, image):  # type: ignore[no-untyped-def]
        target = statistic(source)
        return float((statistic(image) - target).square().sum() / target.square().sum())

    expected = (relative(apart[0], other) + relative(apart[1], other)) / 2
    assert relative(both, other) == pytest.approx(expected)


@pytest.mark.parametrize("frequency", [(0, 8), (12, 0), (6, 6)])
def test_the_spectrum_of_a_grating_lies_in_one_band_at_every_size(
    frequency: tuple[int, int],
) -> None:
    bands, angles = 16, 4
    where = []
    for side in (64, 128):
        at = torch.arange(side, dtype=torch.float64)
        phase = (frequency[0] * at[:, None] + frequency[1] * at) / 64
        grating = torch.cos(2 * torch.pi * phase)[None, None]
        found = measures.spectrum(grating, bands, angles)[0, 0].view(bands, angles)
        assert float(found.max()) > 5 * float(found.flatten().sort().values[-3])
        where.append(int(found.argmax()))
    assert where[0] == where[1]
    radius = (frequency[0] ** 2 + frequency[1] ** 2) ** 0.5 / 64
    assert where[0] // angles == int(radius * 2 * bands)


def test_spectra_have_the_right_gradient() -> None:
    images = _features(1, 2, 8, 9).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: measures.spectrum(x, 4, 2), (images,), atol=1e-6)


def test_covariances_of_more_channels_than_positions_have_finite_slopes() -> None:
    random = torch.Generator().manual_seed(0)
    basis = torch.rand((1, 6, 10, 10), generator=random)
    mixing = torch.rand((400, 6), generator=random)
    source, features = (
        1 + 0.05 * torch.einsum("ci,bihw->bchw", mixing, b) for b in (basis, basis.flip(1))
    )
    statistic = MEASURES["mean-covariance"](source)
    (slope,) = torch.autograd.grad(statistic(features.requires_grad_()).square().sum(), features)
    assert torch.isfinite(slope).all()
