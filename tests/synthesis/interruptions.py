"""Ctrl-C in the middle of a synthesis."""

from collections.abc import Callable

import pytest
from torch import Tensor

from cnnperception.synthesis import Objective


def interrupt_at(monkeypatch: pytest.MonkeyPatch, stop: int) -> Callable[[], int]:
    """Interrupt the evaluation of this number, from 1; return what tells how many were begun."""
    evaluate, calls = Objective.__call__, 0

    def interrupted(self: Objective, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        nonlocal calls
        calls += 1
        if calls == stop:
            raise KeyboardInterrupt
        return evaluate(self, images)

    monkeypatch.setattr(Objective, "__call__", interrupted)
    return lambda: calls
