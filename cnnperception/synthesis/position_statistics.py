"""Statistics that are functions of means over positions, or of each position alone.

They can be had of parts of an image: of tiles, regions and windows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from torch import Tensor

# Features (batch, channel, height, width) -> their statistic (batch, ...).
Statistic = Callable[[Tensor], Tensor]


@dataclasses.dataclass(frozen=True)
class PositionStatistic:
    """A statistic that is a function of means over positions, so that it can be had in tiles.

    Attributes
    ----------
    sums : callable
        Features (batch, channel, height, width), in half precision too -> their sums over
        positions (batch, ...), at least in float32. A second argument, (height, width), weighs
        the positions.
    finish : callable
        Means over positions (batch, ...) -> the statistic (batch, ...).
    """

    sums: Callable[..., Tensor]
    finish: Callable[[Tensor], Tensor]

    def __call__(self, features: Tensor) -> Tensor:
        return self.finish(self.sums(features) / (features.shape[-2] * features.shape[-1]))


@dataclasses.dataclass(frozen=True)
class PositionMeasure:
    """A measure of means over positions.

    Attributes
    ----------
    sums : callable
        As for `PositionStatistic`.
    fit : callable
        The means (1 or batch, ...) of one source or of each image's own, and the number of
        positions of a source -> `finish` of the statistic.
    """

    sums: Callable[..., Tensor]
    fit: Callable[[Tensor, int], Callable[[Tensor], Tensor]]

    def __call__(self, source: Tensor) -> PositionStatistic:
        positions = source.shape[-2] * source.shape[-1]
        return PositionStatistic(self.sums, self.fit(self.sums(source) / positions, positions))


@dataclasses.dataclass(frozen=True)
class EachPosition:
    """The features themselves, less a number."""

    level: Tensor | float = 0.0

    def __call__(self, features: Tensor) -> Tensor:
        return features - self.level
