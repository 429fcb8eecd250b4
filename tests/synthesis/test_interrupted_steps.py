"""Ctrl-C between evaluations: the run that goes on is the one that was never interrupted."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import cnnperception as cp
from cnnperception.models import RandomFilters
from cnnperception.synthesis import solver

MODEL = RandomFilters(scales=2, channels=8)


@pytest.mark.parametrize("step", [5, 12])
def test_a_run_interrupted_within_a_step_goes_on_to_the_same_image(
    monkeypatch: pytest.MonkeyPatch,
    press_interrupt: Callable[[], None],
    tmp_path: Path,
    step: int,
) -> None:
    options = {"model": MODEL, "size": 40, "evaluations": 30, "precision": "float32"}
    source = cp.exemplar("brick", size=48)
    whole = cp.texture(source, **options)
    searched, calls = solver._direction, 0

    def pressed(*arguments):
        nonlocal calls
        calls += 1
        if calls == step:
            press_interrupt()
        return searched(*arguments)

    monkeypatch.setattr(solver, "_direction", pressed)
    checkpoint = tmp_path / "kept.safetensors"
    first = cp.texture(source, checkpoint=checkpoint, **options)
    assert not first.finished
    monkeypatch.undo()
    second = cp.texture(source, checkpoint=checkpoint, **options)
    assert second.finished
    assert torch.equal(second.images, whole.images)
    assert len(second.losses) == len(whole.losses)
