"""Images at other sizes: between the levels of a schedule, and within an objective."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def resampled(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return images at another size, (height, width), as `images.resize` but not clipped.

    Clipping makes dark regions exactly black, where responses relative to the local contrast
    have gradients so steep that a search gets stuck; and beyond the clip there is no gradient.
    """
    return functional.interpolate(
        images, size=size, mode="bicubic", antialias=True, align_corners=False
    )


def interpolated(images: Tensor, size: tuple[int, int], *, wrap: bool = False) -> Tensor:
    """Return images at another size with all frequencies that both sizes have, and no others.

    Bicubic interpolation of fine grain makes neighbours alike in pairs, and statistics over all
    positions, which cannot see where pairs begin, never part them.

    Parameters
    ----------
    images : Tensor, shape (batch, channel, height, width)
    size : (int, int)
        Height and width.
    wrap : bool
        Opposite borders are next to each other, and stay so. Otherwise images go on beyond
        their borders as in a mirror.
    """
    waves = _round if wrap else _mirrored
    rows, columns = (
        _through(waves, length, to).to(images)
        for length, to in zip(images.shape[-2:], size, strict=True)
    )
    return rows @ images @ columns.T


def beyond(images: Tensor, size: tuple[int, int], *, wrap: bool = False) -> Tensor:
    """Return what images have of the frequencies that a smaller size, (height, width), lacks."""
    own = (int(images.shape[-2]), int(images.shape[-1]))
    return images - interpolated(interpolated(images, size, wrap=wrap), own, wrap=wrap)


# (length) -> the waves of a line, from slow to fast, at any points of it: (point, wave)
Waves = Callable[[int, Tensor], Tensor]


def _through(waves: Waves, length: int, to: int) -> Tensor:
    """Return the matrix, (to, length), that takes the waves of a line to another length."""
    common = min(length, to)
    here, there = (waves(common, (torch.arange(n) + 0.5).double() / n) for n in (length, to))
    # The waves are orthogonal on a line of either length, up to their norms.
    return there @ (here / here.square().sum(dim=0)).T


def _mirrored(count: int, points: Tensor) -> Tensor:
    """Return the cosines of the discrete cosine transform (type II)."""
    return torch.cos(math.pi * points[:, None] * torch.arange(count))


def _round(count: int, points: Tensor) -> Tensor:
    """Return the cosines and sines that are periodic, an odd number of them."""
    angles = 2 * math.pi * points[:, None] * torch.arange((count + 1) // 2)
    return torch.cat([torch.cos(angles), torch.sin(angles[:, 1:])], dim=1)
