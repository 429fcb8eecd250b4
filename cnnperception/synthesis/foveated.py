"""Metamers of peripheral vision: statistics pooled in regions that grow with eccentricity."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, Unpack

import torch
from torch import Tensor

from ..models.interface import VisionModel, resolve_layers
from . import setup
from .objective import Objective, PixelTerm, Term, in_colours_of, out_of_range
from .pooled_statistics import pooled_terms
from .pooling_windows import PoolingWindows, log_polar_windows
from .position_statistics import PositionMeasure
from .pyramid import Level
from .result import SynthesisResult, warn_of_distances
from .run import Running, synthesize
from .solver import Precondition
from .texture import noise_like
from .tiling import responses

FOVEA = 1 / 16  # of the image's shorter side: the radius that is kept
STATISTICS = ("gram", "whitened-gram")


def foveated_metamer(
    image: Tensor,
    *,
    model: VisionModel | None = None,
    layers: str | Iterable[str] | None = None,
    fixation: tuple[float, float] | None = None,
    scaling: float = 0.5,
    fovea: float | None = None,
    statistic: str = "gram",
    start: Tensor | None = None,
    seed: int = 0,
    evaluations: int = 400,
    **running: Unpack[Running],
) -> SynthesisResult:
    """Scramble an image the more, the farther it is from where an observer should look.

    Noise is changed until the statistics of a model's layers equal the image's in every one of
    many smooth overlapping regions, whose width grows in proportion to their distance from the
    fixation. The fovea keeps the image's pixels.

    Parameters
    ----------
    image : Tensor, shape (3, height, width) or (1, 3, height, width)
        RGB in [0, 1].
    model : VisionModel, optional
        The embedded random filters when left out.
    layers : str or iterable of str, optional
        Names, groups or patterns; when left out those that the model recommends for texture and
        that see no more than half the image. They need positions, which are taken to be spread
        evenly over the image.
    fixation : (float, float), optional
        (y, x) in pixels from the top left corner; the middle when left out.
    scaling : float
        Radial width of a region at half height / its eccentricity. 0.5 is about where the
        metamers of Freeman & Simoncelli, made of other statistics, stopped being told apart.
    fovea : float, optional
        Radius in pixels of what is kept; a sixteenth of the shorter side when left out.
    statistic : {"gram", "whitened-gram"}
        Of each region. See `texture`.
    start : Tensor, optional
        An image to begin with, like `image`, in place of noise.
    seed : int
        Of the noise.
    evaluations : int
        Of the model.
    **running
        As for `texture`; but images are never seen in tiles.

    Returns
    -------
    SynthesisResult
        `provenance["distances"]` holds for each layer the distance of the result's statistics
        from the image's, the root of the mean over regions by their area of its square relative
        to the region's statistics ("to_statistics"), and relative to that of the noise or image
        it began with ("to_start"). `provenance["regions"]` tells the number of rings and of
        regions in a ring, and the eccentricities of the rings in pixels.

    Raises
    ------
    ValueError
        For a fixation outside of the image, a scaling that is not positive, a fovea that leaves
        no periphery, unknown layers, layers without positions, or other statistics.
    FloatingPointError
        For images or features that are not finite.

    References
    ----------
    Freeman & Simoncelli (2011), Nature Neuroscience 14, 1195-1201. Wallis, Funke, Ecker, Gatys,
    Wichmann & Bethge (2019), eLife 8, e42512, with features of a network.

    Examples
    --------
    >>> import cnnperception as cp
    >>> result = cp.foveated_metamer(cp.exemplar("coins", size=96), evaluations=20)
    >>> tuple(result.image.shape)
    (3, 96, 96)
    """
    model = setup.default_model(model)
    source = setup.prepare(image, model, "image")
    size = setup.size_of(None, source)
    fixation = (size[0] / 2, size[1] / 2) if fixation is None else fixation
    fovea = FOVEA * min(size) if fovea is None else fovea
    _check_regions(size, fixation, scaling, fovea)
    chosen = resolve_layers(model, setup.recommended(model, "texture", layers))
    if layers is None:
        chosen = setup.layers_that_fit(model, chosen, source)
    measure = _measure(statistic)
    windows = log_polar_windows(size, fixation, scaling=scaling, fovea=fovea)
    terms = pooled_terms(model, chosen, measure, source, windows)
    limits = [PixelTerm("range", out_of_range, weight=10.0)]
    keep = _outside(windows.fovea.to(source), in_colours_of(source))
    objective = Objective(model, terms, limits, precondition=keep)
    given = None if start is None else setup.prepare(start, model, "start")
    begun = _begin(source, given, windows.fovea.to(source), seed)

    provenance = setup.provenance(
        "foveated_metamer",
        model,
        {"image": source} if given is None else {"image": source, "start": given},
        layers=list(chosen),
        fixation=list(fixation),
        scaling=scaling,
        fovea=fovea,
        statistic=statistic,
        regions=_described(windows),
        size=list(size),
        seed=seed,
        schedule=[[*size, evaluations]],
    )
    # At full size alone: in a reduced image regions have few positions, and their statistics
    # would tell more of the arrangement than those of the image itself.
    result = synthesize(
        lambda index: objective, [Level(size, evaluations)], begun, provenance, **running
    )
    distances = _distances(model, terms, begun.clamp(0, 1), result.images)
    if result.finished:
        warn_of_distances(model, "pooled statistics", distances)
    return dataclasses.replace(result, provenance={**result.provenance, "distances": distances})


def _check_regions(
    size: tuple[int, int], fixation: tuple[float, float], scaling: float, fovea: float
) -> None:
    (height, width), (y, x) = size, fixation
    if not (0 <= y <= height and 0 <= x <= width):
        raise ValueError(
            f"the fixation (y, x) = ({y:g}, {x:g}) is outside of the image, whose height is "
            f"{height} and width {width} pixels"
        )
    if not (scaling > 0 and math.isfinite(scaling)):
        raise ValueError(
            f"scaling, the width of a region / its eccentricity, must be above 0; got {scaling}"
        )
    farthest = math.hypot(max(y, height - y), max(x, width - x))
    if not 0 < fovea < farthest:
        raise ValueError(
            f"fovea must be a radius above 0 and below {farthest:.0f} pixels, the distance of the "
            f"farthest corner, so that a periphery is left; got {fovea:g}"
        )


def _measure(statistic: str) -> PositionMeasure:
    measure = setup.measure(statistic)
    if statistic not in STATISTICS or not isinstance(measure, PositionMeasure):
        raise ValueError(f"regions have the statistics {', '.join(STATISTICS)}; got {statistic!r}")
    return measure


def _outside(fovea: Tensor, metric: Precondition) -> Precondition:
    """Prefer changes where the fovea is not: none at all where it is 1."""
    return lambda gradient: (1 - fovea) * metric(gradient)


def _begin(source: Tensor, given: Tensor | None, fovea: Tensor, seed: int) -> Tensor:
    size = setup.size_of(None, source)
    if given is not None and given.shape != source.shape:
        raise ValueError(
            f"the start must be as large as the image, {size[0]} x {size[1]} pixels; got "
            f"{given.shape[-2]} x {given.shape[-1]}"
        )
    periphery = noise_like(source, size, seed) if given is None else given
    return fovea * source + (1 - fovea) * periphery


def _described(windows: PoolingWindows) -> dict[str, Any]:
    return {
        "rings": len(windows.rings),
        "in_each_ring": len(windows.wedges),
        "eccentricities": [round(float(e), 3) for e in windows.eccentricities],
    }


@torch.no_grad()
def _distances(
    model: VisionModel, terms: list[Term], start: Tensor, result: Tensor
) -> dict[str, dict[str, float]]:
    """Return how far the statistics of the result are from the source's, relative to two scales."""
    layers = [term.layer for term in terms]
    begun, made = (responses(model, images, layers) for images in (start, result))
    distances = {}
    for term in terms:
        missed = float(term.loss(made[term.layer])) ** 0.5
        scale = float(term.loss(begun[term.layer])) ** 0.5
        distances[term.layer] = {
            "to_statistics": missed,
            # Nothing missed is 0, also where the start was the image itself.
            "to_start": missed / scale if missed else 0.0,
        }
    return distances
