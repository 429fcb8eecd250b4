"""The filters of simple cells: Gabors (Serre et al. 2007) and bar detectors (1999)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

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
    across, along, radius = _axes(size, orientations)
    envelope = torch.exp(-(across**2 + (ASPECT_RATIO * along) ** 2) / (2 * sigma**2))
    wave = torch.cos(2 * math.pi * across / wavelength)
    return _standardised(envelope * wave * (radius <= size / 2))


def bar_bank(size: int, orientations: int = 4) -> Tensor:
    """Return bar detectors: the negative second derivative of a Gaussian across the bar.

    (1 - x0^2 / sigma^2) exp(-(x0^2 + y0^2) / (2 sigma^2)) with sigma = size / 4, with zero mean
    and unit L2 norm (the simple cells of Riesenhuber & Poggio 1999).

    Parameters
    ----------
    size : int
        Side of the filters in pixels, odd.
    orientations : int
        As in `gabor_bank`.

    Returns
    -------
    Tensor, shape (orientation, size, size), float64
    """
    across, _, radius = _axes(size, orientations)
    variance = (size / 4) ** 2
    return _standardised((1 - across**2 / variance) * torch.exp(-(radius**2) / (2 * variance)))


def _axes(size: int, orientations: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return coordinates across and along each filter's bar, and the distance from its centre."""
    reach = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    row, column = torch.meshgrid(reach, reach, indexing="ij")
    turns = [math.pi / 2 + math.pi * index / orientations for index in range(orientations)]
    across = torch.stack([column * math.cos(turn) - row * math.sin(turn) for turn in turns])
    along = torch.stack([column * math.sin(turn) + row * math.cos(turn) for turn in turns])
    return across, along, torch.sqrt(row**2 + column**2)


def _standardised(bank: Tensor) -> Tensor:
    bank = bank - bank.mean(dim=(1, 2), keepdim=True)
    return bank / bank.flatten(1).norm(dim=1)[:, None, None]
