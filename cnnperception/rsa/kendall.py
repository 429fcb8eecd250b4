"""Kendall's taus of weighted vectors, many at once.

Knight (1966): concordant less discordant pairs are all pairs, less ties, less twice the strict
inversions left in one vector when both are put in the order of the other. The inversions are
counted without a merge sort's loop over elements: both orders are cut into blocks; inversions
between different blocks of both follow from a two-way table of the blocks' weights, those within
a block of either order from comparing its places, for all blocks at once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from .ranks import Ranked, sort, tie_bounds

# Elements to be compared at a time: as many as stay in a processor's cache.
_ELEMENTS = {"cpu": 2**19, "cuda": 2**26}


def kendall(x: Ranked, y: Ranked, weights: Tensor, needed: Tensor, method: str) -> Tensor:
    """Return Kendall's tau of vectors in which each element is there as often as it weighs.

    Parameters
    ----------
    x, y : Ranked, shape (sample, n_x, element), (sample, n_y, element)
        Ranks are multiples of a half, from 0 up.
    weights : Tensor, shape (sample, element), float64
        Whole numbers.
    needed : bool Tensor, shape (sample, n_x, n_y)
        Which taus are wanted; the others are zero.
    method : {"tau-a", "tau-b", "kendall"}
        Divided by all pairs of elements, or (the other two) corrected for ties.

    Returns
    -------
    Tensor, shape (sample, n_x, n_y)
    """
    total = weights.sum(dim=1)
    # Exact: no sum is larger than all weights together. Half the bytes are half the time.
    exact = weights.float() if not len(total) or total.max() < 2**24 else weights
    if x.ties or y.ties:
        in_both_orders, tied_x, tied_y = _with_ties(x, y, exact)
    else:
        in_both_orders, tied_x, tied_y = _without_ties(x, y, exact)
    found = torch.zeros(needed.shape, dtype=weights.dtype, device=weights.device)
    at_once = max(1, _ELEMENTS.get(weights.device.type, 2**20) // max(1, weights.shape[1]))
    for which in needed.nonzero().split(at_once):
        sample, row, column = which.unbind(dim=1)
        ordered = in_both_orders(sample, row, column)
        found[sample, row, column] = _taus(
            total[sample],
            tied_x[sample, row],
            tied_y[sample, column],
            ordered.tied_both,
            ordered.inversions(),
            method,
        )
    return found


def _taus(
    total: Tensor,
    tied_x: Tensor,
    tied_y: Tensor,
    tied_both: Tensor,
    inversions: Tensor,
    method: str,
) -> Tensor:
    """Return Kendall's taus from counts of weighted pairs, all Tensors of one shape.

    Parameters
    ----------
    total : Tensor
        The sum of the weights.
    tied_x, tied_y, tied_both : Tensors
        The sum over runs of elements tied in x, in y and in both of their squared weight.
    inversions : Tensor
        The weight of pairs that are strictly in opposite order.
    method : {"tau-a", "tau-b", "kendall"}
    """
    difference = total**2 - tied_x - tied_y + tied_both - 4 * inversions
    if method == "tau-a":
        every = total * (total - 1)
    else:
        every = ((total**2 - tied_x) * (total**2 - tied_y)).sqrt()
    return torch.where(every > 0, difference / every, 0.0)


class _InBothOrders:
    """Elements in the order of x and in the order of y, ties in neither an inversion.

    Attributes
    ----------
    x_places : Tensor, shape (comparison, element)
        In the order of y, each element's place in the order of x.
    y_places : Tensor, shape (comparison, element)
        The inverse permutation.
    x_weights, y_weights : Tensors, shape (comparison, element)
        In the order of x, and of y.
    tied_both : Tensor, shape (comparison,)
        The sum over runs of elements tied in both of their squared weight.
    """

    def __init__(
        self,
        x_places: Tensor,
        y_places: Tensor,
        x_weights: Tensor,
        y_weights: Tensor,
        tied_both: Tensor,
    ) -> None:
        self.x_places, self.y_places = x_places, y_places
        self.x_weights, self.y_weights = x_weights, y_weights
        self.tied_both = tied_both

    def inversions(self) -> Tensor:
        """Return the weight of pairs whose places in the two orders differ in direction."""
        comparisons, places = self.x_places.shape
        device = self.x_places.device
        # Comparing within blocks costs n x side, the table (n / side)^3: measured to balance.
        shift = places.bit_length() // 2
        blocks = (places - 1 >> shift) + 1
        first = (torch.arange(places, device=device) >> shift) * blocks
        # Small numbers for as long as they fit.
        small = torch.promote_types(self.y_places.dtype, _narrow(blocks * blocks))
        cell = ((self.y_places >> shift).to(small) + first.to(small)).long()
        table = self.x_weights.new_zeros((comparisons, blocks * blocks))
        table = table.scatter_add_(1, cell, self.x_weights).unflatten(1, (blocks, -1))
        # Of each cell, the weight in later blocks of x, and that in higher blocks of y.
        in_block = table.sum(dim=2, keepdim=True)
        higher = in_block - table.cumsum(2)
        later = table.sum(dim=1, keepdim=True) - table.cumsum(1)
        exact = float(in_block.max()) * float(later.max()) < 2**24
        between = (later * higher if exact else later.double() * higher).sum(
            dim=(1, 2), dtype=torch.float64
        )
        within_x = _within_blocks(self.y_places, self.x_weights, 1 << shift)
        # Pairs within a block of x too have been counted already.
        within_y = _within_blocks(self.x_places >> shift, self.y_weights, 1 << shift)
        return between + within_x + within_y


# (sample, row, column) of each comparison -> its elements, and what ties in x and in y
_Prepared = tuple[Callable[[Tensor, Tensor, Tensor], _InBothOrders], Tensor, Tensor]


def _without_ties(x: Ranked, y: Ranked, weights: Tensor) -> _Prepared:
    """Prepare vectors no two elements of which tie: they need no sort to be compared."""
    narrow = _narrow(weights.shape[1])
    x_places, y_places = (_inverse(vectors.order, narrow) for vectors in (x, y))
    x_weights, y_weights = (
        weights[:, None].expand(v.order.shape).gather(2, v.order) for v in (x, y)
    )
    # An element ties with itself alone, as often as it is there.
    tied = weights.double().square().sum(dim=1)

    def in_both_orders(sample: Tensor, row: Tensor, column: Tensor) -> _InBothOrders:
        return _InBothOrders(
            x_places[sample, row].gather(1, y.order[sample, column]),
            y_places[sample, column].gather(1, x.order[sample, row]),
            x_weights[sample, row],
            y_weights[sample, column],
            tied[sample],
        )

    tied_x, tied_y = (tied[:, None].expand(v.order.shape[:2]) for v in (x, y))
    return in_both_orders, tied_x, tied_y


def _with_ties(x: Ranked, y: Ranked, weights: Tensor) -> _Prepared:
    """Prepare vectors whose elements may tie."""
    x_sorted, x_weights = _sorted(x, weights)
    y_sorted, y_weights = _sorted(y, weights)
    x_ranks, y_places = (2 * x.ranks).int(), _inverse(y.order, torch.int32)

    def in_both_orders(sample: Tensor, row: Tensor, column: Tensor) -> _InBothOrders:
        return _in_both_orders(
            x_ranks[sample, row],
            y_places[sample, column],
            y_sorted[sample, column],
            y_weights[sample, column],
        )

    return in_both_orders, _tied(x_sorted, x_weights), _tied(y_sorted, y_weights)


def _in_both_orders(
    x_ranks: Tensor, y_places: Tensor, y_sorted: Tensor, y_weights: Tensor
) -> _InBothOrders:
    """Put elements, given by x's rank and y's place, in the order of x, ties in that of y.

    `y_sorted` holds the ranks of y in ascending order.
    """
    places = x_ranks.shape[1]
    bits = places.bit_length()
    largest = max((int(ranks.max()) for ranks in (x_ranks, y_sorted) if ranks.numel()), default=0)
    if bits + largest.bit_length() > 62:
        raise ValueError(f"Kendall's tau of {places} pairs of stimuli is out of reach: use 'rho-a'")
    wide = torch.int32 if bits + largest.bit_length() < 31 else torch.int64
    narrow = _narrow(places)
    mask = (1 << bits) - 1
    # One sort of whole numbers carries the rank and which element it is.
    keys = sort((x_ranks.to(wide) << bits).bitwise_or_(y_places.to(wide)))
    order = (keys & mask).long()
    x_weights = y_weights.gather(1, order)
    y_ranks = y_sorted.gather(1, order)
    x_ranks = keys >> bits
    same = (x_ranks[:, 1:] == x_ranks[:, :-1]) & (y_ranks[:, 1:] == y_ranks[:, :-1])
    # Elements tied in y take the order of x, so that they are no inversion.
    arange = torch.arange(places, device=x_ranks.device, dtype=wide)
    order = (sort((y_ranks.to(wide) << bits) | arange) & mask).long()
    return _InBothOrders(
        order.to(narrow),
        _inverse(order, narrow),
        x_weights,
        x_weights.gather(1, order),
        _squares_of_runs(same, x_weights),
    )


def _narrow(places: int) -> torch.dtype:
    """Return the smallest type that counts so many places."""
    return torch.int16 if places < 2**15 else torch.int32


def _inverse(order: Tensor, dtype: torch.dtype) -> Tensor:
    arange = torch.arange(order.shape[-1], device=order.device, dtype=dtype).expand_as(order)
    return torch.empty_like(order, dtype=dtype).scatter_(-1, order, arange)


def _sorted(values: Ranked, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return twice the ranks, whole numbers, and the weights, both in ascending order."""
    ordered = (2 * values.ranks.gather(2, values.order)).int()
    return ordered, weights[:, None].expand_as(values.ranks).gather(2, values.order)


def _tied(ordered: Tensor, weights: Tensor) -> Tensor:
    return _squares_of_runs(ordered[..., 1:] == ordered[..., :-1], weights)


def _squares_of_runs(same: Tensor, weights: Tensor) -> Tensor:
    """Return the sum over runs of ties of their squared weight."""
    start, end = tie_bounds(same, weights.double())
    return (weights * (end - start)).sum(dim=-1)


def _within_blocks(values: Tensor, weights: Tensor, side: int) -> Tensor:
    """Return the weight of pairs of the same block whose first value is the larger."""
    largest = int(weights.max()) if weights.numel() else 0
    small = torch.int16 if largest * side < 2**15 else torch.int32
    small = torch.promote_types(small, values.dtype)
    columns, weight = (_in_columns(x.to(small), side) for x in (values, weights))
    if values.device.type == "cpu":
        beaten = torch.from_numpy(_beaten(columns.numpy(), weight.numpy()))
    else:
        beaten = _beaten_later(columns, weight)
    return (beaten.float() * weight).sum(dim=0, dtype=torch.float64).sum(dim=1)


def _beaten(columns: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the weight of the later places in a column (first axis) with a smaller value.

    A difference's sign, spread over all of its bits, is a mask: no step leaves the small whole
    numbers, of which the processor handles many at a time.
    """
    beaten, room = np.zeros_like(weight), np.empty_like(columns)
    sign_bit = 8 * columns.itemsize - 1
    for apart in range(1, len(columns)):
        mask = np.subtract(columns[apart:], columns[:-apart], out=room[apart:])
        np.right_shift(mask, sign_bit, out=mask)
        np.bitwise_and(mask, weight[apart:], out=mask)
        beaten[:-apart] += mask
    return beaten


def _beaten_later(columns: Tensor, weight: Tensor) -> Tensor:
    """Return the same by comparison, for graphics processors."""
    beaten = torch.zeros_like(weight)
    for apart in range(1, len(columns)):
        beaten[:-apart] += (columns[:-apart] > columns[apart:]) * weight[apart:]
    return beaten


def _in_columns(values: Tensor, side: int) -> Tensor:
    """Return (place in block, comparison, block), the last block filled up with zeros."""
    missing = -values.shape[1] % side
    padded = torch.nn.functional.pad(values, (0, missing))
    return padded.unflatten(1, (-1, side)).permute(2, 0, 1).contiguous()
