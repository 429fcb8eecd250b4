"""Units that compare windows of maps with patches: tuned like HMAX's, or rectified like a CNN's.

Maps are lists with one tensor (batch, channel, height, width) a band: the same units look at all
bands.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..hmax.cells import window_sums
from ..hmax.variants import VARIANTS

Bands = list[Tensor]

SIGMA = VARIANTS["serre2007"].sigma
# Patches with less than this share of the mean response show nothing, and are not stored.
LEAST = 0.1
ATTEMPTS = 1000


class GaussianUnits(nn.Module):
    """Units tuned to patches P: exp(-r d^2 / (2 sigma^2 ||P_0||^2)), d the distance to P.

    HMAX's S2 (Serre et al. 2007; the tuning width is that of `HMAX`), whose patches can be
    learnt. P_0 is the patch that was stored, and r, 1 at the start, how much narrower the tuning
    has become in learning.

    Parameters
    ----------
    channels, units, size : int
        Of the maps, number of units, side of the patches.
    same : bool
        Whether windows reach over the border, where the maps are 0, so that maps keep their size.
    """

    norms: Tensor

    def __init__(self, channels: int, units: int, size: int, *, same: bool = False):
        super().__init__()
        self.size, self.same = size, same
        self.patches = nn.Parameter(torch.rand(units, channels, size, size))
        self.narrowing = nn.Parameter(torch.zeros(units))  # log r
        self.register_buffer("norms", torch.ones(units))
        self.store(self.patches.detach())

    def store(self, patches: Tensor, bands: Bands | None = None) -> None:
        """Store patches (unit, channel, size, size); the bands they are from do not matter."""
        self.patches.data = patches.clone()
        self.norms = _squares(patches).clamp_min(1e-6)

    def forward(self, bands: Bands) -> Bands:
        """Return the responses to every window, (batch, unit, height, width) a band."""
        # -d^2 = 2 <X, P> - ||P||^2 - ||X||^2, over the width: all but the last in one convolution.
        sharpness = torch.exp(self.narrowing) / (2 * SIGMA**2 * self.norms)
        filters = 2 * sharpness[:, None, None, None] * self.patches
        bias = -sharpness * _squares(self.patches)
        found = []
        for maps in bands:
            padded = _padded(maps, self.size) if self.same else maps
            score = functional.conv2d(padded, filters, bias)
            energy = window_sums(padded.float().square().sum(dim=1, keepdim=True), self.size)
            factor = -sharpness[:, None, None].to(score.dtype)
            found.append(torch.exp(torch.addcmul(score, energy.to(score.dtype), factor)))
        return found


class RectifiedUnits(nn.Module):
    """Units of a CNN: the inner product with a filter, normalised over the batch, above zero.

    Batch normalisation (Ioffe & Szegedy 2015) scales and shifts each unit's inner products, over
    all pictures, bands and positions; with fixed statistics it is a gain and a threshold.

    Parameters
    ----------
    channels, units, size, same
        As of `GaussianUnits`.
    """

    def __init__(self, channels: int, units: int, size: int, *, same: bool = False):
        super().__init__()
        self.size, self.same = size, same
        self.filters = nn.Conv2d(
            channels, units, size, padding=size // 2 if same else 0, bias=False
        )
        self.normalisation = nn.BatchNorm2d(units)
        nn.init.kaiming_normal_(self.filters.weight, nonlinearity="relu")

    def store(self, patches: Tensor, bands: Bands) -> None:
        """Take patches of unit norm as filters, with the statistics of their products in bands."""
        norms = _squares(patches).clamp_min(1e-6).sqrt()
        self.filters.weight.data = patches / norms[:, None, None, None]
        products = torch.cat([self.filters(maps).flatten(2) for maps in bands], dim=2)
        self.normalisation.running_mean = products.mean(dim=(0, 2)).detach()
        self.normalisation.running_var = products.var(dim=(0, 2)).detach()

    def forward(self, bands: Bands) -> Bands:
        """Return the responses to every window, (batch, unit, height, width) a band."""
        products = [self.filters(maps) for maps in bands]
        if len(bands) == 1:
            return [functional.relu(self.normalisation(products[0]))]
        # Together, lest each band have statistics of its own.
        flat = torch.cat([maps.flatten(2) for maps in products], dim=2)[..., None]
        responses = functional.relu(self.normalisation(flat))[..., 0]
        parts = responses.split([maps[0, 0].numel() for maps in products], dim=2)
        return [
            part.unflatten(2, maps.shape[2:]) for part, maps in zip(parts, products, strict=True)
        ]


def sample_patches(bands: Bands, size: int, count: int, random: torch.Generator) -> Tensor:
    """Return patches of maps from random bands, pictures and positions.

    Parameters
    ----------
    bands : list of Tensor, each (batch, channel, height, width)
    size, count : int
        Side and number of the patches. Bands where they do not fit are left out.
    random : torch.Generator

    Returns
    -------
    Tensor, shape (count, channel, size, size)

    Raises
    ------
    ValueError
        When no band is large enough, or hardly a patch shows anything.
    """
    fitting = [maps for maps in bands if min(maps.shape[2:]) >= size]
    if not fitting:
        largest = max(min(maps.shape[2:]) for maps in bands)
        raise ValueError(
            f"patches of {size} x {size} do not fit into maps of {largest} x {largest}; use "
            "larger images or smaller patches"
        )
    least = LEAST * sum(float(maps.mean()) for maps in fitting) / len(fitting)
    found: list[Tensor] = []
    for _ in range(ATTEMPTS * count):
        maps = fitting[_below(len(fitting), random)]
        row, column = (_below(side - size + 1, random) for side in maps.shape[2:])
        picture = maps[_below(len(maps), random)]
        patch = picture[:, row : row + size, column : column + size]
        if patch.mean() > least:
            found.append(patch)
            if len(found) == count:
                return torch.stack(found)
    raise ValueError(f"hardly a patch of {size} x {size} shows anything; use other pictures")


Kind = type[GaussianUnits] | type[RectifiedUnits]


def units_of(tuning: str) -> Kind:
    """Return the units of a kind of tuning, "gaussian" or "rectified"."""
    kinds: dict[str, Kind] = {"gaussian": GaussianUnits, "rectified": RectifiedUnits}
    if tuning not in kinds:
        raise ValueError(f"tuning must be one of {', '.join(kinds)}; got {tuning!r}")
    return kinds[tuning]


def local_maxima(bands: Sequence[Tensor], grid: int) -> Tensor:
    """Return the maxima over all bands in a grid of windows, (batch, channel, grid, grid)."""
    maxima = [functional.adaptive_max_pool2d(maps, grid) for maps in bands]
    return torch.stack(maxima).amax(dim=0)


def _below(limit: int, random: torch.Generator) -> int:
    return int(torch.randint(limit, (), generator=random))


def _squares(patches: Tensor) -> Tensor:
    return patches.square().sum(dim=(1, 2, 3))


def _padded(maps: Tensor, size: int) -> Tensor:
    before, after = (size - 1) // 2, size // 2
    return functional.pad(maps, (before, after, before, after))
