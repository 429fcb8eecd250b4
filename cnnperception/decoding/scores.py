"""How good predictions are: accuracy, d', confusions, and how sure that is."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from scipy.special import ndtri

BOUNDS = ("lower", "upper")


def d_prime(
    hits: ArrayLike,
    false_alarms: ArrayLike,
    signals: ArrayLike,
    noises: ArrayLike,
    *,
    correction: str | None = "loglinear",
) -> Any:
    """Return the sensitivity d' = z(hit rate) - z(false-alarm rate) from counts.

    Parameters
    ----------
    hits, false_alarms : array of counts
        How often signal, and how often noise, was called signal.
    signals, noises : array of counts
        How many trials there were of each.
    correction : {"loglinear", None}
        "loglinear" adds 0.5 to hits and false alarms and 1 to both numbers of trials, whatever
        they are, so that rates of 0 and 1 give a finite d' (Hautus 1995, Behavior Research
        Methods, Instruments, & Computers 27). None: such rates give an infinite d'.

    Returns
    -------
    float or ndarray
        In standard deviations of the two, equal, Gaussians.

    Raises
    ------
    ValueError
        For counts that are negative or above the number of trials, no trials, or an unknown
        correction.
    """
    counts = [np.asarray(x, dtype=np.float64) for x in (hits, signals, false_alarms, noises)]
    if correction not in ("loglinear", None):
        raise ValueError(f"correction must be 'loglinear' or None; got {correction!r}")
    rates = []
    for count, trials in (counts[:2], counts[2:]):
        if not ((count >= 0) & (count <= trials) & (trials > 0)).all():
            raise ValueError(
                "hits must be from 0 to signals and false_alarms from 0 to noises, which are "
                "numbers of trials above 0"
            )
        rates.append((count + 0.5) / (trials + 1) if correction else count / trials)
    return ndtri(rates[0]) - ndtri(rates[1])


def confusion_matrix(codes: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return how often each class was predicted for each, (true, predicted)."""
    table = np.zeros((classes, classes), dtype=int)
    np.add.at(table, (codes, predicted), 1)
    return table


def balanced_accuracy(predicted: np.ndarray, codes: np.ndarray) -> float:
    """Return the share of right predictions, averaged over classes."""
    return float((np.bincount(codes, predicted == codes) / np.bincount(codes)).mean())


def class_d_primes(confusion: np.ndarray) -> np.ndarray:
    """Return the d' of each class against all others, with the log-linear correction."""
    hits, of_class, named = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    return d_prime(hits, named - hits, of_class, confusion.sum() - of_class)


def pairwise_d_primes(codes: np.ndarray, decision: np.ndarray) -> np.ndarray:
    """Return the d' between every two classes, (class, other), with the log-linear correction.

    Of the stimuli of two classes, each is called the one with the larger decision value,
    whatever the values of the others are; equal values are half a call of each. NaN of a class
    with itself.
    """
    members = np.bincount(codes)
    hits = np.empty((len(members), len(members)))
    for number in range(len(members)):
        values = decision[codes == number]
        own = values[:, number, None]
        hits[number] = (own > values).sum(axis=0) + 0.5 * (own == values).sum(axis=0)
    found = d_prime(hits, members - hits.T, members[:, None], members)
    np.fill_diagonal(found, np.nan)
    return found


def intervals(
    codes: np.ndarray, correct: np.ndarray, groups: np.ndarray, resamples: int, seed: int
) -> np.ndarray:
    """Return 95 % intervals of the accuracy and the balanced accuracy, (2, bound).

    Percentiles over resamples, with replacement, of the groups tested. The readouts are not
    trained anew: the interval is of these readouts on other such stimuli. `correct` may be the
    share of several readouts that were right about a stimulus.
    """
    number = np.unique(groups, return_inverse=True)[1]
    shape = (number.max() + 1, codes.max() + 1)
    tested, right = np.zeros(shape), np.zeros(shape)
    np.add.at(tested, (number, codes), 1)
    np.add.at(right, (number, codes), correct)
    rng = np.random.default_rng([seed, 2])
    drawn = rng.multinomial(len(tested), np.full(len(tested), 1 / len(tested)), size=resamples)
    tested, right = drawn @ tested, drawn @ right
    # A class that a resample does not draw does not count in its mean.
    shares = np.divide(right, tested, out=np.full_like(right, np.nan), where=tested > 0)
    accuracy = right.sum(axis=1) / tested.sum(axis=1)
    scores = np.stack([accuracy, np.nanmean(shares, axis=1)])
    return np.quantile(scores, [0.025, 0.975], axis=1).T


def summary(
    codes: np.ndarray,
    decision: np.ndarray,
    classes: np.ndarray,
    groups: np.ndarray,
    resamples: int,
    seed: int,
) -> xr.Dataset:
    """Return every score of decision values; the class of the largest is the prediction.

    Parameters
    ----------
    codes : int array, shape (stimulus,)
    decision : ndarray, shape (stimulus, class)
    classes : ndarray
        Every class has a stimulus.
    groups : int array, shape (stimulus,)
        What is resampled.
    resamples, seed : int

    Returns
    -------
    Dataset
        `accuracy`, `balanced_accuracy` (mean over classes), `accuracy_interval` and
        `balanced_accuracy_interval` (bound), `d_prime` (class), `pairwise_d_prime` (class,
        other), `mean_pairwise_d_prime`, `confusion` (true, predicted), `chance` and
        `balanced_chance`.
    """
    predicted = decision.argmax(axis=1)
    pairs = pairwise_d_primes(codes, decision)
    table = confusion_matrix(codes, predicted, len(classes))
    members = table.sum(axis=1)
    correct = codes == predicted
    bounds = intervals(codes, correct, groups, resamples, seed)
    return xr.Dataset(
        {
            "accuracy": correct.mean(),
            "balanced_accuracy": balanced_accuracy(predicted, codes),
            "accuracy_interval": ("bound", bounds[0]),
            "balanced_accuracy_interval": ("bound", bounds[1]),
            "d_prime": ("class", class_d_primes(table)),
            "pairwise_d_prime": (("class", "other"), pairs),
            "mean_pairwise_d_prime": np.nanmean(pairs),
            "confusion": (("true", "predicted"), table),
            "chance": members.max() / members.sum(),
            "balanced_chance": 1 / len(classes),
        },
        coords={
            "class": classes,
            "other": classes,
            "true": classes,
            "predicted": classes,
            "bound": np.asarray(BOUNDS),
        },
    )
