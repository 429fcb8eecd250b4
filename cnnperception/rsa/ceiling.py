"""Noise ceilings: how well the best model could do, given how much subjects differ."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

OfPools = Callable[[Tensor, Tensor], Tensor]


def noise_ceiling(of_pools: OfPools, counts: Tensor, groups: Tensor, fisher_z: bool) -> Tensor:
    """Return the lower and upper bound of the noise ceiling in each sample.

    Upper: the mean similarity of each subject's RDM to the pooled RDM of all. Lower: to the
    pooled RDM of the other subjects. Every copy of a subject, and every RDM of its group, leaves
    together; groups count once (Nili et al. 2014; Schuett et al. 2023).

    Parameters
    ----------
    of_pools : function
        Takes pool weights (sample, pool, subject) and which similarities are needed, and returns
        (sample, pool, subject).
    counts : Tensor, shape (sample, subject)
        How often each RDM is in each sample.
    groups : Tensor, shape (group, subject)
        1 where the RDM is of the group.
    fisher_z : bool
        Whether similarities are averaged as inverse hyperbolic tangents.

    Returns
    -------
    Tensor, shape (sample, 2)
        NaN where a sample has only one group: nobody is left to predict it.
    """
    counts = counts.double()
    members = groups[None] * (counts > 0)[:, None, :]
    all_of_them = counts[:, None, :]
    others = all_of_them * (1 - groups[None])
    needed = torch.cat([(counts > 0)[:, None, :], members > 0], dim=1)
    found = of_pools(torch.cat([all_of_them, others], dim=1), needed)
    if fisher_z:
        found = found.atanh()
    size = members.sum(dim=2)
    present = (size > 0).double()
    means = [
        # Where there are no members the similarities are not of anything: zero weight.
        (torch.where(members > 0, similarity, 0.0).sum(dim=2) / size.clamp(min=1) * present)
        for similarity in (found[:, 1:], found[:, :1])
    ]
    number = present.sum(dim=1)
    bounds = torch.stack([mean.sum(dim=1) / number for mean in means], dim=1)
    return torch.where(number[:, None] > 1, bounds, torch.nan)
