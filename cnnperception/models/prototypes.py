"""The stored patches that HMAX's S2 units compare C1 with: imprinted, saved and loaded."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..files import atomic_path

EMBEDDED_FILE = Path(__file__).parent.parent / "weights" / "hmax_prototypes.safetensors"


@dataclass(frozen=True)
class Prototypes:
    """Patches of C1 responses, and where each was taken from.

    Attributes
    ----------
    patches : dict of int to Tensor
        For each size, (unit, orientation, size, size) responses in [0, 1].
    record : DataFrame
        One row a unit: `size`, `unit`, and for imprinted ones `image`, `band`, `row`, `column`
        (the patch's first C1 cell).
    provenance : dict
        How they were made: the method, its seed and options.
    """

    patches: dict[int, Tensor]
    record: pd.DataFrame
    provenance: dict[str, Any]

    @property
    def orientations(self) -> int:
        """The number of orientations the patches were taken with."""
        return next(iter(self.patches.values())).shape[1]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file, atomically; half precision, the record in its metadata."""
        tensors = {str(size): patch.half().contiguous() for size, patch in self.patches.items()}
        metadata = {
            "provenance": json.dumps(self.provenance, sort_keys=True),
            "record": self.record.to_csv(index=False),
        }
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str] = EMBEDDED_FILE) -> Prototypes:
        """Read what `save` wrote; without a path, the set that comes with the package."""
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            patches = {int(name): file.get_tensor(name).float() for name in file.keys()}
        if not patches:
            raise ValueError(f"{path} holds no prototypes")
        record = pd.read_csv(io.StringIO(metadata["record"])) if "record" in metadata else None
        return cls(
            dict(sorted(patches.items())),
            record if record is not None else _numbered(patches),
            json.loads(metadata.get("provenance", "{}")),
        )


def imprint(
    images: Mapping[str, Tensor],
    complex_cells: Callable[[Tensor], Mapping[int, Tensor]],
    *,
    sizes: Iterable[int] = (4, 8, 12, 16),
    count: int = 250,
    bands: Iterable[int] = range(1, 9),
    minimum: float = 0.01,
    seed: int = 0,
) -> Prototypes:
    """Take patches of C1 responses at random images, bands and positions.

    Parameters
    ----------
    images : mapping of str to Tensor
        Names and images, each (3, height, width), RGB in [0, 1].
    complex_cells : callable
        From a (1, 3, height, width) image to its C1 maps by band, each
        (1, orientation, height, width).
    sizes : iterable of int
        Sides of the patches in C1 cells.
    count : int
        Patches a size.
    bands : iterable of int
        Bands to take from; for each patch those where it fits are equally likely.
    minimum : float
        Patches with a smaller mean response are drawn again: they show nothing.
    seed : int

    Raises
    ------
    ValueError
        When there is no image or one is too small or too empty to take a patch from.
    """
    if not images:
        raise ValueError("no images were given to imprint prototypes from")
    sizes, bands, names = list(sizes), list(bands), list(images)
    random = np.random.default_rng(seed)
    source = {size: random.integers(len(names), size=count) for size in sizes}
    rows: list[dict[str, Any]] = []
    patches = {size: [torch.empty(0)] * count for size in sizes}
    for index, name in enumerate(names):
        maps = complex_cells(images[name][None])
        for size in sizes:
            for unit in np.flatnonzero(source[size] == index):
                place = _place(maps, size, bands, minimum, random, name)
                band, row, column = place
                patches[size][unit] = maps[band][0, :, row : row + size, column : column + size]
                rows.append(
                    dict(size=size, unit=unit, image=name, band=band, row=row, column=column)
                )
    record = pd.DataFrame(rows).sort_values(["size", "unit"], ignore_index=True)
    provenance = {
        "method": "imprinted",
        "seed": seed,
        "minimum": minimum,
        "bands": bands,
        "images": names,
    }
    stacked = {size: torch.stack(patches[size]).detach().cpu() for size in sizes}
    return Prototypes(stacked, record, provenance)


def _place(
    maps: Mapping[int, Tensor],
    size: int,
    bands: list[int],
    minimum: float,
    random: np.random.Generator,
    name: str,
) -> tuple[int, int, int]:
    fitting = [band for band in bands if min(maps[band].shape[-2:]) >= size]
    if not fitting:
        raise ValueError(
            f"image {name!r} is too small for prototypes of {size} x {size} C1 cells in the "
            f"bands {bands}; use larger images, smaller prototypes or finer bands"
        )
    for _ in range(1000):
        band = int(random.choice(fitting))
        height, width = maps[band].shape[-2:]
        row = int(random.integers(height - size + 1))
        column = int(random.integers(width - size + 1))
        if maps[band][0, :, row : row + size, column : column + size].mean() >= minimum:
            return band, row, column
    raise ValueError(
        f"image {name!r} has no region of {size} x {size} C1 cells with a mean response above "
        f"{minimum}; leave it out or lower `minimum`"
    )


def _numbered(patches: Mapping[int, Tensor]) -> pd.DataFrame:
    rows = [(size, unit) for size in patches for unit in range(len(patches[size]))]
    return pd.DataFrame(rows, columns=["size", "unit"])
