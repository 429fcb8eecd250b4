"""Multi-scale random filters: synthesis and analysis with no trained weights at all."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from .interface import check_images, resolve_layers

SIZES = (3, 5, 7)  # sides of the filters, in pixels
BINOMIAL = (1.0, 3.0, 3.0, 1.0)  # weights of four pixels in one of the next octave
PADDED_OCTAVES = 3  # whose padding shows in what is synthesised
NOISE_CONTRAST = 0.05  # responses of this size and less are taken for noise


class RandomFilters(nn.Module):
    """One layer of random filters, rectified, at every octave of a pyramid.

    After Ustyuzhaninov, Brendel, Gatys & Bethge (2017), who match textures with one layer of
    untrained filters of 3 to 55 pixels. Here the same small filters look at every level of a
    Gaussian pyramid instead, which sees as far at a fraction of the cost. A third each of the
    filters is 3, 5 and 7 pixels wide: the small ones see the finest detail, which the energy of
    coarser structure hides from the large ones.

    Layers `scale1` ... `scaleN`, from fine to coarse: the rectified filter responses, then the
    three colour channels of that octave, so that a Gram matrix also holds how structure goes
    with colour. Layers `normalised1` ... `normalisedN`: the responses alone, divided by their
    local energy over the filters, so that faint contours count as much as strong ones.

    Parameters
    ----------
    scales : int
        Octaves of the pyramid.
    channels : int
        Filters at each scale, at least 3.
    seed : int
        Of the filters.

    Raises
    ------
    ValueError
        For less than one scale or three channels.
    """

    def __init__(self, *, scales: int = 5, channels: int = 96, seed: int = 0):
        super().__init__()
        if scales < 1 or channels < len(SIZES):
            raise ValueError(
                f"random-filters needs at least 1 scale and {len(SIZES)} channels; got "
                f"scales={scales}, channels={channels}"
            )
        self.name = "random-filters"
        self.scales = scales
        octaves = range(1, scales + 1)
        responses = tuple(f"scale{octave}" for octave in octaves)
        normalised = tuple(f"normalised{octave}" for octave in octaves)
        self.layers = responses + normalised
        self.recommended = {
            "texture": responses,
            "style": responses,
            "content": normalised[:3],
            "compare": responses,
        }
        self.provenance: dict[str, Any] = {
            "weights": "random",
            "scales": scales,
            "channels": channels,
            "seed": seed,
        }
        self.octaves = dict(zip(self.layers, [*octaves, *octaves], strict=True))
        self.receptive_fields = {
            layer: _receptive_field(octave) for layer, octave in self.octaves.items()
        }
        side = max(SIZES)
        # Made without torch's own initialisation, which would use up global random numbers.
        make = functools.partial(skip_init, nn.Conv2d, padding_mode="replicate", bias=False)
        self.filters = make(3, channels, side, padding=side // 2)
        self.blur = make(3, 3, 4, stride=2, padding=1, groups=3)
        self.filters.weight.data = _unit_filters(channels, seed)
        binomial = torch.tensor(BINOMIAL) / sum(BINOMIAL)
        self.blur.weight.data = torch.outer(binomial, binomial).repeat(3, 1, 1, 1)
        self.requires_grad_(False)

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the responses of the named layers, each (batch, channel, height, width).

        Raises
        ------
        ValueError
            For unknown layers, or images too small for one.
        """
        check_images(images)
        wanted = resolve_layers(self, layers)
        found: dict[str, Tensor] = {}
        octave = images
        last = max(self.octaves[layer] for layer in wanted)
        if min(images.shape[-2:]) < 2 ** (last - 1):
            height, width = images.shape[-2:]
            raise ValueError(
                f"images of {height} x {width} pixels are too small for octave {last} of "
                f"{self.name}; it takes sides of {2 ** (last - 1)} or more: use larger images or "
                "finer layers"
            )
        for index in range(1, last + 1):
            octave = octave if index == 1 else self.blur(octave)
            scale, normalised = f"scale{index}", f"normalised{index}"
            if scale in wanted or normalised in wanted:
                responses = torch.relu(self.filters(octave))
                found[scale] = torch.cat([responses, octave], dim=1)
                found[normalised] = _normalised(responses)
        return {layer: found[layer] for layer in layers}

    def copies(self, size: tuple[int, int]) -> Tensor:
        """Return how often each pixel counts in the padded octaves, (height, width).

        1 in the middle, 4 at a border and 16 in a corner, which a filter of 7 pixels sees three
        more pixels beyond; the mean over the finest octaves that there are, three at most.
        """
        octaves = min(PADDED_OCTAVES, self.scales, min(size).bit_length())
        rows, columns = (_copies(length, octaves) for length in size)
        return torch.outer(rows, columns)


def _copies(length: int, octaves: int) -> Tensor:
    """Return how often each pixel of a line counts, (length,)."""
    line = torch.ones((1, 1, length), requires_grad=True)
    weights = torch.tensor(BINOMIAL).view(1, 1, -1) / sum(BINOMIAL)
    beyond = max(SIZES) // 2
    with torch.enable_grad():
        octave, counted = line, torch.zeros(())
        for index in range(octaves):
            if index:
                octave = functional.pad(octave, (1, 1), "replicate")
                octave = functional.conv1d(octave, weights, stride=2)
            padded = functional.pad(octave, (beyond, beyond), "replicate")
            counted = counted + 2**index * padded.sum()
        (found,) = torch.autograd.grad(counted / octaves, line)
    return found[0, 0]


def _receptive_field(octave: int) -> int:
    step = 2 ** (octave - 1)
    return 1 + 3 * (step - 1) + (max(SIZES) - 1) * step


def _unit_filters(channels: int, seed: int) -> Tensor:
    """Return filters (channel, 3, 7, 7) of the given sizes, each of zero mean and unit norm."""
    random = torch.Generator().manual_seed(seed)
    side = max(SIZES)
    weights = torch.zeros((channels, 3, side, side))
    for index in range(channels):
        size = SIZES[index * len(SIZES) // channels]
        patch = torch.randn((3, size, size), generator=random)
        patch -= patch.mean()
        edge = (side - size) // 2
        weights[index, :, edge : edge + size, edge : edge + size] = patch / patch.norm()
    return weights


def _normalised(responses: Tensor) -> Tensor:
    energy = responses.square().mean(dim=1, keepdim=True)
    return responses / (energy + NOISE_CONTRAST**2).sqrt()
