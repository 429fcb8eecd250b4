"""The stages of a synthesis: each level of its schedule, the last in several precisions."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Sequence

import torch

from .. import runtime
from .checkpoint import Losses
from .pyramid import Level

PRECISIONS = ("auto", "float32", "mixed")


@dataclasses.dataclass(frozen=True)
class Stage:
    """A level, or the part of one that is worked at in one precision.

    Attributes
    ----------
    index : int
        Of the level.
    level : Level
        Its size, and the part's share of its evaluations.
    precision : torch.dtype
    until : int
        The evaluations of the whole level that are done at the end of this part.
    anchored : bool
        Whether only differences from images known in float32 are rounded: see `Anchored`. The
        same level goes on in float32 as such.
    """

    index: int
    level: Level
    precision: torch.dtype
    until: int
    anchored: bool = False

    def without_anchor(self) -> Stage:
        """Return what takes its place where an anchor has no room: two thirds in bfloat16.

        What that leaves of the evaluations is for the next stage, in float32.
        """
        until = self.until * 2 // 3
        return dataclasses.replace(self, precision=torch.bfloat16, until=until, anchored=False)

    def left(self, losses: Sequence[Losses]) -> int:
        """Return how many evaluations are left, given those of the synthesis until now."""
        return max(0, self.until - sum(index == self.index for index, *_ in losses))


def is_mixed(precision: str, device: torch.device) -> bool:
    """Return whether a synthesis starts in bfloat16.

    Raises
    ------
    ValueError
        For an unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision!r}")
    return precision == "mixed" or (precision == "auto" and runtime.fast_bfloat16(device))


def stages_of(schedule: Sequence[Level], mixed: bool) -> list[Stage]:
    """Return the levels; when mixed, all but the last in bfloat16.

    The last sees differences from images known in float32, and ends with one evaluation in
    float32 as such, which tells the loss of the finished image.
    """
    precision = torch.bfloat16 if mixed else torch.float32
    *before, last = (
        Stage(k, level, precision, level.evaluations) for k, level in enumerate(schedule)
    )
    last = dataclasses.replace(last, precision=torch.float32)
    count = last.until - 1
    if not mixed or not count:
        return [*before, last]
    near = dataclasses.replace(last.level, evaluations=count)
    end = dataclasses.replace(last.level, evaluations=1)
    return [
        *before,
        dataclasses.replace(last, level=near, until=count, anchored=True),
        dataclasses.replace(last, level=end),
    ]


def ends(stages: Sequence[Stage], seconds: float | None) -> Iterator[float]:
    """Yield the time at which each stage has to end, their shares being as their pixels."""
    costs = [stage.level.evaluations * math.prod(stage.level.size) for stage in stages]
    stop = math.inf if seconds is None else time.monotonic() + seconds
    for index, cost in enumerate(costs):
        now = time.monotonic()
        yield now + (stop - now) * cost / sum(costs[index:])
