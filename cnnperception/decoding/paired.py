"""Accuracies of several readouts of the same stimuli, resampled together."""

from __future__ import annotations

from typing import Any

import numpy as np


def resampled_accuracies(
    correct: Any, groups: Any, *, resamples: int = 1000, seed: int = 0
) -> np.ndarray:
    """Return every readout's accuracy on the same resamples of the stimuli.

    Whatever is computed from the accuracies of one resample, such as the difference of two, is a
    bootstrap sample of it: its percentiles are an interval (Efron & Tibshirani 1993), narrower
    than two separate ones because what makes stimuli hard for both readouts cancels.

    Parameters
    ----------
    correct : array, shape (readout, stimulus)
        Whether each was right about each stimulus; or the share of several that were.
    groups : sequence of length stimulus
        What is resampled with replacement: the stimuli of a group (views of an object, say) come
        together.
    resamples : int
    seed : int

    Returns
    -------
    ndarray, shape (resample, readout)

    Raises
    ------
    ValueError
        When the shapes do not fit, a value is not between 0 and 1, or there is one group only.
    """
    right = np.asarray(correct, dtype=np.float64)
    names = np.asarray(groups)
    if right.ndim != 2 or names.shape != right.shape[1:]:
        raise ValueError(
            "correct must be (readout, stimulus) with a group for each stimulus; got "
            f"{right.shape} and groups of the shape {names.shape}"
        )
    if not ((right >= 0) & (right <= 1)).all():
        raise ValueError("correct must hold values from 0 to 1")
    number = np.unique(names, return_inverse=True)[1]
    count = int(number.max()) + 1
    if count < 2 or resamples < 1:
        raise ValueError(f"cannot resample {count} groups {resamples} times; it takes 2 and 1")
    tested = np.bincount(number)
    sums = np.stack([np.bincount(number, weights=row) for row in right])
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    shares: np.ndarray = (drawn @ sums.T) / (drawn @ tested)[:, None]
    return shares
