"""How decoding grows with the number of training stimuli."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from .. import runtime
from .decode import check_resamples, settings
from .folds import splits
from .inputs import Labelled, draw_folds, labelled
from .readouts import read_out, readout_of
from .scores import BOUNDS, balanced_accuracy, intervals


def learning_curve(
    patterns: Any,
    labels: Any,
    sizes: Sequence[int],
    *,
    readout: str = "logistic",
    groups: Any = None,
    folds: int = 5,
    penalties: float | Sequence[float] | None = None,
    repeats: int = 5,
    resamples: int = 1000,
    seed: int = 0,
    progress: bool = False,
) -> xr.Dataset:
    """Return the accuracy of readouts trained on some stimuli of each class.

    The training stimuli are drawn from the training part of each fold; a larger set holds the
    smaller ones. With groups, as many groups as can be are drawn from before any is drawn from
    twice. Tests are on whole folds, the same for all sizes.

    Parameters
    ----------
    patterns, labels, readout, groups, folds, penalties, resamples, seed
        As `decode` takes them.
    sizes : sequence of int
        Training stimuli of each class. To choose among penalties there must be two at least.
    repeats : int
        How often folds and stimuli are drawn.
    progress : bool

    Returns
    -------
    Dataset
        `accuracy` and `balanced_accuracy` (size, repeat), `accuracy_interval` and
        `balanced_accuracy_interval` (size, bound; of the means over repeats, as `decode` gives
        them), `chance` and `balanced_chance`.

    Raises
    ------
    ValueError
        As `decode`; also for a size below 1 or above what a fold leaves to train on.
    """
    chosen = readout_of(readout, penalties, folds, seed)
    check_resamples(resamples)
    stimuli = labelled(patterns, labels, groups)
    if repeats < 1 or len(sizes) == 0 or min(sizes) < 1:
        raise ValueError(
            f"sizes and repeats must be numbers from 1; got {list(sizes)} and {repeats}"
        )
    predicted = np.empty((len(sizes), repeats, len(stimuli)), dtype=int)
    bar = runtime.progress(range(repeats), "learning curve", show=progress, total=repeats)
    for repeat in bar:
        rng = np.random.default_rng([seed, repeat])
        fold_of = draw_folds(stimuli, folds, rng)
        for train, test in splits(fold_of):
            place = _order_in_class(stimuli, train, rng)
            _check_sizes(stimuli, train, max(sizes))
            for row, size in enumerate(sizes):
                decision, _ = read_out(stimuli, train[place < size], test, chosen)
                predicted[row, repeat, test] = decision.argmax(axis=1)
    members = np.bincount(stimuli.codes)
    correct = predicted == stimuli.codes
    bounds = np.stack(
        [
            intervals(stimuli.codes, share, stimuli.groups, resamples, seed)
            for share in correct.mean(axis=1)
        ]
    )
    return xr.Dataset(
        {
            "accuracy": (("size", "repeat"), correct.mean(axis=-1)),
            "balanced_accuracy": (
                ("size", "repeat"),
                np.apply_along_axis(balanced_accuracy, -1, predicted, stimuli.codes),
            ),
            "accuracy_interval": (("size", "bound"), bounds[:, 0]),
            "balanced_accuracy_interval": (("size", "bound"), bounds[:, 1]),
            "chance": members.max() / members.sum(),
            "balanced_chance": 1 / len(members),
        },
        coords={"size": list(sizes), "repeat": np.arange(repeats), "bound": list(BOUNDS)},
        attrs=settings(stimuli, chosen) | {"resamples": resamples},
    )


def _order_in_class(stimuli: Labelled, train: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return each training stimulus's place in a random order of its class, group by group."""
    shuffled = rng.permutation(len(train))
    codes, groups = stimuli.codes[train][shuffled], stimuli.groups[train][shuffled]
    # The first of every group comes before the second of any.
    turn = _count_before(np.stack([codes, groups], axis=1))
    order = np.argsort(turn, kind="stable")
    place = np.empty(len(train), dtype=int)
    place[shuffled[order]] = _count_before(codes[order, None])
    return place


def _count_before(keys: np.ndarray) -> np.ndarray:
    """Return for each row how many equal ones come before it."""
    number = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.argsort(number, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(number))[:-1]])
    before = np.empty(len(keys), dtype=int)
    before[order] = np.arange(len(keys)) - starts[number[order]]
    return before


def _check_sizes(stimuli: Labelled, train: np.ndarray, largest: int) -> None:
    counts = np.bincount(stimuli.codes[train], minlength=len(stimuli.classes))
    if largest > counts.min():
        raise ValueError(
            f"a size of {largest} is more than the {counts.min()} stimuli of class "
            f"{stimuli.classes[counts.argmin()]!s} that a fold leaves to train on"
        )
