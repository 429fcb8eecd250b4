"""Primary visual cortex: Gabor energy with divisive normalisation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...runtime import full_precision
from ..grey import luminance
from ..interface import resolve_layers

WAVELENGTH = 4.0
# One octave at half height: sigma / lambda = sqrt(ln 2 / 2) / pi * (2 + 1) / (2 - 1).
BANDWIDTH = 3 * math.sqrt(math.log(2) / 2) / math.pi
SIZE = 15


class V1(nn.Module):
    """Complex cells: the energy of a quadrature pair, divided by that of all cells at its place.

    R = E / (c^2 + sum of E over orientations and scales), where E = even^2 + odd^2 (Adelson &
    Bergen 1985; Heeger 1992). Energies are in units of squared contrast: a grating of contrast
    1 that fits a cell's filters has E = 1.

    Layers `scale1` ... `scaleN`, (batch, orientation, height, width), from fine to coarse; the
    wavelength is 4 pixels at the first and doubles from scale to scale, and so does the distance
    between cells, 1 pixel at the first. The filters are the same Gabors at each octave of a
    Gaussian pyramid. Channels are orientations, anticlockwise from horizontal bars.

    Parameters
    ----------
    scales, orientations : int
    contrast : float
        c, the contrast of a fitting grating that drives a cell to half of its largest response.
    """

    def __init__(self, *, scales: int = 4, orientations: int = 8, contrast: float = 0.1) -> None:
        super().__init__()
        if scales < 1 or orientations < 2 or not contrast > 0:
            raise ValueError(
                "v1 needs at least 1 scale, 2 orientations and a positive contrast; got "
                f"scales={scales}, orientations={orientations}, contrast={contrast}"
            )
        self.name = "v1"
        self.scales, self.contrast = scales, contrast
        self.layers: Sequence[str] = tuple(f"scale{scale}" for scale in range(1, scales + 1))
        self.provenance: Mapping[str, Any] = {
            "weights": "Gabor filters",
            "scales": scales,
            "orientations": orientations,
            "contrast": contrast,
        }
        self.recommended: Mapping[str, tuple[str, ...]] = {}
        self.register_buffer("filters", quadrature_pairs(orientations).float())
        binomial = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        self.register_buffer("blur", torch.outer(binomial, binomial)[None, None])

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the responses of the named layers, each (batch, orientation, height, width)."""
        names = resolve_layers(self, layers)
        grey = luminance(images)
        if min(grey.shape[-2:]) < 2**self.scales:
            raise ValueError(
                f"images of {tuple(grey.shape[-2:])} pixels are too small for the {self.scales} "
                f"scales of v1; they need {2**self.scales} at least, or fewer scales"
            )
        # Autocasting would square and divide with three digits, and cannot resize at all.
        with full_precision(grey.device):
            energies = self._energies(grey)
            return self._normalised(energies, names)

    def _normalised(self, energies: list[Tensor], names: Sequence[str]) -> dict[str, Tensor]:
        """Return the energies of the named layers divided by that of all cells at their place."""
        totals = [energy.sum(dim=1, keepdim=True) for energy in energies]
        found = {}
        for name, energy in zip(self.layers, energies, strict=True):
            if name in names:
                surround = sum(_at_size(total, energy) for total in totals)
                found[name] = energy / (self.contrast**2 + surround)
        return {name: found[name] for name in names}

    def _energies(self, grey: Tensor) -> list[Tensor]:
        """Return the energies at every scale. All are needed: each cell is divided by all."""
        filters, blur = (self.get_buffer(name).to(grey.dtype) for name in ("filters", "blur"))
        energies, level = [], grey
        for scale in range(self.scales):
            if scale:
                level = functional.conv2d(_padded(level, 2), blur, stride=2)
            responses = functional.conv2d(_padded(level, SIZE // 2), filters)
            even, odd = responses.chunk(2, dim=1)
            energies.append(even.square() + odd.square())
        return energies


def quadrature_pairs(orientations: int) -> Tensor:
    """Return even and odd Gabors of one octave bandwidth and a wavelength of 4 pixels.

    The even ones have no mean; gratings of their wavelength between 0 and 1 give responses of
    magnitude 1.

    Returns
    -------
    Tensor, shape (2 x orientation, 1, 15, 15)
        All even filters, then all odd ones.
    """
    reach = torch.arange(SIZE, dtype=torch.float64) - SIZE // 2
    row, column = torch.meshgrid(reach, reach, indexing="ij")
    sigma = BANDWIDTH * WAVELENGTH
    envelope = torch.exp(-(row**2 + column**2) / (2 * sigma**2))
    even, odd = [], []
    for index in range(orientations):
        turn = math.pi / 2 + math.pi * index / orientations
        phase = 2 * math.pi * (column * math.cos(turn) - row * math.sin(turn)) / WAVELENGTH
        cosine = envelope * (phase.cos() - (envelope * phase.cos()).sum() / envelope.sum())
        # A grating of contrast 1 has the amplitude 1/2.
        even.append(2 * cosine / (cosine * phase.cos()).sum())
        sine = envelope * phase.sin()
        odd.append(2 * sine / (sine * phase.sin()).sum())
    return torch.stack([*even, *odd])[:, None]


def _padded(maps: Tensor, width: int) -> Tensor:
    return functional.pad(maps, [width] * 4, mode="replicate")


def _at_size(maps: Tensor, like: Tensor) -> Tensor:
    if maps.shape[-2:] == like.shape[-2:]:
        return maps
    return functional.interpolate(
        maps, like.shape[-2:], mode="bilinear", align_corners=False, antialias=True
    )
