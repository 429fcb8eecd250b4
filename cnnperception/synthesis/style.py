"""Style transfer: the scene of one image in the style of another (Gatys, Ecker & Bethge 2016)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Unpack

import torch
from torch import Tensor

from .. import images as image_files
from ..models.interface import VisionModel, resolve_layers
from . import colour as colours
from . import guidance, setup
from .objective import Objective, PixelTerm, Term, match, out_of_range, total_variation, unchanged
from .pyramid import Level, coarse_to_fine
from .run import Running, SynthesisResult, synthesize
from .texture import noise_like

COLOURS = ("style", "luminance", "affine")


def stylize(
    content: Tensor,
    style: Tensor | Sequence[Tensor],
    *,
    model: VisionModel | None = None,
    content_layers: str | Iterable[str] | None = None,
    style_layers: str | Iterable[str] | Sequence[Sequence[str]] | None = None,
    content_weight: float = 0.05,
    style_weights: Sequence[float] | None = None,
    style_scale: float = 1.0,
    statistic: str = "whitened-gram",
    colour: str = "style",
    masks: tuple[Tensor, Tensor] | None = None,
    smoothness: float = 0.0,
    size: int | tuple[int, int] | None = None,
    start: str | Tensor = "content",
    seed: int = 0,
    evaluations: int = 300,
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
    model : VisionModel, optional
        The embedded random filters when left out.
    content_layers, style_layers : str or iterable of str, optional
        Names, groups or patterns; the model's recommended layers when left out. For several
        styles `style_layers` may be a sequence of sequences, one for each: fine layers of one
        and coarse ones of another mix their scales.
    content_weight : float
        Of the content's relative error against 1 for the style's: more keeps more of the scene.
    style_weights : sequence of float, optional
        Of several styles, relative to each other; alike when left out.
    style_scale : float
        Size of the painting, and so of its strokes, relative to covering the area of the result.
    statistic : str
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
    start : {"content", "noise"} or Tensor like `content`
        The image to begin with.
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
        For empty or unknown layers, weights below zero or wrong in number, masks whose regions do
        not pair, or an unknown start or colour.
    FloatingPointError
        For images or statistics that are not finite.

    Examples
    --------
    >>> import cnnperception as cp
    >>> content, style = cp.exemplar("chelsea", size=96), cp.exemplar("retina", size=96)
    >>> cp.stylize(content, style, evaluations=5).finished
    True
    """
    if isinstance(start, str) and start not in ("content", "noise"):
        raise ValueError(f"start must be 'content', 'noise' or an image; got {start!r}")
    if colour not in COLOURS:
        raise ValueError(f"colour must be one of {', '.join(COLOURS)}; got {colour!r}")
    if content_weight < 0 or style_scale <= 0 or smoothness < 0:
        raise ValueError(
            "content_weight and smoothness must not be negative, and style_scale must be positive"
        )
    model = setup.default_model(model)
    scene = setup.prepare(content, model, "content image")
    paintings = setup.several(style, model, "style image")
    shares = setup.shares(style_weights, len(paintings), "styles")
    if masks is not None and len(paintings) > 1:
        raise ValueError("masks go with one style")
    scene_layers = resolve_layers(model, setup.recommended(model, "content", content_layers))
    paint_layers = _style_layers(model, style_layers, len(paintings))
    if size is not None:
        scene = image_files.resize(scene, size)
    height, width = setup.size_of(None, scene)
    given = None if isinstance(start, str) else setup.prepare(start, model, "start")
    measure = setup.measure(statistic)
    levels = tuple(schedule or coarse_to_fine((height, width), evaluations))
    wanted, drawings = _coloured(colour, scene, paintings)

    def drawn(number: int, level: Level) -> Tensor:
        painting = drawings[number]
        area = painting.shape[-2] * painting.shape[-1]
        cover = style_scale * (height * width / area) ** 0.5
        scale = cover * level.size[0] / height
        return image_files.resize(painting, setup.scaled(painting, scale))

    def objective_at(index: int) -> Objective:
        level = levels[index]
        pictures = [drawn(number, level) for number in range(len(drawings))]
        fitting = [
            setup.layers_that_fit(model, layers, picture)
            for layers, picture in zip(paint_layers, pictures, strict=True)
        ]
        layers = [*(layer for some in fitting for layer in some)]
        layers += scene_layers if content_weight else ()
        tiles = setup.tiles(model, layers, level.size, max(pictures, key=torch.numel), running)
        terms: list[Term] = []
        for number, (picture, some) in enumerate(zip(pictures, fitting, strict=True)):
            kind = "style" if len(pictures) == 1 else f"style{number + 1}"
            if masks is None:
                share = shares[number]
                terms += match(kind, model, some, measure, picture, weight=share, tiles=tiles)
            else:
                here = guidance.resized(masks[0], level.size)
                there = guidance.resized(masks[1], setup.size_of(None, picture))
                terms += guidance.match_regions(kind, model, some, measure, picture, there, here)
        if content_weight:
            seen = image_files.resize(wanted, level.size)
            keep = match("content", model, scene_layers, unchanged, seen, tiles=tiles)
            terms += [dataclasses.replace(t, weight=content_weight * t.weight) for t in keep]
        limits = [PixelTerm("range", out_of_range, weight=10.0)]
        if smoothness:
            limits.append(PixelTerm("smoothness", total_variation, smoothness))
        return Objective(model, terms, limits, tiles=tiles)

    provenance = setup.provenance(
        "style",
        model,
        {"content": scene, **setup.named("style", paintings)}
        | ({} if given is None else {"start": given}),
        content_layers=list(scene_layers),
        style_layers=[list(layers) for layers in paint_layers],
        content_weight=content_weight,
        style_weights=shares,
        style_scale=style_scale,
        statistic=statistic,
        colour=colour,
        masks=None if masks is None else [setup.digest(mask) for mask in masks],
        smoothness=smoothness,
        size=[height, width],
        start=start if isinstance(start, str) else "image",
        seed=seed,
        schedule=[[*level.size, level.evaluations] for level in levels],
    )
    first = levels[0].size
    if given is not None:
        begin = image_files.resize(given, first)
    elif start == "noise":
        begin = noise_like(drawings[0], first, seed)
    else:
        begin = image_files.resize(wanted, first)
    result = synthesize(objective_at, levels, begin, provenance, **running)
    if colour == "luminance":
        brightness = colours.luminance(result.images)
        images = colours.with_luminance(scene.expand_as(result.images), brightness)
        result = dataclasses.replace(result, images=images)
    return result


def _style_layers(
    model: VisionModel, layers: str | Iterable[str] | Sequence[Sequence[str]] | None, styles: int
) -> list[tuple[str, ...]]:
    """Return the layers of each style."""
    listed = layers if layers is None or isinstance(layers, str) else list(layers)
    if isinstance(listed, list) and listed and not isinstance(listed[0], str):
        if len(listed) != styles:
            raise ValueError(f"there are {len(listed)} sets of style layers for {styles} styles")
        return [resolve_layers(model, list(some)) for some in listed]
    named: str | list[str] | None = listed  # type: ignore[assignment]
    return [resolve_layers(model, setup.recommended(model, "style", named))] * styles


def _coloured(
    colour: str, scene: Tensor, paintings: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Return the scene and the paintings in the colours that are to be worked in."""
    if colour == "luminance":
        return colours.grey(scene), [colours.match_luminance(p, scene) for p in paintings]
    if colour == "affine":
        return scene, [colours.match_colours(p, scene) for p in paintings]
    return scene, list(paintings)
