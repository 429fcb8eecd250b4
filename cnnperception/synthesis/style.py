"""Style transfer: the scene of one image in the style of another (Gatys, Ecker & Bethge 2016)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from .. import images as image_files
from ..models.interface import VisionModel, resolve_layers
from . import colour as colours
from . import guidance, setup
from .approach import BALANCED, held, is_on_the_way
from .objective import Objective, PixelTerm, Term, match, total_variation, unchanged
from .overrides import record, settled, suited
from .presets import DEFAULT
from .procedure import Procedure, layers_of
from .published import Loss
from .pyramid import Level, halvings
from .result import SynthesisResult
from .run import Running, synthesize
from .texture import noise_like

COLOURS = ("style", "luminance", "affine")


def stylize(
    content: Tensor,
    style: Tensor | Sequence[Tensor],
    *,
    preset: str | Procedure = DEFAULT,
    model: VisionModel | None = None,
    content_layers: str | Iterable[str] | None = None,
    style_layers: str | Iterable[str] | Sequence[Sequence[str]] | None = None,
    content_weight: float | None = None,
    style_weights: Sequence[float] | None = None,
    style_scale: float = 1.0,
    statistic: str | None = None,
    colour: str = "style",
    masks: tuple[Tensor, Tensor] | None = None,
    smoothness: float = 0.0,
    size: int | tuple[int, int] | None = None,
    composed_at: int | None = None,
    start: str | Tensor | None = None,
    seed: int = 0,
    evaluations: int | None = None,
    schedule: Iterable[Level] | None = None,
    **running: Unpack[Running],
) -> SynthesisResult:
    """Redraw a photograph in the style of a painting.

    The image keeps the content layers' features of the photograph and takes the Gram matrices
    of the painting's style layers.

    Parameters
    ----------
    content : Tensor, shape (3, height, width) or (1, 3, height, width)
        RGB in [0, 1].
    style : Tensor like `content`, or several
        Of any size. The result has something of each of several.
    preset : str or Procedure
        Where what is left out below comes from: "default" is the engine's own; "gatys2016" and
        "gatys2017-hr" are papers to the letter; "gatys2016-fast" has the loss of the first, which
        it reaches by the engine's search. What is given in place of a preset's is in
        `provenance["preset"]["differences"]`.
    model : VisionModel, optional
        The preset's when left out; of "default", the embedded random filters.
    content_layers, style_layers : str or iterable of str, optional
        Names, groups or patterns. Of "default", the model's recommended layers. For several
        styles `style_layers` may be a sequence of sequences, one for each: fine layers of one
        and coarse ones of another mix their scales.
    content_weight : float, optional
        More keeps more of the scene. Of "default", 0.05: of the content's relative error against
        1 for the style's.
    style_weights : sequence of float, optional
        Of several styles, relative to each other; alike when left out.
    style_scale : float
        Size of the painting, and so of its strokes, relative to covering the area of the result.
    statistic : str, optional
        How styles are compared; see `texture`.
    colour : {"style", "luminance", "affine"}
        The painting's colours; the photograph's, the style being transferred to luminance alone;
        or the photograph's, given to the painting beforehand by an affine map (Gatys et al. 2017).
    masks : (Tensor, Tensor), optional
        Regions of the photograph and of the painting, integers (height, width) as
        `guidance.read_labels` reads them: each region takes the style of the region of the same
        number. Pixels of negative numbers take none. For one style.
    smoothness : float
        Weight of the total variation.
    size : int or (int, int), optional
        Longer side, or height and width, of the result; the photograph's when left out.
    composed_at : int, optional
        Shorter side, in pixels, of the size whose look larger results have: the scene is compared
        there and nowhere finer, the style at all sizes from there on. Less is more of a painting,
        more is more of a photograph. When left out, six times what the model's recommended
        content layers see, as in the paper; of a published preset, the size of the result.
    start : {"content", "noise"} or Tensor like `content`, optional
        The image to begin with; "content" of every preset.
    seed : int
        Of the noise.
    evaluations, schedule, **running
        As for `texture`.

    Returns
    -------
    SynthesisResult

    Raises
    ------
    ValueError
        For an unknown preset, empty or unknown layers, weights below zero or wrong in number,
        masks whose regions do not pair, an unknown start or colour, or no size to compose at.
    OSError
        When the weights of a preset's network are not there and cannot be downloaded.
    FloatingPointError
        For images or statistics that are not finite.

    Examples
    --------
    >>> import cnnperception as cp
    >>> content, style = cp.exemplar("chelsea", size=96), cp.exemplar("retina", size=96)
    >>> cp.stylize(content, style, evaluations=5).finished
    True
    """
    settings = settled(
        "style",
        preset,
        content_layers=_listed(content_layers),
        style_layers=_listed(style_layers),
        content_weight=content_weight,
        statistic=statistic,
        start=start if isinstance(start, str) else None,
        evaluations=evaluations,
    )
    _check(settings, colour, style_scale, smoothness, composed_at)
    model, settings = suited(settings, model)
    scene = setup.prepare(content, model, "content image")
    paintings = setup.several(style, model, "style image")
    shares = setup.shares(style_weights, len(paintings), "styles")
    if masks is not None and len(paintings) > 1:
        raise ValueError("masks go with one style")
    scene_layers = layers_of(settings.content_layers, content_layers is not None, model, "content")
    paint_layers = _style_layers(model, settings, style_layers is not None, len(paintings))
    if size is not None:
        scene = image_files.resize(scene, size)
    stages = None if schedule is None else tuple(schedule)
    if stages and size is None:
        scene = image_files.resize(scene, stages[-1].size)
    height, width = setup.final_size(setup.size_of(None, scene), stages, scene)
    settings.check((height, width), 1)
    given = setup.prepare(start, model, "start") if isinstance(start, Tensor) else None
    way = dataclasses.replace(
        settings,
        statistic=BALANCED.get(settings.statistic, settings.statistic),
        fitting_layers=True,
    )
    levels = stages or settings.levels((height, width))
    covers = [style_scale * settings.cover(one, (height, width)) for one in paintings]
    wanted, drawings = _coloured(colour, scene, paintings, covers)
    composed, usual = composed_at, "the size of the result"
    if not (settings.published or settings.approached):
        composed = composed_at or setup.composition(model, scene_layers)
        usual = "what suits the model"

    def drawn(number: int, size: tuple[int, int]) -> Tensor:
        painting = drawings[number]
        cover = style_scale * settings.cover(painting, (height, width))
        scale = cover * size[0] / height
        return image_files.resize(painting, setup.scaled(painting, scale))

    def objective_at(index: int) -> Objective:
        sizes = halvings(levels[index].size, composed or min(levels[index].size))
        finest, *coarser = (
            asked(index, size, size == sizes[-1], size == sizes[0]) for size in sizes
        )
        return dataclasses.replace(finest, coarser=tuple(zip(sizes[1:], coarser, strict=True)))

    def asked(index: int, size: tuple[int, int], composes: bool, finest: bool) -> Objective:
        chosen = way if settings.approached and is_on_the_way(levels, index) else settings
        measure = setup.measure(chosen.statistic)
        kept = scene_layers if composes and settings.content_weight else ()
        pictures = [drawn(number, size) for number in range(len(drawings))]
        fitting = [
            chosen.fitting(model, layers, picture)
            for layers, picture in zip(paint_layers, pictures, strict=True)
        ]
        layers = [*(layer for some in fitting for layer in some), *kept]
        tiles = setup.tiles(model, layers, size, max(pictures, key=torch.numel), running)
        terms: list[Term] = []
        for number, (picture, some) in enumerate(zip(pictures, fitting, strict=True)):
            kind = "style" if len(pictures) == 1 else f"style{number + 1}"
            share = shares[number]
            if not share:
                continue
            if masks is None:
                found = match(kind, model, some, measure, picture, weight=share, tiles=tiles)
            else:
                here, there = masks
                every = finest and index == len(levels) - 1
                found = guidance.match_regions(
                    kind, model, some, measure, picture, there, here, size, every=every
                )
            terms += settings.loss.weighed(found)
        if kept:
            seen = image_files.resize(wanted, size)
            keep = match("content", model, kept, unchanged, seen, tiles=tiles)
            keep = Loss(settings.content_divisor, settings.content_weight).weighed(keep)
            terms += held(keep, terms, levels, index) if settings.approached else keep
        limits = settings.limits(pictures[0]) if finest else []
        if smoothness and finest:
            limits.append(PixelTerm("smoothness", total_variation, smoothness))
        bounds = settings.pixel_bounds(pictures[0])
        even = setup.evenly(model, size)
        return Objective(model, terms, limits, tiles=tiles, precondition=even, bounds=bounds)

    provenance = setup.provenance(
        "style",
        model,
        {"content": scene, **setup.named("style", paintings)}
        | ({} if given is None else {"start": given}),
        preset=record(
            settings.with_layers(content_layers=scene_layers, style_layers=paint_layers[0]),
            model,
            (height, width),
            blended=(len(paintings), 1),
            style_scale=(style_scale, 1.0),
            colour=(colour, "style"),
            masks=(masks is not None, False),
            smoothness=(smoothness, 0.0),
            composed_at=(composed_at or usual, usual),
            start_image=(given is not None, False),
            schedule=(schedule is not None, False),
        ),
        content_layers=list(scene_layers),
        style_layers=[list(layers) for layers in paint_layers],
        content_weight=settings.content_weight,
        style_weights=shares,
        style_scale=style_scale,
        statistic=settings.statistic,
        colour=colour,
        masks=None if masks is None else [setup.digest(mask) for mask in masks],
        smoothness=smoothness,
        size=[height, width],
        composed_at=composed,
        start=settings.start if given is None else "image",
        seed=seed,
        schedule=[[*level.size, level.evaluations] for level in levels],
    )
    first = levels[0].size
    if given is not None:
        begin = image_files.resize(given, first)
    elif settings.start == "content":
        begin = image_files.resize(wanted, first)
    elif settings.noise is None:
        begin = noise_like(drawings[0], first, seed)
    else:
        begin = settings.noise.draw(drawings[0], first, seed)
    result = synthesize(
        objective_at,
        levels,
        begin,
        provenance,
        optimiser=settings.optimiser,
        **settings.running(running),
    )
    if colour == "luminance":
        brightness = colours.luminance(result.images)
        images = colours.with_luminance(scene.expand_as(result.images), brightness)
        result = dataclasses.replace(result, images=images)
    return result


def _listed(layers: Any) -> Any:
    """Return layers that can be gone through more than once."""
    return layers if layers is None or isinstance(layers, str) else list(layers)


def _check(
    settings: Procedure,
    colour: str,
    style_scale: float,
    smoothness: float,
    composed_at: int | None,
) -> None:
    setup.measure(settings.statistic)  # raises
    if settings.start not in ("content", "noise"):
        raise ValueError(f"start must be 'content', 'noise' or an image; got {settings.start!r}")
    if colour not in COLOURS:
        raise ValueError(f"colour must be one of {', '.join(COLOURS)}; got {colour!r}")
    if settings.content_weight < 0 or style_scale <= 0 or smoothness < 0:
        raise ValueError(
            "content_weight and smoothness must not be negative, and style_scale must be positive"
        )
    if composed_at is not None and composed_at < 1:
        raise ValueError(f"composed_at must be a positive number of pixels; got {composed_at}")


def _style_layers(
    model: VisionModel, settings: Procedure, given: bool, styles: int
) -> list[tuple[str, ...]]:
    """Return the layers of each style."""
    layers: Any = settings.style_layers
    if given and not isinstance(layers, str) and layers and not isinstance(layers[0], str):
        if len(layers) != styles:
            raise ValueError(f"there are {len(layers)} sets of style layers for {styles} styles")
        return [resolve_layers(model, list(some)) for some in layers]
    return [layers_of(layers, given, model, "style")] * styles


def _coloured(
    colour: str, scene: Tensor, paintings: Sequence[Tensor], scales: Sequence[float]
) -> tuple[Tensor, list[Tensor]]:
    """Return the scene and the paintings in the colours that are to be worked in.

    Where they are changed, the paintings come in the scales in which they are used: the variance
    of their colours is less at a smaller size.
    """
    if colour == "style":
        return scene, list(paintings)
    change = colours.match_luminance if colour == "luminance" else colours.match_colours
    changed = []
    for painting, scale in zip(paintings, scales, strict=True):
        used = image_files.resize(painting, setup.scaled(painting, scale))
        # No picture can have other colours, and those of smaller sizes would be cut off as well.
        changed.append(change(used, scene).clamp(0, 1))
    return (colours.grey(scene) if colour == "luminance" else scene), changed
