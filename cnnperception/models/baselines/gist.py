"""The gist of a scene: oriented energy on a coarse grid (Oliva & Torralba 2001)."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..grey import luminance
from ..interface import resolve_layers


class Gist(nn.Module):
    """The spatial envelope of a scene: filter magnitudes averaged over a grid.

    The image is scaled, its local mean and contrast are evened out, filters of several scales
    and orientations that are Gaussian in log-polar frequency are applied, and the magnitudes of
    their responses averaged in each cell of a grid. Layer `gist`: (batch, scale x orientation x
    grid x grid), 512 values with the published settings. The image's shape is kept.

    Parameters
    ----------
    side : int
        The shorter side the image is scaled to, in pixels.
    scales, orientations : int
    grid : int
        Cells along each side.

    References
    ----------
    Oliva & Torralba (2001), International Journal of Computer Vision 42, 145; the constants of
    the filters are those of the code the authors published.
    """

    def __init__(
        self, *, side: int = 256, scales: int = 4, orientations: int = 8, grid: int = 4
    ) -> None:
        super().__init__()
        if side < 32 or scales < 1 or orientations < 1 or not 1 <= grid <= side // 8:
            raise ValueError(
                "gist needs a side of at least 32 pixels, at least 1 scale and orientation, and "
                f"a grid of 1 to side / 8 cells; got side={side}, scales={scales}, "
                f"orientations={orientations}, grid={grid}"
            )
        self.name = "gist"
        self.side, self.scales, self.orientations, self.grid = side, scales, orientations, grid
        self.layers: Sequence[str] = ("gist",)
        self.provenance: Mapping[str, Any] = {
            "weights": "oriented filters",
            "side": side,
            "scales": scales,
            "orientations": orientations,
            "grid": grid,
        }
        self.recommended: Mapping[str, tuple[str, ...]] = {}

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the descriptor under the name `gist`, (batch, unit)."""
        names = resolve_layers(self, layers)
        even = evened(self._scaled(luminance(images)))
        filters = transfer_functions(
            self.scales, self.orientations, (even.shape[2], even.shape[3])
        ).to(even)
        spectrum = torch.fft.fft2(even)
        # One filter at a time: all magnitudes at once would be 32 times the image.
        cells = [
            functional.adaptive_avg_pool2d(torch.fft.ifft2(spectrum * kernel).abs(), self.grid)
            for kernel in filters
        ]
        return dict.fromkeys(names, torch.cat(cells, dim=1).flatten(1))

    def _scaled(self, grey: Tensor) -> Tensor:
        height, width = grey.shape[-2:]
        factor = self.side / min(height, width)
        size = (round(height * factor), round(width * factor))
        return functional.interpolate(
            grey, size, mode="bilinear", align_corners=False, antialias=True
        )


def evened(grey: Tensor, cycles: float = 4.0, border: int = 5) -> Tensor:
    """Return images with their local mean removed and their local contrast made equal.

    The logarithm of the intensity is high-pass filtered and divided by 0.2 plus its local
    standard deviation.

    Parameters
    ----------
    grey : Tensor, shape (batch, 1, height, width)
        In [0, 1].
    cycles : float
        Frequency, in cycles an image, where the low-pass Gaussian has fallen to a half.
    border : int
        Pixels mirrored at each side before filtering.
    """
    padded = functional.pad(torch.log1p(255 * grey), [border] * 4, mode="reflect")
    rows, columns = _frequencies((padded.shape[2], padded.shape[3]))
    # Cycles an image become cycles a pixel by the shorter side.
    cut = cycles / math.sqrt(math.log(2)) / min(padded.shape[-2:])
    low = torch.exp(-(rows**2 + columns**2) / cut**2).to(padded)
    high = padded - torch.fft.ifft2(torch.fft.fft2(padded) * low).real
    variance = torch.fft.ifft2(torch.fft.fft2(high.square()) * low).real
    # Rounding can leave a small negative number where the image is uniform.
    contrast = variance.clamp_min(1e-8).sqrt()
    return (high / (0.2 + contrast))[..., border:-border, border:-border]


@functools.lru_cache(maxsize=8)
def transfer_functions(scales: int, orientations: int, shape: tuple[int, int]) -> Tensor:
    """Return filters in the frequency domain, Gaussian in log-polar fashion.

    exp(-3.5 (f / f_s - 1)^2 - pi (n^2 / 32) (theta - theta_o)^2), with f_s = 0.3 / 1.85^s cycles a
    pixel and n the number of orientations.

    Returns
    -------
    Tensor, shape (scale x orientation, height, width)
        In the order of `torch.fft.fft2`'s frequencies.
    """
    with torch.inference_mode(False):
        rows, columns = _frequencies(shape)
        radius, angle = torch.hypot(rows, columns), torch.atan2(rows, columns)
        filters = []
        for scale in range(scales):
            peak = 0.3 / 1.85**scale
            for index in range(orientations):
                turned = angle + math.pi * index / orientations
                turned = torch.remainder(turned + math.pi, 2 * math.pi) - math.pi
                radial = -3.5 * (radius / peak - 1) ** 2
                filters.append(torch.exp(radial - math.pi * orientations**2 / 32 * turned.square()))
        return torch.stack(filters)


def _frequencies(shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return vertical and horizontal frequencies in cycles a pixel, each of the shape."""
    rows = torch.fft.fftfreq(shape[0], dtype=torch.float64)[:, None].expand(shape)
    columns = torch.fft.fftfreq(shape[1], dtype=torch.float64)[None].expand(shape)
    return rows, columns
