"""The stages of a synthesis: each level of its schedule, the last in two precisions."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .. import runtime
from .checkpoint import Losses
from .pyramid import Level

PRECISIONS = ("auto", "float32", "mixed")
PACE, HEADWAY = 20, 0.8  # in so many evaluations in bfloat16 the loss has to fall to this share


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
    rough : bool
        Whether evaluations of the same level in higher precision follow.
    """

    index: int
    level: Level
    precision: torch.dtype
    until: int
    rough: bool = False

    def is_over(self, losses: Sequence[Losses], weights: Tensor) -> bool:
        """Return whether the evaluations are spent, or rounding has ended the headway.

        What a rough stage then leaves of its evaluations is for the exact one.

        Parameters
        ----------
        losses : sequence
            Of every evaluation of the synthesis until now.
        weights : Tensor, shape (term,)
        """
        terms = [row for index, _, _, row in losses if index == self.index]
        if len(terms) >= self.until:
            return True
        if not self.rough or len(terms) <= PACE or len(terms) % PACE:
            return False
        before, now = (row.cpu().float() @ weights for row in (terms[-1 - PACE], terms[-1]))
        return bool((now > HEADWAY * before).all())


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
    """Return the levels; when mixed, the last in two parts and all others in bfloat16."""
    precision = torch.bfloat16 if mixed else torch.float32
    stages = [Stage(k, level, precision, level.evaluations) for k, level in enumerate(schedule)]
    last = stages[-1]
    count = last.until * 2 // 3
    if not mixed or not count:
        return [*stages[:-1], dataclasses.replace(last, precision=torch.float32)]
    first = dataclasses.replace(last.level, evaluations=count)
    second = dataclasses.replace(last.level, evaluations=last.until - count)
    return [
        *stages[:-1],
        Stage(last.index, first, torch.bfloat16, count, rough=True),
        Stage(last.index, second, torch.float32, last.until),
    ]


def ends(stages: Sequence[Stage], seconds: float | None) -> Iterator[float]:
    """Yield the time at which each stage has to end, their shares being as their pixels."""
    costs = [stage.level.evaluations * math.prod(stage.level.size) for stage in stages]
    stop = math.inf if seconds is None else time.monotonic() + seconds
    for index, cost in enumerate(costs):
        now = time.monotonic()
        yield now + (stop - now) * cost / sum(costs[index:])
