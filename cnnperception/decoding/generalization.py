"""Readouts trained in one condition and tested in another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from .. import runtime
from .decode import check_resamples, settings
from .folds import groups_of_strata, splits
from .inputs import Labelled, column, draw_folds, labelled
from .readouts import Readout, read_out, readout_of
from .scores import summary


def generalization(
    patterns: Any,
    labels: Any,
    condition: Any,
    *,
    readout: str = "logistic",
    groups: Any = None,
    folds: int = 5,
    penalties: float | Sequence[float] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    progress: bool = False,
) -> xr.Dataset:
    """Return how well a readout trained in each condition works in each other.

    Every cell of a row is tested on the readouts of the same folds, so that cells differ by
    condition alone, not by how much was trained on. A readout is tested on the fold it was not
    trained on, in every condition: with groups that hold the views of an object in all
    conditions, no object tested was trained on in any.

    Parameters
    ----------
    patterns, labels, readout, groups, folds, penalties, resamples, seed
        As `decode` takes them.
    condition : sequence of length stimulus, or str
        Say the size or the place at which an object is shown; a str names a coordinate of
        `patterns`.
    progress : bool

    Returns
    -------
    Dataset
        Along (train_condition, test_condition): `accuracy`, `balanced_accuracy`, their intervals
        (..., bound), `d_prime` (..., class), `pairwise_d_prime` (..., class, other),
        `mean_pairwise_d_prime`, `confusion` (..., true, predicted), `chance`; and `prediction`
        (train_condition, stimulus). The scores are those of `decode`.

    Raises
    ------
    ValueError
        As `decode`; also for one condition only, or a class with fewer members or groups in a
        condition than folds.
    """
    chosen = readout_of(readout, penalties, folds, seed)
    check_resamples(resamples)
    stimuli = labelled(patterns, labels, groups)
    names, conditions = np.unique(
        column(patterns, condition, "condition", stimuli.ids), return_inverse=True
    )
    fold_of = _folds(stimuli, names, conditions, chosen)
    decision = np.empty((len(names), len(stimuli), len(stimuli.classes)))
    bar = runtime.progress(range(len(names)), "conditions", show=progress, total=len(names))
    for number in bar:
        decision[number] = _decisions(stimuli, fold_of, conditions == number, chosen)
    rows = [
        xr.concat(
            [_cell(stimuli, row, conditions == n, resamples, seed) for n in range(len(names))],
            dim="test_condition",
        )
        for row in decision
    ]
    result = xr.concat(rows, dim="train_condition").assign(
        prediction=(("train_condition", "stimulus"), stimuli.classes[decision.argmax(axis=-1)]),
        label=("stimulus", stimuli.classes[stimuli.codes]),
        condition=("stimulus", names[conditions]),
        fold_of=("stimulus", fold_of),
    )
    result = result.assign_coords(train_condition=names, test_condition=names, stimulus=stimuli.ids)
    return result.assign_attrs(settings(stimuli, chosen), resamples=resamples)


def _folds(
    stimuli: Labelled, names: np.ndarray, conditions: np.ndarray, readout: Readout
) -> np.ndarray:
    """Return folds in which every class can be trained on in every condition."""
    if len(names) < 2:
        raise ValueError(f"all stimuli are of the condition {names[0]!s}; there must be two")
    classes = len(stimuli.classes)
    cells = conditions * classes + stimuli.codes
    counts = groups_of_strata(cells, stimuli.groups, len(names) * classes)
    rarest = int(counts.argmin())
    if counts[rarest] < readout.folds:
        things = "groups" if stimuli.grouped else "stimuli"
        raise ValueError(
            f"class {stimuli.classes[rarest % classes]!s} has {counts[rarest]} {things} in "
            f"condition {names[rarest // classes]!s}, fewer than {readout.folds} folds; use fewer "
            "folds, or leave the class or the condition out"
        )
    return draw_folds(stimuli, readout.folds, np.random.default_rng(readout.seed), cells)


def _decisions(
    stimuli: Labelled, fold_of: np.ndarray, trained: np.ndarray, readout: Readout
) -> np.ndarray:
    """Return decision values (stimulus, class) of the readouts of the other folds."""
    decision = np.empty((len(stimuli), len(stimuli.classes)))
    for others, test in splits(fold_of):
        decision[test], _ = read_out(stimuli, others[trained[others]], test, readout)
    return decision


def _cell(
    stimuli: Labelled, decision: np.ndarray, tested: np.ndarray, resamples: int, seed: int
) -> xr.Dataset:
    return summary(
        stimuli.codes[tested],
        decision[tested],
        stimuli.classes,
        stimuli.groups[tested],
        resamples,
        seed,
    )
