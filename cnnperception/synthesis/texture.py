"""Texture synthesis from the layers of any model (Gatys, Ecker & Bethge 2015)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Unpack

import torch
from torch import Tensor

from .. import images as image_files
from .. import runtime
from ..models.interface import VisionModel, resolve_layers
from ..statistics import channel_covariance, channel_mean
from . import colour, guidance, setup
from .measures import spectrum_of
from .objective import Measure, Objective, PixelTerm, Term, match, out_of_range, plain_gram
from .pyramid import Level, coarse_to_fine, with_approach
from .run import Running, SynthesisResult, synthesize
from .tiling import Tiles


def texture(
    exemplar: Tensor | Sequence[Tensor],
    *,
    model: VisionModel | None = None,
    layers: str | Iterable[str] | None = None,
    size: int | tuple[int, int] | None = None,
    statistic: str = "whitened-gram",
    weights: Sequence[float] | None = None,
    mask: Tensor | None = None,
    pool_grid: int = 1,
    spectrum: float = 0.0,
    grey: bool = False,
    histogram: bool = False,
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
    exemplar : Tensor, shape (3, height, width) or (1, 3, height, width), or several
        RGB in [0, 1]. Several are blended: the result has something of the statistics of each.
    model : VisionModel, optional
        The embedded random filters when left out.
    layers : str or iterable of str, optional
        Names, groups or patterns; the model's recommended texture layers when left out.
    size : int or (int, int), optional
        Height and width of the result, of any size; the (first) exemplar's when left out.
    statistic : str
        "whitened-gram": Gram matrices, all directions of a layer made to count; "gram": as they
        are (Gatys et al.); "mean-covariance" (optimal transport of Gaussians);
        "sliced-wasserstein" (the whole distribution, Heitz et al. 2021); "gram-histogram";
        "gram-autocorrelation"; "shifted-gram"; "features" (each position by itself).
    weights : sequence of float, optional
        Of several exemplars, relative to each other; alike when left out.
    mask : Tensor, shape (height, width), optional
        Which part of the exemplar counts: what is not 0. Of one exemplar alone.
    pool_grid : int
        Match the statistics of each window of a grid, 1 to 4 windows along each side, with those
        of the same window of the exemplar: a texform (Long, Yu & Konkle 2018). The windows take
        the exemplar's arrangement as far as the grid tells it.
    spectrum : float
        Weight of the exemplar's amplitude spectrum, in bands of frequency and orientation: it
        keeps long-range regularity (after Liu, Gousseau & Xia 2016, who fix every frequency).
    grey : bool
        Make the luminance alone.
    histogram : bool
        Give the finished image the exemplar's values in each channel (Gatys et al. 2015).
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
        `progress`, `checkpoint`, `target_loss`, `seconds`, `watch`, `precision`, `memory`: how
        `synthesize` runs, which explains them.

    Returns
    -------
    SynthesisResult

    Raises
    ------
    ValueError
        For an empty layer list or unknown layers, an exemplar smaller than what the deepest
        layer sees, layers without positions, or a model that cannot wrap around; for weights,
        masks or grids that do not fit.
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
    sources = setup.several(exemplar, model, "exemplar")
    if grey:
        sources = [colour.grey(source) for source in sources]
    shares = setup.shares(weights, len(sources), "exemplars")
    chosen = resolve_layers(model, setup.recommended(model, "texture", layers))
    for source in sources:
        setup.check_sees_all(model, chosen, source, "exemplar")
    measure = setup.measure(statistic)
    height, width = setup.size_of(size, sources[0])
    levels = tuple(schedule or with_approach(coarse_to_fine((height, width), evaluations)))
    if spectrum < 0:
        raise ValueError(f"spectrum must not be negative; got {spectrum}")
    if tileable:
        setup.check_tiles(model, chosen, levels)
    regions = _regions(sources, mask, pool_grid)

    def objective_at(index: int) -> Objective:
        # Far from the exemplar only the plain Gram matrix leads there.
        closeness = plain_gram if index == 0 and len(levels) > 1 else measure
        scale = levels[index].size[0] / height
        drawn = [image_files.resize(s, setup.scaled(s, scale)) for s in sources]
        fitting = setup.layers_that_fit(
            model, chosen, min(drawn, key=lambda d: min(d.shape[-2:])), pool_grid
        )
        largest = max(drawn, key=torch.numel)
        tiles = setup.tiles(model, fitting, levels[index].size, largest, running, wrap=tileable)
        terms: list[Term] = []
        for number, (picture, share) in enumerate(zip(drawn, shares, strict=True), 1):
            kind = "texture" if len(drawn) == 1 else f"texture{number}"
            terms += _terms(
                kind, model, fitting, closeness, picture, share, regions, tiles, levels[index]
            )
        limits = [PixelTerm("range", out_of_range, weight=10.0)]
        if spectrum:
            limits.append(PixelTerm("spectrum", spectrum_of(drawn[0]), weight=spectrum))
        return Objective(model, terms, limits, tileable=tileable, tiles=tiles)

    provenance = setup.provenance(
        "texture",
        model,
        setup.named("exemplar", sources),
        layers=list(chosen),
        statistic=statistic,
        weights=list(shares),
        mask=None if mask is None else setup.digest(mask),
        pool_grid=pool_grid,
        spectrum=spectrum,
        grey=grey,
        histogram=histogram,
        size=[height, width],
        seed=seed,
        schedule=[[*level.size, level.evaluations] for level in levels],
        tileable=tileable,
    )
    result = synthesize(
        objective_at,
        levels,
        noise_like(sources[0], levels[0].size, seed),
        provenance,
        **running,
    )
    images = colour.grey(result.images) if grey else result.images
    if histogram:
        images = colour.match_histograms(images, sources[0])
    return dataclasses.replace(result, images=images)


def _regions(
    sources: Sequence[Tensor], mask: Tensor | None, pool_grid: int
) -> tuple[Tensor, Tensor] | None:
    """Return the labels of the exemplar and of the result, or None without regions."""
    if mask is None and pool_grid == 1:
        return None
    if len(sources) > 1 or (mask is not None and pool_grid != 1):
        raise ValueError("a mask or a grid goes with one exemplar, and not both together")
    if mask is None:
        cells = guidance.grid(setup.size_of(None, sources[0]), pool_grid)
        return cells, cells
    if mask.ndim != 2 or not mask.any():
        raise ValueError(
            f"the mask must be of shape (height, width) and not all 0; got {tuple(mask.shape)}"
        )
    return (mask != 0).long() - 1, torch.zeros(1, 1, dtype=torch.long)


def _terms(
    kind: str,
    model: VisionModel,
    layers: Sequence[str],
    measure: Measure,
    source: Tensor,
    share: float,
    regions: tuple[Tensor, Tensor] | None,
    tiles: Tiles | None,
    level: Level,
) -> list[Term]:
    if regions is None:
        whole = setup.unwrapped(tiles)
        return match(kind, model, layers, measure, source, weight=share, tiles=whole)
    there = guidance.resized(regions[0], setup.size_of(None, source))
    here = guidance.resized(regions[1], level.size)
    return guidance.match_regions(kind, model, layers, measure, source, there, here, weight=share)


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
