"""Whether decoding is above chance."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from .. import runtime
from .decode import cross_validate, settings
from .folds import groups_of_strata
from .inputs import Labelled, draw_folds, labelled
from .readouts import Readout, readout_of
from .scores import balanced_accuracy


def permutation_test(
    patterns: Any,
    labels: Any,
    *,
    permutations: int = 200,
    readout: str = "logistic",
    groups: Any = None,
    folds: int = 5,
    penalties: float | Sequence[float] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> xr.Dataset:
    """Return how often permuted labels are decoded as well as the true ones.

    Everything is done anew for each permutation: folds, stratified by the permuted labels,
    standardisation, penalties, training. Labels that are the same throughout each group are
    permuted among groups; else, among the stimuli within each group. "ridge" is the fastest.

    Parameters
    ----------
    patterns, labels, readout, groups, folds, penalties, seed
        As `decode` takes them.
    permutations : int
        The smallest possible p is 1 / (permutations + 1).
    progress : bool

    Returns
    -------
    Dataset
        `accuracy` and `balanced_accuracy`; those of the permuted labels, `null_accuracy` and
        `null_balanced_accuracy` (permutation); `p_value` and `balanced_p_value`, one-sided: the
        share of permutations, the true labels among them, that do at least as well (Phipson &
        Smyth 2010).

    Raises
    ------
    ValueError
        As `decode`; also when groups leave nothing to permute.
    """
    chosen = readout_of(readout, penalties, folds, seed)
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1; got {permutations}")
    stimuli = labelled(patterns, labels, groups)
    rng = np.random.default_rng([seed, 1])
    observed = _accuracies(stimuli, chosen)
    null = np.empty((permutations, 2))
    bar = runtime.progress(range(permutations), "permutations", show=progress, total=permutations)
    for number in bar:
        codes = permuted(stimuli.codes, stimuli.groups, rng)
        null[number] = _accuracies(dataclasses.replace(stimuli, codes=codes), chosen)
    # Sums of the same shares may differ in the last bit.
    as_good = (null >= observed - 1e-12).sum(axis=0)
    p_values = (1 + as_good) / (1 + permutations)
    return xr.Dataset(
        {
            "accuracy": observed[0],
            "balanced_accuracy": observed[1],
            "null_accuracy": ("permutation", null[:, 0]),
            "null_balanced_accuracy": ("permutation", null[:, 1]),
            "p_value": p_values[0],
            "balanced_p_value": p_values[1],
        },
        coords={"permutation": np.arange(permutations)},
        attrs=settings(stimuli, chosen),
    )


def permuted(codes: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return labels permuted among groups that each have one, else within groups."""
    if (groups_of_strata(groups, codes) == 1).all():
        of_group = np.empty(groups.max() + 1, dtype=codes.dtype)
        of_group[groups] = codes
        return rng.permutation(of_group)[groups]
    shuffled = rng.permutation(len(codes))
    result = np.empty_like(codes)
    # The same places group by group, in their own order and in a random one.
    result[np.argsort(groups, kind="stable")] = codes[
        shuffled[np.argsort(groups[shuffled], kind="stable")]
    ]
    return result


def _accuracies(stimuli: Labelled, readout: Readout) -> np.ndarray:
    fold_of = draw_folds(stimuli, readout.folds, np.random.default_rng(readout.seed))
    predicted = cross_validate(stimuli, fold_of, readout)[0].argmax(axis=1)
    correct = predicted == stimuli.codes
    return np.array([correct.mean(), balanced_accuracy(predicted, stimuli.codes)])
