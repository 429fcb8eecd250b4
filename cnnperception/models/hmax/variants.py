"""The published versions of HMAX: their tables of sizes and the conventions they differ in."""

from __future__ import annotations

from dataclasses import dataclass

from .cells import Bank
from .filters import bar_bank, gabor_bank


@dataclass(frozen=True)
class Variant:
    """Sizes and conventions of one published version.

    Attributes
    ----------
    bands : tuple of tuple of int
        Filter sizes in pixels, by band.
    pools, steps : tuple of int
        Side of C1's windows and the distance between them, in pixels, by band.
    bank : callable
        Makes the filters of a size.
    excess : int
        Rows at the top and columns at the left that are set to 0 in S1 though the filter is
        wholly inside.
    extra : int
        1: C1 has a further row (column) of zeros where the image's side is a multiple of the
        step.
    same : bool
        Whether S2's windows may reach over the border of C1.
    tuning, sigma, normalisation
        Defaults of S2's tuning; see `TunedUnits`.
    """

    bands: tuple[tuple[int, ...], ...]
    pools: tuple[int, ...]
    steps: tuple[int, ...]
    bank: Bank
    excess: int
    extra: int
    same: bool
    tuning: str
    sigma: float
    normalisation: str


_BANDS_2007 = tuple((size, size + 2) for size in range(7, 37, 4))

VARIANTS = {
    # Serre, Wolf, Bileschi, Riesenhuber & Poggio (2007), table 1. The tuning width, which they
    # leave open, is relative to each prototype's norm, exp(-3 d^2 / ||P||^2), so that a unit
    # tolerates the same relative difference whatever its size and contrast.
    "serre2007": Variant(
        bands=_BANDS_2007,
        pools=tuple(range(8, 23, 2)),
        steps=tuple(range(4, 12)),
        bank=gabor_bank,
        excess=0,
        extra=0,
        same=False,
        tuning="gaussian",
        sigma=6**-0.5,
        normalisation="norm",
    ),
    # The same table with the conventions of the Matlab code of Georgetown's maxlab and of its
    # PyTorch port.
    "maxlab": Variant(
        bands=_BANDS_2007,
        pools=tuple(range(8, 23, 2)),
        steps=tuple(range(4, 12)),
        bank=gabor_bank,
        excess=1,
        extra=1,
        same=True,
        tuning="distance",
        sigma=1.0,
        normalisation="none",
    ),
    # Riesenhuber & Poggio (1999).
    "riesenhuber1999": Variant(
        bands=((7, 9), (11, 13, 15), (17, 19, 21), (23, 25, 27, 29)),
        pools=(4, 6, 9, 12),
        steps=(2, 3, 5, 6),
        bank=bar_bank,
        excess=0,
        extra=0,
        same=False,
        tuning="gaussian",
        sigma=1.0,
        normalisation="none",
    ),
}
