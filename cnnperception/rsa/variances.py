"""How uncertain evaluations are: variances from bootstrap samples, and their corrections.

The variance over bootstrap samples of n things is too small by (n - 1) / n; and the one over
samples of stimuli and subjects at once counts the noise of single dissimilarities thrice. The
two-factor correction takes both out (Schuett et al. 2023, eLife, eq. 6).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Variances:
    """Variances of models' evaluations and of what they are compared with.

    Attributes
    ----------
    models : ndarray, shape (model,)
    pairs : ndarray, shape (model, model)
        Of the difference between two models.
    ceilings : ndarray, shape (model, 2)
        Of the difference from the lower and the upper noise ceiling.
    """

    models: np.ndarray
    pairs: np.ndarray
    ceilings: np.ndarray


def of_covariance(covariance: np.ndarray) -> Variances:
    """Return the variances that follow from a covariance.

    Parameters
    ----------
    covariance : ndarray, shape (model + 2, model + 2)
        Of the models and the lower and upper noise ceiling; NaN for ceilings that are not known.
    """
    own = covariance.diagonal()
    models = own[:-2]
    return Variances(
        models,
        models[:, None] + models[None, :] - 2 * covariance[:-2, :-2],
        models[:, None] + own[None, -2:] - 2 * covariance[:-2, -2:],
    )


def covariance_of_samples(models: np.ndarray, ceilings: np.ndarray) -> np.ndarray:
    """Return the covariance over samples of models and noise ceilings.

    Samples with one subject have no ceiling: they say something of the models only.

    Parameters
    ----------
    models : ndarray, shape (sample, model)
    ceilings : ndarray, shape (sample, 2)

    Returns
    -------
    ndarray, shape (model + 2, model + 2)
    """
    size = models.shape[1] + 2
    covariance = np.full((size, size), np.nan)
    known = np.isfinite(ceilings).all(axis=1)
    if known.sum() > 1:
        covariance = _covariance(np.concatenate([models[known], ceilings[known]], axis=1))
    if len(models) > 1:
        covariance[:-2, :-2] = _covariance(models)
    return covariance


def corrected(variances: Variances, size: int) -> Variances:
    """Return variances over bootstrap samples of `size` things, times n / (n - 1)."""
    return Variances(
        *(size / (size - 1) * v for v in (variances.models, variances.pairs, variances.ceilings))
    )


def two_factor(
    both: Variances, subjects: Variances, stimuli: Variances, n_subjects: int, n_stimuli: int
) -> Variances:
    """Return the variance over new subjects and new stimuli.

    v = n_s/(n_s-1) v_subjects + n_p/(n_p-1) v_stimuli
        - n_s n_p / ((n_s-1)(n_p-1)) (v_both - v_subjects - v_stimuli),
    not below either corrected single factor, and then not above v_both.
    """

    def combine(joint: np.ndarray, of_subjects: np.ndarray, of_stimuli: np.ndarray) -> np.ndarray:
        a, b = n_subjects / (n_subjects - 1), n_stimuli / (n_stimuli - 1)
        one, other = a * of_subjects, b * of_stimuli
        estimate = one + other - a * b * (joint - of_subjects - of_stimuli)
        return np.minimum(np.maximum(np.maximum(estimate, one), other), joint)

    return Variances(
        combine(both.models, subjects.models, stimuli.models),
        combine(both.pairs, subjects.pairs, stimuli.pairs),
        combine(both.ceilings, subjects.ceilings, stimuli.ceilings),
    )


def without_crossvalidation(of_means: np.ndarray, of_single: np.ndarray, n_cv: int) -> np.ndarray:
    """Return the covariance that infinitely many cross-validation assignments would leave.

    The mean over n assignments has what is wanted plus 1/n of what the assignment adds; a single
    one has all of it: (n v_mean - v_1) / (n - 1).
    """
    return (n_cv * of_means - of_single) / (n_cv - 1)


def _covariance(samples: np.ndarray) -> np.ndarray:
    centred = samples - samples.mean(axis=0)
    return centred.T @ centred / (len(samples) - 1)
