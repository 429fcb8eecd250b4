"""The same loss and gradient tile by tile, so that memory does not grow with the image.

What a tile's positions answer depends on its pixels and those around it, as far as the receptive
field reaches. So each tile is seen with such a border (a halo), and only its own positions
count. Statistics that are functions of means over positions are exact: a first pass without
gradient sums them; the gradient of the loss with respect to the sums is then known, and a second
pass carries it back to the pixels of one tile after the other.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from .. import runtime
from ..models.interface import VisionModel, receptive_field
from ..statistics import at_least_single
from .position_statistics import EachPosition, PositionMeasure, PositionStatistic, Statistic

TOLERANCE = 1e-3  # of the largest response: by how much a tile's may differ


class Objective(Protocol):
    """What is known here of an objective: terms of layers and of pixels, and their weights."""

    @property
    def model(self) -> VisionModel: ...
    @property
    def terms(self) -> Sequence[Any]: ...
    @property
    def pixel_terms(self) -> Sequence[Any]: ...
    @property
    def weights(self) -> list[float]: ...
    @property
    def precision(self) -> torch.dtype: ...


@dataclasses.dataclass(frozen=True)
class Tiles:
    """How an image is cut.

    Attributes
    ----------
    side : int
        Of a tile, in pixels; a multiple of every stride.
    halo : int
        Pixels seen around it, a multiple of every stride.
    strides : mapping of str to int
        Pixels from one position of a layer to the next.
    wrap : bool
        The image's opposite borders are joined.
    """

    side: int
    halo: int
    strides: dict[str, int]
    wrap: bool = False


@dataclasses.dataclass(frozen=True)
class _Tile:
    """One tile: rows and columns of the image that it sees, and what is its own.

    `height` and `width` are of its own pixels, or None for all that is left of the image.
    """

    rows: Tensor
    columns: Tensor
    top: int
    left: int
    height: int | None
    width: int | None
    tiles: Tiles

    def place(self, layer: str, seen: Tensor) -> tuple[slice, slice]:
        """Return where the tile's own positions lie in the features (.., y, x) of what it sees."""
        return (
            self._along(layer, self.top, int(self.rows[0]), seen.shape[-2], self.height),
            self._along(layer, self.left, int(self.columns[0]), seen.shape[-1], self.width),
        )

    def own(self, layer: str, own: Tensor) -> tuple[slice, slice]:
        """Return where the tile's own positions (.., y, x) lie in the whole layer."""
        stride = self.tiles.strides[layer]
        top, left = self.top // stride, self.left // stride
        return slice(top, top + own.shape[-2]), slice(left, left + own.shape[-1])

    def _along(self, layer: str, start: int, first: int, seen: int, own: int | None) -> slice:
        stride = self.tiles.strides[layer]
        before = self.tiles.halo if self.tiles.wrap else start - first
        begin = before // stride
        return slice(begin, seen if own is None else begin + own // stride)


def cut(size: tuple[int, int], tiles: Tiles) -> list[_Tile]:
    """Return the tiles of an image of (height, width) pixels.

    Raises
    ------
    ValueError
        Where opposite borders are joined, for sides that are no multiple of every stride: the
        positions on either side of a border would not meet.
    """
    coarsest = math.lcm(*tiles.strides.values())
    if tiles.wrap and any(length % coarsest for length in size):
        raise ValueError(
            f"an image of {size[0]} x {size[1]} pixels that tiles cannot be seen in parts: give "
            f"sides that are multiples of {coarsest}, or more memory"
        )

    def along(length: int) -> list[tuple[int, int | None, Tensor]]:
        found: list[tuple[int, int | None, Tensor]] = []
        for start in range(0, length, tiles.side):
            end = min(start + tiles.side, length)
            if tiles.wrap:
                seen = torch.arange(start - tiles.halo, end + tiles.halo) % length
                found.append((start, end - start, seen))
            else:
                seen = torch.arange(max(start - tiles.halo, 0), min(end + tiles.halo, length))
                # At the end all that is left, be it less or more than the pixels would give.
                found.append((start, None if end == length else tiles.side, seen))
        return found

    return [
        _Tile(rows, columns, top, left, height, width, tiles)
        for top, height, rows in along(size[0])
        for left, width, columns in along(size[1])
    ]


def _crop(images: Tensor, tile: _Tile) -> Tensor:
    rows, columns = (index.to(images.device) for index in (tile.rows, tile.columns))
    return images.index_select(2, rows).index_select(3, columns)


def _add(total: Tensor, part: Tensor, tile: _Tile) -> None:
    """Add what belongs to the pixels that a tile sees."""
    rows, columns = (index.to(total.device) for index in (tile.rows, tile.columns))
    strip = total.new_zeros((*part.shape[:3], total.shape[3]))
    total.index_add_(2, rows, strip.index_add_(3, columns, part))


def responses(
    model: VisionModel,
    images: Tensor,
    layers: Sequence[str],
    precision: torch.dtype = torch.float32,
) -> dict[str, Tensor]:
    """Return a model's features, computed, and left, in a precision where torch deems it safe."""
    if precision == torch.float32:
        with runtime.full_precision(images.device):
            return model.features(images, layers)
    with torch.autocast(images.device.type, precision):
        return model.features(images, layers)


def _own_features(
    model: VisionModel,
    layers: Sequence[str],
    crop: Tensor,
    tile: _Tile,
    precision: torch.dtype = torch.float32,
) -> dict[str, Tensor]:
    features = responses(model, crop, layers, precision)
    return {
        layer: response[(..., *tile.place(layer, response))] for layer, response in features.items()
    }


def measure_in_tiles(
    model: VisionModel,
    layers: Sequence[str],
    measure: Callable[[Tensor], Statistic],
    source: Tensor,
    tiles: Tiles,
) -> tuple[dict[str, Statistic], dict[str, Tensor]]:
    """Return a source's statistic and target in each layer, seen tile by tile.

    Raises
    ------
    ValueError
        For a measure that is no function of means over positions, nor of single positions.
    """
    pooled = isinstance(measure, PositionMeasure)
    sums: dict[str, Tensor] = {}
    counts = dict.fromkeys(layers, 0)
    places: dict[str, list[tuple[_Tile, Tensor]]] = {layer: [] for layer in layers}
    for tile in cut(_size(source), tiles):
        for layer, own in _own_features(model, layers, _crop(source, tile), tile).items():
            counts[layer] += own.shape[-2] * own.shape[-1]
            if isinstance(measure, PositionMeasure):
                found = measure.sums(own)
                sums[layer] = sums[layer] + found if layer in sums else found
            else:
                places[layer].append((tile, own.clone()))
    statistics: dict[str, Statistic] = {}
    targets: dict[str, Tensor] = {}
    for layer in layers:
        if isinstance(measure, PositionMeasure):
            means = sums[layer] / counts[layer]
            finish = measure.fit(means, counts[layer])
            statistics[layer] = PositionStatistic(measure.sums, finish)
            targets[layer] = finish(means)
        else:
            whole = _joined(layer, places.pop(layer))
            statistics[layer] = measure(whole)
            if not isinstance(statistics[layer], EachPosition):
                raise ValueError(_refusal(layer))
            targets[layer] = statistics[layer](whole)
    assert pooled or not sums
    return statistics, targets


def _joined(layer: str, parts: list[tuple[_Tile, Tensor]]) -> Tensor:
    ends = [tile.own(layer, own) for tile, own in parts]
    height, width = (max(end[axis].stop for end in ends) for axis in (0, 1))
    first = parts[0][1]
    whole = first.new_empty((*first.shape[:2], height, width))
    for (_, own), end in zip(parts, ends, strict=True):
        whole[(..., *end)] = own
    return whole


def evaluate_in_tiles(
    objective: Objective, tiles: Tiles, images: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what an objective does: the total loss (batch,), its gradient, and every loss.

    Raises
    ------
    ValueError
        For a term whose statistic cannot be had in tiles.
    """
    terms = list(objective.terms)
    for term in terms:
        if not isinstance(term.statistic, PositionStatistic | EachPosition):
            raise ValueError(_refusal(term.name))
    pooled = [k for k, term in enumerate(terms) if isinstance(term.statistic, PositionStatistic)]
    each = [k for k in range(len(terms)) if k not in pooled]
    sums, counts = _sums(objective, tiles, images, pooled)
    weights = runtime.sent(objective.weights, images)
    losses = images.new_zeros((len(images), len(weights)))
    pull: dict[int, Tensor] = {}
    for k in pooled:
        statistic: Any = terms[k].statistic
        with torch.enable_grad():
            total = sums[k].requires_grad_()
            loss = terms[k].distance_to_target(statistic.finish(total / counts[k]))
            (pull[k],) = torch.autograd.grad(weights[k] * loss.sum(), total)
        losses[:, k] = loss.detach()
    gradient = _pixel_terms(objective, images, losses, weights)
    layers = distinct_layers(terms)
    for tile in cut(_size(images), tiles):
        crop = _crop(images, tile).requires_grad_()
        with torch.enable_grad():
            features = _own_features(objective.model, layers, crop, tile, objective.precision)
            surrogate = crop.new_zeros(())
            for k in pooled:
                statistic = terms[k].statistic
                surrogate = surrogate + (pull[k] * statistic.sums(features[terms[k].layer])).sum()
            for k in each:
                part = _each(terms[k], features[terms[k].layer], tile)
                losses[:, k] += part.detach()
                surrogate = surrogate + weights[k] * part.sum()
            (found,) = torch.autograd.grad(surrogate, crop)
        _add(gradient, found, tile)
        del crop, features, surrogate, found
    return losses @ weights, gradient, losses


def _sums(
    objective: Objective, tiles: Tiles, images: Tensor, pooled: list[int]
) -> tuple[dict[int, Tensor], dict[int, int]]:
    sums: dict[int, Tensor] = {}
    counts = dict.fromkeys(pooled, 0)
    layers = distinct_layers([objective.terms[k] for k in pooled])
    if not layers:
        return sums, counts
    with torch.no_grad():
        for tile in cut(_size(images), tiles):
            crop = _crop(images, tile)
            features = _own_features(objective.model, layers, crop, tile, objective.precision)
            for k in pooled:
                statistic: Any = objective.terms[k].statistic
                own = features[objective.terms[k].layer]
                found = statistic.sums(own)
                sums[k] = sums[k] + found if k in sums else found
                counts[k] += own.shape[-2] * own.shape[-1]
    return sums, counts


def _pixel_terms(objective: Objective, images: Tensor, losses: Tensor, weights: Tensor) -> Tensor:
    """Fill in the losses of the pixels themselves; return their gradient."""
    gradient = torch.zeros_like(images)
    first = len(objective.terms)
    for k, term in enumerate(objective.pixel_terms, first):
        pixels = images.detach().requires_grad_()
        with torch.enable_grad():
            loss = term.penalty(pixels)
            (found,) = torch.autograd.grad(weights[k] * loss.sum(), pixels)
        losses[:, k] = loss.detach()
        gradient += found
    return gradient


def _each(term: Any, own: Tensor, tile: _Tile) -> Tensor:
    """Return a tile's share of a loss of features at every position, (batch,)."""
    target = term.target[(..., *tile.own(term.layer, own))]
    difference = (term.statistic(at_least_single(own)) - target).square().flatten(1).sum(dim=1)
    return difference / term.size()


def distinct_layers(terms: Sequence[Any]) -> list[str]:
    """Return the layers of terms, each once."""
    return list(dict.fromkeys(term.layer for term in terms))


def _size(images: Tensor) -> tuple[int, int]:
    return int(images.shape[-2]), int(images.shape[-1])


def _refusal(name: str) -> str:
    return (
        f"{name} cannot be had in tiles: its statistic is no function of means over all positions "
        "(those of regions are not either); use statistic='gram', 'whitened-gram', "
        "'balanced-gram' or 'mean-covariance' without regions, a smaller image or more memory"
    )


def fitting_tiles(
    model: VisionModel, layers: Sequence[str], side: int, *, wrap: bool = False
) -> Tiles:
    """Return tiles of about a side in which a model's layers answer as in the whole image.

    Raises
    ------
    ValueError
        When layers have no positions or do not answer alike: those that see the whole image, or
        normalise by it.
    """
    strides = _strides(model, tuple(layers))
    coarsest = math.lcm(*strides.values())
    reach = max(receptive_field(model, layer) for layer in layers)
    halo = _multiple(reach // 2 + coarsest, coarsest)
    tiles = Tiles(_multiple(side, coarsest), halo, strides, wrap)
    _check(model, tuple(layers), dataclasses.replace(tiles, side=_multiple(32, coarsest)))
    return tiles


def _multiple(number: int, of: int) -> int:
    return -(-number // of) * of


def _as_seen(images: Tensor, model: VisionModel) -> Tensor:
    """Return images where the model is, in its precision."""
    weights = (t for t in model.state_dict().values() if t.is_floating_point())
    return images.to(next(weights, images))


def _strides(model: VisionModel, layers: tuple[str, ...]) -> dict[str, int]:
    side = 256
    # Noise, as some models refuse an image without contrast.
    noise = torch.rand((1, 3, side, side), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = model.features(_as_seen(noise, model), layers)
    shapes = {layer: response.shape for layer, response in features.items()}
    for layer, shape in shapes.items():
        if len(shape) != 4 or side % shape[-1] or shape[-1] != shape[-2]:
            raise ValueError(f"layer {layer!r} of {model.name} cannot be seen in tiles: {shape}")
    return {layer: side // shape[-1] for layer, shape in shapes.items()}


def _check(model: VisionModel, layers: tuple[str, ...], tiles: Tiles) -> None:
    """Raise ValueError unless tiles answer as the whole of a noise image does."""
    side = _multiple(2 * tiles.halo, tiles.side) + tiles.side
    noise = torch.rand((1, 3, side, side), generator=torch.Generator().manual_seed(0))
    image = _as_seen(noise, model)
    straight = dataclasses.replace(tiles, wrap=False)
    with torch.no_grad():
        whole = responses(model, image, layers)
        pieces = cut((side, side), straight)
        for tile in (pieces[0], pieces[len(pieces) // 2], pieces[-1]):
            for layer, own in _own_features(model, layers, _crop(image, tile), tile).items():
                expected = whole[layer][(..., *tile.own(layer, own))]
                largest = whole[layer].abs().max().clamp(min=torch.finfo(own.dtype).tiny)
                if own.shape != expected.shape or (own - expected).abs().max() > (
                    TOLERANCE * largest
                ):
                    raise ValueError(
                        f"layer {layer!r} of {model.name} answers to a tile otherwise than to the "
                        "whole image, so it cannot be seen in tiles; use a smaller image or more "
                        "memory"
                    )
