"""Coarse-to-fine schedules: large structure is found where pixels are few and steps cheap."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Level:
    """One stage of a schedule: the size worked at, (height, width), and how long.

    Raises
    ------
    ValueError
        For fewer than one pixel, or one evaluation.
    """

    size: tuple[int, int]
    evaluations: int

    def __post_init__(self) -> None:
        if min(self.size) < 1 or self.evaluations < 1:
            raise ValueError(
                "a level needs 1 pixel and 1 evaluation or more; got "
                f"{self.size[0]} x {self.size[1]} pixels and evaluations={self.evaluations}"
            )


def coarse_to_fine(
    size: tuple[int, int],
    evaluations: int,
    *,
    smallest: int = 64,
    multiple: int = 1,
    factor: float = 2.0,
) -> tuple[Level, ...]:
    """Return levels that grow in size up to `size`, most evaluations where they are cheap.

    Each level gets two thirds of the evaluations of the one of half its size, so that half the
    size and a quarter of the cost go to one and a half times as many steps.

    Parameters
    ----------
    size : (int, int)
        Height and width of the final image.
    evaluations : int
        In all, shared among the levels.
    smallest : int
        The shorter side of the coarsest level is at least this.
    multiple : int
        Sides of the coarser levels are rounded to multiples of it.
    factor : float
        By which the sides grow from level to level.

    Raises
    ------
    ValueError
        For fewer than one evaluation.
    """
    if evaluations < 1:
        raise ValueError(f"evaluations must be 1 or more; got {evaluations}")
    scales = [1.0]
    # Powers of a root of 2 should meet the powers of 2 in spite of rounding.
    while min(size) * scales[0] / factor >= smallest * (1 - 1e-9):
        scales.insert(0, scales[0] / factor)
    shares = [(2 / 3) ** (index * math.log2(factor)) for index in range(len(scales))]
    counts = [max(1, round(evaluations * share / sum(shares))) for share in shares]

    def scaled(side: int, scale: float) -> int:
        return side if scale == 1 else max(multiple, round(side * scale / multiple) * multiple)

    return tuple(
        Level((scaled(size[0], scale), scaled(size[1], scale)), count)
        for scale, count in zip(scales, counts, strict=True)
    )


def with_approach(levels: tuple[Level, ...]) -> tuple[Level, ...]:
    """Return the levels with a third of the first one's evaluations split off before it."""
    first = levels[0]
    approach = first.evaluations // 3
    if not approach:
        return levels
    rest = dataclasses.replace(first, evaluations=first.evaluations - approach)
    return (Level(first.size, approach), rest, *levels[1:])


def halvings(size: tuple[int, int], smallest: int) -> list[tuple[int, int]]:
    """Return a size, its half and so on, down to the one of this shorter side, or itself."""
    sizes = [size]
    while min(sizes[-1]) > smallest:
        scale = max(0.5, smallest / min(sizes[-1]))
        sizes.append((round(sizes[-1][0] * scale), round(sizes[-1][1] * scale)))
    return sizes
