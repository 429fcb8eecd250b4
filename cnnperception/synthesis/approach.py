"""The way to a loss of plain Gram matrices and content, by losses that are lowered sooner.

A search for what Gatys, Ecker & Bethge (2016, eq. 7) ask for, from smaller sizes up, is quick with
the style and ends with more of the content lost than one from the photograph at full size: what
was changed while a layer saw little comes back only slowly. So at smaller sizes the content
weighs as much as the style, and the style, being compared in balanced Gram matrices, gets ahead
nevertheless; so it is for a while at the full size, where the loss itself finishes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .objective import Term
from .pyramid import Level, coarse_to_fine

# What stands for a statistic on the way.
BALANCED = {"gram": "balanced-gram"}
# What the content weighs at least, relative to the style: both of relative errors. Measured with
# VGG-19 of random weights at 192 to 512 pixels; 3 times less or more changes little.
AT_SMALLER_SIZES = 1.0
AT_FULL_SIZE = 0.02


def approaching(
    size: tuple[int, int], evaluations: int, *, smallest: int = 64
) -> tuple[Level, ...]:
    """Return levels of which the last is for the loss itself, and those before for the way to it.

    Four ninths of the evaluations go to smaller sizes, from a shorter side of `smallest` on, a
    ninth to the way at full size and the rest to the loss itself; to each level at least one.
    """
    before, near = evaluations * 4 // 9, evaluations // 9
    smaller: tuple[Level, ...] = ()
    if before and min(size) >= 2 * smallest:
        half = (round(size[0] / 2), round(size[1] / 2))
        smaller = coarse_to_fine(half, before, smallest=smallest)
    rest = evaluations - sum(level.evaluations for level in smaller) - near
    way = (Level(size, near),) if near else ()
    return (*smaller, *way, Level(size, max(1, rest)))


def is_on_the_way(levels: Sequence[Level], index: int) -> bool:
    """Return whether another loss than the one that counts is lowered at a level."""
    return index < len(levels) - 1


def held(
    content: Sequence[Term], style: Sequence[Term], levels: Sequence[Level], index: int
) -> list[Term]:
    """Return the content's terms, on the way with as much weight as holds the photograph."""
    least = 0.0
    if is_on_the_way(levels, index):
        small = levels[index].size != levels[-1].size
        least = AT_SMALLER_SIZES if small else AT_FULL_SIZE
    has = sum(term.weight for term in content)
    factor = max(1.0, least * sum(term.weight for term in style) / has) if has else 1.0
    return [dataclasses.replace(term, weight=factor * term.weight) for term in content]
