"""Statistics of a layer in each of many overlapping windows, as terms of an objective."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..models.interface import VisionModel
from ..statistics import gram
from .objective import Term
from .pooling_windows import PoolingWindows, at_positions
from .position_statistics import PositionMeasure
from .tiling import responses

# A region as good as black has no structure to get right to within a share of itself.
SMALLEST = 1e-2  # of the root mean square over regions: the least that an error is relative to


@dataclasses.dataclass(frozen=True)
class Pool:
    """The windows of one ring over the positions of a layer, without those outside of it.

    Attributes
    ----------
    places : Tensor of int64, shape (window, position)
        Where a window is not 0, as indices into the flattened positions; filled up with 0.
    weights : Tensor, shape (window, position)
        Of these; sum to 1 in each window, 0 where filled up.
    """

    places: Tensor
    weights: Tensor

    def gram(self, flat: Tensor) -> Tensor:
        """Return the Gram matrices (batch, window, channel, channel) of each window.

        Parameters
        ----------
        flat : Tensor, shape (batch, position, channel)
        """
        seen = flat.index_select(1, self.places.flatten())
        seen = seen.view(len(flat), *self.places.shape, flat.shape[2])
        weighted = seen * self.weights[..., None]
        return weighted.mT @ seen


@dataclasses.dataclass(frozen=True)
class PooledStatistic:
    """A function of the Gram matrix of each window, in units of its share of the whole error.

    Attributes
    ----------
    pools : sequence of Pool
    finish : callable
        Gram matrices (batch, channel, channel) -> their statistic (batch, ...).
    units : Tensor, shape (window,)
        What each window's statistic is multiplied by.
    """

    pools: Sequence[Pool]
    finish: Callable[[Tensor], Tensor]
    units: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Return (batch, window, statistic) of features (batch, channel, height, width)."""
        statistics = _statistics(self.pools, self.finish, features)
        return statistics * self.units[:, None]


def _statistics(
    pools: Sequence[Pool], finish: Callable[[Tensor], Tensor], features: Tensor
) -> Tensor:
    flat = features.flatten(2).mT.contiguous()
    # What each window sees is more than the layer itself: seen again in the backward pass, and
    # not kept.
    grams: list[Tensor] = [
        checkpoint(pool.gram, flat, use_reentrant=False) if flat.requires_grad else pool.gram(flat)
        for pool in pools
    ]
    every = torch.cat(grams, dim=1)
    return finish(every.flatten(0, 1)).reshape(*every.shape[:2], -1)


def pooled_terms(
    model: VisionModel,
    layers: Sequence[str],
    measure: PositionMeasure,
    source: Tensor,
    windows: PoolingWindows,
) -> list[Term]:
    """Return a term for each layer: the statistics of every window but the fovea are the source's.

    Its loss is the mean, by the area of the windows, of ||S - T||^2 / ||T||^2 in each, with T the
    source's statistic S there.

    Parameters
    ----------
    model : VisionModel
    layers : sequence of str
        With positions; these are taken to be spread evenly over the image.
    measure : PositionMeasure
        Of Gram matrices; fitted to the source as a whole.
    source : Tensor, shape (1, 3, height, width)
    windows : PoolingWindows
        At the size of the source.

    Raises
    ------
    FloatingPointError
        When a layer's responses are not finite.
    ValueError
        When a layer has no positions or does not respond in any window.
    """
    terms = []
    with torch.no_grad():
        for layer, features in responses(model, source, layers).items():
            _check(model, layer, features)
            positions = (int(features.shape[-2]), int(features.shape[-1]))
            pools, shares = pools_of(windows, positions, features)
            finish = measure.fit(gram(features), positions[0] * positions[1])
            found = _statistics(pools, finish, features)
            lengths = found[0].norm(dim=1)
            if not lengths.any():
                raise ValueError(
                    f"layer {layer!r} of {model.name} does not respond outside of the fovea; leave "
                    "the layer out or take a smaller fovea"
                )
            least = SMALLEST * lengths.square().mean().sqrt()
            units = shares.sqrt() / lengths.clamp(min=least)
            statistic = PooledStatistic(pools, finish, units)
            target = found * units[:, None]
            terms.append(Term(f"pooled/{layer}", layer, statistic, target, 1 / len(layers)))
    return terms


def pools_of(
    windows: PoolingWindows, positions: tuple[int, int], like: Tensor
) -> tuple[list[Pool], Tensor]:
    """Return the pools of a layer, ring by ring, and each window's share of their area.

    Parameters
    ----------
    windows : PoolingWindows
    positions : (int, int)
        Height and width of the layer.
    like : Tensor
        Whose dtype and device the weights have.
    """
    pools, areas = [], []
    for ring in range(len(windows.rings)):
        weights = at_positions(windows.of_ring(ring), positions).flatten(1)
        area = weights.sum(dim=1)
        inside = area > 0
        if not inside.any():
            continue
        weights, area = weights[inside], area[inside]
        # The places that are not 0 come first; as many as the largest window has.
        order = (weights > 0).int().argsort(dim=1, descending=True, stable=True)
        places = order[:, : int((weights > 0).sum(dim=1).max())]
        chosen = weights.gather(1, places) / area[:, None]
        pools.append(Pool(places.to(like.device), chosen.to(like)))
        areas.append(area)
    every = torch.cat(areas)
    return pools, (every / every.sum()).to(like)


def _check(model: VisionModel, layer: str, features: Tensor) -> None:
    if features.ndim != 4:
        raise ValueError(
            f"layer {layer!r} of {model.name} has no positions (its shape is "
            f"{tuple(features.shape)}), so nothing can be pooled in regions; choose others"
        )
    if not torch.isfinite(features).all():
        raise FloatingPointError(
            f"the responses of layer {layer!r} of {model.name} to the image are not all finite; "
            "check the weights"
        )
