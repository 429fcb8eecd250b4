"""What is decoded: patterns, the classes of their stimuli, and groups, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from ..labels import listed
from .folds import assign_folds, groups_of_strata


@dataclass(frozen=True)
class Labelled:
    """Patterns of stimuli with their classes.

    Attributes
    ----------
    patterns : ndarray, shape (stimulus, channel)
        In the dtype they came in.
    codes : int array, shape (stimulus,)
        The class of each stimulus, as a place in `classes`.
    classes : ndarray, shape (class,)
        Sorted.
    groups : int array, shape (stimulus,)
        Numbers from 0 up; each stimulus its own where none were given.
    ids : list of str
        Of the stimuli.
    grouped : bool
        Whether groups were given.
    """

    patterns: np.ndarray
    codes: np.ndarray
    classes: np.ndarray
    groups: np.ndarray
    ids: list[str]
    grouped: bool

    def __len__(self) -> int:
        return len(self.codes)


def labelled(patterns: Any, labels: Any, groups: Any = None) -> Labelled:
    """Return patterns, labels and groups in one checked form.

    Parameters
    ----------
    patterns : array, Tensor or DataArray, shape (stimulus, ...)
    labels, groups : sequence of length stimulus, or str
        A str is the name of a coordinate of `patterns` along `stimulus`. A DataArray with a
        coordinate `stimulus`, and a Series whose index are ids of stimuli, are put in the order
        of the patterns.

    Raises
    ------
    ValueError
        For patterns that are not (stimulus, ...) or not finite, labels or groups that are
        missing, of other stimuli or do not fit in number, or fewer than two classes.
    """
    if isinstance(patterns, xr.DataArray) and "stimulus" in patterns.dims:
        patterns = patterns.transpose("stimulus", ...)
    matrix = _matrix(patterns)
    ids = _ids(patterns, len(matrix))
    classes, codes = np.unique(column(patterns, labels, "labels", ids), return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"all {len(matrix)} stimuli are of the class {classes[0]!s}; decoding needs at least "
            "two classes"
        )
    if groups is None:
        numbers = np.arange(len(matrix))
    else:
        numbers = np.unique(column(patterns, groups, "groups", ids), return_inverse=True)[1]
    return Labelled(matrix, codes, classes, numbers, ids, groups is not None)


def column(patterns: Any, values: Any, name: str, ids: list[str]) -> np.ndarray:
    """Return one value a stimulus, given as such or as the name of a coordinate.

    An empty text is a missing value: text that is missing in a table is empty in a coordinate.
    """
    if isinstance(values, str):
        known = [str(n) for n in getattr(patterns, "coords", ())]
        if values not in known:
            raise ValueError(
                f"{name}={values!r} is no coordinate of the patterns; there are "
                f"{', '.join(known) or 'none'}. Give one value a stimulus instead"
            )
        values = patterns[values].to_numpy()
    values = _in_order(patterns, values, name, ids)
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    found = np.asarray(values)
    if found.shape != (len(ids),):
        raise ValueError(
            f"{name} must be one value a stimulus: there are {len(ids)} stimuli and {name} of the "
            f"shape {found.shape}"
        )
    # Looked for in the values as given: an array of numbers and text has NaN as the text "nan".
    missing = [i for i, value in enumerate(listed(values)) if pd.isna(value) or value == ""]
    if missing:
        raise ValueError(
            f"{name} are missing for {len(missing)} stimuli, the first {ids[missing[0]]!r}; leave "
            "those stimuli out"
        )
    if found.dtype.kind == "T":
        # Text of variable length, which zarr gives; numpy casts it to no other by itself.
        found = found.astype(object)
    return found if found.dtype.kind in "biufU" else found.astype(str)


def draw_folds(
    stimuli: Labelled, folds: int, rng: np.random.Generator, strata: np.ndarray | None = None
) -> np.ndarray:
    """Return the fold of each stimulus, so that every class can be trained on in every fold.

    Parameters
    ----------
    stimuli : Labelled
    folds : int
    rng : Generator
    strata : int array, shape (stimulus,), optional
        What is spread evenly over folds; the classes when left out.

    Raises
    ------
    ValueError
        For fewer than two folds, a class in fewer groups than folds, or one that a fold takes
        whole.
    """
    if folds < 2:
        raise ValueError(f"folds must be at least 2; got {folds}")
    things = "groups" if stimuli.grouped else "stimuli"
    counts = groups_of_strata(stimuli.codes, stimuli.groups)
    rarest = int(counts.argmin())
    if counts[rarest] == 1 and stimuli.grouped:
        raise ValueError(
            f"all stimuli of class {stimuli.classes[rarest]!s} are in one group: no readout could "
            "be trained on that class without the group it is tested on. Use finer groups, or "
            "leave the class out"
        )
    if counts[rarest] < folds:
        raise ValueError(
            f"class {stimuli.classes[rarest]!s} has {counts[rarest]} {things}, fewer than "
            f"{folds} folds; use at most {counts[rarest]} folds, or leave the class out"
        )
    fold_of = assign_folds(stimuli.codes if strata is None else strata, stimuli.groups, folds, rng)
    whole = whole_in_a_fold(stimuli.codes, fold_of)
    if whole is not None:
        raise ValueError(
            f"all groups of class {stimuli.classes[whole]!s} came into one fold, which leaves the "
            "class out of its training; use another number of folds, or finer groups"
        )
    return fold_of


def held_out(stimuli: Labelled, tested: np.ndarray) -> np.ndarray:
    """Return 0 for stimuli that are tested and -1 for those trained on.

    Parameters
    ----------
    stimuli : Labelled
    tested : bool array, shape (stimulus,)

    Raises
    ------
    ValueError
        Unless it is bool, every class is on both sides, and no group is.
    """
    if tested.dtype != bool:
        raise ValueError(f"test_on must be True or False for each stimulus; got {tested.dtype}")
    for side, those in (("trained on", ~tested), ("tested", tested)):
        absent = np.setdiff1d(stimuli.codes, stimuli.codes[those])
        if len(absent):
            raise ValueError(
                f"no stimulus of class {stimuli.classes[absent[0]]!s} is {side}; change test_on, "
                "or leave the class out"
            )
    shared = np.intersect1d(stimuli.groups[tested], stimuli.groups[~tested])
    if len(shared):
        first = stimuli.ids[int((tested & (stimuli.groups == shared[0])).argmax())]
        raise ValueError(
            f"{len(shared)} groups are both trained on and tested, such as that of stimulus "
            f"{first!r}; change test_on so that it holds whole groups"
        )
    return np.where(tested, 0, -1)


def whole_in_a_fold(codes: np.ndarray, fold_of: np.ndarray) -> int | None:
    """Return a class that is in one fold alone, if there is any."""
    alone = np.flatnonzero(groups_of_strata(codes, fold_of) == 1)
    return int(alone[0]) if len(alone) else None


def _in_order(patterns: Any, values: Any, name: str, ids: list[str]) -> Any:
    """Return values that say which stimuli they are of in the order of the patterns."""
    own = _stimuli_of(values, ids)
    if own is None or own == ids or not _has_ids(patterns):
        return values
    place = {stimulus: number for number, stimulus in enumerate(own)}
    other = sorted(set(ids) ^ set(own))
    if other:
        raise ValueError(
            f"{name} and patterns are of different stimuli: {other[0]!r} is in one alone. Give the "
            "same stimuli, or a list of values in the order of the patterns"
        )
    if len(place) < len(own):
        raise ValueError(
            f"{name} have several values for one stimulus, in another order than the patterns; "
            "give one for each, or a list in the order of the patterns"
        )
    plain = values.to_numpy()
    return plain[[place[stimulus] for stimulus in ids]]


def _stimuli_of(values: Any, ids: list[str]) -> list[str] | None:
    """Return the stimuli that values are of, where they say so.

    An index that holds none of the ids, or that pandas made, numbers rows.
    """
    if isinstance(values, xr.DataArray) and values.ndim == 1 and "stimulus" in values.coords:
        return [str(stimulus) for stimulus in values["stimulus"].to_numpy()]
    if isinstance(values, pd.Series) and not isinstance(values.index, pd.RangeIndex):
        named = [str(stimulus) for stimulus in values.index]
        return named if set(named) & set(ids) else None
    return None


def _has_ids(patterns: Any) -> bool:
    return isinstance(patterns, xr.DataArray) and "stimulus" in patterns.coords


def _matrix(patterns: Any) -> np.ndarray:
    if isinstance(patterns, torch.Tensor):
        # numpy has no bfloat16.
        patterns = patterns.detach().cpu()
        patterns = patterns.float() if patterns.dtype == torch.bfloat16 else patterns
    values = np.asarray(patterns)
    if values.ndim < 2 or 0 in values.shape:
        raise ValueError(f"patterns must be (stimulus, ...); got the shape {values.shape}")
    values = values.reshape(len(values), -1)
    if not np.isfinite(values).all():
        bad = int(np.argmin(np.isfinite(values).all(axis=1)))
        raise ValueError(
            f"patterns are not finite at stimulus {bad}; leave such stimuli or channels out"
        )
    return values


def _ids(patterns: Any, count: int) -> list[str]:
    if _has_ids(patterns):
        return [str(name) for name in patterns["stimulus"].to_numpy()]
    return [str(number) for number in range(count)]
