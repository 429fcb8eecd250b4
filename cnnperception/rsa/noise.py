"""The covariance of measurement noise over channels, and its inverse, with shrinkage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def noise_covariance(
    residuals: Any, method: str = "shrinkage_diag", *, degrees_of_freedom: int | None = None
) -> np.ndarray:
    """Return the covariance of noise over channels.

    Parameters
    ----------
    residuals : array, shape (measurement, channel)
        Deviations from what was modelled. Their mean over measurements is removed.
    method : {"shrinkage_diag", "shrinkage_eye", "diag", "full"}
        Shrinkage towards the diagonal (Schaefer & Strimmer 2005) or towards a multiple of the
        identity (Ledoit & Wolf 2004), by the estimated optimal amount; variances alone; or the
        sample covariance.
    degrees_of_freedom : int, optional
        The number of measurements less one when left out; subtract the regressors of a model.

    Returns
    -------
    ndarray, shape (channel, channel), float64

    Raises
    ------
    ValueError
        For an unknown method, fewer than two measurements or values that are not finite.
    """
    values = np.asarray(residuals, dtype=np.float64)
    if values.ndim != 2 or len(values) < 2:
        raise ValueError(
            f"residuals must be (measurement, channel), two measurements or more; {values.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError("residuals must be finite: leave out the measurements that are not")
    if method not in _METHODS:
        raise ValueError(f"no method is called {method!r}; there are {', '.join(_METHODS)}")
    dof = len(values) - 1 if degrees_of_freedom is None else degrees_of_freedom
    if dof < 1:
        raise ValueError(f"{dof} degrees of freedom are too few to estimate a covariance")
    return _METHODS[method](values - values.mean(axis=0), dof)


def noise_precision(
    residuals: Any, method: str = "shrinkage_diag", *, degrees_of_freedom: int | None = None
) -> np.ndarray:
    """Return the inverse of `noise_covariance`, for mahalanobis and crossnobis distances.

    Raises
    ------
    ValueError
        As `noise_covariance`, and when the covariance has no inverse: "full" with fewer
        measurements than channels, or a channel without variance.
    """
    covariance = noise_covariance(residuals, method, degrees_of_freedom=degrees_of_freedom)
    # The rank tells what inv would not: it inverts rounding errors without complaint.
    if np.linalg.matrix_rank(covariance, hermitian=True) < len(covariance):
        raise ValueError(
            f"the {method!r} covariance of {len(covariance)} channels has no inverse: use "
            "'shrinkage_diag', more measurements, and channels that vary"
        )
    return np.linalg.inv(covariance)


def residuals(patterns: Any, stimuli: Sequence[Any]) -> tuple[np.ndarray, int]:
    """Return each measurement less the mean of its stimulus, and the degrees of freedom.

    Parameters
    ----------
    patterns : array, shape (measurement, channel)
    stimuli : sequence, length (measurement)

    Returns
    -------
    residuals : ndarray, shape (measurement, channel), float64
    degrees_of_freedom : int
        Measurements less stimuli.
    """
    values = np.array(patterns, dtype=np.float64)
    names, number = np.unique(np.asarray(stimuli), return_inverse=True)
    if len(number) != len(values):
        raise ValueError(f"there are {len(number)} stimuli for {len(values)} measurements")
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, number, values)
    means = sums / np.bincount(number)[:, None]
    return values - means[number], len(values) - len(names)


def _diag(centred: np.ndarray, dof: int) -> np.ndarray:
    return np.diag((centred**2).sum(axis=0) / dof)


def _full(centred: np.ndarray, dof: int) -> np.ndarray:
    return centred.T @ centred / dof


def _shrinkage_eye(centred: np.ndarray, dof: int) -> np.ndarray:
    count, channels = centred.shape
    sample = centred.T @ centred / count
    squares = (centred**2).T @ (centred**2)
    # Names of Ledoit & Wolf: m, the mean variance; d2, the distance to m I; b2, the error.
    m = np.trace(sample) / channels
    d2 = ((sample - m * np.eye(channels)) ** 2).sum()
    b2 = min(d2, (squares / count - sample**2).sum() / count)
    shrunk = b2 / d2 * m * np.eye(channels) + (d2 - b2) / d2 * sample
    return shrunk * count / dof


def _shrinkage_diag(centred: np.ndarray, dof: int) -> np.ndarray:
    count, channels = centred.shape
    sample = centred.T @ centred / dof
    variance = np.diag(sample)
    if channels == 1 or (variance == 0).any():
        raise ValueError(
            "'shrinkage_diag' needs two channels or more, each of which varies; leave out "
            f"channel {int(np.argmin(variance))}"
        )
    scaled = centred / np.sqrt(variance)
    correlation = scaled.T @ scaled / (count - 1)
    fourth = (scaled**2).T @ (scaled**2) / (count - 1)
    # The variance of each correlation, as rsatoolbox estimates it.
    error = count / dof**2 * (fourth - correlation**2)
    others = ~np.eye(channels, dtype=bool)
    shrinkage = np.clip(error[others].sum() / (correlation[others] ** 2).sum(), 0, 1)
    return sample * np.where(others, 1 - shrinkage, 1.0)


_METHODS = {
    "shrinkage_diag": _shrinkage_diag,
    "shrinkage_eye": _shrinkage_eye,
    "diag": _diag,
    "full": _full,
}
