"""Images with noise: as strong, or as far away to a model, as wanted."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .. import runtime
from .objective import in_colours_of
from .solver import Precondition
from .view import View

START = 0.02  # root mean square of the noise that a search begins with, at most
START_SHARE = 0.01  # of what the tolerance costs: what that noise may cost, at most
PASSES = 6  # in search of how faint it has to be
MOST_NOISE = 10.0  # amplitude at which almost every pixel is black or white
HALVINGS = 30


def with_noise(picture: Tensor, rms: float, *, luminance: bool = False, seed: int = 0) -> Tensor:
    """Return a picture with noise, after clipping of a root mean square, to compare changes with.

    The noise is white in space, in the colours in which the picture varies: what `controversial`
    compares its images with, when their seeds are the same.

    Parameters
    ----------
    picture : Tensor, shape (1, 3, height, width)
        RGB in [0, 1].
    rms : float
        Of the difference in pixels; where clipping leaves less room, what room there is.
    luminance : bool
        Noise that is the same in the three channels.
    seed : int

    Returns
    -------
    Tensor, shape (1, 3, height, width), in [0, 1]
    """
    _, noise = noises(picture, possible_changes(picture, luminance), seed)
    return as_strong(picture, noise, rms)


def possible_changes(source: Tensor, luminance: bool) -> Precondition:
    """Return which changes of the pixels are possible, or preferred, as a map of any change."""
    return _all_channels_alike if luminance else in_colours_of(source)


def _all_channels_alike(gradient: Tensor) -> Tensor:
    return gradient.mean(dim=1, keepdim=True).expand_as(gradient).contiguous()


def noises(source: Tensor, metric: Precondition, seed: int) -> tuple[Tensor, Tensor]:
    """Return two noises like an image, of root mean square 1, in the colours that may change.

    The one to begin with, and another one, to compare the result with.
    """
    white = torch.randn((2, *source.shape[1:]), generator=runtime.generator(seed)).to(source)
    first, second = metric(white).split(1)
    return first / first.square().mean().sqrt(), second / second.square().mean().sqrt()


def begin_faintly(
    source: Tensor, noise: Tensor, held: View, tolerance: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Return an image to begin with, and how willingly its pixels should change.

    Parameters
    ----------
    source : Tensor, shape (1, 3, height, width)
    noise : Tensor, like `source`
        Of root mean square 1.
    held : View
        The source in the view of the model to be held.
    tolerance : float
        The largest distance of a held layer.
    seed : int

    Returns
    -------
    Tensor, like `source`
        The source with noise so faint that the squares of its distances, summed over layers, are
        at most a hundredth of that of the tolerance. At the source itself distances to no model
        have a slope to follow.
    Tensor, shape (1, 1, height, width)
        The inverse of the curvature of these squares, up to a factor; at most 1.
    """

    def cost(noisy: Tensor) -> float:
        return float(held.distances(noisy).square().sum()) / tolerance**2

    strengths = _strengths(source, noise, held, tolerance, seed)
    start = _strongest(source, strengths * noise, cost, START_SHARE, most=1.0)
    return start, (strengths / START).square()


def _strengths(source: Tensor, noise: Tensor, held: View, tolerance: float, seed: int) -> Tensor:
    """Return how strong noise may be at each pixel, (1, 1, height, width), at most START.

    No pixel should cost the hold more than its share, to first order. Responses relative to the
    local contrast, as HMAX's, jump where an image is black at the faintest noise; the fainter it
    is the steeper are their slopes, so that some passes end with none at all.
    """
    random = runtime.generator(seed)
    share = START_SHARE * tolerance**2 / source[0, 0].numel()
    strengths = torch.full_like(source[:, :1], START)
    for _ in range(PASSES):
        slopes = held.slopes((source + strengths * noise).clamp(0, 1), random)
        least = torch.finfo(slopes.dtype).tiny
        strengths = torch.minimum(strengths, (share / slopes.clamp(min=least)).sqrt())
    return strengths


def as_strong(source: Tensor, noise: Tensor, rms: float) -> Tensor:
    """Return the image with noise, after clipping of a root mean square."""
    return _strongest(source, noise, lambda noisy: root_mean_square(noisy, source)[0], rms)


def as_far(source: Tensor, noise: Tensor, held: View, image: Tensor) -> Tensor:
    """Return the image with noise as far away to a model, on the mean of its layers, as another."""

    def distance(noisy: Tensor) -> float:
        return float(held.distances(noisy).mean())

    return _strongest(source, noise, distance, distance(image))


def _strongest(
    source: Tensor,
    noise: Tensor,
    measure: Callable[[Tensor], float],
    wanted: float,
    most: float = MOST_NOISE,
) -> Tensor:
    """Return the image with the strongest noise of which a measure is at most what is wanted.

    By bisection of the amplitude, with which the measure should grow.
    """

    def noisy(amplitude: float) -> Tensor:
        return (source + amplitude * noise).clamp(0, 1)

    if measure(noisy(most)) <= wanted:
        return noisy(most)
    low, high = 0.0, most
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if measure(noisy(middle)) <= wanted else (low, middle)
    return noisy(low)


def root_mean_square(images: Tensor, source: Tensor) -> list[float]:
    """Return the root mean square difference of each image from the source in pixels."""
    found: list[float] = (images - source).square().flatten(1).mean(dim=1).sqrt().tolist()
    return found
