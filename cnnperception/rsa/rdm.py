"""Representational dissimilarity matrices of patterns."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..labels import listed
from . import crossvalidated, dissimilarities
from .labels import labelled

PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "correlation": dissimilarities.correlation,
    "euclidean": dissimilarities.euclidean,
    "cosine": dissimilarities.cosine,
    "manhattan": dissimilarities.manhattan,
    "spearman": dissimilarities.spearman,
}
CROSSVALIDATED = ("crossnobis", "poisson_cv", "decoding")
METRICS = (*PLAIN, "mahalanobis", "poisson", *CROSSVALIDATED)


def rdm(
    patterns: Any,
    metric: str = "correlation",
    *,
    stimulus_ids: Sequence[Any] | None = None,
    folds: Sequence[Any] | None = None,
    precision: Any = None,
    prior_rate: float = 1.0,
    prior_weight: float = 0.1,
    device: str | torch.device = "cpu",
) -> xr.DataArray:
    """Return the dissimilarity of every pair of stimuli.

    Parameters
    ----------
    patterns : array, Tensor or DataArray, shape (stimulus, ...)
        One pattern a measurement; further dimensions are flattened to channels. A DataArray's
        coordinate `stimulus` gives the ids. For correlation, euclidean and cosine, a channel that
        is NaN in a pattern is left out of its pairs, with a warning.
    metric : str
        "correlation": 1 - Pearson correlation over channels. "euclidean": the squared distance
        divided by the number of channels. "cosine": 1 - cosine. "manhattan": the sum of absolute
        differences divided by the number of channels. "spearman": 1 - rank correlation over
        channels. "mahalanobis": (x - y)^T P (x - y) / channels. "poisson": symmetrised
        Kullback-Leibler divergence of rates with a Gamma prior, divided by channels. Between
        independent folds, possibly negative: "crossnobis" and "poisson_cv". "decoding": the
        cross-validated accuracy, 0 to 1, of a linear discriminant for the pair. As rsatoolbox
        defines those that it has, but summed in float64; except for the cross-validated ones
        never below zero.
    stimulus_ids : sequence, optional
        The stimulus of each measurement; 0, 1, 2 ... when neither these nor a coordinate are
        given. Measurements of the same stimulus are averaged, or, by the cross-validated metrics,
        compared across folds.
    folds : sequence, optional
        For the cross-validated metrics: the independent run of each measurement. When left out,
        the k-th measurement of each stimulus belongs to fold k.
    precision : array, or sequence or mapping of arrays, optional
        For mahalanobis, crossnobis and decoding: the inverse covariance of the noise, (channel,
        channel) or its diagonal; for crossnobis also one a fold (in the order of the sorted
        folds, or by fold). See `noise_precision`.
    prior_rate, prior_weight : float
        For poisson and poisson_cv: the mean of the prior, and how many measurements it weighs.
    device : str or torch.device
        Where the matrix product is done.

    Returns
    -------
    DataArray, dims (pair,), float64
        The upper triangle row by row, in the order of `scipy.spatial.distance.squareform`, with
        the coordinates `stimulus_a` and `stimulus_b`: the stimuli in the order of their first
        measurement.

    Raises
    ------
    ValueError
        For fewer than two stimuli, an unknown metric, ids that do not fit, values that are not
        finite, or arguments that the metric does not use.
    """
    if metric not in METRICS:
        raise ValueError(f"no metric is called {metric!r}; there are {', '.join(METRICS)}")
    _check_used(metric, folds=folds, precision=precision)
    if isinstance(patterns, xr.DataArray):
        if "stimulus" in patterns.dims:
            patterns = patterns.transpose("stimulus", ...)
        if stimulus_ids is None and "stimulus" in patterns.coords:
            stimulus_ids = listed(patterns["stimulus"])
    matrix = _matrix(patterns, device)
    ids, stimuli = _numbered(stimulus_ids, len(matrix))
    if len(ids) < 2:
        raise ValueError(f"an RDM needs two stimuli or more; got {len(ids)}")
    gaps = _gaps(matrix, metric)
    if metric in CROSSVALIDATED:
        distances = _across_folds(
            matrix, metric, ids, stimuli, folds, precision, (prior_rate, prior_weight)
        )
        values = dissimilarities.upper_triangle(distances)
    else:
        matrix = _averaged(matrix, stimuli, len(ids))
        if gaps:
            distances = dissimilarities.WITH_GAPS[metric](matrix)
        elif metric == "mahalanobis":
            distances = dissimilarities.mahalanobis(matrix, _precision(precision, matrix))
        elif metric == "poisson":
            distances = dissimilarities.poisson(matrix, prior_rate, prior_weight)
        else:
            distances = PLAIN[metric](matrix)
        # Identical patterns can come out below zero by rounding.
        values = np.maximum(dissimilarities.upper_triangle(distances), 0)
    _warn_of_nan(values, metric, gaps)
    return labelled(values, ids).assign_attrs(metric=metric)


def _across_folds(
    matrix: Tensor,
    metric: str,
    ids: list[str],
    stimuli: np.ndarray,
    folds: Sequence[Any] | None,
    precision: Any,
    prior: tuple[float, float],
) -> Tensor:
    if len(ids) == len(matrix):
        raise ValueError(
            f"{metric!r} compares independent measurements of the same stimulus: give the "
            "stimulus of each measurement with stimulus_ids="
        )
    if folds is None:
        numbers = crossvalidated.default_folds(stimuli)
        names: list[Any] = list(range(int(numbers.max()) + 1))
    else:
        if len(folds) != len(matrix):
            raise ValueError(f"there are {len(folds)} folds for {len(matrix)} measurements")
        unique, numbers = np.unique(np.asarray(listed(folds)), return_inverse=True)
        names = unique.tolist()
    if len(names) < 2:
        raise ValueError(f"{metric!r} needs two independent folds or more; got {len(names)}")
    if metric == "poisson_cv":
        return crossvalidated.poisson_cv(matrix, stimuli, numbers, *prior)
    if metric == "decoding":
        return crossvalidated.decoding(matrix, stimuli, numbers, _precision(precision, matrix))
    weights = crossvalidated.precisions(precision, names, matrix.shape[1], matrix)
    return crossvalidated.crossnobis(matrix, stimuli, numbers, weights)


def _precision(precision: Any, matrix: Tensor) -> Tensor | None:
    if precision is None:
        return None
    return crossvalidated.precision_matrix(precision, matrix.shape[1], matrix)


def _check_used(metric: str, **arguments: Any) -> None:
    users = {"folds": CROSSVALIDATED, "precision": ("mahalanobis", "crossnobis", "decoding")}
    for name, value in arguments.items():
        if value is not None and metric not in users[name]:
            raise ValueError(f"{metric!r} does not use {name}=; {', '.join(users[name])} do")


def _matrix(patterns: Any, device: str | torch.device) -> Tensor:
    if not isinstance(patterns, Tensor):
        array = np.ascontiguousarray(patterns)
        # torch has no numbers of another byte order.
        patterns = torch.as_tensor(array.astype(array.dtype.newbyteorder("="), copy=False))
    if patterns.ndim < 2:
        raise ValueError(f"patterns must be (stimulus, channel); got {tuple(patterns.shape)}")
    # MPS has no double precision.
    where = torch.device(device) if torch.device(device).type != "mps" else torch.device("cpu")
    return patterns.detach().flatten(1).to(device=where, dtype=torch.float64)


def _numbered(ids: Sequence[Any] | None, count: int) -> tuple[list[str], np.ndarray]:
    """Return the stimuli in the order of their first measurement, and the number of each row."""
    names = [str(name) for name in (range(count) if ids is None else listed(ids))]
    if len(names) != count:
        raise ValueError(f"there are {len(names)} stimulus ids for {count} patterns")
    number = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return list(number), np.array([number[name] for name in names], dtype=np.int64)


def _gaps(matrix: Tensor, metric: str) -> bool:
    if torch.isfinite(matrix.sum()):
        return False
    bad = ~torch.isfinite(matrix)
    if not bad.any():
        return False
    if metric in dissimilarities.WITH_GAPS and not matrix.isinf().any():
        warnings.warn(
            f"{int(bad.sum())} values are NaN: these channels are left out of the pairs of their "
            "patterns",
            stacklevel=3,
        )
        return True
    row = int(bad.any(dim=1).nonzero()[0])
    raise ValueError(
        f"the pattern of stimulus number {row} has values that are not finite; only NaN, and only "
        f"with {', '.join(dissimilarities.WITH_GAPS)}, can be left out"
    )


def _averaged(matrix: Tensor, stimuli: np.ndarray, count: int) -> Tensor:
    if count == len(matrix):
        return matrix
    present = ~matrix.isnan()
    rows = torch.as_tensor(stimuli, device=matrix.device)
    sums = matrix.new_zeros((count, matrix.shape[1])).index_add_(0, rows, matrix.nan_to_num())
    counts = torch.zeros_like(sums).index_add_(0, rows, present.to(matrix.dtype))
    return sums / counts


def _warn_of_nan(values: np.ndarray, metric: str, gaps: bool) -> None:
    missing = int(np.isnan(values).sum())
    if not missing:
        return
    reason = "a pattern without variance (or, for cosine, of zeros) has none"
    if metric in CROSSVALIDATED:
        reason = "there are no two folds that have both stimuli"
    elif gaps:
        reason = "too few channels are present in both patterns, or they do not vary"
    warnings.warn(f"{missing} {metric} dissimilarities are NaN: {reason}", stacklevel=3)
