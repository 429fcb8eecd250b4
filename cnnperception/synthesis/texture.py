"""Texture synthesis from the layers of any model (Gatys, Ecker & Bethge 2015)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Unpack

import torch
from torch import Tensor

from .. import runtime
from ..models.interface import VisionModel
from ..statistics import channel_covariance, channel_mean
from . import colour, guidance, setup
from .objective import Measure, Objective, Term, match, plain_gram
from .overrides import record, settled, suited
from .presets import DEFAULT
from .procedure import Procedure, layers_of
from .published import REDRAWN, redrawn_slices
from .pyramid import Level
from .resampling import beyond
from .result import SynthesisResult
from .run import Running, synthesize
from .solver import unpreconditioned
from .tiling import Tiles


def texture(
    exemplar: Tensor | Sequence[Tensor],
    *,
    preset: str | Procedure = DEFAULT,
    model: VisionModel | None = None,
    layers: str | Iterable[str] | None = None,
    size: int | tuple[int, int] | None = None,
    statistic: str | None = None,
    weights: Sequence[float] | None = None,
    mask: Tensor | None = None,
    pool_grid: int = 1,
    spectrum: float | None = None,
    grey: bool | None = None,
    histogram: bool | None = None,
    seed: int | Sequence[int] = 0,
    evaluations: int | None = None,
    schedule: Iterable[Level] | None = None,
    tileable: bool = False,
    **running: Unpack[Running],
) -> SynthesisResult:
    """Synthesise a new image with the texture of an exemplar.

    Noise is changed until the Gram matrices of its layers equal the exemplar's. Levels from
    coarse to fine find the large structure first, where steps are cheap, and begin with noise for
    the detail that the level before could not have; each uses the layers that see no more than
    half the exemplar at that size, so that its arrangement stays free.

    Parameters
    ----------
    exemplar : Tensor, shape (3, height, width) or (batch, 3, height, width), or a list of such
        RGB in [0, 1]. Of a batch, each gives an image of its own. Those of a list are blended:
        the result has something of the statistics of each.
    preset : str or Procedure
        Where what is left out below comes from: "default" is the engine's own; "gatys2015",
        "ustyuzhaninov2017", "heitz2021", "gonthier2022" and "ps2000" are papers to the letter,
        one picture at a time. What is given in place of a preset's is in
        `provenance["preset"]["differences"]`.
    model : VisionModel, optional
        The preset's when left out; of "default", the embedded random filters.
    layers : str or iterable of str, optional
        Names, groups or patterns. Of "default", the model's recommended texture layers.
    size : int or (int, int), optional
        Height and width of the result, of any size; the (first) exemplar's when left out.
    statistic : str, optional
        "whitened-gram", that of "default": Gram matrices, all directions of a layer made to
        count; "gram": as they are (Gatys et al.); "balanced-gram": in units in which they come to
        be the exemplar's soonest; "mean-covariance" (optimal transport of Gaussians);
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
    spectrum : float, optional
        Weight of the exemplar's amplitude spectrum, in bands of frequency and orientation: it
        keeps long-range regularity (after Liu, Gousseau & Xia 2016, who fix every frequency). Of
        one exemplar, without a mask.
    grey : bool, optional
        Make the luminance alone.
    histogram : bool, optional
        Give the finished image the exemplar's values in each channel (Gatys et al. 2015): those
        of the mask, or, of several exemplars, the weighted mean of their quantiles.
    seed : int or sequence of int
        Of the noise; of several, each gives an image. As many seeds as exemplars in a batch go
        together one by one.
    evaluations : int, optional
        Of the model, over all levels; of "default", 400.
    schedule : iterable of Level, optional
        In place of the coarse-to-fine schedule made of `size` and `evaluations`; the last has
        the size of the result. The first of
        several levels matches plain Gram matrices, which lead there from far away.
    tileable : bool
        Make an image whose opposite borders join without a seam.
    **running
        `progress`, `checkpoint`, `target_loss`, `seconds`, `watch`, `precision`, `memory`: how
        `synthesize` runs, which explains them.

    Returns
    -------
    SynthesisResult
        The images of a batch share the evaluations of the model and nothing else. Each comes
        out as it would alone but for rounding. With some models that depends on how many are
        computed at once, and a long search can carry it far: the size of the batch is part of
        what makes an image again.

    Raises
    ------
    ValueError
        For an unknown preset, an empty layer list or unknown layers, an exemplar smaller than
        what the deepest layer sees, layers without positions, or a model that cannot wrap
        around; for weights, masks, grids or numbers of seeds that do not fit.
    OSError
        When the weights of a preset's network are not there and cannot be downloaded.
    FloatingPointError
        For images or statistics that are not finite.

    Examples
    --------
    >>> import cnnperception as cp
    >>> result = cp.texture(cp.exemplar("brick", size=128), evaluations=50)
    >>> tuple(result.image.shape)
    (3, 128, 128)
    """
    settings = settled(
        "texture",
        preset,
        layers=layers if layers is None or isinstance(layers, str) else list(layers),
        statistic=statistic,
        spectrum=spectrum,
        grey=grey,
        histogram=histogram,
        evaluations=evaluations,
    )
    model, settings = suited(settings, model)
    sources = [settings.cropped(s) for s in setup.batches(exemplar, model, "exemplar")]
    seeds = setup.seeds(seed, sources)
    if settings.grey:
        sources = [colour.grey(source) for source in sources]
    shares = setup.shares(weights, len(sources), "exemplars")
    chosen = layers_of(settings.layers, layers is not None, model, "texture")
    if settings.fitting_layers:
        for source in sources:
            setup.check_sees_all(model, chosen, source, "exemplar")
    given = None if schedule is None else tuple(schedule)
    height, width = setup.final_size(size, given, sources[0])
    settings.check((height, width), len(seeds))
    levels = given or settings.levels((height, width))
    if tileable:
        setup.check_tiles(model, chosen, levels)
    regions = _regions(sources, mask, pool_grid)
    if settings.spectrum and (mask is not None or len(sources) > 1):
        raise ValueError("a spectrum is that of one whole exemplar: give no mask and no blend")
    counted = [_counted(source, mask) for source in sources]
    # What a blend has most of.
    main = shares.index(max(shares))
    measure = None if settings.statistic == REDRAWN else setup.measure(settings.statistic)
    if measure is None and regions is not None:
        raise ValueError(f"the statistic {REDRAWN!r} takes no mask and no grid")

    def objective_at(index: int) -> Objective:
        level = levels[index]
        drawn = [settings.reduced(source, level, (height, width)) for source in sources]
        fitting = settings.fitting(
            model, chosen, min(drawn, key=lambda d: min(d.shape[-2:])), pool_grid
        )
        largest = max(drawn, key=torch.numel)
        tiles = setup.tiles(
            model, fitting, level.size, largest, running, batch=len(seeds), wrap=tileable
        )
        # Far from the exemplar only the plain Gram matrix leads there.
        approach = not settings.published and index == 0 and len(levels) > 1
        closeness = plain_gram if approach else measure
        last = index == len(levels) - 1
        terms: list[Term] = []
        for number, (picture, share) in enumerate(zip(drawn, shares, strict=True), 1):
            if not share:
                continue
            kind = "texture" if len(drawn) == 1 else f"texture{number}"
            if closeness is None:
                terms += redrawn_slices(kind, model, fitting, picture, seed=seeds[0], weight=share)
            else:
                terms += _terms(
                    kind, model, fitting, closeness, picture, share, regions, tiles, level, last
                )
        return Objective(
            model,
            settings.loss.weighed(terms),
            settings.limits(drawn[0]),
            tileable=tileable,
            tiles=tiles,
            precondition=unpreconditioned if tileable else setup.evenly(model, level.size),
            bounds=settings.pixel_bounds(drawn[main]),
        )

    def detail(index: int) -> Tensor:
        """Return noise as strong as the detail of the exemplar that the level before lacks.

        What filters with strides make of an enlarged image without any is in step with them:
        neighbours alike in pairs.
        """
        size, before = levels[index].size, levels[index - 1].size
        picture = settings.reduced(sources[main], levels[index], (height, width))
        lacking = beyond(picture, setup.scaled(picture, before[0] / size[0]))
        # As if it wrapped around: the same at the borders as elsewhere.
        noise = beyond(_noises(lacking, size, seeds), before, wrap=True)
        # White noise loses the frequencies of the smaller size.
        return noise / (1 - math.prod(before) / math.prod(size)) ** 0.5

    provenance = setup.provenance(
        "texture",
        model,
        setup.named("exemplar", sources),
        preset=record(
            settings.with_layers(layers=chosen),
            model,
            (height, width),
            mask=(mask is not None, False),
            pool_grid=(pool_grid, 1),
            tileable=(tileable, False),
            blended=(len(sources), 1),
            schedule=(schedule is not None, False),
        ),
        layers=list(chosen),
        statistic=settings.statistic,
        weights=list(shares),
        mask=None if mask is None else setup.digest(mask),
        pool_grid=pool_grid,
        spectrum=settings.spectrum,
        grey=settings.grey,
        histogram=settings.histogram,
        size=[height, width],
        seed=seeds if len(seeds) > 1 else seeds[0],
        schedule=[[*level.size, level.evaluations] for level in levels],
        tileable=tileable,
    )
    if settings.noise is None:
        begin = _noises(counted[main], levels[0].size, seeds)
    else:
        begin = settings.noise.draw(counted[main], levels[0].size, seeds[0])
    result = synthesize(
        objective_at,
        levels,
        begin,
        provenance,
        optimiser=settings.optimiser,
        detail=None if settings.published else detail,
        **settings.running(running),
    )
    images = colour.grey(result.images) if settings.grey else result.images
    if settings.histogram:
        images = _with_values(images, counted, shares)
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


def _counted(source: Tensor, mask: Tensor | None) -> Tensor:
    """Return the pixels of an exemplar that count, all or in one column."""
    if mask is None:
        return source
    there = guidance.coverage(mask != 0, setup.size_of(None, source))[0, 0] > 0
    return source[..., there.to(source.device)][..., None]


def _with_values(images: Tensor, counted: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """Return images with the values of an exemplar, or the weighted quantiles of several."""
    pairs = zip(counted, shares, strict=True)
    matched = [share * colour.match_histograms(images, one) for one, share in pairs]
    return torch.stack(matched).sum(dim=0)


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
    last: bool,
) -> list[Term]:
    if regions is None:
        whole = setup.unwrapped(tiles)
        return match(kind, model, layers, measure, source, weight=share, tiles=whole)
    return guidance.match_regions(
        kind, model, layers, measure, source, *regions, level.size, weight=share, every=last
    )


def _noises(source: Tensor, size: tuple[int, int], seeds: Sequence[int]) -> Tensor:
    """Return noise of each seed, like the source or its own of several."""
    own = source.expand(len(seeds), -1, -1, -1)
    pairs = zip(own.split(1), seeds, strict=True)
    return torch.cat([noise_like(one, size, seed) for one, seed in pairs])


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
