"""Limited-memory BFGS over the pixels of a batch, every image with a search of its own.

The images of a batch share each evaluation of the model and nothing else: each has its history,
step and line search, so an image comes out the same alone or in company. Nothing in the loop
waits for a number to arrive from the device.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

# images (batch, 3, height, width) -> loss (batch,), gradient like images, terms (batch, term)
Evaluate = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]

# gradient -> the direction that counts as steepest: a symmetric positive definite linear map
Precondition = Callable[[Tensor], Tensor]

SUFFICIENT_DECREASE = 1e-4  # Armijo's constant (Nocedal & Wright 2006, eq. 3.6a)
LARGEST_STEP = 0.1  # root mean square change of the pixels in one step
FIRST_STEP = 0.02  # the same for the first step, whose scale no curvature tells
MOST_BACKTRACKS = 12


@dataclasses.dataclass
class State:
    """Everything the search knows; saving it and going on is the same as never stopping.

    Attributes
    ----------
    images : Tensor, shape (batch, 3, height, width)
        The best images so far: the loss of accepted images never rises.
    loss, terms : Tensor, shape (batch,) and (batch, term)
        Loss of `images`, and its parts.
    gradient, direction : Tensor, like `images`
    step, slope : Tensor, shape (batch,)
        Length of the step to try next along `direction`, and the slope of the loss there.
    displacements, changes : Tensor, shape (batch, history, pixel)
        Ring buffers of the last steps and of the changes of the gradient over them.
    products : Tensor, shape (batch, history, history)
        Of each displacement with each change.
    kept : Tensor of bool, shape (batch, history)
        Which places of the buffers count.
    accepted, backtracks : Tensor of int64, shape (batch,)
        Pairs stored so far, and tries rejected since the last accepted one.
    evaluations : int
        Evaluations of the model so far.
    """

    images: Tensor
    loss: Tensor
    terms: Tensor
    gradient: Tensor
    direction: Tensor
    step: Tensor
    slope: Tensor
    displacements: Tensor
    changes: Tensor
    products: Tensor
    kept: Tensor
    accepted: Tensor
    backtracks: Tensor
    evaluations: int

    def stalled(self) -> Tensor:
        """Return, for each image (batch,), whether no step along the gradient lowers the loss."""
        return self.backtracks > 2 * MOST_BACKTRACKS


def unpreconditioned(gradient: Tensor) -> Tensor:
    """Return the gradient itself: a change of every pixel and channel costs the same."""
    return gradient


def minimise(
    evaluate: Evaluate,
    start: Tensor,
    *,
    history: int = 40,
    state: State | None = None,
    precondition: Precondition = unpreconditioned,
) -> Iterator[State]:
    """Lower a loss by L-BFGS, yielding the state after every evaluation, without end.

    Nocedal & Wright (2006), section 7.2, with backtracking by quadratic interpolation. A
    curvature condition is not searched for, as that costs evaluations: a pair of bad curvature
    is left out of the history, and the initial scaling (eq. 7.20) soon makes 1 the right step.

    Parameters
    ----------
    evaluate : callable
        images -> (loss (batch,), gradient, terms (batch, term)).
    start : Tensor, shape (batch, 3, height, width)
        Ignored when `state` is given.
    history : int
        Pairs kept for the approximation of the Hessian.
    state : State, optional
        Where an earlier search stopped. Its `evaluations` set to 0 say that it was one of another
        precision: the images are evaluated anew, and what it learnt of the curvature is kept.
    precondition : callable
        Linear, symmetric and positive definite; the initial inverse Hessian is a multiple of it.
        Of the many images of a small loss it chooses among those near the start in its terms.

    Raises
    ------
    FloatingPointError
        When the loss or gradient of the start is not finite.
    """
    if state is None:
        state = _begin(evaluate, start, history, precondition)
        yield state
    elif state.evaluations == 0:
        state = _reconsider(evaluate, state, precondition)
        yield state
    while True:
        state = _advance(evaluate, state, precondition)
        yield state


def _begin(evaluate: Evaluate, start: Tensor, history: int, precondition: Precondition) -> State:
    loss, gradient, terms = _finite(evaluate(start))
    batch, pixels = len(start), start[0].numel()
    buffers = [start.new_zeros((batch, history, pixels)) for _ in range(2)]
    counters = [torch.zeros(batch, dtype=torch.int64, device=start.device) for _ in range(2)]
    direction = -precondition(gradient)
    return State(
        images=start,
        loss=loss,
        terms=terms,
        gradient=gradient,
        direction=direction,
        step=_first_step(direction),
        slope=_dot(direction, gradient),
        displacements=buffers[0],
        changes=buffers[1],
        products=start.new_zeros((batch, history, history)),
        kept=torch.zeros((batch, history), dtype=torch.bool, device=start.device),
        accepted=counters[0],
        backtracks=counters[1],
        evaluations=1,
    )


def _finite(evaluation: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    loss, gradient, _ = evaluation
    if not (torch.isfinite(loss).all() and torch.isfinite(gradient).all()):
        raise FloatingPointError(
            "the loss of the starting image or its gradient is not a finite number; look for "
            "NaN or infinite weights in the model, or use full precision"
        )
    return evaluation


def _reconsider(evaluate: Evaluate, state: State, precondition: Precondition) -> State:
    """Return a state as another evaluation of the same images finds it."""
    loss, gradient, terms = _finite(evaluate(state.images))
    direction = _direction(state, gradient, precondition)
    return dataclasses.replace(
        state,
        loss=loss,
        terms=terms,
        gradient=gradient,
        direction=direction,
        step=_full_step(direction),
        slope=_dot(direction, gradient),
        backtracks=torch.zeros_like(state.backtracks),
        evaluations=1,
    )


def _advance(evaluate: Evaluate, state: State, precondition: Precondition) -> State:
    trial = state.images + _spread(state.step) * state.direction
    loss, gradient, terms = evaluate(trial)
    # Rounding alone must not reject a step at the end of the search.
    rounding = 4 * torch.finfo(loss.dtype).eps * state.loss.abs()
    enough = state.loss + SUFFICIENT_DECREASE * state.step * state.slope + rounding
    good = torch.isfinite(loss) & (loss <= enough)
    good &= torch.isfinite(gradient).flatten(1).all(dim=1)

    state.accepted += _remember(state, trial, gradient, good)
    images = torch.where(_spread(good), trial, state.images)
    new_gradient = torch.where(_spread(good), gradient, state.gradient)
    backtracks = torch.where(good, 0, state.backtracks + 1)
    # A direction that fails so often is wrong: go back to the gradient, once.
    restart = backtracks == MOST_BACKTRACKS
    state.kept.masked_fill_(restart[:, None], False)

    searched = _direction(state, new_gradient, precondition)
    direction = torch.where(_spread(good | restart), searched, state.direction)
    slope = _dot(direction, new_gradient)
    uphill = slope >= 0
    steepest = -precondition(new_gradient)
    direction = torch.where(_spread(uphill), steepest, direction)
    slope = torch.where(uphill, _dot(steepest, new_gradient), slope)

    shorter = _shorter_step(state, loss)
    fresh = torch.where(state.kept.any(dim=1), _full_step(direction), _first_step(direction))
    return dataclasses.replace(
        state,
        images=images,
        loss=torch.where(good, loss, state.loss),
        terms=torch.where(good[:, None], terms, state.terms),
        gradient=new_gradient,
        direction=direction,
        step=torch.where(good | restart, fresh, shorter),
        slope=slope,
        backtracks=backtracks,
        evaluations=state.evaluations + 1,
    )


def _remember(state: State, trial: Tensor, gradient: Tensor, good: Tensor) -> Tensor:
    """Store the pair of each accepted step whose curvature is positive; return which were."""
    displacement = (trial - state.images).flatten(1)
    change = (gradient - state.gradient).flatten(1)
    curvature = (displacement * change).sum(dim=1)
    scale = displacement.norm(dim=1) * change.norm(dim=1)
    store = good & (curvature > 1e-8 * scale) & (curvature > 0)
    place = state.accepted % state.kept.shape[1]
    image = torch.arange(len(good), device=good.device)
    for buffer, new in ((state.displacements, displacement), (state.changes, change)):
        buffer[image, place] = torch.where(store[:, None], new, buffer[image, place])
    state.kept[image, place] |= store
    state.products[image, place] = _times(state.changes, state.displacements[image, place])
    state.products[image, :, place] = _times(state.displacements, state.changes[image, place])
    return store


def _direction(state: State, gradient: Tensor, precondition: Precondition) -> Tensor:
    """Return minus the approximate inverse Hessian times the gradient.

    The two-loop recursion (Nocedal & Wright 2006, algorithm 7.4), each loop of which solves a
    triangular system: with s the displacements, y the changes and L_ij = s_i . y_j where j is no
    older than i, L a = s . g, and L^T d = diag(L) a - y . r, r = H0 (g - sum a_i y_i). The result
    is r + sum d_i s_i. So the long vectors are read a few times, whatever the history.
    """
    history = state.kept.shape[1]
    age = torch.arange(history, device=gradient.device)
    newest = (state.accepted[:, None] - 1 - age) % history
    kept = state.kept.gather(1, newest)
    rows = state.products.gather(1, newest[:, :, None].expand(-1, -1, history))
    products = rows.gather(2, newest[:, None, :].expand(-1, history, -1))
    products = torch.where(kept[:, :, None] & kept[:, None, :], products, 0.0)
    lower = products.tril() + torch.diag_embed((~kept).to(products))

    def solved(system: Tensor, values: Tensor, upper: bool) -> Tensor:
        given = torch.where(kept, values, 0.0)[..., None]
        return torch.linalg.solve_triangular(system, given, upper=upper)[..., 0]

    def in_places(values: Tensor) -> Tensor:
        return torch.zeros_like(values).scatter(1, newest, values)

    flat = gradient.flatten(1)
    first = solved(lower, _times(state.displacements, flat).gather(1, newest), False)
    flat = flat - _times(state.changes.mT, in_places(first))
    scale, flat = _initial(state, newest[:, 0], flat.view_as(gradient), precondition)
    flat = scale[:, None] * flat
    remaining = lower.diagonal(dim1=1, dim2=2) * first
    remaining = remaining - _times(state.changes, flat).gather(1, newest)
    second = solved(lower.mT, remaining, True)
    return -(flat + _times(state.displacements.mT, in_places(second))).view_as(gradient)


def _initial(
    state: State, newest: Tensor, vector: Tensor, precondition: Precondition
) -> tuple[Tensor, Tensor]:
    """Return the scale of the initial inverse Hessian, (batch,), and a vector preconditioned."""
    image = torch.arange(len(newest), device=newest.device)
    change = state.changes[image, newest]
    weighed = precondition(change.view_as(vector)).flatten(1)
    scale = state.products[image, newest, newest] / (change * weighed).sum(dim=1)
    scale = torch.where(state.kept[image, newest], scale, 1.0)
    return scale, precondition(vector).flatten(1)


def _times(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Return the product of each image's matrix, (batch, m, n), with its vector, (batch, n)."""
    if matrices.device.type != "cpu":
        return (matrices @ vectors[..., None])[..., 0]
    # One by one: a batch is summed in another order than an image alone.
    return torch.stack([torch.mv(*pair) for pair in zip(matrices, vectors, strict=True)])


def _shorter_step(state: State, loss: Tensor) -> Tensor:
    """Return the minimum of the parabola through what is known, within a tenth and a half."""
    excess = loss - state.loss - state.step * state.slope
    parabola = -state.slope * state.step.square() / (2 * excess)
    parabola = torch.where(torch.isfinite(parabola), parabola, 0.0)
    return torch.clamp(parabola, 0.1 * state.step, 0.5 * state.step)


def _full_step(direction: Tensor) -> Tensor:
    return torch.clamp(LARGEST_STEP / _size(direction), max=1.0)


def _first_step(direction: Tensor) -> Tensor:
    return FIRST_STEP / _size(direction)


def _size(direction: Tensor) -> Tensor:
    root_mean_square = direction.flatten(1).square().mean(dim=1).sqrt()
    return root_mean_square.clamp(min=torch.finfo(direction.dtype).tiny)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a.flatten(1) * b.flatten(1)).sum(dim=1)


def _spread(values: Tensor) -> Tensor:
    return values[:, None, None, None]
