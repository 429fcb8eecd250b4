"""The image itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..interface import check_images, resolve_layers

# Linear sRGB to CIE XYZ under the white D65 (IEC 61966-2-1).
RGB_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
WHITE = (0.95047, 1.0, 1.08883)


class Pixels(nn.Module):
    """The image itself. Layer `pixels`: (batch, 3, height, width).

    Parameters
    ----------
    space : str
        "rgb": in [0, 1] as given. "lab": CIE 1976 L*a*b*, in which distances are roughly
        perceived colour differences; L* from 0 to 100.
    """

    def __init__(self, *, space: str = "rgb") -> None:
        super().__init__()
        if space not in ("rgb", "lab"):
            raise ValueError(f"space must be 'rgb' or 'lab'; got {space!r}")
        self.name = "pixels"
        self.space = space
        self.layers: Sequence[str] = ("pixels",)
        self.provenance: Mapping[str, Any] = {"weights": "none", "space": space}
        self.recommended: Mapping[str, tuple[str, ...]] = {}

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the images under the name `pixels`."""
        names = resolve_layers(self, layers)
        check_images(images)
        return dict.fromkeys(names, images if self.space == "rgb" else lab(images))


def lab(images: Tensor) -> Tensor:
    """Return sRGB images in CIE 1976 L*a*b* under D65.

    Parameters
    ----------
    images : Tensor, shape (batch, 3, height, width)
        Gamma-encoded sRGB in [0, 1]; values outside are continued.

    Returns
    -------
    Tensor, shape (batch, 3, height, width)
        L* in [0, 100], a* and b* about [-128, 127].
    """
    dark = images <= 0.04045
    # Where the other branch holds, its argument is kept away from the power's infinite slope.
    linear = torch.where(
        dark, images / 12.92, ((images.masked_fill(dark, 1) + 0.055) / 1.055) ** 2.4
    )
    xyz = torch.einsum("bchw,xc->bxhw", linear, linear.new_tensor(RGB_TO_XYZ))
    relative = xyz / linear.new_tensor(WHITE)[:, None, None]
    small = relative <= (6 / 29) ** 3
    compressed = torch.where(
        small, relative * (29 / 6) ** 2 / 3 + 4 / 29, relative.masked_fill(small, 1) ** (1 / 3)
    )
    x, y, z = compressed.unbind(dim=1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)
