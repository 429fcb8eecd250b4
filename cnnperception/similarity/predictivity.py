"""How well one representation predicts another: cross-validated regression, neuroid by neuroid."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from .. import runtime
from ..labels import present
from .patterns import matched, matrix

PENALTIES = tuple(10.0**exponent for exponent in range(-4, 6))

Predict = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def ridge_predictivity(
    features: Any,
    neuroids: Any,
    *,
    penalties: Sequence[float] = PENALTIES,
    folds: int = 10,
    groups: Sequence[Hashable] | None = None,
    reliability: Any = None,
    seed: int = 0,
    progress: bool = False,
) -> xr.Dataset:
    """Return how well features predict responses by ridge regression.

    Parameters
    ----------
    features : array, Tensor or DataArray, shape (stimulus, unit ...)
    neuroids : the same, shape (stimulus, neuroid ...)
        Responses, averaged over repetitions.
    penalties : sequence of float
        In units of the mean variance that features have along a dimension of the training
        stimuli. One is chosen for each neuroid and fold by the exact leave-one-out error on the
        training stimuli: tested stimuli have no part in it.
    folds : int
        Parts of the stimuli, drawn at random, that are tested in turn.
    groups : sequence, optional
        The group of each stimulus, such as its object: groups are never torn apart. A DataArray
        with a coordinate `stimulus` is put in the order of the features.
    reliability : array, shape (neuroid,), optional
        Of the responses, from 0 to 1, as `split_half_reliability` gives, to correct for noise.
    seed : int
    progress : bool

    Returns
    -------
    Dataset
        r (neuroid,): the mean over folds of the correlation of predicted and measured responses
        to tested stimuli; r_folds (fold, neuroid); penalty (fold, neuroid); median. With
        `reliability` also corrected (neuroid,), r / sqrt(reliability) (Spearman 1904), and
        median_corrected. Settings and seed are attributes.

    Raises
    ------
    ValueError
        For patterns of different stimuli or not finite, penalties that are not positive, groups
        that are missing, or too few stimuli or groups for the folds.
    """
    candidates = np.asarray(penalties, dtype=np.float64)
    if candidates.ndim != 1 or not candidates.size or not (candidates > 0).all():
        raise ValueError("penalties must be one or more numbers above 0")

    def predict(x: np.ndarray, y: np.ndarray, tested: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _ridge(x, y, tested, candidates)

    found = _predictivity(
        features, neuroids, predict, "penalty", folds, groups, reliability, seed, progress
    )
    return found.assign_attrs(method="ridge", penalties=list(candidates))


def pls_predictivity(
    features: Any,
    neuroids: Any,
    *,
    components: int = 25,
    folds: int = 10,
    groups: Sequence[Hashable] | None = None,
    reliability: Any = None,
    seed: int = 0,
    progress: bool = False,
) -> xr.Dataset:
    """Return how well features predict responses by partial least squares.

    Parameters
    ----------
    features, neuroids, folds, groups, reliability, seed, progress
        As for `ridge_predictivity`.
    components : int
        As many as the training stimuli and features allow, at most these (25 in Brain-Score).

    Returns
    -------
    Dataset
        As of `ridge_predictivity`, with components (fold, neuroid) in place of penalty.
    """
    if components < 1:
        raise ValueError(f"components must be 1 or more; got {components}")

    def predict(x: np.ndarray, y: np.ndarray, tested: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from sklearn.cross_decomposition import PLSRegression

        # The regression depends on features by their products alone: rotated into the span of
        # the training stimuli they are few, and nothing is lost.
        centre, level = x.mean(axis=0), y.mean(axis=0)
        predicted = np.tile(level, (len(tested), 1))
        centred = (x - centre) * _varies(x)
        _, values, rotation = np.linalg.svd(centred, full_matrices=False)
        rotation = rotation[values > 1e-10 * values[0]]
        used, answering = min(components, len(rotation)), _varies(y)
        if used and answering.any():
            answers = (y - level)[:, answering]
            # In units of their own: scikit-learn takes responses below 2e-15 for constant.
            unit = np.abs(answers).max()
            model = PLSRegression(used, scale=False).fit(centred @ rotation.T, answers / unit)
            found = np.asarray(model.predict((tested - centre) @ rotation.T))
            predicted[:, answering] += unit * found.reshape(len(tested), -1)
        return predicted, np.full(y.shape[1], float(used))

    found = _predictivity(
        features, neuroids, predict, "components", folds, groups, reliability, seed, progress
    )
    return found.assign_attrs(method="pls")


def split_half_reliability(repeats: Any, *, splits: int = 100, seed: int = 0) -> np.ndarray:
    """Return the reliability of the mean over repetitions of each neuroid's responses.

    The correlation over stimuli of the means of two random halves of the repetitions, averaged
    over splits and stepped up to all repetitions: k r / (1 + (k - 1) r) with k = repetitions /
    half (Spearman 1910; Brown 1910).

    Parameters
    ----------
    repeats : array, shape (repetition, stimulus, neuroid)
    splits : int
    seed : int

    Returns
    -------
    ndarray, shape (neuroid,)
    """
    values = np.asarray(repeats, dtype=np.float64)
    if values.ndim != 3 or len(values) < 2:
        raise ValueError(
            "repeats must be (repetition, stimulus, neuroid) with two repetitions or more; got "
            f"the shape {values.shape}"
        )
    rng = np.random.default_rng(seed)
    half = len(values) // 2
    found = []
    for _ in range(splits):
        order = rng.permutation(len(values))
        one, other = (
            values[chosen].mean(axis=0) for chosen in (order[:half], order[half : 2 * half])
        )
        found.append(_correlations(one, other))
    mean = np.mean(found, axis=0)
    times = len(values) / half
    stepped: np.ndarray = times * mean / (1 + (times - 1) * mean)
    return stepped


def _predictivity(
    features: Any,
    neuroids: Any,
    predict: Predict,
    chosen: str,
    folds: int,
    groups: Sequence[Hashable] | None,
    reliability: Any,
    seed: int,
    progress: bool,
) -> xr.Dataset:
    features, neuroids = matched(features, neuroids)
    if isinstance(groups, xr.DataArray):
        groups = matched(features, groups)[1]
    x, y = matrix(features, "features"), matrix(neuroids, "neuroids")
    scores, settings = [], []
    parts = list(_folds(len(x), folds, groups, seed))
    for train, test in runtime.progress(parts, "folds", show=progress):
        predicted, setting = predict(x[train], y[train], x[test])
        scores.append(_correlations(predicted, y[test]))
        settings.append(setting)
    r_folds = np.stack(scores)
    r = r_folds.mean(axis=0)
    result = xr.Dataset(
        {
            "r": ("neuroid", r),
            "r_folds": (("fold", "neuroid"), r_folds),
            chosen: (("fold", "neuroid"), np.stack(settings)),
            "median": float(np.median(r)),
        },
        attrs={"folds": folds, "grouped": int(groups is not None), "seed": seed},
    )
    if reliability is None:
        return result
    known = np.asarray(reliability, dtype=np.float64)
    if known.shape != r.shape:
        raise ValueError(f"there are {known.shape} reliabilities for {r.size} neuroids")
    if (known <= 0).any():
        warnings.warn(
            f"{int((known <= 0).sum())} neuroids are not reliable at all: their corrected "
            "correlation is NaN, and left out of the median",
            stacklevel=3,
        )
    corrected = r / np.sqrt(np.where(known > 0, known, np.nan))
    result["corrected"] = ("neuroid", corrected)
    result["median_corrected"] = float(np.nanmedian(corrected))
    return result


def _folds(
    count: int, folds: int, groups: Sequence[Hashable] | None, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the training and the tested stimuli of each fold."""
    members = np.arange(count)
    if groups is not None:
        labels = present(groups, "groups")
        if len(labels) != count:
            raise ValueError(f"there are {len(labels)} groups for {count} stimuli")
        number = {label: place for place, label in enumerate(dict.fromkeys(labels))}
        members = np.array([number[label] for label in labels])
    things = int(members.max()) + 1
    # A correlation over the tested stimuli needs three of them.
    fewest = 3 * folds if groups is None else folds
    if folds < 2 or things < fewest:
        raise ValueError(
            f"{folds} folds need {'groups' if groups is not None else 'stimuli'} enough to be "
            f"two or more of {'one' if groups is not None else 'three'} each; there are {things}"
        )
    order = np.random.default_rng(seed).permutation(things)
    for part in np.array_split(order, folds):
        tested = np.isin(members, part)
        if tested.sum() < 3:
            raise ValueError("a fold tests fewer than three stimuli: use fewer folds")
        yield np.flatnonzero(~tested), np.flatnonzero(tested)


def _ridge(
    x: np.ndarray, y: np.ndarray, tested: np.ndarray, penalties: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions, and the penalty of each neuroid, from one eigendecomposition.

    With K = U s U^T the kernel of centred training features, leaving stimulus i out leaves the
    residual (y - f)_i / (1 - h_i), h = 1/n + diag U s/(s + penalty) U^T, exactly (Allen 1974).
    """
    centre, mean = x.mean(axis=0), y.mean(axis=0)
    centred = x - centre
    values, vectors = np.linalg.eigh(centred @ centred.T)
    values = np.maximum(values, 0)
    scaled = penalties * values.mean()
    if not values.any():
        return np.tile(mean, (len(tested), 1)), np.full(y.shape[1], penalties[0])
    projected = vectors.T @ (y - mean)
    errors = []
    for penalty in scaled:
        shrunk = values / (values + penalty)
        leverage = 1 / len(x) + vectors**2 @ shrunk
        residual = (y - mean) - vectors @ (shrunk[:, None] * projected)
        errors.append(((residual / (1 - leverage)[:, None]) ** 2).mean(axis=0))
    best = np.argmin(errors, axis=0)
    weights = vectors @ (projected / (values[:, None] + scaled[best]))
    return mean + (tested - centre) @ (centred.T @ weights), penalties[best]


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the correlation of each column with its fellow; zero where one does not vary."""
    known = _varies(a) & _varies(b)
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    length = np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0))
    return np.divide(
        (a * b).sum(axis=0), length, out=np.zeros(a.shape[1]), where=known & (length > 0)
    )


def _varies(values: np.ndarray) -> np.ndarray:
    """Return which columns differ from their mean by more than rounding does."""
    length = np.linalg.norm(values - values.mean(axis=0), axis=0)
    varies: np.ndarray = length > 1e-12 * np.abs(values).max(axis=0) * np.sqrt(len(values))
    return varies
