"""The first two stages of HMAX: normalised Gabor responses (S1) and their local maximum (C1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

# Serre et al. (2007), table 1: two filter sizes a band, the pool of C1 and half of it as its step.
BANDS: tuple[tuple[int, int], ...] = tuple((size, size + 2) for size in range(7, 37, 4))
STEPS: tuple[int, ...] = tuple(range(4, 12))
ASPECT_RATIO = 0.3


def gabor_parameters(size: int) -> tuple[float, float]:
    """Return the wavelength and the envelope's sigma, in pixels, of the Gabors of a size.

    lambda = 2 size / w with w = 4, 3.95, ... 3.25 for the sizes 7, 9, ... 37, and
    sigma = 0.8 lambda: the rule behind table 1 of Serre et al. (2007), which prints its values
    to one digit.
    """
    divisor = 4 - 0.05 * (size - 7) / 2
    wavelength = 2 * size / divisor
    return wavelength, 0.8 * wavelength


def gabor_bank(size: int, orientations: int = 4) -> Tensor:
    """Return the Gabor filters of a size, one for each preferred orientation.

    exp(-(x0^2 + gamma^2 y0^2) / (2 sigma^2)) cos(2 pi x0 / lambda) with gamma = 0.3, zero
    outside the circle of diameter `size`, then with zero mean and unit L2 norm (Serre et al.
    2007, eq. 1).

    Parameters
    ----------
    size : int
        Side of the filters in pixels, odd.
    orientations : int
        Number of orientations, evenly spaced: 0 prefers horizontal bars, and they turn
        anticlockwise (with 4: 0, 45, 90 and 135 degrees).

    Returns
    -------
    Tensor, shape (orientation, size, size), float64
    """
    wavelength, sigma = gabor_parameters(size)
    reach = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    row, column = torch.meshgrid(reach, reach, indexing="ij")
    filters = []
    for index in range(orientations):
        turn = math.pi / 2 - math.pi * index / orientations
        across = column * math.cos(turn) - row * math.sin(turn)
        along = column * math.sin(turn) + row * math.cos(turn)
        envelope = torch.exp(-(across**2 + (ASPECT_RATIO * along) ** 2) / (2 * sigma**2))
        wave = torch.cos(2 * math.pi * across / wavelength)
        filters.append(envelope * wave * (row**2 + column**2 <= (size / 2) ** 2))
    bank = torch.stack(filters)
    bank = bank - bank.mean(dim=(1, 2), keepdim=True)
    return bank / bank.flatten(1).norm(dim=1)[:, None, None]


def local_energy(grey: Tensor, size: int) -> Tensor:
    """Return the sum of squares in the window around every pixel, zero beyond the image.

    Parameters
    ----------
    grey : Tensor, shape (batch, 1, height, width)
    size : int
        Side of the square window, odd.
    """
    half = size // 2
    # Sums of positive numbers, one axis after the other: no cancellation in dark regions, which
    # an integral image in single precision suffers from.
    rows = functional.avg_pool2d(grey.square(), (size, 1), 1, (half, 0))
    return functional.avg_pool2d(rows, (1, size), 1, (0, half)) * size**2


def simple_cells(grey: Tensor, bank: Tensor, border: tuple[int, int]) -> Tensor:
    """Return S1: the magnitude of each filter's response, relative to the local contrast.

    |<w, patch>| / ||patch||, between 0 and 1, and 0 where the patch is black (Serre et al. 2007,
    section 2.1). Positions within the border are 0: the filter is not whole there.

    Parameters
    ----------
    grey : Tensor, shape (batch, 1, height, width)
    bank : Tensor, shape (orientation, size, size)
    border : tuple of int
        Rows (columns) set to zero at the top (left) and at the bottom (right).

    Returns
    -------
    Tensor, shape (batch, orientation, height, width)
    """
    size = bank.shape[-1]
    height, width = grey.shape[-2:]
    response = functional.conv2d(grey, bank[:, None].to(grey), padding=size // 2).abs()
    energy = local_energy(grey, size)
    black = energy <= 1e-12
    normalised = response * energy.masked_fill(black, 1).rsqrt() * ~black
    return normalised * inside(height, width, border).to(grey)


def inside(height: int, width: int, border: tuple[int, int]) -> Tensor:
    """Return a (height, width) mask that is 0 in the border (top/left, bottom/right) and else 1."""
    before, after = border
    mask = torch.zeros(height, width)
    mask[before : height - after, before : width - after] = 1
    return mask


def complex_cells(simple: Sequence[Tensor], step: int) -> Tensor:
    """Return C1: the maximum over a band's filter sizes and over windows of 2 step pixels.

    Windows start at the top left pixel and follow each other by `step`; the last ones end at
    the image's edge (Serre et al. 2007, section 2.2).

    Parameters
    ----------
    simple : sequence of Tensor, each of shape (batch, orientation, height, width)
    step : int

    Returns
    -------
    Tensor, shape (batch, orientation, ceil(height / step), ceil(width / step))
    """
    strongest = torch.stack(list(simple)).amax(dim=0) if len(simple) > 1 else simple[0]
    # A window is two steps wide: the maximum over blocks of one step, then over neighbours.
    blocks = functional.max_pool2d(strongest, step, ceil_mode=True)
    padded = functional.pad(blocks, (0, 1, 0, 1))
    return functional.max_pool2d(padded, 2, 1)
