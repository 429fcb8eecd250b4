"""What an image is asked to match: terms of a layer, a statistic and its target, and their sum."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .. import runtime
from ..models.interface import VisionModel, wrap_around
from ..statistics import at_least_single, channel_covariance, flatten, product_sums
from .position_statistics import EachPosition, PositionMeasure, PositionStatistic, Statistic
from .resampling import resampled
from .solver import Precondition, unpreconditioned
from .tiling import Tiles, distinct_layers, evaluate_in_tiles, measure_in_tiles, responses

# The source's features -> the statistic that a synthesis should share with it.
Measure = Callable[[Tensor], Statistic]

STATISTICS_PER_POSITION = 0.3
OTHER_COLOURS = 1e-3  # of a source's variance: the least ease of change in any colour
UNIFORM = 1e-3  # standard deviation, relative to the mean, of responses that are all alike
SMALLEST_RIDGE = 1e-2  # of the largest eigenvalue: with less, sparse textures can collapse
LEAST_ENERGY = 1e-2  # of that of the strongest direction: weaker ones are balanced no further


@dataclasses.dataclass(frozen=True)
class Term:
    """One statistic of one layer, to be brought to a target.

    Attributes
    ----------
    name : str
        What the loss is listed under, e.g. "texture/pool4".
    layer : str
    statistic : callable
        Features (batch, channel, height, width) -> Tensor (batch, ...).
    target : Tensor, shape (1 or batch, ...)
        What the statistic should be.
    weight : float
        With 0 the loss is only watched.
    """

    name: str
    layer: str
    statistic: Statistic
    target: Tensor
    weight: float = 1.0

    def loss(self, features: Tensor) -> Tensor:
        """Return ||S - T||^2 / ||T||^2 for each image, shape (batch,).

        Relative to the target, so that a weight means the same at every image size and layer
        width: 0 is a perfect match and 1 what a statistic of all zeros would have.
        """
        # Only sums over positions take features in half precision.
        summed = isinstance(self.statistic, PositionStatistic)
        return self.distance_to_target(
            self.statistic(features if summed else at_least_single(features))
        )

    def distance_to_target(self, statistic: Tensor) -> Tensor:
        """Return the loss of a statistic that is known.

        Raises
        ------
        ValueError
            For a statistic of other dimensions, such as features of an image of another size.
        """
        if statistic.shape[1:] != self.target.shape[1:]:
            raise ValueError(
                f"{self.name}: the image has a statistic of {tuple(statistic.shape[1:])} values "
                f"and its source one of {tuple(self.target.shape[1:])}; features are matched "
                "between images of the same size"
            )
        return (statistic - self.target).square().flatten(1).sum(dim=1) / self.size()

    def size(self) -> Tensor:
        """Return ||T||^2, shape (1 or batch,)."""
        size = self.target.square().flatten(1).sum(dim=1)
        return size.clamp(min=torch.finfo(size.dtype).tiny)


@dataclasses.dataclass(frozen=True)
class PixelTerm:
    """A loss of the pixels themselves, images (batch, 3, height, width) -> (batch,)."""

    name: str
    penalty: Callable[[Tensor], Tensor]
    weight: float = 1.0


def out_of_range(images: Tensor) -> Tensor:
    """Return the mean squared distance of the pixels from [0, 1], shape (batch,)."""
    return (images - images.clamp(0, 1)).square().flatten(1).mean(dim=1)


def total_variation(images: Tensor) -> Tensor:
    """Return the mean squared difference of neighbouring pixels, shape (batch,)."""
    down = (images[..., 1:, :] - images[..., :-1, :]).square().flatten(1).mean(dim=1)
    across = (images[..., 1:] - images[..., :-1]).square().flatten(1).mean(dim=1)
    return down + across


@dataclasses.dataclass(frozen=True)
class Objective:
    """The weighted sum of terms of one model; callable as the solver wants it.

    Attributes
    ----------
    model : VisionModel
    terms : sequence of Term
    pixel_terms : sequence of PixelTerm
    tileable : bool
        Look at the images as if their opposite borders were joined.
    precondition : callable
        Which changes of the pixels the solver prefers; see `minimise`.
    tiles : Tiles, optional
        Work tile by tile, to the same numbers in less memory.
    precision : torch.dtype
        In which the model computes, where torch deems that safe: bfloat16 is a rougher guide.
    bounds : (Tensor, Tensor), optional
        The lowest and highest values of pixels, (1, 3, 1, 1), for searches that keep to them.
    coarser : sequence of ((int, int), Objective)
        What is asked of the images reduced to some sizes, (height, width), besides: a model sees
        large structure there.
    """

    model: VisionModel
    terms: Sequence[Term]
    pixel_terms: Sequence[PixelTerm] = ()
    tileable: bool = False
    precondition: Precondition = unpreconditioned
    tiles: Tiles | None = None
    precision: torch.dtype = torch.float32
    bounds: tuple[Tensor, Tensor] | None = None
    coarser: Sequence[tuple[tuple[int, int], Objective]] = ()

    @property
    def layers(self) -> list[str]:
        """The layers of the terms, each once."""
        return distinct_layers(self.terms)

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each term, in the order of the losses."""
        own = [term.name for term in self.terms] + [term.name for term in self.pixel_terms]
        for (height, width), objective in self.coarser:
            own += [f"{name}/{height}x{width}" for name in objective.names]
        return tuple(own)

    @property
    def weights(self) -> list[float]:
        """The weight of each term, in the order of the losses."""
        own = [t.weight for t in self.terms] + [t.weight for t in self.pixel_terms]
        return own + [weight for _, objective in self.coarser for weight in objective.weights]

    def losses(self, images: Tensor) -> Tensor:
        """Return the unweighted loss of each term, shape (batch, term)."""
        layers = self.layers
        with wrap_around(self.model) if self.tileable else contextlib.nullcontext():
            features = responses(self.model, images, layers, self.precision) if layers else {}
        losses = []
        for term in self.terms:
            seen = features[term.layer]
            losses.append(term.loss(seen if term.weight else seen.detach()))
        losses += [term.penalty(images) for term in self.pixel_terms]
        more = [objective.losses(resampled(images, size)) for size, objective in self.coarser]
        # A model can compute in float64 whatever its images are in.
        return torch.cat([torch.stack(losses, dim=1), *more], dim=1).to(images)

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the total loss (batch,), its gradient like `images`, and `losses(images)`."""
        images = images.detach()
        # On the way back too, which is outside of `responses`.
        exact = self.precision == torch.float32
        with runtime.full_precision(images.device) if exact else contextlib.nullcontext():
            return self._evaluated(images)

    def _evaluated(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.coarser:
            return self._with_coarser(images)
        if self.tiles is not None:
            return evaluate_in_tiles(self, self.tiles, images)
        images.requires_grad_()
        with torch.enable_grad():
            losses = self.losses(images)
            total = losses @ runtime.sent(self.weights, losses)
            # The images do not influence each other, so one sum gives every image its gradient.
            (gradient,) = torch.autograd.grad(total.sum(), images)
        return total.detach(), gradient, losses.detach()

    def _with_coarser(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        total, gradient, losses = dataclasses.replace(self, coarser=())(images)
        whole = images.detach().requires_grad_()
        for size, objective in self.coarser:
            with torch.enable_grad():
                small = resampled(whole, size)
                its = dataclasses.replace(objective, precision=self.precision)(small)
                (carried,) = torch.autograd.grad(small, whole, its[1])
            total, gradient = total + its[0], gradient + carried
            losses = torch.cat([losses, its[2]], dim=1)
        return total, gradient, losses


def in_colours_of(source: Tensor) -> Precondition:
    """Prefer changes along the colours in which an image varies.

    A model that sees luminance alone leaves open with which colours it should change; the
    gradient would take green and purple, to which luminance responds most.

    Parameters
    ----------
    source : Tensor, shape (1, 3, height, width)
    """
    covariance = channel_covariance(source)[0]
    tiny = torch.finfo(covariance.dtype).tiny
    relative = covariance / covariance.trace().clamp(min=tiny)
    # Other colours remain possible, where the loss needs them.
    metric = relative + OTHER_COLOURS * torch.eye(3).to(relative)
    return lambda gradient: torch.einsum("ij,bjhw->bihw", metric, gradient)


def match(
    kind: str,
    model: VisionModel,
    layers: Sequence[str],
    measure: Measure,
    source: Tensor,
    *,
    weight: float = 1.0,
    tiles: Tiles | None = None,
) -> list[Term]:
    """Return a term for each layer whose target is a statistic of a source image.

    Parameters
    ----------
    kind : str
        First part of the terms' names: "texture", "style", "content".
    model : VisionModel
    layers : sequence of str
    measure : callable
        The source's features -> the statistic to match: one of `MEASURES`, `unchanged`, ...
    source : Tensor, shape (1 or batch, 3, height, width)
        RGB in [0, 1]; of several, each is the source of one image of the batch.
    weight : float
        Shared among the layers: each gets `weight / len(layers)`.
    tiles : Tiles, optional
        See the source tile by tile, in less memory.

    Raises
    ------
    FloatingPointError
        When a layer's responses to the source are not finite.
    ValueError
        When a layer answers nothing to the source, so that there is nothing to match.
    """
    with torch.no_grad():
        if tiles is not None:
            statistics, targets = measure_in_tiles(model, layers, measure, source, tiles)
            _check_responses(kind, model, targets)
        else:
            features = responses(model, source, layers)
            _check_responses(kind, model, features)
            statistics = {layer: measure(features[layer]) for layer in layers}
            targets = {layer: statistics[layer](features[layer]) for layer in layers}
    share = weight / len(layers)
    return [
        Term(f"{kind}/{layer}", layer, statistics[layer], targets[layer], share) for layer in layers
    ]


def _check_responses(kind: str, model: VisionModel, features: dict[str, Tensor]) -> None:
    for layer, response in features.items():
        if not torch.isfinite(response).all():
            raise FloatingPointError(
                f"the responses of layer {layer!r} of {model.name} to the {kind} image are not "
                "all finite; check the weights, or use full precision"
            )
        if not flatten(response).any(dim=1).all():
            raise ValueError(
                f"layer {layer!r} of {model.name} does not respond to the {kind} image at all; "
                "leave the layer out or check the weights"
            )


def unchanged(source: Tensor) -> EachPosition:
    """Match the features themselves, position by position."""
    return EachPosition()


def centred(source: Tensor) -> EachPosition:
    """Match the features themselves, about the mean of the source's over all units.

    The relative loss is then the share of the variance over units that is not met: 1 is as good
    as the right mean everywhere, however far that is from 0.
    """
    mean = source.mean()
    # Uniform responses have no variance to relate to.
    level = mean if source.std() > UNIFORM * mean.abs() else torch.zeros_like(mean)
    return EachPosition(level)


def _as_it_is(means: Tensor, positions: int) -> Callable[[Tensor], Tensor]:
    return lambda means: means


# The Gram matrix, as Gatys, Ecker & Bethge (2015).
plain_gram = PositionMeasure(product_sums, _as_it_is)


def _whiten(means: Tensor, positions: int) -> Callable[[Tensor], Tensor]:
    """Return G and W G W side by side, T being the Gram matrix of each source: `whitened_gram`."""
    whiten = torch.stack([_whitening(target, positions) for target in means])
    plain_size, white_size = _norm(means), _norm(whiten @ means @ whiten)

    def finish(matrices: Tensor) -> Tensor:
        whitened = whiten @ matrices @ whiten
        return torch.stack([matrices / plain_size, whitened / white_size], dim=1)

    return finish


def _whitening(target: Tensor, positions: int) -> Tensor:
    """Return (T + l I)^(-1/2), (channel, channel); see `whitened_gram`."""

    def scales(values: Tensor) -> Tensor:
        directions = min(0.9 * len(values), (STATISTICS_PER_POSITION * positions) ** 0.5)
        ridge = max(_ridge(values, directions), SMALLEST_RIDGE * float(values.max()))
        return (values + ridge).rsqrt()

    return _rescaled(target, scales)


def _rescaled(matrices: Tensor, scales: Callable[[Tensor], Tensor]) -> Tensor:
    """Return matrices with the eigenvectors of others, and a function of their eigenvalues."""
    values, vectors = torch.linalg.eigh(matrices.cpu().double())
    return ((vectors * scales(values.clamp(min=0))[..., None, :]) @ vectors.mT).to(matrices)


def _norm(matrices: Tensor) -> Tensor:
    """Return the norm of each matrix, (batch, 1, 1)."""
    return torch.linalg.matrix_norm(matrices)[:, None, None]


# The Gram matrix G, and G in the units in which the source's is near the identity.
#
# A few directions of a layer hold almost all of its energy, and a plain Gram loss is as good as
# zero when they alone are right; fine detail then stays noise. So half of the loss is that of
# W G W, with W = (T + l I)^(-1/2) and T the source's Gram matrix. The other half is G itself,
# which steers while the image is still far away: W G W alone can collapse to black.
#
# The ridge l is chosen so that the statistics that count, about k^2 / 2 for k effective
# directions (the trace of T (T + l I)^-1), stay well below the number of positions: more would
# dictate the arrangement of the source and give a copy of it.
whitened_gram = PositionMeasure(product_sums, _whiten)


def _ridge(values: Tensor, directions: float) -> float:
    """Return the ridge at which sum v / (v + ridge) is the number of directions."""
    low, high = 1e-9 * float(values.max()), 1e9 * float(values.max())
    for _ in range(80):
        middle = (low * high) ** 0.5
        if float((values / (values + middle)).sum()) > directions:
            low = middle
        else:
            high = middle
    return high


def _balance(means: Tensor, positions: int) -> Callable[[Tensor], Tensor]:
    """Return B G B, B = (T / t + r)^(-1/4), of each source's T: `balanced_gram`."""

    def scales(values: Tensor) -> Tensor:
        strongest = values[:, -1:].clamp(min=torch.finfo(values.dtype).tiny)
        return (values / strongest + LEAST_ENERGY).pow(-0.25)

    balance = _rescaled(means, scales)
    return lambda matrices: balance @ matrices @ balance


# The Gram matrix G in units that let a search bring G itself to its target T soonest.
#
# What a change of the features does to an element of G, in the directions of T's eigenvectors i
# and j, is as large as the root of their eigenvalues, so that a search first mends the few
# strong ones and comes to the weak ones late. B = (T / t + r)^(-1/4) on either side, with t the
# largest eigenvalue and r small, weighs the square of an element's error by about the inverse of
# that root: between G, which has too little of the weak directions, and the whitened matrix, in
# which they are all that counts.
balanced_gram = PositionMeasure(product_sums, _balance)
