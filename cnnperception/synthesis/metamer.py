"""Model metamers: other images to which a model's layers respond alike (Feather et al. 2019)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Unpack

import torch
from torch import Tensor

from .. import images as image_files
from ..models.interface import VisionModel, resolve_layers
from . import setup
from .objective import Objective, PixelTerm, centred, in_colours_of, match, out_of_range
from .pyramid import Level, coarse_to_fine
from .result import SynthesisResult, warn_of_distances
from .run import Running, synthesize
from .texture import noise_like
from .tiling import responses

# Maxima and rectification have many local minima: features that jump into the wrong place or
# polarity. Small steps in size, from a size at which there are few, avoid most of them.
COARSEST = 32
FACTOR = 2**0.25


def metamer(
    image: Tensor,
    model: VisionModel,
    layers: str | Iterable[str],
    *,
    size: int | tuple[int, int] | None = None,
    start: Tensor | None = None,
    seed: int = 0,
    evaluations: int = 800,
    coarsest: int = COARSEST,
    schedule: Iterable[Level] | None = None,
    **running: Unpack[Running],
) -> SynthesisResult:
    """Make an image to which layers of a model respond as they do to another one.

    Noise is changed until the features themselves, unit by unit, equal the image's. What the
    result keeps of the image is what the layers tell about it; what looks different is what
    they cannot see.

    The loss of a layer is the share of its variance over units that is not met, so that layers
    of any width and scale count alike.

    Parameters
    ----------
    image : Tensor, shape (3, height, width) or (1, 3, height, width)
        RGB in [0, 1].
    model : VisionModel
    layers : str or iterable of str
        Names, groups or patterns. Features of several layers are matched together.
    size : int or (int, int), optional
        Longer side, or height and width, to resize the image to; its own when left out.
    start : Tensor, optional
        An image to begin with, like `image`, in place of noise; the search then stays at full
        size.
    seed : int
        Of the noise.
    evaluations : int
        Of the model, over all levels.
    coarsest : int
        Shorter side, in pixels, from which sizes grow to the image's; that of the image or more
        stays at full size. Growing helps where there are many local minima, as in C1 of HMAX, and
        harms where a reduced image is no guide, as for a digit in UC2 of the neocognitron: where
        much is left, try both.
    schedule : iterable of Level, optional
        In place of levels from `coarsest` on. Each level matches the features of the image
        reduced to its size, in the layers that respond at that size; those without positions,
        such as C2 of HMAX, at full size alone.
    **running
        As for `texture`.

    Returns
    -------
    SynthesisResult
        `provenance["distances"]` holds for each layer the Euclidean distance of the result's
        features from the image's, relative to the length of these ("to_features") and relative
        to that of the noise or image it began with ("to_start").

    Raises
    ------
    ValueError
        For unknown layers, an image too small for a layer, or a layer that does not respond.
    FloatingPointError
        For images or features that are not finite.

    References
    ----------
    Feather, Durango, Gonzalez & McDermott (2019), NeurIPS 32. Mahendran & Vedaldi (2015), CVPR.

    Examples
    --------
    >>> import cnnperception as cp
    >>> model = cp.load_model("hmax")
    >>> result = cp.metamer(cp.exemplar("coins", size=64), model, "c1/band1", evaluations=40)
    >>> result.provenance["distances"]["c1/band1"]["to_start"] < 0.5
    True
    """
    if coarsest < 1:
        raise ValueError(f"coarsest must be a positive number of pixels; got {coarsest}")
    source = setup.prepare(image, model, "image")
    if size is not None:
        source = image_files.resize(source, size)
    height, width = setup.size_of(None, source)
    chosen = resolve_layers(model, layers if isinstance(layers, str) else list(layers))
    given = None if start is None else setup.prepare(start, model, "start")
    if schedule is not None:
        levels = tuple(schedule)
        if not levels:
            raise ValueError("the schedule has no level")
    elif given is not None:
        levels = (Level((height, width), evaluations),)
    else:
        levels = _levels_that_respond(source, model, chosen, evaluations, coarsest)

    def objective(level: Level) -> Objective:
        resized = image_files.resize(source, level.size)
        coarse = level.size != (height, width)
        responding = _located(model, chosen, resized) if coarse else chosen
        if not responding:
            raise ValueError(
                f"at {level.size[0]} x {level.size[1]} pixels none of the layers "
                f"{', '.join(chosen)} of {model.name} has positions and responds: leave that level "
                "out of the schedule"
            )
        terms = match("metamer", model, responding, centred, resized)
        limits = [PixelTerm("range", out_of_range, weight=10.0)]
        return Objective(model, terms, limits, precondition=in_colours_of(source))

    def begin(size: tuple[int, int]) -> Tensor:
        if given is None:
            return noise_like(source, size, seed)
        return image_files.resize(given, size)

    # The finest first: its faults are those of the image.
    objectives = [objective(level) for level in reversed(levels)][::-1]
    provenance = setup.provenance(
        "metamer",
        model,
        {"image": source} if given is None else {"image": source, "start": given},
        layers=list(chosen),
        size=[height, width],
        seed=seed,
        schedule=[[*level.size, level.evaluations] for level in levels],
    )
    result = synthesize(
        objectives.__getitem__,
        levels,
        begin(levels[0].size),
        provenance,
        **running,
    )
    first = begin((height, width)).clamp(0, 1)
    distances = _distances(model, chosen, source, first, result.images)
    if result.finished:
        warn_of_distances(model, "features", distances)
    return dataclasses.replace(result, provenance={**result.provenance, "distances": distances})


def _levels_that_respond(
    source: Tensor, model: VisionModel, layers: Sequence[str], evaluations: int, coarsest: int
) -> tuple[Level, ...]:
    """Return a schedule from the coarsest size on at which a layer can lead."""
    size = setup.size_of(None, source)
    levels = coarse_to_fine(size, evaluations, smallest=coarsest, factor=FACTOR)
    while len(levels) > 1:
        first = levels[0].size
        if _located(model, layers, image_files.resize(source, first)):
            break
        levels = coarse_to_fine(size, evaluations, smallest=min(first) + 1, factor=FACTOR)
    return levels


def _located(model: VisionModel, layers: Sequence[str], image: Tensor) -> tuple[str, ...]:
    """Return the layers that can lead at a coarse size: they have positions, and respond.

    A layer that pools over the whole of an image leaves open where things are, but less so at a
    small size, which has few places: there it would dictate an arrangement.
    """

    def leads(layer: str) -> bool:
        try:
            (term,) = match("metamer", model, [layer], centred, image)
        except (ValueError, RuntimeError):  # the one of our models, the other of torch
            return False
        return term.target.ndim == 4

    return tuple(layer for layer in layers if leads(layer))


@torch.no_grad()
def _distances(
    model: VisionModel, layers: Sequence[str], source: Tensor, start: Tensor, result: Tensor
) -> dict[str, dict[str, float]]:
    """Return how far the features of the result are from the source's, relative to two scales."""
    wanted, begun, made = (responses(model, images, layers) for images in (source, start, result))
    distances = {}
    for layer in layers:
        missed = float((made[layer] - wanted[layer]).norm())
        scales = {
            "to_features": wanted[layer].norm(),
            "to_start": (begun[layer] - wanted[layer]).norm(),
        }
        distances[layer] = {
            # Nothing missed is 0, also where the start was the image itself.
            name: missed / float(scale) if missed else 0.0
            for name, scale in scales.items()
        }
    return distances
