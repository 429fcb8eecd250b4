"""Optimisers of other libraries: the same points as when they are called without us."""

import dataclasses
import threading

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import Tensor

from cnnperception.synthesis.optimisers import ScipyLBFGSB, TorchLBFGS

SHAPE = (1, 3, 4, 5)


def _random(seed: int) -> Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@dataclasses.dataclass
class _Valley:
    """A curved, badly scaled function of the pixels, and where it was asked for."""

    bounds: tuple[Tensor, Tensor] | None = None
    seen: list[Tensor] = dataclasses.field(default_factory=list)

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.seen.append(images.clone())
        scale = torch.linspace(1, 50, images.numel(), dtype=images.dtype).view(images.shape)
        apart = images - _random(7).to(images)
        loss = (scale * (apart**2 + apart**4)).sum()[None]
        gradient = scale * (2 * apart + 4 * apart**3)
        return loss, gradient, loss[:, None]


def _by_scipy(start: Tensor, scale: float, bounds: object = None, **options: float) -> object:
    def function(flat: np.ndarray) -> tuple[float, np.ndarray]:
        images = torch.from_numpy(flat.copy()).view(SHAPE) / scale
        loss, gradient, _ = _Valley()(images)
        return float(loss), gradient.numpy().ravel() / scale

    first = start.numpy().ravel() * scale
    return optimize.minimize(
        function, first, jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )


def test_lbfgsb_of_scipy_takes_the_same_steps_as_when_called_directly() -> None:
    search = ScipyLBFGSB(history=5, loss_tolerance=0.0, gradient_tolerance=0.0)
    steps = list(search.search(_Valley(), _random(1), 8))
    direct = _by_scipy(_random(1), 255.0, maxcor=5, ftol=0.0, gtol=0.0, maxiter=8)
    assert direct.nit == 8
    assert len(steps) == direct.nfev
    assert [step.evaluations for step in steps] == list(range(1, direct.nfev + 1))
    torch.testing.assert_close(
        steps[-1].images.flatten(), torch.from_numpy(direct.x) / 255, rtol=0, atol=1e-12
    )
    losses = [float(step.loss) for step in steps]
    assert losses == sorted(losses, reverse=True)


def test_lbfgsb_keeps_to_the_bounds_of_the_objective() -> None:
    low = torch.tensor([0.2, 0.3, 0.4], dtype=torch.float64).view(1, 3, 1, 1)
    objective = _Valley(bounds=(low, low + 0.3))
    steps = list(ScipyLBFGSB(scale=1.0).search(objective, _random(1), 50))
    found = steps[-1].images
    assert all((seen >= low - 1e-12).all() for seen in objective.seen)
    assert (found <= low + 0.3 + 1e-12).all()
    limits = optimize.Bounds(*(b.expand(SHAPE).numpy().ravel() for b in objective.bounds))
    direct = _by_scipy(_random(1), 1.0, bounds=limits, maxiter=50)
    torch.testing.assert_close(found.flatten(), torch.from_numpy(direct.x), rtol=0, atol=1e-12)
    # Where a bound is in the way, the search ends at it.
    outside = _random(7) < low
    assert outside.any()
    torch.testing.assert_close(found[outside], low.expand(SHAPE)[outside])


def test_a_budget_may_be_one_of_evaluations() -> None:
    strict = {"loss_tolerance": 0.0, "gradient_tolerance": 0.0}
    counted = list(ScipyLBFGSB(counts="evaluations", **strict).search(_Valley(), _random(2), 6))
    direct = _by_scipy(_random(2), 255.0, ftol=0.0, gtol=0.0, maxfun=6)
    assert len(counted) == direct.nfev


def test_lbfgs_of_torch_is_at_the_same_points_as_when_called_directly() -> None:
    start, objective = _random(3), _Valley()
    search = TorchLBFGS(iterations=4, scale=10.0)
    steps = list(search.search(objective, start, 12))
    assert [step.evaluations for step in steps] == list(range(1, 13))

    pixels, reference = (10.0 * start).clone().requires_grad_(), _Valley()
    optimiser = torch.optim.LBFGS([pixels], lr=1, max_iter=4)

    def closure() -> Tensor:
        loss, gradient, _ = reference(pixels.detach() / 10)
        pixels.grad = gradient / 10
        return loss[0]

    for _ in range(3):
        optimiser.step(closure)
    assert len(reference.seen) == 12
    for ours, theirs in zip(objective.seen, reference.seen, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-14)
    torch.testing.assert_close(steps[-1].images, reference.seen[-1], rtol=0, atol=1e-14)


@pytest.mark.parametrize("search", [ScipyLBFGSB(), TorchLBFGS()], ids=["scipy", "torch"])
def test_a_search_that_is_left_leaves_no_thread_behind(search: object) -> None:
    before = threading.active_count()
    steps = search.search(_Valley(), _random(1), 50)
    next(steps)
    assert threading.active_count() == before + 1
    steps.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("search", [ScipyLBFGSB(), TorchLBFGS()], ids=["scipy", "torch"])
def test_a_loss_that_is_no_number_is_an_error(search: object) -> None:
    class Broken(_Valley):
        def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            loss, gradient, terms = super().__call__(images)
            return (loss if len(self.seen) < 3 else loss * torch.nan), gradient, terms

    before = threading.active_count()
    with pytest.raises(FloatingPointError, match="not a finite number"):
        list(search.search(Broken(), _random(1), 50))
    assert threading.active_count() == before


def test_an_error_of_the_library_arrives() -> None:
    crossed = _Valley(bounds=(torch.ones(1, 3, 1, 1), torch.zeros(1, 3, 1, 1)))
    with pytest.raises(ValueError, match="bound"):
        list(ScipyLBFGSB().search(crossed, _random(1), 5))
