"""The two stages: from images to maps (16 x 16 of 64 pixels), and from these to units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..grey import luminance
from ..hmax import HMAX
from ..hmax.cells import SimpleCells, complex_cells
from ..hmax.filters import gabor_bank
from ..hmax.variants import VARIANTS
from ..interface import check_images
from ..objects_vgg import PREPROCESSING
from .units import (
    Bands,
    GaussianUnits,
    RectifiedUnits,
    local_maxima,
    sample_patches,
    units_of,
)

VARIANT = VARIANTS["serre2007"]
ORIENTATIONS = 4
BANDS = tuple(range(1, len(VARIANT.bands) + 1))
PATCHES = (4, 8, 12, 16)  # sides of HMAX's patches, in C1 cells
GRID = 4  # local maxima along each side; what pooling leaves of 64 pixels in a VGG of four blocks


class GaborStage(nn.Module):
    """HMAX's S1 and C1: fixed Gabor filters and their local maxima, a band each.

    Parameters
    ----------
    pooling : {"max", "average"}
        C1 as maxima, or as means over the same filter sizes and windows.
    bands : sequence of int
        Of HMAX's eight, from 1 on.
    """

    channels = ORIENTATIONS

    def __init__(self, pooling: str = "max", bands: Sequence[int] = BANDS):
        super().__init__()
        if pooling not in ("max", "average"):
            raise ValueError(f"pooling must be max or average; got {pooling!r}")
        self.pooling, self.bands = pooling, tuple(bands)
        self.model = HMAX(prototypes=None)

    def forward(self, images: Tensor) -> Bands:
        """Return C1 of images (batch, 3, height, width), RGB in [0, 1]; bands that fit."""
        within = self.model.bands_within(*images.shape[2:])
        bands = [band for band in self.bands if band in within]
        if self.pooling == "max":
            layers = [f"c1/band{band}" for band in bands]
            return list(self.model.features(images, layers).values())
        found = []
        for band in bands:
            simple = self.model.features(images, [f"s1/{size}" for size in VARIANT.bands[band - 1]])
            pool, step = VARIANT.pools[band - 1], VARIANT.steps[band - 1]
            found.append(_means(list(simple.values()), pool, step))
        return found


class LearntGaborStage(nn.Module):
    """S1 and C1 whose filters are learnt; they start as HMAX's Gabors and keep their sizes.

    Responses stay relative to the local contrast: filters are brought to zero mean and unit norm
    each time they are used.

    Parameters
    ----------
    bands : sequence of int
        Of HMAX's eight, from 1 on.
    """

    channels = ORIENTATIONS

    def __init__(self, bands: Sequence[int] = BANDS):
        super().__init__()
        self.bands = tuple(bands)
        sizes = [size for band in self.bands for size in VARIANT.bands[band - 1]]
        banks = {str(size): nn.Parameter(gabor_bank(size).float()) for size in sizes}
        self.filters = nn.ParameterDict(banks)

    def forward(self, images: Tensor) -> Bands:
        """Return C1 of images (batch, 3, height, width), RGB in [0, 1]; bands that fit."""
        grey = luminance(images)
        cells = _LearntCells(grey, self._bank, ORIENTATIONS)
        found = []
        for band in self.bands:
            sizes, pool = VARIANT.bands[band - 1], VARIANT.pools[band - 1]
            if max(sizes) <= min(images.shape[2:]):
                simple = [cells(size) for size in sizes]
                found.append(complex_cells(simple, pool, VARIANT.steps[band - 1]))
        return found

    def _bank(self, size: int, orientations: int) -> Tensor:
        bank = self.filters[str(size)]
        bank = bank - bank.mean(dim=(1, 2), keepdim=True)
        return bank / bank.flatten(1).norm(dim=1)[:, None, None]


class _LearntCells(SimpleCells):
    """S1 with gradients to its filters."""

    def _transformed(self, size: int) -> Tensor:
        filters = self._bank(size, self._orientations)
        return torch.fft.rfft2(filters, s=self._shape).conj()


class ConvolutionStage(nn.Module):
    """The first blocks of a VGG, in colour: two 3x3 convolutions and a maximum pooling each.

    Parameters
    ----------
    width : int
        Channels of the first block; each later one has twice as many.
    blocks : int
    """

    def __init__(self, width: int, blocks: int = 2):
        super().__init__()
        widths = [width * 2**block for block in range(blocks)]
        self.channels = widths[-1]
        self.blocks = _blocks(3, widths, "rectified")
        self.blocks.append(nn.MaxPool2d(2))
        for part in ("mean", "deviation"):
            values = torch.tensor(getattr(PREPROCESSING, part)).view(1, 3, 1, 1)
            self.register_buffer(part, values, persistent=False)

    def forward(self, images: Tensor) -> Bands:
        """Return the maps of images (batch, 3, height, width), RGB in [0, 1]: one band."""
        check_images(images)
        inputs = (images - self.get_buffer("mean")) / self.get_buffer("deviation")
        return _through(self.blocks, [inputs.contiguous(memory_format=torch.channels_last)])


class UnitStage(nn.Module):
    """Branches of units that all see the same maps; their local maxima, side by side.

    Parameters
    ----------
    branches : sequence of nn.ModuleList
        Each a series of units and poolings; an empty one passes the maps on. Bands into which a
        branch's patches do not fit take no part in it, and one at least must.
    """

    def __init__(self, branches: Sequence[nn.ModuleList]):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, bands: Bands) -> Tensor:
        """Return the maxima over bands and in a grid of windows, (batch, unit, 4, 4)."""
        found = [
            local_maxima(_through(parts, _fitting(parts, bands)), GRID) for parts in self._series()
        ]
        return torch.cat(found, dim=1)

    @torch.no_grad()
    def imprint(self, bands: Bands, seed: int) -> None:
        """Store patches of what each layer of units sees of the given maps, layer by layer."""
        random = torch.Generator().manual_seed(seed)
        for parts in self._series():
            seen = _fitting(parts, bands)
            for part in parts:
                if isinstance(part, GaussianUnits | RectifiedUnits):
                    count = len(next(part.parameters()))
                    part.store(sample_patches(seen, part.size, count, random), seen)
                seen = _through([part], seen)

    def _series(self) -> list[list[nn.Module]]:
        return [list(branch.children()) for branch in self.branches]


def patch_stage(channels: int, units: int, tuning: str) -> UnitStage:
    """Return HMAX's S2: one layer of units of patches of 4, 8, 12 and 16 cells.

    Parameters
    ----------
    channels : int
        Of the maps below.
    units : int
        For each size.
    tuning : {"gaussian", "rectified"}
    """
    kind = units_of(tuning)
    return UnitStage([nn.ModuleList([kind(channels, units, size)]) for size in PATCHES])


def deep_stage(channels: int, width: int, tuning: str, blocks: int = 2) -> UnitStage:
    """Return the later blocks of a VGG: two layers of 3x3 units each, and poolings between.

    Parameters
    ----------
    channels : int
        Of the maps below.
    width : int
        Channels of the VGG's first block; the third, which is the first here, has four times as
        many, and each later one twice as many again.
    tuning : {"gaussian", "rectified"}
        Of all layers.
    blocks : int
    """
    widths = [4 * width * 2**block for block in range(blocks)]
    return UnitStage([_blocks(channels, widths, tuning)])


def _blocks(channels: int, widths: Sequence[int], tuning: str) -> nn.ModuleList:
    """Return blocks of two layers of 3x3 units, with maximum pooling between them."""
    kind = units_of(tuning)
    parts = nn.ModuleList()
    for width in widths:
        if len(parts):
            parts.append(nn.MaxPool2d(2))
        parts.append(kind(channels, width, 3, same=True))
        parts.append(kind(width, width, 3, same=True))
        channels = width
    return parts


def _through(parts: Iterable[nn.Module], bands: Bands) -> Bands:
    for module in parts:
        pools = isinstance(module, nn.MaxPool2d | nn.AvgPool2d)
        bands = [module(maps) for maps in bands] if pools else module(bands)
    return bands


def _fitting(parts: Sequence[nn.Module], bands: Bands) -> Bands:
    """Return the bands into which the first units' patches fit."""
    if not parts:
        return bands
    first = parts[0]
    assert isinstance(first, GaussianUnits | RectifiedUnits)
    fitting = [maps for maps in bands if first.same or min(maps.shape[2:]) >= first.size]
    if not fitting:
        raise ValueError(
            f"patches of {first.size} x {first.size} cells fit into no band; use larger images"
        )
    return fitting


def _means(simple: Sequence[Tensor], pool: int, step: int) -> Tensor:
    """Return the means over sizes and over the windows of `complex_cells`, inside the image."""
    maps = torch.stack(list(simple)).mean(dim=0)
    inside = torch.ones_like(maps[:1, :1])
    side = maps.shape[2:]
    missing = [max(0, (-(-length // step) - 1) * step + pool - length) for length in side]
    pad = (0, missing[1], 0, missing[0])
    total, count = (
        functional.avg_pool2d(functional.pad(values, pad), pool, step) for values in (maps, inside)
    )
    return total / count
