"""Cross-validation folds that keep groups whole and classes in proportion."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def assign_folds(
    strata: np.ndarray, groups: np.ndarray, folds: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the fold of each stimulus; a group is never cut.

    Groups come in random order, the largest first; each goes where what it holds is rarest, and
    among equals to the smallest fold. Groups of one give stratified folds.

    Parameters
    ----------
    strata, groups : int arrays, shape (stimulus,)
        Numbers from 0 up. Each stratum (a class) is spread over the folds as evenly as groups
        allow.
    folds : int
    rng : Generator
    """
    held = np.zeros((groups.max() + 1, strata.max() + 1), dtype=int)
    np.add.at(held, (groups, strata), 1)
    total = np.maximum(held.sum(axis=0), 1)
    order = rng.permutation(len(held))
    order = order[np.argsort(-held.sum(axis=1)[order], kind="stable")]
    counts = np.zeros((folds, held.shape[1]), dtype=int)
    fold_of_group = np.empty(len(held), dtype=int)
    for group in order:
        # What the sum of squared shares grows by, but for a part that is the same in every fold.
        crowding = (counts * (held[group] / total**2)).sum(axis=1).round(12)
        fold = int(np.lexsort((counts.sum(axis=1), crowding))[0])
        fold_of_group[group] = fold
        counts[fold] += held[group]
    return fold_of_group[groups]


def groups_of_strata(
    strata: np.ndarray, groups: np.ndarray, known: int | None = None
) -> np.ndarray:
    """Return in how many groups each stratum, of as many as are known, is found."""
    pairs = np.unique(np.stack([strata, groups]), axis=1)
    return np.bincount(pairs[0], minlength=known or 0)


def splits(fold_of: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the places of the training and of the test stimuli of each fold.

    Those of a negative fold are always trained on, never tested.
    """
    for fold in np.unique(fold_of[fold_of >= 0]):
        yield np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
