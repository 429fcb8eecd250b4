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
    """

    ranks: Tensor
    order: Tensor

    def expand(self, *size: int) -> Ranked:
        """Return views of another shape, as torch's."""
        return Ranked(self.ranks.expand(*size), self.order.expand(*size))


def ranked(values: Tensor, weights: Tensor) -> Ranked:
    """Return the mean rank of each value, counted as often as it weighs, ties sharing theirs.

    Parameters
    ----------
    values : Tensor, shape (..., n), float64
    weights : Tensor, shape (..., n)
        Whole numbers; what weighs nothing changes no rank.
    """
    order = argsort(values)
    ordered, weight = values.gather(-1, order), weights.gather(-1, order)
    start, end = tie_bounds(ordered[..., 1:] == ordered[..., :-1], weight)
    return Ranked(torch.empty_like(values).scatter_(-1, order, (start + end + 1) / 2), order)


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
    if same.any():
        # Sums only grow: the last start so far, and, from the end, the first end.
        start[..., 1:].masked_fill_(same, -torch.inf)
        end[..., :-1].masked_fill_(same, torch.inf)
        start = start.cummax(-1).values
        end = end.flip(-1).cummin(-1).values.flip(-1)
    return start, end


def argsort(values: Tensor) -> Tensor:
    """Return the order of values along the last dimension."""
    if values.device.type != "cpu":
        return values.argsort(dim=-1)
    # NumPy sorts six times as fast as torch on the CPU.
    return torch.from_numpy(np.argsort(values.numpy(), axis=-1))


def sort(values: Tensor) -> Tensor:
    """Return values in order along the last dimension."""
    if values.device.type != "cpu":
        return values.sort(dim=-1).values
    return torch.from_numpy(np.sort(values.numpy(), axis=-1))
