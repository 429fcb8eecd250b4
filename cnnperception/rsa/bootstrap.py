"""Bootstrap samples of stimuli and subjects, as how often each was drawn."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..labels import present

FACTORS = ("stimuli", "subjects")


@dataclass(frozen=True)
class Resamples:
    """How often each group of stimuli and of subjects is in each bootstrap sample.

    Attributes
    ----------
    stimuli : int array, shape (resample, group of stimuli)
    subjects : int array, shape (resample, group of subjects)
    """

    stimuli: np.ndarray
    subjects: np.ndarray

    def __len__(self) -> int:
        return len(self.stimuli)


@dataclass(frozen=True)
class Groups:
    """What is drawn together: the groups in order, and the number of each member's group."""

    names: tuple[Hashable, ...]
    of_member: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def members(self, counts: np.ndarray) -> np.ndarray:
        """Return counts of members, (..., member), from those of groups, (..., group)."""
        return counts[..., self.of_member]

    def indicator(self) -> np.ndarray:
        """Return (group, member), 1 where the member is of the group."""
        return (np.arange(len(self))[:, None] == self.of_member).astype(np.float64)


def make_groups(
    labels: Sequence[Hashable] | Mapping[str, Hashable] | None, members: Sequence[str], what: str
) -> Groups:
    """Return the groups of members, each its own when there are no labels.

    Raises
    ------
    ValueError
        When labels are missing or too many.
    """
    if labels is None:
        return Groups(tuple(members), np.arange(len(members)))
    if isinstance(labels, Mapping):
        missing = [name for name in members if name not in labels]
        if missing:
            raise ValueError(f"the group of {what} {missing[0]!r} is not given")
        labels = [labels[name] for name in members]
    each = present(labels, f"groups of {what}")
    if len(each) != len(members):
        raise ValueError(f"there are {len(each)} groups of {what} for {len(members)}")
    names = tuple(dict.fromkeys(each))
    number = {name: place for place, name in enumerate(names)}
    return Groups(names, np.array([number[label] for label in each]))


def draw_resamples(
    n_boot: int, stimuli: int, subjects: int, factors: Sequence[str], seed: int
) -> Resamples:
    """Draw bootstrap samples, with replacement, of as many as there are.

    Parameters
    ----------
    n_boot : int
    stimuli, subjects : int
        The numbers of groups to draw from.
    factors : sequence of {"stimuli", "subjects"}
        What is resampled; of the other each is there once.
    seed : int
    """
    rng = np.random.default_rng(seed)
    drawn = {}
    for factor, size in (("subjects", subjects), ("stimuli", stimuli)):
        if factor in factors:
            drawn[factor] = counts_of(rng.integers(0, size, (n_boot, size)), size)
        else:
            drawn[factor] = np.ones((n_boot, size), dtype=np.int64)
    return Resamples(**drawn)


def counts_of(drawn: np.ndarray, size: int) -> np.ndarray:
    """Return how often each number below `size` is in each row of (resample, draw)."""
    rows = np.arange(len(drawn))[:, None] * size
    return np.bincount((drawn + rows).ravel(), minlength=len(drawn) * size).reshape(-1, size)
