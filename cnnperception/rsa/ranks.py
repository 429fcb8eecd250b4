"""Mean ranks of weighted values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Ranked(NamedTuple):
    """Mean ranks, and the order they follow from.

    Attributes
    ----------
    ranks : Tensor, shape (..., n), float64
    order : int Tensor, shape (..., n)
        The places of the values in ascending order.
    ties : bool
        Whether any two values are equal.
    """

    ranks: Tensor
    order: Tensor
    ties: bool

    def expand(self, *size: int) -> Ranked:
        """Return views of another shape, as torch's."""
        return Ranked(self.ranks.expand(*size), self.order.expand(*size), self.ties)


def ranked(values: Tensor, weights: Tensor) -> Ranked:
    """Return the mean rank of each value, counted as often as it weighs, ties sharing theirs.

    Parameters
    ----------
    values : Tensor, shape (..., n)
        Whole numbers from 0 up are ordered faster than others.
    weights : Tensor, shape (..., n), float64
        Whole numbers; what weighs nothing changes no rank.
    """
    order = argsort(values)
    ordered, weight = values.gather(-1, order), weights.gather(-1, order)
    same = ordered[..., 1:] == ordered[..., :-1]
    ties = bool(same.any())
    if ties:
        start, end = tie_bounds(same, weight)
        middle = (start + end + 1) / 2
    else:
        middle = weight.cumsum(-1) - (weight - 1) / 2
    return Ranked(torch.empty_like(middle).scatter_(-1, order, middle), order, ties)


def dense_ranks(values: Tensor) -> Tensor:
    """Return int64 ranks 0, 1, 2 ... along the last of two dimensions, ties sharing one."""
    return torch.stack([row.unique(return_inverse=True)[1] for row in values])


def tie_bounds(same: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of weights before and up to the end of the run of ties each value is in.

    Parameters
    ----------
    same : bool Tensor, shape (..., n - 1)
        Whether a value ties with the one before.
    weights : Tensor, shape (..., n)
    """
    end = weights.cumsum(-1)
    start = end - weights
    # Sums only grow: the last start so far, and, from the end, the first end.
    start[..., 1:].masked_fill_(same, -torch.inf)
    end[..., :-1].masked_fill_(same, torch.inf)
    return start.cummax(-1).values, end.flip(-1).cummin(-1).values.flip(-1)


def argsort(values: Tensor) -> Tensor:
    """Return the order of values along the last dimension."""
    if values.device.type != "cpu":
        return values.argsort(dim=-1)
    if values.dtype.is_floating_point:
        return torch.from_numpy(np.argsort(values.numpy(), axis=-1))
    bits = values.shape[-1].bit_length()
    largest = int(values.max()) if values.numel() else 0
    # One sort of whole numbers carries the value and which element it is: several times as fast.
    small = torch.int32 if bits + largest.bit_length() < 31 else torch.int64
    places = torch.arange(values.shape[-1], dtype=small)
    keys = sort((values.to(small) << bits).bitwise_or_(places))
    return keys.bitwise_and_((1 << bits) - 1).long()


def sort(values: Tensor) -> Tensor:
    """Return values in order along the last dimension."""
    if values.device.type != "cpu":
        return values.sort(dim=-1).values
    # NumPy sorts six times as fast as torch on the CPU.
    return torch.from_numpy(np.sort(values.numpy(), axis=-1))
