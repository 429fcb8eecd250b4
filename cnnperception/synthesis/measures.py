"""Statistics that a synthesis can match, beside Gram matrices.

A measure looks at the source's features and returns the statistic to match. Every statistic is
an average over positions, or values at fixed quantiles, so that images of any size compare.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .. import runtime
from ..statistics import at_least_single, flatten, product_sums
from .objective import Measure, balanced_gram, plain_gram, unchanged, whitened_gram
from .position_statistics import PositionMeasure, Statistic

QUANTILES = 256  # at which distributions are compared
SHIFTS = (0, 1, 2, 4, 8, 16)  # positions, of the shifted Gram matrices
SILENT = 1e-12  # below every amplitude: of a sector without frequencies
RADIUS = 8  # positions, of the autocorrelation
DIRECTIONS_SEED = 0
LEAST_VARIANCE = 1e-4  # of the mean variance of the channels: added to every channel's


def _moments(features: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the sums over positions of the features and of their products, side by side."""
    wide = at_least_single(features)
    weighted = wide if weights is None else wide * weights.to(wide)
    sums = weighted.flatten(2).sum(dim=2)
    return torch.cat([sums[:, :, None], product_sums(features, weights)], dim=2)


def _transport(means: Tensor, positions: int) -> Callable[[Tensor], Tensor]:
    covariance = _covariance(means.double())
    variance = covariance.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]
    ridge = LEAST_VARIANCE * variance.clamp(min=torch.finfo(variance.dtype).tiny)
    identity = torch.eye(covariance.shape[-1]).to(covariance)

    def finish(means: Tensor) -> Tensor:
        # The root of a nearly singular matrix makes much of its rounding.
        regular = _covariance(means.double()) + ridge * identity
        root = square_root(regular, least=ridge[..., 0]).to(means)
        return torch.cat([means[:, :, :1], root], dim=2)

    return finish


def _covariance(means: Tensor) -> Tensor:
    return means[:, :, 1:] - means[:, :, :1] @ means[:, :, :1].mT


# The mean and covariance of the channels, as far as a Gaussian optimal transport goes.
#
# The statistic is (m, C^(1/2)) with C the covariance. The squared 2-Wasserstein distance of
# Gaussians, W = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^(1/2) C2 C1^(1/2))^(1/2)) (Olkin & Pukelsheim
# 1982), is the squared difference of two such statistics where the covariances commute; otherwise
# that lies between W and 2 W (Bhatia, Jain & Lim 2019, the Hellinger and the Bures distance).
# Roots of singular matrices have no derivative: a ridge of 1e-4 of the source's mean variance is
# added to both.
mean_covariance = PositionMeasure(_moments, _transport)


def square_root(matrices: Tensor, least: Tensor | float = 0.0) -> Tensor:
    """Return the symmetric square roots of positive definite matrices (batch, n, n).

    The derivative solves the Sylvester equation R dR + dR R = dM, which unlike that of an
    eigendecomposition is finite where eigenvalues are equal. Smaller eigenvalues than `least`,
    (batch, 1) or a number, are taken for it: the sums of many more channels than positions, in
    float32, can make them negative.
    """
    root: Tensor = _SquareRoot.apply(matrices, least)
    return root


class _SquareRoot(torch.autograd.Function):
    @staticmethod
    def forward(ctx, matrices, least):  # type: ignore[no-untyped-def]
        values, vectors = torch.linalg.eigh(matrices)
        roots = values.clamp(min=least).sqrt()
        ctx.save_for_backward(roots, vectors)
        return (vectors * roots[:, None, :]) @ vectors.mT

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        roots, vectors = ctx.saved_tensors
        turned = vectors.mT @ ((gradient + gradient.mT) / 2) @ vectors
        sums = roots[:, :, None] + roots[:, None, :]
        tiny = torch.finfo(sums.dtype).tiny
        return vectors @ (turned / sums.clamp(min=tiny)) @ vectors.mT, None


def sliced_wasserstein(source: Tensor) -> Statistic:
    """Match the whole distribution of the features (Heitz, Vanhoey, Chambon & Belcour 2021).

    Features are projected onto as many random directions as there are channels, sorted, and
    compared at fixed quantiles: their mean squared difference is the sliced 2-Wasserstein
    distance. The directions stay the same through a synthesis, as L-BFGS needs; Heitz et al. draw
    new ones at each step.
    """
    channels = source.shape[1]
    generator = runtime.generator(DIRECTIONS_SEED)
    directions = torch.randn((channels, channels), generator=generator, dtype=torch.float64)
    unit = functional.normalize(directions, dim=1).to(source)

    def statistic(features: Tensor) -> Tensor:
        projected = torch.einsum("dc,bchw->bdhw", unit, features)
        return quantiles(projected.flatten(2))

    return statistic


def histogram(source: Tensor) -> Statistic:
    """Match the distribution of each channel by itself (as Risser, Wilmot & Barnes 2017).

    It says nothing of how channels go together: add it to Gram matrices with `together`.
    """
    return lambda features: quantiles(features.flatten(2))


def quantiles(values: Tensor, count: int = QUANTILES) -> Tensor:
    """Return the values (..., n) at evenly spaced quantiles, (..., count), interpolated."""
    ordered = values.sort(dim=-1).values
    size = ordered.shape[-1]
    # The middle of each of `count` equal shares of the distribution.
    place = (torch.arange(count, device=values.device).to(values) + 0.5) * size / count - 0.5
    place = place.clamp(0, size - 1)
    below = place.floor().long()
    above = (below + 1).clamp(max=size - 1)
    share = place - below
    return ordered[..., below] * (1 - share) + ordered[..., above] * share


def shifted_gram(source: Tensor, shifts: Sequence[int] = SHIFTS) -> Statistic:
    """Match how features go together over a distance (Berger & Memisevic 2017).

    For each shift d, the means over positions of f(y, x) f(y, x + d)^T and f(y, x) f(y + d, x)^T;
    that of 0 is the Gram matrix. Shifts of more than half the source's side are left out.
    """
    side = min(source.shape[-2:])
    kept = [shift for shift in shifts if shift <= side // 2]

    def statistic(features: Tensor) -> Tensor:
        _check_reach(features, max(kept))
        return torch.stack([_shifted(features, *by) for d in kept for by in _ways(d)], dim=1)

    return statistic


def _check_reach(features: Tensor, reach: int) -> None:
    """Raise ValueError for features with no two positions as far apart as the source's."""
    side = min(features.shape[-2:])
    if side <= reach:
        raise ValueError(
            f"the statistic compares positions that are {reach} apart, and a layer of the image "
            f"has {side} along a side: make an image as large as the exemplar, or give a smaller "
            "exemplar"
        )


def _ways(shift: int) -> list[tuple[int, int]]:
    return [(shift, 0), (0, shift)] if shift else [(0, 0)]


def _shifted(features: Tensor, down: int, across: int) -> Tensor:
    height, width = features.shape[-2:]
    first = features[..., : height - down, : width - across].flatten(2)
    second = features[..., down:, across:].flatten(2)
    return first @ second.mT / first.shape[2]


def autocorrelation(source: Tensor, radius: int = RADIUS) -> Statistic:
    """Match each channel's autocorrelation at small distances (as Sendik & Cohen-Or 2017).

    The mean over positions of f(y, x) f(y + dy, x + dx), |dy| and |dx| up to the radius, without
    wrapping around: every distance is averaged over the pairs of positions that there are. It
    keeps regular patterns regular; add it to Gram matrices with `together`.
    """
    height, width = source.shape[-2:]
    reach = min(radius, height // 2, width // 2)

    def statistic(features: Tensor) -> Tensor:
        _check_reach(features, reach)
        size = tuple(side + reach for side in features.shape[-2:])
        spectrum = torch.fft.rfft2(features, s=size).abs().square()
        products = torch.fft.irfft2(spectrum, s=size)
        near = torch.arange(-reach, reach + 1, device=features.device)
        sums = products[..., near[:, None], near]
        down, across = (side - near.abs() for side in features.shape[-2:])
        return sums / (down[:, None] * across)

    return statistic


def together(*measures: Measure) -> Measure:
    """Return the measure that matches several statistics, each counting alike."""

    def measure(source: Tensor) -> Statistic:
        statistics = [measure(source) for measure in measures]
        sizes = [flatten(one(source)).norm(dim=1, keepdim=True) for one in statistics]

        def statistic(features: Tensor) -> Tensor:
            parts = [
                flatten(one(features)) / size.clamp(min=torch.finfo(size.dtype).tiny)
                for one, size in zip(statistics, sizes, strict=True)
            ]
            return torch.cat(parts, dim=1)

        return statistic

    return measure


def spectrum(images: Tensor, bands: int = 32, angles: int = 8) -> Tensor:
    """Return the amplitude spectrum in bands of frequency and orientation.

    Root mean power of the Fourier transform, per pixel, in bands of equal width up to the
    highest frequency, and sectors; frequencies in cycles per pixel, so that images of any size
    compare. The mean of the image is left out.

    Parameters
    ----------
    images : Tensor, shape (batch, channel, height, width)

    Returns
    -------
    Tensor, shape (batch, channel, bands * angles)
    """
    height, width = images.shape[-2:]
    power = torch.fft.rfft2(images, norm="ortho").abs().square()
    which, counts = _sectors(height, width, bands, angles, str(images.device))
    sums = power.new_zeros((*power.shape[:2], bands * angles + 1))
    sums = sums.index_add(2, which, power.flatten(2))
    mean = sums[..., :-1] / counts.clamp(min=1).to(power)
    tiny = torch.finfo(power.dtype).tiny
    return (mean + tiny).sqrt()


def spectrum_of(source: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the loss of a `PixelTerm`: how far images are from a source's amplitude spectrum.

    Relative to the square of the source's, of which only the sectors that both sizes have count.
    """
    target = spectrum(source)

    def loss(images: Tensor) -> Tensor:
        found = spectrum(images)
        shared = (target > SILENT) & (found > SILENT)
        difference = torch.where(shared, found - target, 0.0).square().flatten(1).sum(dim=1)
        return difference / torch.where(shared, target, 0.0).square().flatten(1).sum(dim=1)

    return loss


@functools.cache
def _sectors(
    height: int, width: int, bands: int, angles: int, device: str
) -> tuple[Tensor, Tensor]:
    """Return the sector of each frequency, the last for those left out, and how many each has."""
    down = torch.fft.fftfreq(height, device=device)[:, None]
    across = torch.fft.rfftfreq(width, device=device)
    radius = (down.square() + across.square()).sqrt()
    band = (radius * (2 * bands)).long()
    angle = torch.atan2(down, across).remainder(torch.pi) / torch.pi * angles
    which = band * angles + angle.long().clamp(max=angles - 1)
    which = torch.where((band < bands) & (radius > 0), which, bands * angles).flatten()
    return which, torch.bincount(which, minlength=bands * angles + 1)[:-1]


MEASURES: dict[str, Measure] = {
    "whitened-gram": whitened_gram,
    "gram": plain_gram,
    "balanced-gram": balanced_gram,
    "mean-covariance": mean_covariance,
    "sliced-wasserstein": sliced_wasserstein,
    "gram-histogram": together(plain_gram, histogram),
    "gram-autocorrelation": together(plain_gram, autocorrelation),
    "shifted-gram": shifted_gram,
    "features": unchanged,
}
