"""The pictures that all networks of an ablation see, and HMAX's C1 of them, computed once."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..files import atomic_path
from ..models.hierarchy import GaborStage
from ..objects import CATEGORIES, VARIATIONS, ObjectScenes

SIDE = 64
BACKGROUNDS = ("blank", "clutter")
# Exemplars that networks learn from, that readouts learn from, and that are tested.
TRAINED, LEARNT, TESTED = range(200), range(2000, 2040), range(3000, 3040)
# Of HMAX's eight: on pictures of this size those with larger filters add nearly nothing.
BANDS = (1, 2, 3, 4)
PART = 256  # pictures that C1 is computed of at a time


@dataclasses.dataclass(frozen=True)
class Scale:
    """How large an ablation is.

    Attributes
    ----------
    steps, batch : int
        Of training; no picture is shown twice, unless training is longer.
    width : int
        Channels of the VGG's first block.
    units : int
        HMAX's prototypes of each size.
    images : int
        On each background; half of them readouts learn from, half are tested.
    """

    steps: int = 1280
    batch: int = 32
    width: int = 16
    units: int = 64
    images: int = 3200


class Seen(NamedTuple):
    """Pictures: pixels, uint8 (n, 3, 64, 64), and C1 side by side, float16 (n, cells)."""

    pixels: np.ndarray
    cells: np.ndarray

    def some(self, places: np.ndarray | slice) -> Seen:
        """Return the pictures at some places."""
        return Seen(np.array(self.pixels[places]), np.array(self.cells[places]))


class Pictures:
    """Rendered objects: to train on, to learn a readout from, and to test on.

    Networks are trained on all levels of variation and on both backgrounds. Readouts are learnt
    and tested at the highest variation, on each background apart, with exemplars that neither
    the networks nor, when tested, the readouts saw.

    Parameters
    ----------
    folder : path-like
        Where pictures are kept: about 18 kB each.
    scale : Scale
    seed : int
    """

    def __init__(self, folder: str | os.PathLike[str], scale: Scale, seed: int = 0):
        self.scale, self.seed = scale, seed
        self.gabors = GaborStage(bands=BANDS)
        self.sides = [maps.shape[-1] for maps in self.gabors(torch.zeros(1, 3, SIDE, SIDE))]
        self._folder = Path(folder)

    @functools.cached_property
    def training(self) -> Seen:
        """What networks learn from; the category of picture i is i modulo their number."""
        scenes = [
            ObjectScenes(SIDE, level, BACKGROUNDS, exemplars=TRAINED, seed=self.seed + 11)
            for level in VARIATIONS
        ]
        return self._kept("training", scenes, self.scale.steps * self.scale.batch)

    @functools.cached_property
    def readout(self) -> dict[str, tuple[Seen, pd.DataFrame, np.ndarray]]:
        """For each background pictures, their table, and which are tested on."""
        half = self.scale.images // 2
        found = {}
        for background in BACKGROUNDS:
            seen, tables = [], []
            for series, exemplars in enumerate((LEARNT, TESTED)):
                number = 10 * self.seed + series
                scenes = ObjectScenes(SIDE, "high", background, exemplars=exemplars, seed=number)
                seen.append(self._kept(f"{background}-{series}", [scenes], half))
                tables.append(scenes.table(range(half)))
            joined = Seen(*(np.concatenate(parts) for parts in zip(*seen, strict=True)))
            table = pd.concat(tables, ignore_index=True)
            found[background] = joined, table, np.arange(2 * half) >= half
        return found

    def sample(self) -> Tensor:
        """Return training pictures to store patches from, eight for each patch of a size."""
        return images(self.training.pixels[: 8 * self.scale.units])

    def bands(self, cells: Tensor) -> list[Tensor]:
        """Return C1 by band, each (n, orientation, side, side), of cells side by side."""
        parts = cells.float().split([GaborStage.channels * side**2 for side in self.sides], dim=1)
        return [part.view(len(part), -1, s, s) for part, s in zip(parts, self.sides, strict=True)]

    def _kept(self, name: str, scenes: Sequence[ObjectScenes], number: int) -> Seen:
        stem = f"{name}-{number}-{self.seed}"
        pixels, cells = (self._folder / f"{stem}-{kind}.npy" for kind in ("pixels", "cells"))
        if not pixels.exists():
            # The categories take turns, and so do the levels, after each round of categories.
            rounds = _parts(number, len(CATEGORIES))
            drawn = [scenes[i % len(scenes)].pictures(part) for i, part in enumerate(rounds)]
            _write(pixels, np.concatenate([(255 * part).round().byte().numpy() for part in drawn]))
        stored = np.load(pixels, mmap_mode="r")
        if not cells.exists():
            _write(cells, np.concatenate([self._cells(stored[p]) for p in _slices(number, PART)]))
        return Seen(stored, np.load(cells, mmap_mode="r"))

    def _cells(self, pixels: np.ndarray) -> np.ndarray:
        bands = self.gabors(images(pixels))
        return torch.cat([maps.flatten(1) for maps in bands], dim=1).half().numpy()


def images(pixels: np.ndarray) -> Tensor:
    """Return pixels of 8 bits as images, float32 in [0, 1]."""
    return torch.from_numpy(np.array(pixels)).float() / 255


def _parts(number: int, size: int) -> list[range]:
    return [range(start, min(start + size, number)) for start in range(0, number, size)]


def _slices(number: int, size: int) -> list[slice]:
    return [slice(part.start, part.stop) for part in _parts(number, size)]


def _write(path: Path, values: np.ndarray) -> None:
    with atomic_path(path) as temporary:
        np.save(temporary, values)
