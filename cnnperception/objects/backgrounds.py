"""What lies behind an object: uniform grey, noise, textures, photographs."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .. import images, stimuli

BACKGROUNDS = ("blank", "noise", "texture", "clutter")
GREY = 0.5
TEXTURES = ("brick", "grass", "gravel", "ihc")
PHOTOGRAPHS = (
    "hubble_deep_field",
    "moon",
    "rocket",
    "china",
    "astronaut",
    "camera",
    "chelsea",
    "coffee",
    "coins",
    "retina",
    "flower",
)
FOLDER = Path(__file__).parents[1] / "textures"
# Made by data/make_textures.py from the built-in picture of that name.
SYNTHESISED = {
    name: FOLDER / f"{name}.png"
    for name in (
        "astronaut",
        "brick",
        "chelsea",
        "china",
        "coffee",
        "coins",
        "flower",
        "grass",
        "gravel",
        "hubble_deep_field",
        "ihc",
        "retina",
    )
}
SIDE = 256  # longer side to which photographs are reduced


def background(kind: str, side: int, random: np.random.Generator) -> Tensor:
    """Return a background of one of the kinds, (3, side, side), RGB in [0, 1]."""
    if kind == "blank":
        return torch.full((3, side, side), GREY)
    if kind == "noise":
        return _noise(side, random)
    return _crop(textures() if kind == "texture" else photographs(), side, random)


def _noise(side: int, random: np.random.Generator) -> Tensor:
    """Return octaves of noise, each of half the size and half the contrast of the one before."""
    total = torch.full((3, side, side), GREY)
    cells, contrast = 2, 0.25
    while cells <= side:
        grid = torch.from_numpy(random.normal(size=(1, 3, cells, cells))).float()
        total += contrast * functional.interpolate(grid, size=side, mode="bilinear")[0]
        cells, contrast = 2 * cells, contrast / 2
    return total.clamp(0, 1)


def _crop(pictures: tuple[Tensor, ...], side: int, random: np.random.Generator) -> Tensor:
    """Return a square crop of a picture: any place and size, mirrored in half of the cases."""
    picture = pictures[int(random.integers(len(pictures)))]
    height, width = picture.shape[-2:]
    crop = int(min(height, width) * random.uniform(0.35, 1.0))
    top, left = random.integers(height - crop + 1), random.integers(width - crop + 1)
    patch = picture[None, :, top : top + crop, left : left + crop]
    resized = functional.interpolate(patch, size=side, mode="bilinear", align_corners=False)[0]
    return resized.flip(-1) if random.random() < 0.5 else resized


@functools.cache
def photographs() -> tuple[Tensor, ...]:
    """Return the built-in photographs of scenes and objects, each (3, height, width)."""
    return tuple(stimuli.exemplar(name, size=SIDE)[0] for name in PHOTOGRAPHS)


@functools.cache
def textures() -> tuple[Tensor, ...]:
    """Return the built-in photographs of textures, and the synthesised textures."""
    real = [stimuli.exemplar(name, size=SIDE)[0] for name in TEXTURES]
    return (*real, *(images.read(path)[0] for path in SYNTHESISED.values()))
