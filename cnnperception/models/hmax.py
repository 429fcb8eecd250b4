"""HMAX: a feedforward hierarchy of simple and complex cells (Serre et al. 2007)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import gabor
from .grey import luminance
from .interface import resolve_layers
from .prototypes import Prototypes


class HMAX(nn.Module):
    """S1, C1, S2 and C2 of the model of the ventral stream by Serre et al. (2007).

    Layers `s1/7` ... `s1/37` (filter sizes in pixels), `c1/band1` ... `c1/band8`,
    `s2/4/band1` ... `s2/16/band8` (prototype size in C1 cells, band) and `c2/4` ... `c2/16`,
    one value a prototype. S2 is exp(-||X - P||^2 / (2 sigma^2 alpha)) with alpha = (size / 4)^2;
    C2 is its maximum over positions and bands.

    Parameters
    ----------
    orientations : int
        Of the Gabor filters; 4 in the publications.
    prototypes : Prototypes, path or None
        Patches that S2 compares with; None is the embedded set.
    sigma : float
        Tuning width of S2.
    """

    def __init__(
        self,
        *,
        orientations: int = 4,
        prototypes: Prototypes | str | os.PathLike[str] | None = None,
        sigma: float = 1 / 3,
    ):
        super().__init__()
        if prototypes is None:
            prototypes = Prototypes.load()
        elif not isinstance(prototypes, Prototypes):
            prototypes = Prototypes.load(prototypes)
        self.name = "hmax"
        self.sigma = sigma
        self.bands = dict(enumerate(gabor.BANDS, start=1))
        self.prototypes = prototypes
        self.prototype_sizes = tuple(prototypes.patches)
        for sizes in self.bands.values():
            for size in sizes:
                bank = gabor.gabor_bank(size, orientations).float()
                self.register_buffer(f"gabor{size}", bank, persistent=False)
        for size, patches in prototypes.patches.items():
            self.register_buffer(f"prototypes{size}", patches)
        self.layers = (
            *(f"s1/{size}" for sizes in self.bands.values() for size in sizes),
            *(f"c1/band{band}" for band in self.bands),
            *(f"s2/{size}/band{band}" for size in self.prototype_sizes for band in self.bands),
            *(f"c2/{size}" for size in self.prototype_sizes),
        )
        self.provenance: dict[str, Any] = {
            "weights": "none: Gabor filters and stored patches",
            "orientations": orientations,
            "sigma": sigma,
            "prototypes": prototypes.provenance,
        }
        c1 = tuple(f"c1/band{band}" for band in self.bands)
        self.recommended = {"texture": c1[:4], "style": c1[:4], "content": c1[:2]}

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the responses of the named layers: maps for S1, C1 and S2, vectors for C2."""
        wanted = resolve_layers(self, layers)
        grey = luminance(images)
        found: dict[str, Tensor] = {}
        best: dict[int, Tensor] = {}
        for band, sizes in self.bands.items():
            simple = [f"s1/{size}" for size in sizes]
            similar = [
                size
                for size in self.prototype_sizes
                if f"s2/{size}/band{band}" in wanted or f"c2/{size}" in wanted
            ]
            pooled = bool(similar) or f"c1/band{band}" in wanted
            for name, size in zip(simple, sizes, strict=True):
                if pooled or name in wanted:
                    found[name] = self._simple(grey, size)
            if not pooled:
                continue
            maps = gabor.complex_cells([found[name] for name in simple], gabor.STEPS[band - 1])
            found[f"c1/band{band}"] = maps
            for name in simple:
                if name not in wanted:
                    del found[name]
            for size in similar:
                name = f"s2/{size}/band{band}"
                if min(maps.shape[-2:]) < size:
                    if name in wanted:
                        raise ValueError(_too_small(images, name))
                    continue
                responses = self._similarity(maps, size)
                if name in wanted:
                    found[name] = responses
                if f"c2/{size}" in wanted:
                    strongest = responses.amax(dim=(2, 3))
                    best[size] = torch.maximum(best[size], strongest) if size in best else strongest
        for size in self.prototype_sizes:
            if f"c2/{size}" in wanted:
                if size not in best:
                    raise ValueError(_too_small(images, f"c2/{size}"))
                found[f"c2/{size}"] = best[size]
        return {name: found[name] for name in wanted}

    def _simple(self, grey: Tensor, size: int) -> Tensor:
        bank = self.get_buffer(f"gabor{size}")
        return gabor.simple_cells(grey, bank, (size // 2, size // 2))

    def _similarity(self, maps: Tensor, size: int) -> Tensor:
        patches = self.get_buffer(f"prototypes{size}").to(maps)
        energy = functional.conv2d(
            maps.square().sum(dim=1, keepdim=True), maps.new_ones(1, 1, size, size)
        )
        matched = functional.conv2d(maps, patches)
        norm = patches.square().sum(dim=(1, 2, 3))[:, None, None]
        distance = (energy - 2 * matched + norm).clamp_min(0)
        return torch.exp(-distance / (2 * self.sigma**2 * (size / 4) ** 2))


def _too_small(images: Tensor, layer: str) -> str:
    height, width = images.shape[-2:]
    return (
        f"images of {height} x {width} pixels are too small for layer {layer!r} of hmax: its "
        "prototypes do not fit into the C1 map; use larger images or leave the layer out"
    )
