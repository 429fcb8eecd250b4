"""One layer of random filters of many sizes (Ustyuzhaninov, Brendel, Gatys & Bethge 2017)."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from .interface import check_images, resolve_layers

SIZES = (3, 5, 7, 11, 15, 23, 37, 55)  # sides of the filters, in pixels
MEAN = (123.0, 117.0, 104.0)  # RGB, in grey levels: what the published code subtracts


class RandomMultiscale(nn.Module):
    """The untrained network of the paper: filters of eight sizes, rectified, in one layer.

    The image in grey levels, less a mean colour, is filtered with `maps` filters of each size;
    `filters`, the only layer, holds them all. Weights are uniform within
    sqrt(6 / ((3 + maps) size^2)), as Glorot & Bengio (2010) have it, without biases; the borders
    are padded with zeros.

    `RandomFilters` matches textures in the same way at a fraction of the cost.

    Parameters
    ----------
    sizes : sequence of int
        Sides of the filters, in pixels, odd. One size, of 1024 maps, is the paper's single scale.
    maps : int
        Filters of each size.
    rectified : bool
        Without rectification it is the paper's linear model, which fails.
    seed : int
        Of the filters.

    Raises
    ------
    ValueError
        For sizes that are not odd and positive, or no maps.
    """

    mean: Tensor

    def __init__(
        self,
        *,
        sizes: Sequence[int] = SIZES,
        maps: int = 128,
        rectified: bool = True,
        seed: int = 0,
    ):
        super().__init__()
        if not sizes or any(size < 1 or size % 2 == 0 for size in sizes) or maps < 1:
            raise ValueError(
                "random-multiscale needs odd sizes of filters and at least 1 map; got "
                f"sizes={tuple(sizes)}, maps={maps}"
            )
        self.name = "random-multiscale"
        self.layers = ("filters",)
        self.recommended = {"texture": self.layers, "compare": self.layers}
        self.receptive_fields = {"filters": max(sizes)}
        self.rectified = rectified
        self.provenance: dict[str, Any] = {
            "weights": "random",
            "sizes": list(sizes),
            "maps": maps,
            "rectified": rectified,
            "seed": seed,
        }
        # Made without torch's own initialisation, which would use up global random numbers.
        make = functools.partial(skip_init, nn.Conv2d, 3, maps, bias=False)
        self.scales = nn.ModuleList([make(size, padding=size // 2) for size in sizes])
        random = torch.Generator().manual_seed(seed)
        for convolution, size in zip(self.scales, sizes, strict=True):
            bound = math.sqrt(6 / ((3 + maps) * size**2))
            drawn = torch.rand((maps, 3, size, size), generator=random)
            convolution.weight.data = bound * (2 * drawn - 1)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the responses, (batch, len(sizes) * maps, height, width), of the only layer."""
        check_images(images)
        wanted = resolve_layers(self, layers)
        pixels = 255 * images - self.mean
        responses = torch.cat([convolution(pixels) for convolution in self.scales], dim=1)
        if self.rectified:
            responses = torch.relu(responses)
        return dict.fromkeys(wanted, responses)
