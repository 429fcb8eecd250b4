"""Making prototypes: imprinted from images, learned by clustering, and controls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from .prototypes import Prototypes, numbered

if TYPE_CHECKING:
    from .model import HMAX

ATTEMPTS = 1000


class Pictures(Protocol):
    """What a StimulusSet offers: images by their ids."""

    @property
    def ids(self) -> Sequence[str]: ...

    def image(self, which: str, /) -> Tensor: ...


def imprint(
    model: HMAX,
    images: Pictures | Iterable[tuple[str, Tensor]],
    *,
    sizes: Sequence[int] = (4, 8, 12, 16),
    count: int = 250,
    bands: Sequence[int] | None = None,
    minimum: float = 0.01,
    seed: int = 0,
) -> Prototypes:
    """Store patches of C1 responses from random images, bands and positions.

    Parameters
    ----------
    model : HMAX
        Whose C1 is sampled; `HMAX(prototypes=None, ...)` will do.
    images : StimulusSet, or iterable of (str, Tensor)
        Names and images, each (3, height, width) or (1, 3, height, width), RGB in [0, 1]. They
        may differ in size. Of a StimulusSet only the images that patches are taken from are read.
    sizes : sequence of int
        Sides of the patches in C1 cells.
    count : int
        Patches a size.
    bands : sequence of int or None
        Bands to take from (the CBCL code uses band 2 alone), None for all. For each patch those
        where it fits are equally likely.
    minimum : float
        Patches with a smaller mean response show nothing and are drawn again.
    seed : int

    Raises
    ------
    ValueError
        When there is no image, or one is too small or too empty to take a patch from.
    """
    names, read = _reader(images)
    if not names:
        raise ValueError("no images were given to imprint prototypes from")
    if count < 1 or not sizes or min(sizes) < 1:
        raise ValueError(f"cannot imprint {count} prototypes of the sizes {list(sizes)}")
    random = np.random.default_rng(seed)
    sources = {size: random.integers(len(names), size=count) for size in sizes}
    rows: list[dict[str, Any]] = []
    patches: dict[tuple[int, int], Tensor] = {}
    for index in np.unique(np.concatenate(list(sources.values()))).tolist():
        name = names[index]
        maps = _complex_maps(model, read(index), bands)
        for size in sizes:
            for unit in np.flatnonzero(sources[size] == index).tolist():
                band, row, column = _place(maps, size, minimum, random, name)
                patches[size, unit] = maps[band][:, row : row + size, column : column + size]
                place = {"image": name, "band": band, "row": row, "column": column}
                rows.append({"size": size, "unit": unit, **place})
    record = pd.DataFrame(rows).sort_values(["size", "unit"], ignore_index=True)
    return Prototypes(
        {size: torch.stack([patches[size, unit] for unit in range(count)]) for size in sizes},
        record,
        {
            "method": "imprinted",
            "seed": seed,
            "minimum": minimum,
            "bands": list(bands or model.bands),
            "variant": model.provenance["variant"],
            "images": names,
        },
    )


def cluster(prototypes: Prototypes, count: int = 250, *, seed: int = 0) -> Prototypes:
    """Return the centres of k-means clusters: prototypes learned from many imprinted patches.

    Parameters
    ----------
    prototypes : Prototypes
        Many more patches a size than `count`.
    count : int
        Clusters a size.
    seed : int

    Raises
    ------
    ValueError
        When there are fewer patches than clusters.
    """
    from sklearn.cluster import KMeans

    centres = {}
    for size, patches in prototypes.patches.items():
        if len(patches) < count:
            raise ValueError(
                f"{count} clusters need at least as many patches; there are {len(patches)} of "
                f"size {size}: imprint more"
            )
        fitted = KMeans(count, n_init=1, random_state=seed).fit(patches.flatten(1).numpy())
        centres[size] = torch.from_numpy(fitted.cluster_centers_).view(count, *patches.shape[1:])
    provenance = {"method": "k-means centres", "seed": seed, "of": prototypes.provenance}
    return Prototypes(
        {size: patches.float() for size, patches in centres.items()}, numbered(centres), provenance
    )


def shuffled(prototypes: Prototypes, *, seed: int = 0) -> Prototypes:
    """Return a control: each patch's responses at random places, orientation by orientation.

    How strong each orientation is remains; the shape is gone.
    """
    random = torch.Generator().manual_seed(seed)
    mixed = {}
    for size, patches in prototypes.patches.items():
        flat = patches.flatten(2)
        order = torch.rand(flat.shape, generator=random).argsort(dim=2)
        mixed[size] = flat.gather(2, order).view_as(patches)
    return _control(prototypes, mixed, "shuffled", seed)


def matched_noise(prototypes: Prototypes, *, seed: int = 0) -> Prototypes:
    """Return a control: uniform noise with each patch's mean and variance."""
    random = torch.Generator().manual_seed(seed)
    noise = {}
    for size, patches in prototypes.patches.items():
        drawn = torch.rand(patches.shape, generator=random)
        mean, spread = _moments(drawn)
        wanted_mean, wanted_spread = _moments(patches)
        noise[size] = (drawn - mean) / spread * wanted_spread + wanted_mean
    return _control(prototypes, noise, "noise of the same mean and variance", seed)


def _control(
    prototypes: Prototypes, patches: dict[int, Tensor], method: str, seed: int
) -> Prototypes:
    provenance = {"method": method, "seed": seed, "of": prototypes.provenance}
    return Prototypes(patches, numbered(patches), provenance, prototypes.afferents)


def _moments(patches: Tensor) -> tuple[Tensor, Tensor]:
    dims = (1, 2, 3)
    return patches.mean(dims, keepdim=True), patches.std(dims, correction=0, keepdim=True)


def _reader(
    images: Pictures | Iterable[tuple[str, Tensor]],
) -> tuple[list[str], Callable[[int], Tensor]]:
    """Return the images' names, and what gives an image by its number."""
    if isinstance(images, Iterable):
        pairs = list(images)
        return [name for name, _ in pairs], lambda index: pairs[index][1]
    names = list(images.ids)
    return names, lambda index: images.image(names[index])


@torch.no_grad()
def _complex_maps(model: HMAX, image: Tensor, bands: Sequence[int] | None) -> dict[int, Tensor]:
    within = model.bands_within(*image.shape[-2:])
    chosen = [band for band in within if bands is None or band in bands]
    if not chosen:
        return {}
    images = image if image.ndim == 4 else image[None]
    maps = model.features(images, [f"c1/band{band}" for band in chosen])
    return {band: maps[f"c1/band{band}"][0].cpu() for band in chosen}


def _place(
    maps: Mapping[int, Tensor], size: int, minimum: float, random: np.random.Generator, name: str
) -> tuple[int, int, int]:
    """Return a random band, row and column where a patch fits and shows something."""
    fitting = [band for band, value in maps.items() if min(value.shape[-2:]) >= size]
    if not fitting:
        raise ValueError(
            f"image {name!r} is too small for prototypes of {size} x {size} C1 cells; use larger "
            "images, smaller prototypes or finer bands"
        )
    for _ in range(ATTEMPTS):
        band = int(random.choice(fitting))
        height, width = maps[band].shape[-2:]
        row = int(random.integers(height - size + 1))
        column = int(random.integers(width - size + 1))
        if maps[band][:, row : row + size, column : column + size].mean() >= minimum:
            return band, row, column
    raise ValueError(
        f"image {name!r} has hardly a region of {size} x {size} C1 cells with a mean response "
        f"above {minimum}; leave it out or lower `minimum`"
    )
