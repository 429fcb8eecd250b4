"""The texture statistics of Portilla & Simoncelli (2000), computed by plenoptic."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..grey import luminance
from ..interface import resolve_layers

GROUPS = (
    "pixel_statistics",
    "auto_correlation_magnitude",
    "skew_reconstructed",
    "kurtosis_reconstructed",
    "auto_correlation_reconstructed",
    "std_reconstructed",
    "cross_orientation_correlation_magnitude",
    "magnitude_std",
    "cross_scale_correlation_magnitude",
    "cross_scale_correlation_real",
    "var_highpass_residual",
)


class PortillaSimoncelli(nn.Module):
    """Joint statistics of a complex steerable pyramid, one layer a group of statistics.

    Each layer is (batch, unit). Images whose sides cannot be halved `scales` times are cropped
    centrally to the nearest sides that can.

    Parameters
    ----------
    scales, orientations : int
        Of the pyramid.
    neighbourhood : int
        Width in pixels of the autocorrelations, odd.

    Raises
    ------
    ImportError
        When plenoptic is not installed.

    References
    ----------
    Portilla & Simoncelli (2000), International Journal of Computer Vision 40, 49. Duong et al.
    (2023), Journal of Vision 23(9), 5822 (plenoptic).
    """

    def __init__(self, *, scales: int = 4, orientations: int = 4, neighbourhood: int = 7) -> None:
        super().__init__()
        if importlib.util.find_spec("plenoptic") is None:
            raise ImportError(
                "portilla-simoncelli needs plenoptic: "
                "pip install 'cnnperception[portilla-simoncelli]'"
            )
        self.name = "portilla-simoncelli"
        self.scales, self.orientations, self.neighbourhood = scales, orientations, neighbourhood
        self.layers: Sequence[str] = GROUPS
        self.provenance: Mapping[str, Any] = {
            "weights": "steerable pyramid",
            "scales": scales,
            "orientations": orientations,
            "neighbourhood": neighbourhood,
        }
        self.recommended: Mapping[str, tuple[str, ...]] = {"texture": GROUPS}
        # plenoptic's model is made for one image size; what it holds are masks of that size,
        # no weights, so it stays out of the state dict.
        self._made: dict[Any, tuple[nn.Module, dict[str, Tensor]]] = {}

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the statistics of the named groups, each (batch, unit).

        Raises
        ------
        ValueError
            When an image is too small, or uniform: it has no correlations.
        """
        names = resolve_layers(self, layers)
        grey = self._cropped(luminance(images))
        statistics, places = self._model(grey)
        values = statistics(grey)[:, 0]
        if not values.isfinite().all():
            raise ValueError(
                "an image has no contrast, so its texture statistics are undefined; leave it out"
            )
        return {name: values[:, places[name]] for name in names}

    def _cropped(self, grey: Tensor) -> Tensor:
        multiple = 2**self.scales
        height, width = (side // multiple * multiple for side in grey.shape[-2:])
        if min(height, width) < self.neighbourhood * multiple:
            raise ValueError(
                f"images of {tuple(grey.shape[-2:])} pixels are too small for portilla-simoncelli "
                f"with {self.scales} scales, which needs {self.neighbourhood * multiple} at least; "
                "use larger images or fewer scales"
            )
        top, left = (grey.shape[-2] - height) // 2, (grey.shape[-1] - width) // 2
        return grey[..., top : top + height, left : left + width]

    def _model(self, grey: Tensor) -> tuple[nn.Module, dict[str, Tensor]]:
        """Return plenoptic's model for the images' size, and where each group is in its vector."""
        key = (tuple(grey.shape[-2:]), grey.dtype, grey.device)
        if key not in self._made:
            import plenoptic

            with torch.inference_mode(False):
                model = plenoptic.models.PortillaSimoncelli(
                    key[0], self.scales, self.orientations, self.neighbourhood
                )
                model = model.to(grey.device, grey.dtype).requires_grad_(False)
                blank = torch.rand((1, 1, *key[0]), dtype=grey.dtype, device=grey.device)
                count = model(blank).shape[-1]
                # The groups hold NaN where a statistic is redundant and not in the vector.
                numbers = model.convert_to_dict(
                    torch.arange(count, dtype=grey.dtype, device=grey.device)[None, None]
                )
                places = {name: group[group.isfinite()].long() for name, group in numbers.items()}
            self._made[key] = (model, places)
        return self._made[key]
