"""From a schedule and its objectives to a finished image: progress, interruption, resumption."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from .. import images as image_files
from .. import interrupts, runtime
from .anchored import Anchored
from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .memory import has_room_for_anchor, history_for, is_out_of_memory
from .objective import Objective
from .optimisers import Optimiser, Progress
from .pyramid import Level
from .resampling import interpolated, resampled
from .result import Moment, SynthesisResult, loss_table, warn_of_failure
from .solver import Evaluate, State, minimise
from .stages import Stage, ends, is_mixed, stages_of

RENEWED = 50  # evaluations after which differences are taken from newer images


class Running(TypedDict, total=False):
    """How a synthesis is run, whatever it makes: keywords that every task hands to `synthesize`.

    They change how long it takes and what is seen of it; `synthesize` explains each.
    """

    progress: bool
    checkpoint: str | os.PathLike[str] | None
    checkpoint_every: int
    target_loss: float | None
    seconds: float | None
    watch: Callable[[Moment], None] | None
    precision: str
    memory: int | None


def synthesize(
    objective_at: Callable[[int], Objective],
    schedule: Sequence[Level],
    start: Tensor,
    provenance: dict[str, Any],
    *,
    optimiser: Optimiser | None = None,
    detail: Callable[[int], Tensor] | None = None,
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 25,
    target_loss: float | None = None,
    seconds: float | None = None,
    watch: Callable[[Moment], None] | None = None,
    precision: str = "auto",
    memory: int | None = None,
) -> SynthesisResult:
    """Optimise images through the levels of a schedule.

    Parameters
    ----------
    objective_at : callable
        Index of a level -> the objective for images of that level's size.
    schedule : sequence of Level
        From coarse to fine.
    start : Tensor, shape (batch, 3, height, width)
        At the size of the first level. Each later level starts from the enlarged result.
    provenance : dict
        What makes this synthesis this one: a checkpoint resumes only under the same.
    optimiser : Optimiser, optional
        In place of `minimise`; such a search cannot be stored, so that an interrupted one begins
        anew from the image it had reached, which the provenance says as "restarted".
    detail : callable, optional
        Index of a level -> what is added to the enlarged images there: frequencies that the level
        before could not have.
    progress : bool
        Show a bar with the time left.
    checkpoint : path-like, optional
        Written every `checkpoint_every` evaluations and at an interruption; when it exists, the
        synthesis goes on from it, to the same result as if it had never stopped. Removed at the
        end.
    checkpoint_every : int
    target_loss : float, optional
        Leave a level when the weighted loss of every image is at most this.
    seconds : float, optional
        Stop after this time, each level having its share of what is left; not reproducible.
    watch : callable, optional
        Called after every evaluation, with a `Moment`.
    precision : {"auto", "float32", "mixed"}
        "mixed" lets the model compute in bfloat16: at the last level only what differs from images
        known in float32 (see `Anchored`), to nearly the accuracy of float32, in which the last
        evaluation is. Where there is no memory for that, the last third of the last level is in
        float32. "auto" does so where the device is faster with it. The provenance says which it
        was.
    memory : int, optional
        Bytes that may be used; most of what is free when left out. Where an image does not fit
        it is seen in tiles, to the same numbers, and L-BFGS keeps fewer pairs.

    Returns
    -------
    SynthesisResult
        After Ctrl-C, with the best images until then and `finished` False.

    Raises
    ------
    ValueError
        When the checkpoint belongs to other settings.
    FloatingPointError
        When the loss of the starting images is not finite.
    MemoryError
        When memory is not enough: what to lower. The checkpoint is written first.
    """
    mixed = is_mixed(precision, start.device) and optimiser is None
    provenance = {**provenance, "precision": "mixed" if mixed else "float32"}
    stages = stages_of(schedule, mixed)
    path = None if checkpoint is None else Path(checkpoint)
    at = Checkpoint(level=0, state=None, images=start, losses=[])
    if path is not None and path.exists():
        at = load_checkpoint(path, provenance, start.device)
    restarted = {"restarted": len(at.losses)} if at.losses and optimiser is not None else {}
    total = sum(level.evaluations for level in schedule)
    bar = _Bar(total, len(at.losses), progress)
    deadlines = ends(stages[at.level :], seconds)
    finished, objective = False, None
    during = contextlib.ExitStack()
    during.callback(bar.close)
    during.enter_context(runtime.kept_memory())
    try:
        # Between evaluations the search changes what it has learnt of the curvature in place: a
        # run that was interrupted there would not go on as if it had not been.
        with interrupts.held() as held:
            for number in range(at.level, len(stages)):
                stage = stages[number]
                if objective is None or stage.index != stages[number - 1].index:
                    objective = objective_at(stage.index)
                if at.images.shape[-2:] != stage.level.size:
                    at.images = (
                        interpolated(at.images, stage.level.size, wrap=objective.tileable)
                        if optimiser is None
                        # Published procedures go on from a picture as it is written to a file.
                        else resampled(at.images.clamp(0, 1), stage.level.size)
                    )
                    if detail is not None and _grows(schedule, stage.index):
                        at.images = at.images + detail(stage.index)
                search = _search(objective, stage, at, optimiser, memory, held.during)
                for state in _until(search, target_loss, next(deadlines)):
                    at.level = number
                    if isinstance(state, State):
                        at.state = state
                    else:
                        at.images = state.images
                    at.losses.append((stage.index, stage.level.size, objective.names, state.terms))
                    held.let_through()
                    bar.advance(objective, state)
                    if watch is not None:
                        names = objective.names
                        seen = (state.images.detach(), state.terms)
                        watch(
                            Moment(stage.index, len(schedule), len(at.losses), total, names, *seen)
                        )
                    if path is not None and len(at.losses) % checkpoint_every == 0:
                        save_checkpoint(path, at, provenance)
                at.images = at.images if at.state is None else at.state.images
                # Of another size nothing can be kept; of another precision, the curvature.
                kept = (
                    dataclasses.replace(at.state, evaluations=0)
                    if at.state and stage.anchored
                    else None
                )
                at.state, at.level, at.anchor = kept, number + 1, None
        finished = True
    except KeyboardInterrupt:
        if path is not None:
            save_checkpoint(path, at, provenance)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if path is not None:
            save_checkpoint(path, at, provenance)
        raise MemoryError(_out_of_memory(at.images, path)) from error
    finally:
        during.close()
    if finished and path is not None:
        path.unlink(missing_ok=True)
    best = at.images if at.state is None else at.state.images
    if best.shape[-2:] != schedule[-1].size:
        best = image_files.resize(best, schedule[-1].size)
    result = SynthesisResult(
        images=best.detach().float().clamp(0, 1),
        losses=loss_table(at.losses),
        provenance={
            **provenance,
            **restarted,
            "evaluations": len(at.losses),
            "finished": finished,
        },
        finished=finished,
    )
    if finished:
        warn_of_failure(result)
    return result


def _grows(schedule: Sequence[Level], index: int) -> bool:
    return math.prod(schedule[index].size) > math.prod(schedule[index - 1].size)


def _out_of_memory(images: Tensor, path: Path | None) -> str:
    kept = "" if path is None else f"; {path} keeps what was reached"
    height, width = images.shape[-2:]
    return (
        f"memory was not enough for {len(images)} image(s) of {height} x {width} pixels: lower the "
        "size, give fewer or shallower layers, fewer images at once, or memory=BYTES, below what "
        f"is free, so that they are seen in smaller tiles{kept}"
    )


def _search(
    objective: Objective,
    stage: Stage,
    at: Checkpoint,
    optimiser: Optimiser | None,
    memory: int | None,
    interruptible: Callable[[Evaluate], Evaluate],
) -> Generator[State | Progress, None, None]:
    """Yield where a search is, until the stage is over.

    `at.losses` has every evaluation, also that of the state yielded last.
    """
    if optimiser is not None:
        yield from optimiser.search(objective, at.images, stage.left(at.losses))
        return
    if stage.anchored and not _can_be_anchored(objective, at.images, memory):
        stage = stage.without_anchor()
    if not stage.left(at.losses):
        return
    objective = dataclasses.replace(objective, precision=stage.precision)
    history = history_for(at.images, memory)
    state = at.state
    while True:
        if stage.anchored and state is not None and state.evaluations >= RENEWED:
            state = dataclasses.replace(state, evaluations=0)
        search = minimise(
            interruptible(_near_anchor(objective, at, state) if stage.anchored else objective),
            at.images,
            history=history,
            state=state,
            precondition=objective.precondition,
        )
        for state in search:
            yield state
            stalled = state.evaluations % 10 == 0 and bool(state.stalled().all())
            if stalled or not stage.left(at.losses):
                return
            if stage.anchored and state.evaluations >= RENEWED:
                break


def _can_be_anchored(objective: Objective, images: Tensor, memory: int | None) -> bool:
    if objective.tiles is not None:
        return False
    return has_room_for_anchor(objective.model, objective.layers, images, memory)


def _near_anchor(objective: Objective, at: Checkpoint, state: State | None) -> Evaluate:
    """Return the evaluation of differences from the images of the state, or from `at.anchor`.

    From those that the search, before it was interrupted, took them from.
    """
    anchored = Anchored(dataclasses.replace(objective, precision=torch.bfloat16))
    if state is not None and state.evaluations and at.anchor is not None:
        anchored(at.anchor)
    else:
        at.anchor = at.images if state is None else state.images
    return anchored


def _until(
    search: Generator[State | Progress, None, None], target_loss: float | None, end: float
) -> Iterator[State | Progress]:
    """Yield what a search does until the target is reached or the time is over."""
    with contextlib.closing(search):
        for state in search:
            yield state
            reached = target_loss is not None and bool((state.loss <= target_loss).all())
            if reached or time.monotonic() > end:
                return


class _Bar:
    """A progress bar that shows the loss now and then, or nothing."""

    def __init__(self, total: int, done: int, show: bool):
        from tqdm import tqdm

        self.bar = tqdm(total=total, initial=done, disable=not show, dynamic_ncols=True)

    def advance(self, objective: Objective, state: State | Progress) -> None:
        self.bar.update()
        if not self.bar.disable and state.evaluations % 10 == 0:
            self.bar.set_postfix(loss=f"{float(state.loss.mean()):.2e}", refresh=False)

    def close(self) -> None:
        self.bar.close()
