"""Where the object is, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..interface import check_images, resolve_layers


class Silhouette(nn.Module):
    """Figure and ground of an object on a uniform background.

    Layer `silhouette`: (batch, 1, height, width), near 0 where a pixel has the colour of the
    background and near 1 elsewhere. The background is the median colour of the image's border.
    Parts of the object that have its colour remain holes.

    Parameters
    ----------
    threshold : float
        Distance from the background, in RGB units, that counts half as object.
    softness : float
        Width of the transition; a soft edge lets gradients through.
    """

    def __init__(self, *, threshold: float = 0.04, softness: float = 0.005) -> None:
        super().__init__()
        if not (threshold > 0 and softness > 0):
            raise ValueError(
                f"threshold and softness must be positive; got {threshold} and {softness}"
            )
        self.name = "silhouette"
        self.threshold, self.softness = threshold, softness
        self.layers: Sequence[str] = ("silhouette",)
        self.provenance: Mapping[str, Any] = {
            "weights": "none",
            "threshold": threshold,
            "softness": softness,
        }
        self.recommended: Mapping[str, tuple[str, ...]] = {}

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the silhouettes under the name `silhouette`."""
        names = resolve_layers(self, layers)
        check_images(images)
        difference = images - border_colour(images).detach()[..., None, None]
        # A pixel of exactly the background's colour would have a distance without a slope.
        distance = (difference.square().sum(dim=1, keepdim=True) + 1e-12).sqrt()
        return dict.fromkeys(names, torch.sigmoid((distance - self.threshold) / self.softness))


def border_colour(images: Tensor) -> Tensor:
    """Return the median colour of each image's outermost pixels, (batch, 3)."""
    rows = images[..., [0, -1], :].flatten(2)
    columns = images[..., 1:-1, [0, -1]].flatten(2)
    return torch.cat([rows, columns], dim=2).median(dim=2).values
