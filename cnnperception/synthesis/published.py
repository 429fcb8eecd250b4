"""What published procedures have and the engine's own does not: losses, starts and bounds.

Images are RGB in [0, 1] here too; papers count in grey levels, of which there are 255, about the
mean of the pictures that their network was trained on.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .. import runtime
from ..models.interface import VisionModel
from ..models.weights import CAFFE
from .measures import quantiles
from .objective import Term, match, unchanged
from .optimisers import GREY_LEVELS

RELATIVE = "relative"
DIRECTIONS = 2**32  # added to seeds, lest directions be the numbers of the noise
REDRAWN = "redrawn-sliced-wasserstein"  # the statistic of `redrawn_slices`
SMALLEST_AMPLITUDE = 1e-16  # of a frequency that has a phase

# What the squared difference ||S - T||^2 of a layer is divided by: a function of the target T,
# (1, channel, ...), and the number of layers. N is the number of channels.
DIVISORS: dict[str, Callable[[Tensor, int], float]] = {
    "4 N^2": lambda target, layers: 4 * target.shape[1] ** 2,
    "4 N^2 layers": lambda target, layers: 4 * target.shape[1] ** 2 * layers,
    "N^2": lambda target, layers: target.shape[1] ** 2,
    "N^4": lambda target, layers: target.shape[1] ** 4,
    "size": lambda target, layers: target[0].numel(),
}


@dataclasses.dataclass(frozen=True)
class Loss:
    """How the squared differences of layers are added up: weight x ||S - T||^2 / divisor.

    Attributes
    ----------
    divisor : str
        One of `DIVISORS`, or "relative": ||T||^2, and the weight shared among the layers.
    weight : float
        Of each layer; of all together where it is relative.
    layers : mapping of str to float
        Of some layers, by what their weight is multiplied.
    """

    divisor: str = RELATIVE
    weight: float = 1.0
    layers: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def weighed(self, terms: Sequence[Term]) -> list[Term]:
        """Return terms, of weights that sum to their share of 1, so that they add up to this loss.

        Raises
        ------
        ValueError
            When it is not relative and the images of a batch have targets of their own.
        """
        return [dataclasses.replace(term, weight=self._weight(term, terms)) for term in terms]

    def _weight(self, term: Term, terms: Sequence[Term]) -> float:
        weight = term.weight * self.weight * self.layers.get(term.layer, 1.0)
        if self.divisor == RELATIVE:
            return weight
        if len(term.target) > 1:
            raise ValueError("a published loss takes one exemplar at a time, not a batch")
        count = len({each.layer for each in terms})
        # A term divides by the size of its target, and shares its weight with the other layers.
        return weight * count * float(term.size()) / DIVISORS[self.divisor](term.target, count)

    def __str__(self) -> str:
        below = "||T||^2" if self.divisor == RELATIVE else self.divisor
        below = f"({below})" if " " in below else below
        some = "".join(f", {layer} times {number(by)}" for layer, by in self.layers.items())
        return f"{number(self.weight)} x ||S - T||^2 / {below}{some}"


@dataclasses.dataclass(frozen=True)
class Noise:
    """White noise that a search begins with, each colour by itself.

    Attributes
    ----------
    about : {"training mean", "exemplar mean"}
        The colour it varies about: the mean of ImageNet as in Caffe's networks, or the exemplar's.
    deviation : float
        Standard deviation in grey levels; of the uniform distribution, half its width.
    distribution : {"normal", "uniform"}
    """

    about: str
    deviation: float
    distribution: str = "normal"

    def draw(self, source: Tensor, size: tuple[int, int], seed: int) -> Tensor:
        """Return noise (1, 3, height, width) for an exemplar; not clipped to [0, 1]."""
        generator = runtime.generator(seed)
        if self.distribution == "normal":
            white = torch.randn((1, 3, *size), generator=generator)
        else:
            white = 2 * torch.rand((1, 3, *size), generator=generator) - 1
        centre = training_mean(source)
        if self.about == "exemplar mean":
            centre = source.mean(dim=(2, 3), keepdim=True)
        return centre + white.to(source) * (self.deviation / GREY_LEVELS)

    def __str__(self) -> str:
        levels = f"{number(self.deviation)} grey level{'' if self.deviation == 1 else 's'}"
        return f"{self.distribution} noise of {levels} about the {self.about}"


def number(value: float) -> str:
    """Return a number as short as it can be told: 1e9, 0.05."""
    return f"{value:g}".replace("e+0", "e").replace("e-0", "e-")


def training_mean(like: Tensor) -> Tensor:
    """Return the mean colour that Caffe's networks subtract, RGB in [0, 1], (1, 3, 1, 1)."""
    return like.new_tensor(CAFFE.mean[::-1]).view(1, 3, 1, 1)


def shared_bounds(source: Tensor) -> tuple[Tensor, Tensor]:
    """Return the lowest and highest pixel of an exemplar less the training mean, in any colour.

    The same two numbers for all three colours, as Gatys et al. (2015) have it: (1, 3, 1, 1) each.
    """
    mean = training_mean(source)
    about = source - mean
    return mean + about.min(), mean + about.max()


def channel_bounds(source: Tensor) -> tuple[Tensor, Tensor]:
    """Return the lowest and highest pixel of each colour of an exemplar, (1, 3, 1, 1) each."""
    return source.amin(dim=(2, 3), keepdim=True), source.amax(dim=(2, 3), keepdim=True)


BOUNDS: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "shared": shared_bounds,
    "by channel": channel_bounds,
}


def spectrum_distance(source: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the loss of a `PixelTerm`: how far images are from the exemplar's Fourier spectrum.

    Half the mean squared distance, in grey levels, from the nearest image P with the amplitudes
    of the exemplar A at every frequency and the phases between its colours: P is A with the
    phase of sum_c X_c conj(A_c) added to all colours (Liu, Gousseau & Xia 2016; Gonthier,
    Gousseau & Ladjal 2022).

    Raises
    ------
    ValueError
        For images of another size than the exemplar, which have other frequencies.
    """

    def levels(images: Tensor) -> Tensor:
        return GREY_LEVELS * (images - training_mean(images))

    wanted = torch.fft.fft2(levels(source))

    def loss(images: Tensor) -> Tensor:
        if images.shape[-2:] != source.shape[-2:]:
            raise ValueError(
                f"the spectrum of an exemplar of {tuple(source.shape[-2:])} pixels cannot be given "
                f"to an image of {tuple(images.shape[-2:])}; leave size out, or use spectrum=0"
            )
        pixels = levels(images)
        cross = (torch.fft.fft2(pixels) * wanted.conj()).sum(dim=1, keepdim=True)
        phase = cross / (cross.abs() + SMALLEST_AMPLITUDE)
        nearest = torch.fft.ifft2(phase * wanted).real
        return (pixels - nearest).square().flatten(1).mean(dim=1) / 2

    return loss


@dataclasses.dataclass(frozen=True)
class RedrawnSlices(Term):
    """The sliced Wasserstein distance, along directions drawn anew at every evaluation.

    Attributes
    ----------
    target : Tensor, shape (1, channel, height, width)
        The exemplar's features.
    random : torch.Generator
        Of the directions, as many as there are channels.
    """

    random: torch.Generator = dataclasses.field(default_factory=torch.Generator)

    def loss(self, features: Tensor) -> Tensor:
        """Return the squared distance of the sorted projections, relative to ||T||^2, (batch,).

        An exemplar of another size is compared at the quantiles that the image has.
        """
        channels = features.shape[1]
        drawn = torch.randn((channels, channels), generator=self.random)
        directions = functional.normalize(drawn, dim=1).to(features)
        mine, theirs = (
            torch.einsum("dc,bcn->bdn", directions, f.flatten(2)).sort(dim=2).values
            for f in (features, self.target)
        )
        if mine.shape[2] != theirs.shape[2]:
            theirs = quantiles(theirs, mine.shape[2])
        mean = (mine - theirs).square().flatten(1).mean(dim=1)
        return mean * math.prod(self.target.shape[1:]) / self.size()


def redrawn_slices(
    kind: str,
    model: VisionModel,
    layers: Sequence[str],
    source: Tensor,
    *,
    seed: int,
    weight: float = 1.0,
) -> list[Term]:
    """Return a term for each layer, as `match` does, with directions of a seed.

    Heitz, Vanhoey, Chambon & Belcour (2021). The loss is another at every evaluation, so a search
    has to bear that.
    """
    random = runtime.generator(seed + DIRECTIONS)
    return [
        RedrawnSlices(term.name, term.layer, _whole, term.target, term.weight, random)
        for term in match(kind, model, layers, unchanged, source, weight=weight)
    ]


def _whole(features: Tensor) -> Tensor:
    """Say that all positions are needed at once: it is no statistic to be had in tiles."""
    return features
