"""Texture synthesis from the layers of any model (Gatys, Ecker & Bethge 2015)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

import torch
from torch import Tensor

from .. import images as image_files
from .. import runtime
from ..models.interface import VisionModel, resolve_layers
from ..statistics import channel_covariance, channel_mean
from . import setup
from .objective import Objective, PixelTerm, match, out_of_range, plain_gram
from .pyramid import Level, coarse_to_fine, with_approach
from .run import Running, SynthesisResult, synthesize


def texture(
    exemplar: Tensor,
    *,
    model: VisionModel | None = None,
    layers: str | Iterable[str] | None = None,
    size: int | tuple[int, int] | None = None,
    statistic: str = "whitened-gram",
    seed: int = 0,
    evaluations: int = 400,
    schedule: Iterable[Level] | None = None,
    tileable: bool = False,
    **running: Unpack[Running],
) -> SynthesisResult:
    """Synthesise a new image with the texture of an exemplar.

    Noise is changed until the Gram matrices of its layers equal the exemplar's. Levels from
    coarse to fine find the large structure first, where steps are cheap; each uses the layers
    that see no more than half the exemplar at that size, so that its arrangement stays free.

    Parameters
    ----------
    exemplar : Tensor, shape (3, height, width) or (1, 3, height, width)
        RGB in [0, 1].
    model : VisionModel, optional
        The embedded random filters when left out.
    layers : str or iterable of str, optional
        Names, groups or patterns; the model's recommended texture layers when left out.
    size : int or (int, int), optional
        Height and width of the result, of any size; the exemplar's when left out.
    statistic : {"whitened-gram", "gram"}
        How Gram matrices are compared: with all directions of a layer made to count, or as they
        are (Gatys et al.).
    seed : int
        Of the noise.
    evaluations : int
        Of the model, over all levels.
    schedule : iterable of Level, optional
        In place of the coarse-to-fine schedule made of `size` and `evaluations`. The first of
        several levels matches plain Gram matrices, which lead there from far away.
    tileable : bool
        Make an image whose opposite borders join without a seam.
    **running
        `progress`, `checkpoint`, `target_loss`, `seconds`, `watch` and more: how `synthesize` runs,
        which explains them.

    Returns
    -------
    SynthesisResult

    Raises
    ------
    ValueError
        For an empty layer list or unknown layers, an exemplar smaller than what the deepest
        layer sees, layers without positions, or a model that cannot wrap around.
    FloatingPointError
        For images or statistics that are not finite.

    Examples
    --------
    >>> import cnnperception as cp
    >>> result = cp.texture(cp.exemplar("brick", size=128), evaluations=50)
    >>> tuple(result.image.shape)
    (3, 128, 128)
    """
    model = setup.default_model(model)
    source = setup.prepare(exemplar, model, "exemplar")
    chosen = resolve_layers(model, setup.recommended(model, "texture", layers))
    setup.check_sees_all(model, chosen, source, "exemplar")
    measure = setup.measure(statistic)
    height, width = setup.size_of(size, source)
    levels = tuple(schedule or with_approach(coarse_to_fine((height, width), evaluations)))
    if tileable:
        setup.check_tiles(model, chosen, levels)

    def objective_at(index: int) -> Objective:
        resized = image_files.resize(source, setup.scaled(source, levels[index].size[0] / height))
        fitting = setup.layers_that_fit(model, chosen, resized)
        # Far from the exemplar only the plain Gram matrix leads there.
        closeness = plain_gram if index == 0 and len(levels) > 1 else measure
        tiles = setup.tiles(model, fitting, levels[index].size, resized, running, wrap=tileable)
        terms = match("texture", model, fitting, closeness, resized, tiles=setup.unwrapped(tiles))
        limits = [PixelTerm("range", out_of_range, weight=10.0)]
        return Objective(model, terms, limits, tileable=tileable, tiles=tiles)

    provenance = setup.provenance(
        "texture",
        model,
        {"exemplar": source},
        layers=list(chosen),
        statistic=statistic,
        size=[height, width],
        seed=seed,
        schedule=[[*level.size, level.evaluations] for level in levels],
        tileable=tileable,
    )
    return synthesize(
        objective_at,
        levels,
        noise_like(source, levels[0].size, seed),
        provenance,
        **running,
    )


def noise_like(source: Tensor, size: tuple[int, int], seed: int, batch: int = 1) -> Tensor:
    """Return white noise with the colour mean and covariance of a source image.

    Parameters
    ----------
    source : Tensor, shape (1, 3, height, width)
    size : (int, int)
        Height and width of the noise.
    seed : int
    batch : int

    Returns
    -------
    Tensor, shape (batch, 3, height, width)
        Not clipped to [0, 1].
    """
    values, vectors = torch.linalg.eigh(channel_covariance(source)[0])
    root = vectors * values.clamp(min=0).sqrt()
    white = torch.randn((batch, 3, *size), generator=runtime.generator(seed)).to(source)
    return torch.einsum("ij,bjhw->bihw", root, white) + channel_mean(source)[..., None, None]
