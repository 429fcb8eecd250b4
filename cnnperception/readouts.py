"""What is kept of a layer: applied as the features come out, so that no more is ever stored."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .statistics import gram, spatial_mean

Readout = Callable[[Tensor], Tensor]


def full(features: Tensor) -> Tensor:
    """Return the features as they are."""
    return features


def gram_units(features: Tensor) -> Tensor:
    """Return the upper triangle of each Gram matrix: texture statistics as units.

    Parameters
    ----------
    features : Tensor, shape (batch, channel, height, width)

    Returns
    -------
    Tensor, shape (batch, channel (channel + 1) / 2)
    """
    matrices = gram(features)
    rows, columns = torch.triu_indices(*matrices.shape[1:], device=matrices.device)
    return matrices[:, rows, columns]


READOUTS: dict[str, Readout] = {"full": full, "mean": spatial_mean, "gram": gram_units}


def readout(name: str) -> Readout:
    """Return the readout of a name.

    Raises
    ------
    ValueError
        When there is none of that name.
    """
    if name not in READOUTS:
        raise ValueError(f"no readout is called {name!r}; there are {', '.join(READOUTS)}")
    return READOUTS[name]
