"""Statistics of regions: masks in pairs, and grids (Gatys et al. 2017; Long et al. 2018)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..models.interface import VisionModel
from .objective import Measure, Term
from .position_statistics import PositionMeasure
from .tiling import responses

FEWEST_POSITIONS = 1.0  # of a layer, that a region must cover to have statistics there
LARGEST_GRID = 4


@dataclasses.dataclass(frozen=True)
class RegionStatistic:
    """A statistic of means over the positions of a region.

    Attributes
    ----------
    mask : Tensor, shape (1, 1, height, width)
        How much of each pixel lies in the region, in [0, 1]; averaged down to a layer's positions.
    sums, finish : callable
        As of `PositionStatistic`; sums take weights of the positions (height, width) too.
    """

    mask: Tensor
    sums: Callable[..., Tensor]
    finish: Callable[[Tensor], Tensor]

    def __call__(self, features: Tensor) -> Tensor:
        return self.finish(region_means(self.sums, features, self.mask))


def region_means(sums: Callable[..., Tensor], features: Tensor, mask: Tensor) -> Tensor:
    """Return the means over the positions of a layer that belong to a region, by their share."""
    weights = positions(mask, features)
    tiny = torch.finfo(weights.dtype).tiny
    return sums(features, weights) / weights.sum().clamp(min=tiny)


def positions(mask: Tensor, features: Tensor) -> Tensor:
    """Return how much of each position of a layer lies in a region, (height, width)."""
    size = (int(features.shape[-2]), int(features.shape[-1]))
    return functional.adaptive_avg_pool2d(mask.to(features), size)[0, 0]


def match_regions(
    kind: str,
    model: VisionModel,
    layers: Sequence[str],
    measure: Measure,
    source: Tensor,
    source_labels: Tensor,
    labels: Tensor,
    size: tuple[int, int],
    *,
    weight: float = 1.0,
    every: bool = True,
) -> list[Term]:
    """Return a term for each layer and region: the result's has the statistics of the source's.

    Parameters
    ----------
    kind, model, layers, measure, weight
        As for `match`.
    source : Tensor, shape (1, 3, height, width)
    source_labels, labels : Tensor of integers, (height, width)
        Which region each pixel of the source, and of the result, is in; negative for none.
        Every region of the result must be one of the source. Sizes are free: a pixel of a picture
        lies in a region as far as the labels that it covers do, so that none gets lost in a small
        picture.
    size : (int, int)
        Height and width of the result.
    every : bool
        Whether every region must be large enough for every layer. If not, it has no term where it
        is too small, as it may be at a coarse level.

    Raises
    ------
    ValueError
        For a region that the source lacks or that is too small for a layer, for regions all too
        small for all layers, or a measure that is no function of means over positions.
    """
    if labels.ndim != 2 or source_labels.ndim != 2:
        raise ValueError(
            "masks are of shape (height, width); got "
            f"{tuple(source_labels.shape)} and {tuple(labels.shape)}"
        )
    if not isinstance(measure, PositionMeasure):
        raise ValueError(
            "regions can have the statistics 'gram', 'balanced-gram', 'whitened-gram' and "
            "'mean-covariance'"
        )
    regions = [int(label) for label in labels.unique() if label >= 0]
    missing = [label for label in regions if not (source_labels == label).any()]
    if missing or not regions:
        raise ValueError(
            f"the {kind} picture's mask lacks region(s) {missing} of the result's; both masks must "
            "use the same values"
            if regions
            else "the mask of the result has no region"
        )
    with torch.no_grad():
        features = responses(model, source, layers)
    picture_size = (int(source.shape[-2]), int(source.shape[-1]))
    share = {label: float((labels == label).float().mean()) for label in regions}
    whole = sum(share.values())
    seen = {label: coverage(source_labels == label, picture_size).to(source) for label in regions}
    masks = {label: coverage(labels == label, size).to(source) for label in regions}
    terms: list[Term] = []
    too_small = []
    for layer in layers:
        for label, mask in masks.items():
            covered = float(positions(seen[label], features[layer]).sum())
            if covered < FEWEST_POSITIONS:
                too_small.append((label, layer))
                continue
            means = region_means(measure.sums, features[layer], seen[label])
            finish = measure.fit(means, int(covered))
            terms.append(
                Term(
                    f"{kind}/{layer}/region{label}",
                    layer,
                    RegionStatistic(mask, measure.sums, finish),
                    finish(means),
                    weight * share[label] / whole / len(layers),
                )
            )
    if too_small and (every or not terms):
        label, layer = too_small[0]
        raise ValueError(
            f"region {label} of the {kind} picture is too small for layer {layer!r} of "
            f"{model.name}; use larger regions or shallower layers"
        )
    return terms


def coverage(inside: Tensor, size: tuple[int, int]) -> Tensor:
    """Return how much of each pixel of a picture lies in a region, (1, 1, height, width).

    Parameters
    ----------
    inside : Tensor of bool, shape (height, width)
        Of any size.
    size : (int, int)
        Height and width of the picture.
    """
    return functional.adaptive_avg_pool2d(inside[None, None].float(), size)


def grid(size: tuple[int, int], cells: int) -> Tensor:
    """Return the labels (height, width) of a grid of cells x cells windows.

    Raises
    ------
    ValueError
        When there are none, or more than 4 x 4.
    """
    if not 1 <= cells <= LARGEST_GRID:
        raise ValueError(f"pool_grid must be from 1 to {LARGEST_GRID}; got {cells}")
    down = torch.arange(size[0]) * cells // size[0]
    across = torch.arange(size[1]) * cells // size[1]
    return down[:, None] * cells + across


def read_labels(path: str | os.PathLike[str]) -> Tensor:
    """Return the regions of a mask file: each colour is a region, named by its number 0xRRGGBB.

    Two masks that use the same colours name the same regions alike.

    Raises
    ------
    ValueError
        For a file of more than 64 colours: a photograph, or a mask saved as JPEG.
    """
    from .. import images

    pixels = (images.read(path)[0] * 255).round().long()
    labels = (pixels[0] << 16) + (pixels[1] << 8) + pixels[2]
    if len(np.unique(labels.numpy())) > 64:
        raise ValueError(
            f"{path} has more than 64 colours; a mask has one colour for each region, without "
            "smooth borders, and is saved as PNG"
        )
    return labels
