"""Cross-validation folds of stimuli and subjects, for many bootstrap samples at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .bootstrap import Resamples

# A share of 1 - 1/e of things is in a bootstrap sample.
DRAWN = 1 - np.exp(-1)


@dataclass(frozen=True)
class Folds:
    """One row a fold of a sample: how often each stimulus and subject is in its parts.

    Attributes
    ----------
    train_stimuli, test_stimuli : int arrays, shape (fold, stimulus)
    train_subjects, test_subjects : int arrays, shape (fold, subject)
    """

    train_stimuli: np.ndarray
    test_stimuli: np.ndarray
    train_subjects: np.ndarray
    test_subjects: np.ndarray

    def __len__(self) -> int:
        return len(self.train_stimuli)


def default_stimulus_folds(stimuli: float) -> int:
    """Return the number of folds for as many stimuli (Schuett et al. 2023; as rsatoolbox)."""
    return _steps(stimuli, (12, 24, 40))


def default_subject_folds(subjects: float) -> int:
    """Return the number of folds for as many subjects (Schuett et al. 2023; as rsatoolbox)."""
    return _steps(subjects, (6, 12, 20))


def _steps(count: float, bounds: tuple[int, int, int]) -> int:
    return 2 + sum(count >= bound for bound in bounds)


def assign_folds(counts: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Assign what is in each sample to folds at random, as evenly as can be.

    Parameters
    ----------
    counts : int array, shape (sample, group)
        How often each group is in each sample.
    folds : int
    rng : Generator

    Returns
    -------
    int array, shape (sample, group)
        The fold of each group; -1 where it is not in the sample.
    """
    present = counts > 0
    keys = np.where(present, rng.random(counts.shape), np.inf)
    place = keys.argsort(axis=1).argsort(axis=1)
    return np.where(present, place % folds, -1)


def enough(resamples: Resamples, stimuli: np.ndarray, folds: tuple[int, int]) -> np.ndarray:
    """Return which samples have three stimuli, three groups for a fold, and a subject for a fold.

    Parameters
    ----------
    resamples : Resamples
    stimuli : int array, shape (sample, stimulus)
        How often each stimulus itself is in each sample.
    folds : (int, int)
        Of the stimuli and the subjects.
    """
    kept = (stimuli > 0).sum(axis=1) >= 3
    if folds[0] > 1:
        kept &= (resamples.stimuli > 0).sum(axis=1) >= 3 * folds[0]
    return kept & ((resamples.subjects > 0).sum(axis=1) >= folds[1])


def split(counts: np.ndarray, assigned: np.ndarray, folds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts of what each fold trains on and tests, (sample, fold, group).

    A single fold trains on and tests everything.
    """
    if folds == 1:
        return counts[:, None], counts[:, None]
    tested = assigned[:, None] == np.arange(folds)[:, None]
    return counts[:, None] * ~tested, counts[:, None] * tested


def cross(stimuli: tuple[np.ndarray, np.ndarray], subjects: tuple[np.ndarray, np.ndarray]) -> Folds:
    """Return every fold of stimuli with every fold of subjects, sample by sample.

    Parameters
    ----------
    stimuli, subjects : (train, test), int arrays, shape (sample, fold, member)
    """
    of_stimuli, of_subjects = stimuli[0].shape[1], subjects[0].shape[1]
    return Folds(
        *(np.repeat(part, of_subjects, axis=1).reshape(-1, part.shape[2]) for part in stimuli),
        *(np.tile(part, (1, of_stimuli, 1)).reshape(-1, part.shape[2]) for part in subjects),
    )
