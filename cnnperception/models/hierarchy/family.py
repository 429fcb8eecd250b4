"""The models between HMAX and a small VGG, by what they have of the latter."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..tracing import seeded
from .model import Hierarchy
from .stages import BANDS, ConvolutionStage, GaborStage, deep_stage, patch_stage

# change -> what a VGG has, and what HMAX has in its place
CHANGES = {
    "convolved": "a first stage of four convolutions in colour, not fixed Gabors and local maxima",
    "deep": "a second stage of four layers of 3x3 units, not one layer of large patches",
    "rectified": "units that rectify inner products in the second stage, not Gaussian tuning",
    "averaged": "averages of the local maxima over positions, not one maximum",
}


def between(
    changes: Collection[str],
    *,
    width: int = 16,
    units: int = 64,
    bands: Sequence[int] = BANDS,
    seed: int = 0,
) -> Hierarchy:
    """Return HMAX with some of the changes that make it a VGG: with none HMAX, with all a VGG.

    Its weights are random, except for the Gabors: `Hierarchy.imprint` stores patches of images,
    as HMAX does, and training as a VGG is trained is `cnnperception.training.train`'s.

    Parameters
    ----------
    changes : collection of str
        Keys of `CHANGES`.
    width : int
        Channels of the VGG's first block.
    units : int
        Of one layer of patches, for each of the sizes 4, 8, 12 and 16.
    bands : sequence of int
        Of HMAX's eight, from 1 on.
    seed : int
        Of random weights.

    Raises
    ------
    ValueError
        For a change that is none of `CHANGES`.

    Examples
    --------
    >>> between({"averaged"}, units=8).pooling
    'average'
    """
    unknown = sorted(set(changes) - CHANGES.keys())
    if unknown:
        raise ValueError(f"no change is called {unknown[0]!r}; there are {', '.join(CHANGES)}")
    tuning = "rectified" if "rectified" in changes else "gaussian"
    with seeded(seed):
        first = ConvolutionStage(width) if "convolved" in changes else GaborStage(bands=bands)
        if "deep" in changes:
            second = deep_stage(first.channels, width, tuning)
        else:
            second = patch_stage(first.channels, units, tuning)
    return Hierarchy(
        first,
        second,
        pooling="average" if "averaged" in changes else "max",
        provenance={
            "changes": sorted(changes),
            "width": width,
            "units": units,
            "bands": list(bands),
            "seed": seed,
        },
    )
