"""Whether decoding is above chance."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import gammaln

from .. import runtime
from .decode import settings
from .folds import groups_of_strata, splits
from .inputs import Labelled, draw_folds, labelled
from .readouts import Readout, read_out_points, readout_of, ridge_of_labelings
from .scores import balanced_accuracy
from .span import BLOCK_VALUES, Coordinates, coordinates

# Arrangements of labels within folds that are enough to draw from.
MANY = 10_000
# With fewer arrangements, no p could be below 0.05.
FEWEST = 20


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

    Penalties and weights are found anew for each permutation. Labels that differ within groups
    are permuted within each group. Labels that are the same throughout each group are permuted
    among the groups of a fold, if groups are of one size and there are 10,000 arrangements or
    more; else among all groups, with folds stratified anew, which takes longer. "ridge" of a
    single penalty is by far the fastest.

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
        `accuracy` and `balanced_accuracy`, as of `decode`; those of the permuted labels,
        `null_accuracy` and
        `null_balanced_accuracy` (permutation); `p_value` and `balanced_p_value`, one-sided: the
        share of permutations, the true labels among them, that do at least as well (Phipson &
        Smyth 2010). The attribute `permuted` says what was.

    Raises
    ------
    ValueError
        As `decode`; also for labels that can be arranged in fewer than 20 ways.
    """
    chosen = readout_of(readout, penalties, folds, seed)
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1; got {permutations}")
    stimuli = labelled(patterns, labels, groups)
    fold_of = draw_folds(stimuli, folds, np.random.default_rng(seed))
    exchange = exchange_of(stimuli, fold_of)
    _check_arrangements(stimuli, exchange)
    rng = np.random.default_rng([seed, 1])
    others = [permuted(stimuli.codes, exchange, rng) for _ in range(permutations)]
    labelings = np.stack([stimuli.codes, *others])
    predicted = np.empty_like(labelings)
    steps = _steps(stimuli, labelings, exchange, chosen)
    total = folds * -(-len(labelings) // _at_once(stimuli, chosen))
    for rows, test, classes in runtime.progress(steps, "permutations", show=progress, total=total):
        predicted[rows, test] = classes
    observed, null = np.split(_accuracies(labelings, predicted), [1])
    # Sums of the same shares may differ in the last bit.
    as_good = (null >= observed - 1e-12).sum(axis=0)
    p_values = (1 + as_good) / (1 + permutations)
    return xr.Dataset(
        {
            "accuracy": observed[0, 0],
            "balanced_accuracy": observed[0, 1],
            "null_accuracy": ("permutation", null[:, 0]),
            "null_balanced_accuracy": ("permutation", null[:, 1]),
            "p_value": p_values[0],
            "balanced_p_value": p_values[1],
        },
        coords={"permutation": np.arange(permutations)},
        attrs=settings(stimuli, chosen) | {"permuted": exchange.name},
    )


@dataclass(frozen=True)
class Exchange:
    """Which labels may change places.

    Attributes
    ----------
    name : str
        For people.
    units : int array, shape (stimulus,)
        What has one label: stimuli, or groups.
    blocks : int array, shape (unit,)
        Labels change places among the units of a block.
    keeps_folds : bool
        Whether every fold has as many of each class after as before.
    """

    name: str
    units: np.ndarray
    blocks: np.ndarray
    keeps_folds: bool


def exchange_of(stimuli: Labelled, fold_of: np.ndarray) -> Exchange:
    """Return the exchange of labels under which folds can be kept, where there is a large one.

    Folds are drawn at random among those that hold classes in proportion. Given the folds,
    all arrangements of labels that leave these proportions as they are were therefore equally
    likely, if labels mean nothing: this makes the test exact. It asks for groups of one size,
    as folds depend on which label the large groups have.
    """
    codes, groups = stimuli.codes, stimuli.groups
    if (groups_of_strata(groups, codes) > 1).any():
        return Exchange("within groups", np.arange(len(codes)), groups, True)
    of_group = np.empty(groups.max() + 1, dtype=int)
    of_group[groups] = fold_of
    within = Exchange("among the groups of a fold", groups, of_group, True)
    if np.ptp(np.bincount(groups)) == 0 and log_arrangements(codes, within) > np.log(MANY):
        return within
    return Exchange("among groups", groups, np.zeros_like(of_group), False)


def log_arrangements(codes: np.ndarray, exchange: Exchange) -> float:
    """Return the logarithm of the number of different labels that an exchange can give."""
    counts = np.zeros((exchange.blocks.max() + 1, codes.max() + 1))
    np.add.at(counts, (exchange.blocks, _of_units(codes, exchange.units)), 1)
    return float((gammaln(counts.sum(axis=1) + 1) - gammaln(counts + 1).sum(axis=1)).sum())


def permuted(codes: np.ndarray, exchange: Exchange, rng: np.random.Generator) -> np.ndarray:
    """Return labels of which those of units in the same block have changed places at random."""
    of_unit, blocks = _of_units(codes, exchange.units), exchange.blocks
    shuffled = rng.permutation(len(of_unit))
    result = np.empty_like(of_unit)
    # The same places block by block, in their own order and in a random one.
    result[np.argsort(blocks, kind="stable")] = of_unit[
        shuffled[np.argsort(blocks[shuffled], kind="stable")]
    ]
    return result[exchange.units]


def _of_units(codes: np.ndarray, units: np.ndarray) -> np.ndarray:
    of_unit = np.empty(units.max() + 1, dtype=codes.dtype)
    of_unit[units] = codes
    return of_unit


def _check_arrangements(stimuli: Labelled, exchange: Exchange) -> None:
    number = np.exp(min(log_arrangements(stimuli.codes, exchange), 10.0))
    if number < FEWEST - 0.5:
        raise ValueError(
            f"labels can be arranged in only {number:.0f} ways ({exchange.name}), so that p could "
            f"not be below {1 / number:.2g}; use finer groups, or more of them"
        )


def _accuracies(labelings: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return accuracy and balanced accuracy under each of the labels, (labeling, 2)."""
    pairs = zip(labelings, predicted, strict=True)
    return np.array([[(c == p).mean(), balanced_accuracy(p, c)] for c, p in pairs])


def _steps(
    stimuli: Labelled, labelings: np.ndarray, exchange: Exchange, readout: Readout
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield which labelings and which stimuli were predicted, and the classes predicted.

    Folds, and so the coordinates of patterns, are drawn once where the exchange keeps them.
    """
    together = len(labelings) if exchange.keeps_folds else 1
    at_once = _at_once(stimuli, readout)
    for first in range(0, len(labelings), together):
        own = dataclasses.replace(stimuli, codes=labelings[first])
        fold_of = draw_folds(own, readout.folds, np.random.default_rng(readout.seed))
        for train, test in splits(fold_of):
            points = coordinates(stimuli.patterns, train, test)
            for start in range(first, first + together, at_once):
                rows = slice(start, min(start + at_once, first + together))
                decision = _decisions(points, stimuli, train, labelings[rows], readout)
                yield rows, test, decision.argmax(axis=-1)


def _at_once(stimuli: Labelled, readout: Readout) -> int:
    """Return how many labelings can be decoded at once."""
    if readout.name != "ridge" or len(readout.penalties) > 1:
        return 1
    return max(1, BLOCK_VALUES // (len(stimuli) * len(stimuli.classes)))


def _decisions(
    points: Coordinates,
    stimuli: Labelled,
    train: np.ndarray,
    labelings: np.ndarray,
    readout: Readout,
) -> np.ndarray:
    """Return decision values (labeling, test stimulus, class)."""
    if _at_once(stimuli, readout) > 1:
        return ridge_of_labelings(points, labelings[:, train], readout.penalties[0])
    each = (dataclasses.replace(stimuli, codes=codes) for codes in labelings)
    return np.stack([read_out_points(points, those, train, readout)[0] for those in each])
