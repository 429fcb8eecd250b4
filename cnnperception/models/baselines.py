"""Models without a hierarchy, to hold the others against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from .interface import check_images, resolve_layers


class Pixels(nn.Module):
    """The image itself. Layer `pixels`: (batch, 3, height, width), RGB in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "pixels"
        self.layers = ("pixels",)
        self.provenance: dict[str, Any] = {"weights": "none"}
        self.recommended: dict[str, tuple[str, ...]] = {}

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the images under the name `pixels`."""
        check_images(images)
        return dict.fromkeys(resolve_layers(self, layers), images)
