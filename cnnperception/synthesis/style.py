"""Style transfer: the scene of one image in the style of another (Gatys, Ecker & Bethge 2016)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from torch import Tensor

from .. import images as image_files
from ..models.interface import VisionModel, resolve_layers
from . import setup
from .objective import Objective, PixelTerm, match, out_of_range, unchanged
from .pyramid import Level, coarse_to_fine
from .run import Running, SynthesisResult, synthesize
from .texture import noise_like


def stylize(
    content: Tensor,
    style: Tensor,
    *,
    model: VisionModel | None = None,
    content_layers: str | Iterable[str] | None = None,
    style_layers: str | Iterable[str] | None = None,
    content_weight: float = 0.05,
    style_scale: float = 1.0,
    statistic: str = "whitened-gram",
    size: int | tuple[int, int] | None = None,
    start: str = "content",
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
    content, style : Tensor, shape (3, height, width) or (1, 3, height, width)
        RGB in [0, 1]. They may differ in size.
    model : VisionModel, optional
        The embedded random filters when left out.
    content_layers, style_layers : str or iterable of str, optional
        Names, groups or patterns; the model's recommended layers when left out.
    content_weight : float
        Of the content's relative error against 1 for the style's: more keeps more of the scene.
    style_scale : float
        Size of the painting, and so of its strokes, relative to covering the area of the result.
    statistic : {"whitened-gram", "gram"}
        How Gram matrices are compared; see `texture`.
    size : int or (int, int), optional
        Longer side, or height and width, of the result; the photograph's when left out.
    start : {"content", "noise"}
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
        For empty or unknown layers, weights below zero, or an unknown start.
    FloatingPointError
        For images or statistics that are not finite.

    Examples
    --------
    >>> import cnnperception as cp
    >>> content, style = cp.exemplar("chelsea", size=96), cp.exemplar("retina", size=96)
    >>> cp.stylize(content, style, evaluations=5).finished
    True
    """
    if start not in ("content", "noise"):
        raise ValueError(f"start must be 'content' or 'noise'; got {start!r}")
    if content_weight < 0 or style_scale <= 0:
        raise ValueError("content_weight must not be negative, and style_scale must be positive")
    model = setup.default_model(model)
    scene = setup.prepare(content, model, "content image")
    painting = setup.prepare(style, model, "style image")
    scene_layers = resolve_layers(model, setup.recommended(model, "content", content_layers))
    paint_layers = resolve_layers(model, setup.recommended(model, "style", style_layers))
    if size is not None:
        scene = image_files.resize(scene, size)
    height, width = setup.size_of(None, scene)
    measure = setup.measure(statistic)
    cover = style_scale * (height * width / (painting.shape[-2] * painting.shape[-1])) ** 0.5
    levels = tuple(schedule or coarse_to_fine((height, width), evaluations))

    def objective_at(index: int) -> Objective:
        level = levels[index].size
        drawn = image_files.resize(painting, setup.scaled(painting, cover * level[0] / height))
        seen = image_files.resize(scene, level)
        fitting = setup.layers_that_fit(model, paint_layers, drawn)
        layers = [*fitting, *(scene_layers if content_weight else ())]
        tiles = setup.tiles(model, layers, level, drawn, running)
        terms = match("style", model, fitting, measure, drawn, tiles=tiles)
        if content_weight:
            terms += match(
                "content",
                model,
                scene_layers,
                unchanged,
                seen,
                weight=content_weight,
                tiles=tiles,
            )
        limits = [PixelTerm("range", out_of_range, weight=10.0)]
        return Objective(model, terms, limits, tiles=tiles)

    provenance = setup.provenance(
        "style",
        model,
        {"content": scene, "style": painting},
        content_layers=list(scene_layers),
        style_layers=list(paint_layers),
        content_weight=content_weight,
        style_scale=style_scale,
        statistic=statistic,
        size=[height, width],
        start=start,
        seed=seed,
        schedule=[[*level.size, level.evaluations] for level in levels],
    )
    first = levels[0].size
    begin = (
        noise_like(painting, first, seed) if start == "noise" else image_files.resize(scene, first)
    )
    return synthesize(objective_at, levels, begin, provenance, **running)
