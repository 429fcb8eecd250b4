import dataclasses
import itertools

import pytest
import torch
from scipy.optimize import minimize, rosen, rosen_der
from torch import Tensor

from cnnperception.synthesis import minimise, solver

Point = tuple[Tensor, Tensor, Tensor]


def _quadratic(centre: Tensor, scales: Tensor):
    def evaluate(images: Tensor) -> Point:
        difference = images - centre
        loss = (0.5 * scales * difference.square()).flatten(1).sum(dim=1)
        return loss, scales * difference, loss[:, None]

    return evaluate


def _rosenbrock(images: Tensor) -> Point:
    flat = images.flatten(1).numpy()
    loss = torch.tensor([rosen(row) for row in flat], dtype=images.dtype)
    gradient = torch.stack([torch.tensor(rosen_der(row)) for row in flat]).view_as(images)
    return loss, gradient.to(images), loss[:, None]


def _after(search, evaluations: int):
    return next(itertools.islice(search, evaluations - 1, None))


def _random(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("evaluations", [100, 300])
def test_a_badly_scaled_quadratic_is_lowered_as_fast_as_by_scipy(evaluations: int) -> None:
    evaluate = _quadratic(_random((1, 3, 4, 4), 0), torch.logspace(-2, 3, 48).view(1, 3, 4, 4))
    start = torch.zeros((1, 3, 4, 4), dtype=torch.float64)

    def flat(x):
        loss, gradient, _ = evaluate(torch.from_numpy(x).view_as(start))
        return loss.item(), gradient.flatten().numpy()

    options = {"maxcor": 20, "maxfun": evaluations, "ftol": 0, "gtol": 0}
    reference = minimize(
        flat, start.flatten().numpy(), jac=True, method="L-BFGS-B", options=options
    )
    state = _after(minimise(evaluate, start), evaluations)
    assert state.loss.item() < 1.5 * reference.fun


def test_rosenbrock_needs_about_as_many_evaluations_as_scipy() -> None:
    start = torch.full((1, 3, 2, 2), -0.5, dtype=torch.float64)
    reference = minimize(
        rosen, start.flatten().numpy(), jac=rosen_der, method="L-BFGS-B", options={"maxcor": 20}
    )
    state = _after(minimise(_rosenbrock, start), 3 * reference.nfev)
    assert state.loss.item() < 1e-6


def test_the_loss_of_accepted_images_never_rises() -> None:
    search = minimise(_rosenbrock, torch.full((1, 3, 2, 2), -0.5, dtype=torch.float64))
    losses = [state.loss.item() for state in itertools.islice(search, 80)]
    assert all(later <= earlier for earlier, later in itertools.pairwise(losses))


def test_an_image_comes_out_the_same_alone_or_in_company() -> None:
    scales = torch.logspace(-1, 2, 48, dtype=torch.float64).view(1, 3, 4, 4)
    centres, starts = _random((3, 3, 4, 4), 1), 3 * _random((3, 3, 4, 4), 2)
    together = _after(minimise(_quadratic(centres, scales), starts), 40)
    for index in range(3):
        one = slice(index, index + 1)
        alone = _after(minimise(_quadratic(centres[one], scales), starts[one]), 40)
        torch.testing.assert_close(together.images[one], alone.images, atol=1e-9, rtol=1e-9)


def test_going_on_from_a_saved_state_is_the_same_as_never_stopping() -> None:
    start = torch.full((1, 3, 2, 2), -0.5, dtype=torch.float64)
    unbroken = _after(minimise(_rosenbrock, start), 60)
    halfway = _after(minimise(_rosenbrock, start), 30)
    copied = dataclasses.replace(
        halfway, **{k: v.clone() for k, v in vars(halfway).items() if isinstance(v, Tensor)}
    )
    resumed = _after(minimise(_rosenbrock, start, state=copied), 30)
    assert torch.equal(resumed.images, unbroken.images)
    assert resumed.evaluations == unbroken.evaluations == 60


def _two_loops(state: solver.State, image: int, precondition) -> Tensor:
    """Return the direction of an image by algorithm 7.4 of Nocedal & Wright (2006), as printed."""
    history = state.kept.shape[1]
    newest = [(int(state.accepted[image]) - 1 - age) % history for age in range(history)]
    pairs = [
        (state.displacements[image, place], state.changes[image, place])
        for place in newest
        if state.kept[image, place]
    ]
    gradient = state.gradient[image : image + 1]
    q = gradient.flatten()
    weights = []
    for displacement, change in pairs:
        weights.append((displacement @ q) / (displacement @ change))
        q = q - weights[-1] * change
    r = precondition(q.view_as(gradient)).flatten()
    if pairs:
        displacement, change = pairs[0]
        weighed = precondition(change.view_as(gradient)).flatten()
        r = r * (displacement @ change) / (change @ weighed)
    for (displacement, change), weight in zip(reversed(pairs), reversed(weights), strict=True):
        r = r + (weight - (change @ r) / (displacement @ change)) * displacement
    return -r.view_as(gradient)[0]


@pytest.mark.parametrize("preconditioned", [False, True])
@pytest.mark.parametrize("history", [1, 3, 7])
def test_directions_are_those_of_the_two_loop_recursion(history: int, preconditioned: bool) -> None:
    scales = 1 + 50 * _random((3, 3, 4, 4), 1).abs()
    factor = _random((3, 3), 2)
    metric = factor @ factor.T + torch.eye(3) if preconditioned else torch.eye(3).double()

    def precondition(gradient: Tensor) -> Tensor:
        return torch.einsum("ij,bjhw->bihw", metric, gradient)

    def evaluate(images: Tensor) -> Point:
        loss = (scales * images.square() + images.mul(4).cos()).flatten(1).sum(dim=1)
        return loss, 2 * scales * images - 4 * images.mul(4).sin(), loss[:, None]

    search = minimise(
        evaluate, _random((3, 3, 4, 4), 3), history=history, precondition=precondition
    )
    for number, state in enumerate(itertools.islice(search, 12)):
        if number == 9:
            state.kept[0] = False  # as a restart has it
        direction = solver._direction(state, state.gradient, precondition)
        expected = torch.stack([_two_loops(state, image, precondition) for image in range(3)])
        torch.testing.assert_close(direction, expected, rtol=1e-9, atol=1e-12)
    assert state.accepted.min() > history


def test_a_search_goes_on_in_another_precision_with_what_it_knows_of_the_curvature() -> None:
    centre, scales = _random((2, 3, 4, 4), 0), torch.logspace(-2, 3, 48).view(1, 3, 4, 4)
    exact = _quadratic(centre, scales)

    def rough(images: Tensor) -> Point:
        loss, gradient, terms = exact(images)
        return 1.1 * loss, gradient.to(torch.bfloat16).double(), terms

    before = _after(minimise(rough, torch.zeros_like(centre)), 60)
    images = before.images.clone()
    anew = dataclasses.replace(before, evaluations=0)
    search = minimise(exact, torch.empty(0), state=anew)
    first = next(search)
    assert first.evaluations == 1
    assert torch.equal(first.images, images)
    torch.testing.assert_close(first.loss, exact(images)[0])
    assert torch.equal(first.gradient, exact(images)[1])
    assert first.kept.all()
    kept, forgotten = _after(search, 9), _after(minimise(exact, images), 10)
    assert (kept.loss < 0.95 * forgotten.loss).all()


def test_the_first_step_is_small_however_steep_the_loss() -> None:
    for steepness in (1e-6, 1.0, 1e8):
        evaluate = _quadratic(torch.ones(1, 3, 4, 4), torch.full((1, 3, 4, 4), steepness))
        state = _after(minimise(evaluate, torch.zeros(1, 3, 4, 4)), 2)
        assert 0 < state.images.square().mean().sqrt().item() < 0.05


def test_a_trial_that_is_not_a_number_is_stepped_back_from() -> None:
    def cliff(images: Tensor) -> Point:
        loss, gradient, terms = _quadratic(torch.ones(1, 3, 2, 2), torch.ones(1, 3, 2, 2))(images)
        over = (images > 0.5).flatten(1).any(dim=1)
        return torch.where(over, torch.nan, loss), gradient, terms

    search = minimise(cliff, torch.zeros(1, 3, 2, 2))
    states = list(itertools.islice(search, 60))
    assert all(torch.isfinite(state.loss).all() for state in states)
    assert 0.4 < states[-1].images.max().item() <= 0.5


def test_a_start_that_is_not_a_number_is_refused() -> None:
    def broken(images: Tensor) -> Point:
        return images.flatten(1).sum(dim=1) * torch.nan, images, images.flatten(1)[:, :1]

    with pytest.raises(FloatingPointError, match="not a finite number"):
        next(minimise(broken, torch.zeros(1, 3, 2, 2)))


def test_a_minimum_is_recognised_as_stalled() -> None:
    evaluate = _quadratic(torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2))
    state = _after(minimise(evaluate, torch.zeros(1, 3, 2, 2)), 3)
    assert torch.equal(state.images, torch.zeros(1, 3, 2, 2))
