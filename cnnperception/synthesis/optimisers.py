"""Optimisers of other libraries, so that a published procedure can be repeated as it was.

The engine's own search is in `solver`. Those here take one image, and cannot be stored half-way:
an interrupted one begins anew from the image it had reached.
"""

from __future__ import annotations

import dataclasses
import importlib
import queue
import threading
from collections.abc import Callable, Generator
from typing import Any, Protocol

import torch
from torch import Tensor

GREY_LEVELS = 255.0
UNLIMITED = 2**31 - 1
MOST_ITERATIONS = 15_000  # scipy's default, where evaluations are counted


@dataclasses.dataclass
class Progress:
    """Where a search is after an evaluation.

    Attributes
    ----------
    images : Tensor, shape (1, 3, height, width)
        The best so far, or where the search is, as the optimiser has it.
    loss, terms : Tensor, shape (1,) and (1, term)
        Loss of `images`, and its parts.
    evaluations : int
        Of the objective so far.
    """

    images: Tensor
    loss: Tensor
    terms: Tensor
    evaluations: int


Steps = Generator[Progress, None, None]


class Evaluated(Protocol):
    """What is minimised: images -> (loss, gradient, terms), within bounds where there are any."""

    @property
    def bounds(self) -> tuple[Tensor, Tensor] | None: ...

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]: ...


class Optimiser(Protocol):
    """How an image is searched for."""

    def search(self, objective: Evaluated, start: Tensor, evaluations: int) -> Steps:
        """Yield after each evaluation, until the search ends or its evaluations are spent."""
        ...


@dataclasses.dataclass(frozen=True)
class ScipyLBFGSB:
    """L-BFGS-B of scipy (Byrd, Lu, Nocedal & Zhu 1995), within the bounds of the objective.

    Attributes
    ----------
    history : int
        Pairs kept (`maxcor`).
    loss_tolerance, gradient_tolerance : float
        `ftol` and `gtol`; with 0 it goes on until its budget is spent or no step helps.
    counts : {"iterations", "evaluations"}
        What the budget limits (`maxiter` or `maxfun`). An iteration takes an evaluation or a
        few more.
    scale : float
        Pixels in [0, 1] times this are what is searched: 255 for grey levels.
    """

    history: int = 10
    loss_tolerance: float = 2.220446049250313e-09
    gradient_tolerance: float = 1e-5
    counts: str = "iterations"
    scale: float = GREY_LEVELS

    def search(self, objective: Evaluated, start: Tensor, evaluations: int) -> Steps:
        """Yield the best image so far after each evaluation."""
        limits = {"maxiter": evaluations, "maxfun": UNLIMITED}
        if self.counts == "evaluations":
            limits = {"maxiter": MOST_ITERATIONS, "maxfun": evaluations}
        tolerances = {"ftol": self.loss_tolerance, "gtol": self.gradient_tolerance}
        # Its stubs know no function that is passed on.
        optimize: Any = importlib.import_module("scipy.optimize")
        bounds = None
        if objective.bounds is not None:
            low, high = (self._flat(b.expand_as(start)) for b in objective.bounds)
            bounds = optimize.Bounds(low, high)

        def procedure(ask: Any) -> None:
            optimize.minimize(
                ask,
                self._flat(start),
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options={"maxcor": self.history, **tolerances, **limits},
            )

        best: Progress | None = None
        done = 0

        def evaluate(flat: Any) -> tuple[Any, Progress]:
            nonlocal best, done
            done += 1
            images = (torch.from_numpy(flat) / self.scale).view(start.shape).to(start)
            loss, gradient, terms = _checked(objective, images)
            if best is None or loss < best.loss:
                best = Progress(images, loss, terms, done)
            slope = gradient.double().cpu().flatten().numpy() / self.scale
            # What is kept of each evaluation is a tensor of its own.
            return (float(loss), slope), Progress(best.images, best.loss, best.terms.clone(), done)

        return _stepwise(procedure, evaluate)

    def _flat(self, images: Tensor) -> Any:
        return images.detach().double().cpu().flatten().numpy() * self.scale

    def __str__(self) -> str:
        return (
            f"L-BFGS-B of scipy ({self.history} pairs, ftol {self.loss_tolerance:.3g}, gtol "
            f"{self.gradient_tolerance:.3g}, {self.counts} counted, pixels times {self.scale:g})"
        )


@dataclasses.dataclass(frozen=True)
class TorchLBFGS:
    """L-BFGS of torch without a line search: steps are taken without looking where they lead.

    Attributes
    ----------
    rate : float
        Length of a step.
    history : int
        Pairs kept.
    iterations : int
        In one call of the optimiser, which is called until the evaluations are spent.
    gradient_tolerance, change_tolerance : float
        At which a call ends early.
    scale : float
        Pixels in [0, 1] times this are what is searched: 255 for grey levels.
    """

    rate: float = 1.0
    history: int = 100
    iterations: int = 20
    gradient_tolerance: float = 1e-7
    change_tolerance: float = 1e-9
    scale: float = GREY_LEVELS

    def search(self, objective: Evaluated, start: Tensor, evaluations: int) -> Steps:
        """Yield the image of each evaluation, better or worse than the one before."""
        done = 0

        def procedure(ask: Callable[[Any], Any]) -> None:
            pixels = (self.scale * start.detach()).contiguous().requires_grad_()
            optimiser = torch.optim.LBFGS(
                [pixels],
                lr=self.rate,
                max_iter=self.iterations,
                tolerance_grad=self.gradient_tolerance,
                tolerance_change=self.change_tolerance,
                history_size=self.history,
            )

            def closure() -> Tensor:
                loss, pixels.grad = ask(pixels.detach() / self.scale)
                found: Tensor = loss
                return found

            while done < evaluations:
                optimiser.step(closure)

        def evaluate(images: Any) -> tuple[Any, Progress]:
            nonlocal done
            done += 1
            loss, gradient, terms = _checked(objective, images)
            slope = (gradient / self.scale).contiguous()
            return (loss[0], slope), Progress(images, loss, terms, done)

        for progress in _stepwise(procedure, evaluate):
            yield progress
            if done >= evaluations:
                return

    def __str__(self) -> str:
        return (
            f"L-BFGS of torch (rate {self.rate:g}, {self.history} pairs, {self.iterations} "
            f"iterations a call, tolerances {self.gradient_tolerance:.3g} and "
            f"{self.change_tolerance:.3g}, no line search, pixels times {self.scale:g})"
        )


def _checked(objective: Evaluated, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Evaluate an objective, and raise FloatingPointError where the search has left all bounds."""
    loss, gradient, terms = objective(images)
    if not (torch.isfinite(loss).all() and torch.isfinite(gradient).all()):
        raise FloatingPointError(
            "the loss of an image or its gradient is not a finite number: the search took too "
            "large a step, or the weights of the model hold such numbers. Try another seed, or the "
            "engine's own search (preset='default')"
        )
    return loss, gradient, terms


class _Stopped(Exception):
    """Ends a procedure whose answers are no longer asked for."""


def _stepwise(
    procedure: Callable[[Callable[[Any], Any]], None],
    evaluate: Callable[[Any], tuple[Any, Progress]],
) -> Steps:
    """Turn a procedure that calls a function back into an iterator over its calls.

    The procedure waits in a thread of its own while each of its questions is evaluated here, so
    that only one of the two ever runs.

    Parameters
    ----------
    procedure : callable
        Takes the function that it calls with each question, and gets the answer from.
    evaluate : callable
        Question -> the answer, and what is yielded.
    """
    questions: queue.SimpleQueue[Any] = queue.SimpleQueue()
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    end, failures = object(), list[BaseException]()

    def ask(question: Any) -> Any:
        questions.put(question)
        answer = answers.get()
        if answer is end:
            raise _Stopped
        return answer

    def run() -> None:
        try:
            procedure(ask)
        except _Stopped:
            pass
        except BaseException as error:
            failures.append(error)
        questions.put(end)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while (question := questions.get()) is not end:
            answer, progress = evaluate(question)
            yield progress
            answers.put(answer)
    finally:
        answers.put(end)
        thread.join()
    if failures:
        raise failures[0]
