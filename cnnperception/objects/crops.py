"""Pairs of crops of one place of a picture, for learning without names."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .backgrounds import photographs, textures

PLACE = (0.3, 0.8)  # side of a place, relative to the picture's shorter side
CROP = (0.6, 1.0)  # side of a crop, relative to the place's
BRIGHTNESS, CONTRAST, COLOUR = 0.25, 0.4, 0.3
GREY = 0.2  # share of the crops without colour


def crop_pairs(numbers: Iterable[int], size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return two different crops of each of a numbered series of places.

    Each crop is moved, resized, mirrored, and changed in brightness, contrast and colour by
    itself (Chen et al. 2020, in smaller measure).

    Parameters
    ----------
    numbers : iterable of int
        The same number is the same pair.
    size : int
        Side of the crops in pixels.
    seed : int

    Returns
    -------
    Tensor, Tensor
        Each (n, 3, size, size), RGB in [0, 1].
    """
    pictures = (*photographs(), *textures())
    firsts: list[Tensor] = []
    seconds: list[Tensor] = []
    for number in numbers:
        random = np.random.default_rng([seed, number])
        picture = pictures[int(random.integers(len(pictures)))]
        place = _square(picture, PLACE, random)
        for crops in (firsts, seconds):
            crops.append(_changed(_square(place, CROP, random), size, random))
    return torch.stack(firsts), torch.stack(seconds)


def _square(picture: Tensor, sides: tuple[float, float], random: np.random.Generator) -> Tensor:
    height, width = picture.shape[-2:]
    side = max(8, int(min(height, width) * random.uniform(*sides)))
    top, left = random.integers(height - side + 1), random.integers(width - side + 1)
    return picture[:, top : top + side, left : left + side]


def _changed(crop: Tensor, size: int, random: np.random.Generator) -> Tensor:
    resized = functional.interpolate(crop[None], size=size, mode="bilinear")[0]
    if random.random() < 0.5:
        resized = resized.flip(-1)
    mixing = np.eye(3) * random.uniform(1 - CONTRAST, 1 + CONTRAST)
    mixing = mixing @ np.diag(random.uniform(1 - COLOUR, 1 + COLOUR, 3))
    if random.random() < GREY:
        mixing = np.full((3, 3), 1 / 3) * np.trace(mixing) / 3
    weights = torch.from_numpy(mixing).float()
    shifted = torch.einsum("ij,jhw->ihw", weights, resized - 0.5) + 0.5
    return (shifted + float(random.uniform(-BRIGHTNESS, BRIGHTNESS))).clamp(0, 1)
