"""Which of several changes makes the difference: gains in every order of making them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

# What all of the changes made so far come to: for each set of changes, a value or resamples of it.
Values = Mapping[frozenset[str], Any]


def gains(values: Values, change: str) -> dict[frozenset[str], np.ndarray]:
    """Return what a change adds to every set of the others: the value with it less that without.

    Parameters
    ----------
    values : mapping from frozenset of str to float or array
        For every subset of the changes, what was measured with these made and the others not.
    change : str

    Returns
    -------
    dict from frozenset of str to ndarray
        For every set of other changes, made before this one.

    Raises
    ------
    ValueError
        When a subset is missing or the change is unknown.
    """
    names = _names(values)
    if change not in names:
        raise ValueError(f"no change is called {change!r}; there are {', '.join(sorted(names))}")
    return {
        made: np.asarray(values[made | {change}]) - np.asarray(values[made])
        for made in values
        if change not in made
    }


def mean_gain(values: Values, change: str) -> np.ndarray:
    """Return what a change adds, averaged over all orders in which the changes can be made.

    Its Shapley (1953) value: over all orders the gains add up to the difference between all
    changes and none.

    Parameters
    ----------
    values, change
        As `gains` takes them.
    """
    count = len(_names(values))
    total = sum(
        math.factorial(len(made)) * math.factorial(count - len(made) - 1) * gain
        for made, gain in gains(values, change).items()
    )
    return np.asarray(total / math.factorial(count))


def _names(values: Collection[frozenset[str]]) -> frozenset[str]:
    names: frozenset[str] = frozenset().union(*values)
    if len(values) != 2 ** len(names):
        raise ValueError(
            f"{len(names)} changes have {2 ** len(names)} subsets; there are values of "
            f"{len(values)}: give one for each, that of none among them"
        )
    return names
