"""Similarity of RDMs in many bootstrap samples at once, for measures that are linear products.

In a sample with stimulus i drawn w_i times, the pair (i, j) is there w_i w_j times (pairs of a
stimulus with itself are left out). Cosine and correlation, plain and whitened, depend on the
RDMs only through their weighted products: for all samples, one matrix product of the pairs'
weights with the products of the RDMs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

METHODS = ("cosine", "corr", "cosine_cov", "corr_cov")

# A variance below this share of the mean square is rounding.
_ROUNDING = 1e-13
# Values of products of RDMs at once: what stays in a processor's cache.
_AT_ONCE = 2**19


@dataclass(frozen=True)
class Moments:
    """Products of RDMs in each sample, in the measure's own metric.

    Attributes
    ----------
    cross : Tensor, shape (sample, row, subject)
    own : Tensor, shape (sample, row)
        Of each row with itself.
    subjects : Tensor, shape (sample, subject, subject)
    blocks : list of Tensors, shape (sample, k, k)
        Of the rows of each block with each other.
    scale : Tensor, shape (sample, subject)
        By which an RDM is divided before RDMs are pooled: its root mean square, or its standard
        deviation; not whitened.
    """

    cross: Tensor
    own: Tensor
    subjects: Tensor
    blocks: list[Tensor]
    scale: Tensor

    def similarities(self) -> Tensor:
        """Return how similar each row is to each subject, (sample, row, subject)."""
        return _ratio(self.cross, self.own[:, :, None], self._norms()[:, None, :])

    def of_pools(self, weights: Tensor) -> Tensor:
        """Return how similar pools of the subjects' RDMs are to each subject.

        A pool is the weighted sum of RDMs, each divided by its scale.

        Parameters
        ----------
        weights : Tensor, shape (sample or 1, pool, subject)

        Returns
        -------
        Tensor, shape (sample, pool, subject)
        """
        # An RDM that does not vary in a sample has nothing to add to a pool.
        scale = self.scale[:, None]
        weights = torch.where(scale > 0, weights / scale, 0.0)
        cross = weights @ self.subjects
        return _ratio(cross, (cross * weights).sum(-1)[:, :, None], self._norms()[:, None, :])

    def of_weighted(self, block: int, first: int, weights: Tensor) -> Tensor:
        """Return how similar a weighted sum of a block's rows is to each subject.

        Parameters
        ----------
        block : int
        first : int
            The number of the block's first row.
        weights : Tensor, shape (sample, k)

        Returns
        -------
        Tensor, shape (sample, subject)
        """
        rows = self.cross[:, first : first + weights.shape[1]]
        cross = torch.einsum("sk,skj->sj", weights, rows)
        own = torch.einsum("sk,skl,sl->s", weights, self.blocks[block], weights)
        return _ratio(cross, own[:, None], self._norms())

    def _norms(self) -> Tensor:
        return self.subjects.diagonal(dim1=1, dim2=2)


def moments(
    rows: Tensor,
    subjects: Tensor,
    pairs: Tensor,
    counts: Tensor,
    method: str,
    blocks: Sequence[tuple[int, int]] = (),
) -> Moments:
    """Return the products of RDMs in samples of the stimuli.

    Parameters
    ----------
    rows : Tensor, shape (row, pair), float64
        Models' RDMs.
    subjects : Tensor, shape (subject, pair), float64
    pairs : int Tensor, shape (2, pair)
        The two stimuli of each pair.
    counts : Tensor, shape (sample, stimulus)
        How often each stimulus is in each sample.
    method : {"cosine", "corr", "cosine_cov", "corr_cov"}
    blocks : sequence of (first, last + 1)
        Rows whose products with each other are wanted too.
    """
    weights = counts[:, pairs[0]] * counts[:, pairs[1]]
    centred = method.startswith("corr")
    stack = torch.cat([rows, subjects])
    if centred:
        # Centring changes no correlation, and leaves less to cancel.
        stack = stack - stack.mean(dim=1, keepdim=True)
    first = slice(0, len(rows))
    second = slice(len(rows), len(stack))
    plain = _Products(stack, weights, centred)
    metric = plain
    if method.endswith("_cov"):
        metric = _WhitenedProducts(stack, weights, centred, pairs, counts)
    own = metric.own()
    among_subjects = metric.among(second)
    among_subjects.diagonal(dim1=1, dim2=2).copy_(own[:, second])
    return Moments(
        cross=metric.between(first, second),
        own=own[:, first],
        subjects=among_subjects,
        blocks=[metric.among(slice(*block)) for block in blocks],
        scale=(plain.own()[:, second] / weights.sum(dim=1, keepdim=True)).sqrt(),
    )


class _Products:
    """Weighted products of RDMs, (sample, rdm, rdm), with their means taken off or not."""

    def __init__(self, stack: Tensor, weights: Tensor, centred: bool) -> None:
        self.stack, self.weights, self.centred = stack, weights, centred
        self.means = weights @ stack.T / weights.sum(dim=1, keepdim=True)
        self.squares = weights @ (stack**2).T

    def between(self, a: slice, b: slice) -> Tensor:
        """Return the products of some RDMs with others."""
        products = (self.stack[a, None] * self.stack[None, b]).flatten(0, 1)
        found = (self.weights @ products.T).unflatten(1, (self.stack[a].shape[0], -1))
        return self._corrected(found, a, b)

    def among(self, a: slice) -> Tensor:
        """Return the products of some RDMs with each other, computed once a pair of RDMs."""
        stack = self.stack[a]
        i, j = torch.triu_indices(len(stack), len(stack), device=stack.device)
        few = max(1, _AT_ONCE // stack.shape[1])
        once = [
            self.weights @ (stack[k] * stack[m]).T
            for k, m in zip(i.split(few), j.split(few), strict=True)
        ]
        found = self.weights.new_empty((len(self.weights), len(stack), len(stack)))
        found[:, i, j] = found[:, j, i] = torch.cat(once, dim=1)
        return self._corrected(found, a, a)

    def _corrected(self, found: Tensor, a: slice, b: slice) -> Tensor:
        found = found - self._shared(a, b)
        if not self.centred:
            return found
        # (x - mean x) . (y - mean y), from the products with a vector of ones.
        with_ones, size = self._with_ones()
        means_a, means_b = self.means[:, a, None], self.means[:, None, b]
        found = found - means_a * with_ones[:, None, b] - with_ones[:, a, None] * means_b
        return found + means_a * means_b * size[:, None, None]

    def own(self) -> Tensor:
        """Return the product of each RDM with itself; zero where it is rounding."""
        found = self.squares - self._shared_own()
        if self.centred:
            with_ones, size = self._with_ones()
            found = found - 2 * self.means * with_ones + self.means**2 * size[:, None]
        return torch.where(found > _ROUNDING * self.squares, found, 0.0)

    def _with_ones(self) -> tuple[Tensor, Tensor]:
        """Return the products with a vector of ones, and its own."""
        total = self.weights.sum(dim=1)
        return self.means * total[:, None], total

    def _shared(self, a: slice, b: slice) -> Tensor | float:
        return 0.0

    def _shared_own(self) -> Tensor | float:
        return 0.0


class _WhitenedProducts(_Products):
    """The same after whitening: less what the terms x_i + x_j of stimuli explain.

    See `whitening.whitened_products`: here every sample weighs pairs by w_i w_j.
    """

    def __init__(
        self, stack: Tensor, weights: Tensor, centred: bool, pairs: Tensor, counts: Tensor
    ) -> None:
        super().__init__(stack, weights, centred)
        count = counts.shape[1]
        i, j = pairs
        ones = torch.ones_like(stack[:1])
        square = stack.new_zeros((len(stack) + 1, count, count))
        square[:, i, j] = square[:, j, i] = torch.cat([stack, ones])
        sums = torch.einsum("sj,kji->ski", counts, square) * counts[:, None, :]
        normal = counts[:, :, None] * counts[:, None, :] * square[-1]
        # Stimuli that are not there have empty rows: any other diagonal than zero gives x = 0.
        there = normal.sum(dim=2) + 2 * counts
        normal.diagonal(dim1=1, dim2=2).copy_(torch.where(counts > 0, there, 1.0))
        self.sums, self.terms = sums, torch.linalg.solve(normal, sums.mT).mT

    def _with_ones(self) -> tuple[Tensor, Tensor]:
        total = self.weights.sum(dim=1, keepdim=True)
        shared = (self.sums @ self.terms[:, -1:].mT)[:, :, 0]
        found = torch.cat([self.means, torch.ones_like(total)], dim=1) * total - shared
        return found[:, :-1], found[:, -1]

    def _shared(self, a: slice, b: slice) -> Tensor:
        return self.sums[:, :-1][:, a] @ self.terms[:, :-1][:, b].mT

    def _shared_own(self) -> Tensor:
        return (self.sums * self.terms).sum(dim=2)[:, :-1]


def _ratio(cross: Tensor, own: Tensor, norms: Tensor) -> Tensor:
    # An RDM that does not vary (or is zero) in a sample has no similarity to anything: zero.
    length = (own * norms).clamp(min=0).sqrt()
    return torch.where(length > 0, cross / length, 0.0)
