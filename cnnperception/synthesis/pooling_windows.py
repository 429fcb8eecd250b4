"""Smooth overlapping windows that tile log-polar space around a fixation, as pooling regions do.

Freeman & Simoncelli (2011), Nature Neuroscience 14, 1195-1201, online methods: each window is a
product of a raised cosine of the polar angle and one of the logarithm of the eccentricity, so
that its width is a constant share of its eccentricity.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor
from torch.nn import functional

TRANSITION = 0.5  # of a window's width at half height, over which it rises or falls (their t)
ASPECT = 2.0  # radial width of a window relative to its width around the fixation
FEWEST_WEDGES = 3  # with fewer, a window would overlap itself around the fixation


@dataclasses.dataclass(frozen=True)
class PoolingWindows:
    """Windows over the pixels of an image: each the product of a ring and a wedge.

    The fovea and all products together sum to 1 at every pixel.

    Attributes
    ----------
    fovea : Tensor, shape (height, width)
        1 around the fixation, and falling to 0 where the first ring rises.
    rings : Tensor, shape (ring, height, width)
        From the fovea outwards. The last that reaches into the image has what lies beyond it.
    wedges : Tensor, shape (wedge, height, width)
    eccentricities : Tensor, shape (ring,)
        Of the middle of each ring, in pixels (geometric mean of its edges at half height).
    """

    fovea: Tensor
    rings: Tensor
    wedges: Tensor
    eccentricities: Tensor

    def of_ring(self, ring: int) -> Tensor:
        """Return the windows of one ring, shape (wedge, height, width)."""
        return self.rings[ring] * self.wedges


def log_polar_windows(
    size: tuple[int, int], fixation: tuple[float, float], *, scaling: float, fovea: float
) -> PoolingWindows:
    """Return windows that cover an image, in float64.

    Parameters
    ----------
    size : (int, int)
        Height and width of the image, in pixels.
    fixation : (float, float)
        (y, x) in pixels from the image's top left corner.
    scaling : float
        Radial width at half height / eccentricity of every window. It sets the width w in the
        logarithm of the eccentricity: scaling = exp(w / 2) - exp(-w / 2).
    fovea : float
        Eccentricity, in pixels, at which the fovea and the first ring meet at half height.
    """
    eccentricity, angle = polar_coordinates(size, fixation)
    width = log_width(scaling)
    # The windows' middles, in the logarithm of the eccentricity: the first edge is the fovea's.
    place = (eccentricity / fovea).clamp(min=1e-9).log() / width
    count = max(1, math.ceil(float(place.max())))
    inner = raised_cosine(place[None] - torch.arange(count)[:, None, None] - 0.5)
    # Beyond its middle nothing follows the last ring.
    inner[-1] = torch.where(place > count - 0.5, 1.0, inner[-1])
    return PoolingWindows(
        fovea=1 - inner.sum(dim=0),
        rings=inner,
        wedges=_wedges(angle, wedge_count(scaling)),
        eccentricities=fovea * torch.exp(width * (torch.arange(count, dtype=place.dtype) + 0.5)),
    )


def raised_cosine(position: Tensor, transition: float = TRANSITION) -> Tensor:
    """Return the profile of a window, 1 wide at half height, so that shifts by 1 sum to 1.

    Freeman & Simoncelli (2011), their function f: with t the transition, 1 up to (1 - t) / 2 from
    the middle, 0 from (1 + t) / 2 on, and between the two cos^2 of what goes from 0 to pi / 2.
    """
    progress = (position.abs() - (1 - transition) / 2) / transition
    profile = torch.cos(math.pi / 2 * progress.clamp(0, 1)).square()
    # The cosine of a rounded pi / 2 is not quite 0.
    return torch.where(progress < 1, profile, 0.0)


def polar_coordinates(
    size: tuple[int, int], fixation: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Return the eccentricity in pixels, and the polar angle in turns, of the pixels' middles.

    Both of shape (height, width), float64; turns from -1/2 to 1/2.
    """
    down = torch.arange(size[0], dtype=torch.float64)[:, None] + 0.5 - fixation[0]
    across = torch.arange(size[1], dtype=torch.float64) + 0.5 - fixation[1]
    return torch.hypot(down, across), torch.atan2(down, across) / (2 * math.pi)


def log_width(scaling: float) -> float:
    """Return the width w of a window in the natural logarithm of the eccentricity.

    A window whose middle is at the eccentricity e reaches from e exp(-w / 2) to e exp(w / 2) at
    half height, which is 2 sinh(w / 2) e wide.
    """
    return 2 * math.asinh(scaling / 2)


def wedge_count(scaling: float) -> int:
    """Return how many windows a ring has, so that each is about twice as long as it is wide.

    The width around the fixation, relative to the eccentricity, is one share of a full turn.
    """
    return max(FEWEST_WEDGES, round(2 * math.pi * ASPECT / scaling))


def _wedges(angle: Tensor, count: int) -> Tensor:
    """Return (wedge, height, width): windows of the polar angle, in turns."""
    middles = torch.arange(count, dtype=angle.dtype)[:, None, None] / count
    apart = angle - middles
    # The shorter way round.
    return raised_cosine((apart - apart.round()) * count)


def at_positions(windows: Tensor, size: tuple[int, int]) -> Tensor:
    """Return windows (window, height, width) averaged over the pixels of a layer's positions.

    The positions are taken to be spread evenly over the image.
    """
    if windows.shape[-2:] == size:
        return windows
    return functional.adaptive_avg_pool2d(windows, size)
