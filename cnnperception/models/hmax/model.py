"""The model: from grey images through S1, C1 and S2 to C2."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...runtime import full_precision
from ..grey import luminance
from ..interface import resolve_layers
from .cells import SimpleCells, complex_cells
from .prototypes import EMBEDDED, EMBEDDED_BYPASS, Prototypes, orientation_combinations
from .tuning import TunedUnits
from .variants import VARIANTS

TUNINGS = ("gaussian", "distance")
NORMALISATIONS = ("norm", "area", "none")

Source = Prototypes | str | os.PathLike[str] | None


class HMAX(nn.Module):
    """Simple and complex cells in alternation: S1, C1, S2, C2 (and S2b, C2b).

    S1 are oriented filters relative to the local contrast, C1 their maximum over neighbouring
    positions and scales. S2 compares patches of C1 with stored prototypes, C2 is the best match
    over all positions and bands: one number a prototype, whatever the image's size.

    Layers: `s1/7` ... `s1/37` (filter size in pixels), `c1/band1` ... `c1/band8`,
    `s2/4/band1` ... `s2/16/band8` (prototype size in C1 cells, band), `c2/4` ... `c2/16`; with
    bypass units also `s2b/6/band1` ... and `c2b/6` .... S1, C1 and S2 are (batch, channel,
    height, width), C2 (batch, unit). The channels of S1 and C1 are orientations, anticlockwise
    from horizontal bars.

    Bands whose filters or prototypes do not fit into an image take no part in its C2.

    Parameters
    ----------
    variant : str
        "serre2007" (Serre et al. 2007), "maxlab" (the same sizes with the conventions of the
        Matlab code: asymmetric borders, S2 windows that reach over the border, distances) or
        "riesenhuber1999" (four bands, all 256 combinations of orientations in 2 x 2 cells).
    orientations : int
        Of the filters; 4 in most publications, 12 in some.
    prototypes : "default", Prototypes, path or None
        What S2 compares with. "default": the set that comes with the package, imprinted from
        photographs with 4 orientations (for "riesenhuber1999" its fixed features); None: no S2
        and C2. See `imprint` for making your own.
    bypass : "default", Prototypes, path or None
        Prototypes of the bypass route S2b, C2b (Serre, Oliva & Poggio 2007), None for none.
    tuning : "gaussian", "distance" or None
        S2 as exp(-d^2 / (2 sigma^2 alpha)), C2 its maximum; or S2 as the Euclidean distance d,
        C2 its minimum. None is the variant's: distances for "maxlab", else Gaussian.
    sigma : float or None
        Tuning width; None is the variant's: 1 / sqrt(6) for "serre2007", else 1.
    normalisation : "norm", "area", "none" or None
        alpha: each prototype's squared norm, (size / 4)^2, or 1; None is the variant's, "norm"
        for "serre2007", else "none".

    Raises
    ------
    ValueError
        For an unknown option, or prototypes that do not fit the number of orientations.

    References
    ----------
    Riesenhuber & Poggio (1999), Nature Neuroscience 2, 1019. Serre, Wolf, Bileschi, Riesenhuber
    & Poggio (2007), IEEE PAMI 29, 411. Serre, Oliva & Poggio (2007), PNAS 104, 6424. Mutch &
    Lowe (2008), IJCV 80, 45.

    Examples
    --------
    >>> import torch
    >>> HMAX().features(torch.rand(2, 3, 128, 160), ["c2/4"])["c2/4"].shape
    torch.Size([2, 250])
    """

    def __init__(
        self,
        *,
        variant: str = "serre2007",
        orientations: int = 4,
        prototypes: Source = "default",
        bypass: Source = None,
        tuning: str | None = None,
        sigma: float | None = None,
        normalisation: str | None = None,
    ):
        super().__init__()
        _check_choice("variant", variant, tuple(VARIANTS))
        self.variant = VARIANTS[variant]
        self.tuning = tuning or self.variant.tuning
        self.sigma = self.variant.sigma if sigma is None else float(sigma)
        self.normalisation = normalisation or self.variant.normalisation
        _check_choice("tuning", self.tuning, TUNINGS)
        _check_choice("normalisation", self.normalisation, NORMALISATIONS)
        if not self.sigma > 0:
            raise ValueError(f"sigma must be positive; got {sigma}")
        if orientations < 2:
            raise ValueError(f"hmax needs at least 2 orientations; got {orientations}")
        self.name = "hmax"
        self.orientations = orientations
        self.bands = dict(enumerate(self.variant.bands, start=1))
        if variant == "riesenhuber1999" and prototypes == "default":
            prototypes = orientation_combinations(orientations)
        self.prototypes = _read(prototypes, EMBEDDED)
        self.bypass = _read(bypass, EMBEDDED_BYPASS)
        self.units = nn.ModuleDict()
        for stage, stored in (("s2", self.prototypes), ("s2b", self.bypass)):
            if stored is not None:
                self._add_units(stage, stored)
        self.layers: Sequence[str] = (
            *(f"s1/{size}" for sizes in self.bands.values() for size in sizes),
            *(f"c1/band{band}" for band in self.bands),
            *(f"{units}/band{band}" for units in self.units for band in self.bands),
            *(_pooled(units) for units in self.units),
        )
        self.provenance: Mapping[str, Any] = {
            "weights": "oriented filters and stored patches; nothing is trained",
            "variant": variant,
            "orientations": orientations,
            "tuning": self.tuning,
            "sigma": self.sigma,
            "normalisation": self.normalisation,
            "prototypes": self.prototypes.provenance if self.prototypes else None,
            "bypass": self.bypass.provenance if self.bypass else None,
        }
        c1 = tuple(f"c1/band{band}" for band in self.bands)
        self.recommended: Mapping[str, tuple[str, ...]] = {
            "texture": c1,
            "style": c1,
            "content": c1[:2],
            "compare": c1 + tuple(layer for layer in self.layers if layer.startswith("c2")),
        }

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the responses of the named layers.

        Parameters
        ----------
        images : Tensor, shape (batch, 3, height, width)
            RGB in [0, 1]; the model sees their luminance.
        layers : sequence of str
            Names or groups out of `layers`. Only the filters and units they need are computed.

        Returns
        -------
        dict of str to Tensor
            Maps (batch, channel, height, width) for S1, C1 and S2, (batch, unit) for C2; at
            least float32.

        Raises
        ------
        ValueError
            When the images are too small for a layer, not (batch, 3, height, width), or not
            finite.
        """
        # An empty list and unknown names are refused here; groups are spelled out in their place.
        resolve_layers(self, layers)
        names = [name for layer in layers for name in resolve_layers(self, layer)]
        grey = luminance(images)
        with full_precision(grey.device):
            parts = [self._respond(part, set(names)) for part in grey.split(_part_size(grey))]
        return {name: torch.cat([part[name] for part in parts]) for name in names}

    @property
    def receptive_fields(self) -> dict[str, int]:
        """The side in pixels of what one unit of a layer sees, for the layers with positions."""
        fields = {f"s1/{size}": size for sizes in self.bands.values() for size in sizes}
        for band, sizes in self.bands.items():
            step, field = self.variant.steps[band - 1], self.variant.pools[band - 1] + sizes[-1] - 1
            fields[f"c1/band{band}"] = field
            for name, units in self.units.items():
                assert isinstance(units, TunedUnits)
                fields[f"{name}/band{band}"] = field + (units.size - 1) * step
        return fields

    def bands_within(self, height: int, width: int) -> list[int]:
        """Return the bands whose filters fit into an image of height x width pixels."""
        room = min(height, width) - self.variant.excess
        return [band for band, sizes in self.bands.items() if max(sizes) <= room]

    def _add_units(self, stage: str, stored: Prototypes) -> None:
        if stored.orientations != self.orientations:
            raise ValueError(
                f"the prototypes of {stage} have {stored.orientations} orientations and the model "
                f"{self.orientations}; imprint some with HMAX(orientations={self.orientations}, "
                "prototypes=None), or leave S2 out with prototypes=None"
            )
        for size, patches in stored.patches.items():
            self.units[f"{stage}/{size}"] = TunedUnits(
                patches,
                stored.afferents.get(size),
                tuning=self.tuning,
                sigma=self.sigma,
                normalisation=self.normalisation,
                same=self.variant.same,
            )

    def _respond(self, grey: Tensor, wanted: Collection[str]) -> dict[str, Tensor]:
        self._check_filters_fit(grey, wanted)
        cells = SimpleCells(grey, self.variant.bank, self.orientations, self.variant.excess)
        pooled = self._bands_to_pool(grey, wanted)
        found, maps = {}, {}
        for band, sizes in self.bands.items():
            seen = [size for size in sizes if band in pooled or f"s1/{size}" in wanted]
            simple = {f"s1/{size}": cells(size) for size in seen}
            found.update(simple)
            if band in pooled:
                step, pool = self.variant.steps[band - 1], self.variant.pools[band - 1]
                maps[band] = complex_cells(list(simple.values()), pool, step, self.variant.extra)
            # What nobody asked for is let go before the next band is computed.
            found = {name: value for name, value in found.items() if name in wanted}
        found.update({f"c1/band{band}": value for band, value in maps.items()})
        for name, units in self.units.items():
            assert isinstance(units, TunedUnits)
            found.update(_compare(name, units, maps, wanted, grey))
        return found

    def _bands_to_pool(self, grey: Tensor, wanted: Collection[str]) -> set[int]:
        """Return the bands whose C1 is needed."""
        within = set(self.bands_within(*grey.shape[-2:]))
        if any(_pooled(units) in wanted for units in self.units):
            return within
        return within & {int(name.rpartition("/band")[2]) for name in wanted if "/band" in name}

    def _check_filters_fit(self, grey: Tensor, wanted: Collection[str]) -> None:
        room = min(grey.shape[-2:]) - self.variant.excess
        for band, sizes in self.bands.items():
            needs = {f"c1/band{band}": max(sizes)} | {f"s1/{size}": size for size in sizes}
            for layer, size in needs.items():
                if layer in wanted and size > room:
                    raise ValueError(_too_small(grey, layer, f"filters of {size} pixels"))


def _compare(
    name: str,
    units: TunedUnits,
    maps: Mapping[int, Tensor],
    wanted: Collection[str],
    grey: Tensor,
) -> dict[str, Tensor]:
    """Return the wanted S2 and C2 layers of units of one size."""
    found = {}
    fitting = {band: value for band, value in maps.items() if units.fits(value)}
    needs = f"prototypes of {units.size} x {units.size} C1 cells"
    for layer in wanted:
        if layer.startswith(f"{name}/band"):
            band = int(layer.rpartition("/band")[2])
            if band not in fitting:
                raise ValueError(_too_small(grey, layer, needs))
            found[layer] = units.maps(fitting[band])
    if _pooled(name) in wanted:
        if not fitting:
            raise ValueError(_too_small(grey, _pooled(name), needs))
        found[_pooled(name)] = units.best(fitting)
    return found


def _pooled(units: str) -> str:
    """Return the C2 layer of S2 units: c2/4 of s2/4, c2b/6 of s2b/6."""
    return f"c{units[1:]}"


def _too_small(grey: Tensor, layer: str, needs: str) -> str:
    height, width = grey.shape[-2:]
    return (
        f"images of {height} x {width} pixels are too small for layer {layer!r} of hmax: its "
        f"{needs} do not fit; use larger images or leave the layer out"
    )


def _part_size(grey: Tensor) -> int:
    """Return how many images to process at once."""
    if grey.device.type != "cpu":
        return len(grey)
    # About one image of 256 x 256 pixels stays in the processor's cache from S1 to C2.
    return max(1, 256**2 // grey[0].numel())


def _read(source: Source, default: Path) -> Prototypes | None:
    if source is None or isinstance(source, Prototypes):
        return source
    return Prototypes.load(default if source == "default" else source)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")
