"""The model: a first stage, a second, and what is made of the second's local maxima."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..interface import check_images, check_layers
from .stages import UnitStage
from .units import Bands

POOLINGS = ("max", "average")


class Hierarchy(nn.Module):
    """A model between HMAX and a small VGG: two stages, each the one's or the other's.

    HMAX is a `GaborStage` (S1, C1), a `patch_stage` of Gaussian units (S2) and their maximum (C2).
    A VGG of four blocks is a `ConvolutionStage`, a `deep_stage` of rectified units and the average
    over positions. What lies between the two differs from either in as many parts as one likes.

    Layers: `grid`, the second stage's maxima over bands and in 4 x 4 windows of the image, (batch,
    unit, 4, 4), and `pooled`, their maximum or average, (batch, unit).

    Parameters
    ----------
    first : nn.Module
        From images to maps, a list of (batch, channel, height, width), one a band.
    second : UnitStage
    pooling : {"max", "average"}
    provenance : mapping, optional
        How its weights came to be.

    Raises
    ------
    ValueError
        For another kind of pooling.

    References
    ----------
    Serre, Wolf, Bileschi, Riesenhuber & Poggio (2007), IEEE PAMI 29, 411. Simonyan & Zisserman
    (2015), ICLR.

    Examples
    --------
    >>> import torch
    >>> first = GaborStage()
    >>> model = Hierarchy(first, patch_stage(first.channels, 8, "gaussian"), pooling="max")
    >>> model.features(torch.rand(2, 3, 64, 64), ["pooled"])["pooled"].shape
    torch.Size([2, 32])
    """

    def __init__(
        self,
        first: nn.Module,
        second: UnitStage,
        *,
        pooling: str = "max",
        provenance: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}; got {pooling!r}")
        self.name = "hierarchy"
        self.first, self.second, self.pooling = first, second, pooling
        self.layers: Sequence[str] = ("grid", "pooled")
        self.provenance: Mapping[str, Any] = {"pooling": pooling, **(provenance or {})}
        self.recommended: Mapping[str, tuple[str, ...]] = {"compare": ("pooled",)}

    def forward(self, images: Tensor) -> Tensor:
        """Return the pooled units, (batch, unit), of images (batch, 3, height, width)."""
        return self.above(self.first(images))

    def above(self, bands: Bands) -> Tensor:
        """Return the pooled units, (batch, unit), of the first stage's maps."""
        return self.pool(self.second(bands))

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the responses of the named layers; see `VisionModel.features`."""
        check_images(images)
        check_layers(self, layers)
        grid = self.second(self.first(images))
        found = {"grid": grid, "pooled": self.pool(grid)}
        return {layer: found[layer] for layer in layers}

    def imprint(self, images: Tensor, seed: int) -> None:
        """Store patches of what each layer of the second stage sees of images, layer by layer.

        Batch normalisation in the first stage takes its statistics from the images too. The model
        is left in evaluation mode.
        """
        _calibrate(self.first, images)
        self.eval()
        with torch.no_grad():
            self.second.imprint(self.first(images), seed)

    def pool(self, grid: Tensor) -> Tensor:
        """Return the maximum or average, (batch, unit), of maps (batch, unit, height, width)."""
        return grid.amax(dim=(2, 3)) if self.pooling == "max" else grid.mean(dim=(2, 3))


@torch.no_grad()
def _calibrate(stage: nn.Module, images: Tensor) -> None:
    """Set the statistics of a stage's batch normalisations to those of images."""
    found = [module for module in stage.modules() if isinstance(module, nn.BatchNorm2d)]
    if not found:
        return
    momenta = [module.momentum for module in found]
    for module in found:
        module.momentum = 1.0
    stage.train()
    stage(images)
    for module, momentum in zip(found, momenta, strict=True):
        module.momentum = momentum
