"""Evaluations over resamples of stimuli and subjects, and the variances that follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import folds, variances
from .bootstrap import Groups, Resamples
from .flexible import Candidates, evaluate_folds
from .resampled import Evaluations, Problem, evaluate_samples, similarities_to_subjects


@dataclass(frozen=True)
class Sampled:
    stimuli: Groups
    subjects: Groups


@dataclass(frozen=True)
class Plan:
    problem: Problem
    candidates: list[Candidates]
    groups: Sampled
    folds: tuple[int, int]
    n_cv: int
    seed: int
    progress: bool

    @property
    def crossvalidated(self) -> bool:
        return self.folds != (1, 1)


@dataclass(frozen=True)
class Found:
    """Evaluations (of each bootstrap), their uncertainty, and its degrees of freedom."""

    evaluations: list[Evaluations]
    variances: variances.Variances | None
    degrees_of_freedom: int
    dropped: int


def without_resampling(plan: Plan) -> Found:
    """Evaluate on all stimuli and subjects; the uncertainty is that of the mean over subjects.

    A group of subjects counts as one, with the mean of its members.
    """
    stimuli = np.ones((1, len(plan.groups.stimuli)), dtype=np.int64)
    subjects = np.ones((1, len(plan.groups.subjects)), dtype=np.int64)
    if plan.crossvalidated:
        models, bounds = _crossvalidated(plan, stimuli, subjects, 0)
        return Found([Evaluations(models.mean(axis=2), bounds.mean(axis=2))], None, 0, 0)
    of_subjects = similarities_to_subjects(plan.problem).T
    ceilings = _plain(plan, stimuli, [subjects])[0].ceilings
    if plan.problem.fisher_z:
        of_subjects = np.arctanh(of_subjects)
    members = plan.groups.subjects.indicator()
    of_subjects = members / members.sum(axis=1, keepdims=True) @ of_subjects
    found = [Evaluations(of_subjects, ceilings)]
    count = len(of_subjects)
    if count < 2:
        return Found(found, None, 0, 0)
    covariance = np.zeros((of_subjects.shape[1] + 2,) * 2)
    covariance[:-2, :-2] = np.atleast_2d(np.cov(of_subjects.T)) / count
    return Found(found, variances.of_covariance(covariance), count - 1, 0)


def resampled_evaluations(plan: Plan, bootstrap: str, resamples: Resamples) -> Found:
    """Evaluate in resamples with enough distinct stimuli and subjects; the others are dropped."""
    groups = plan.groups
    enough = folds.enough(resamples, groups.stimuli.members(resamples.stimuli), plan.folds)
    if enough.sum() < 2:
        raise ValueError(
            "no two resamples hold enough distinct stimuli and subjects: there are too few for "
            f"{plan.folds[0]} folds of stimuli and {plan.folds[1]} of subjects"
        )
    kept = Resamples(resamples.stimuli[enough], resamples.subjects[enough])
    dropped = int((~enough).sum())
    sizes = {"stimuli": len(groups.stimuli), "subjects": len(groups.subjects)}
    size = sizes.get(bootstrap, min(sizes.values()))
    if bootstrap == "dual":
        found, combined = _dual(plan, kept)
        return Found(found, combined, size - 1, dropped)
    one, covariance = _over_samples(plan, kept, 0)
    corrected = variances.corrected(variances.of_covariance(covariance), size)
    return Found([one], corrected, size - 1, dropped)


def _dual(plan: Plan, both: Resamples) -> tuple[list[Evaluations], variances.Variances]:
    """Evaluate in samples of both, subjects and stimuli; combine by the two-factor correction."""
    subjects = Resamples(np.ones_like(both.stimuli), both.subjects)
    stimuli = Resamples(both.stimuli, np.ones_like(both.subjects))
    if plan.crossvalidated:
        parts = [_over_samples(plan, r, n) for n, r in enumerate((both, subjects, stimuli))]
    else:
        # Samples of the same stimuli share their work.
        of_both, of_stimuli = _plain(plan, both.stimuli, [both.subjects, stimuli.subjects])
        (of_subjects,) = _plain(plan, subjects.stimuli[:1], [subjects.subjects])
        parts = [
            (e, variances.covariance_of_samples(e.models, e.ceilings))
            for e in (of_both, of_subjects, of_stimuli)
        ]
    of_each = [variances.of_covariance(covariance) for _, covariance in parts]
    sizes = len(plan.groups.subjects), len(plan.groups.stimuli)
    return [e for e, _ in parts], variances.two_factor(of_each[0], of_each[1], of_each[2], *sizes)


def _over_samples(plan: Plan, resamples: Resamples, number: int) -> tuple[Evaluations, np.ndarray]:
    """Return the evaluations in each sample and their covariance."""
    stimuli, subjects = resamples.stimuli, resamples.subjects
    if not plan.crossvalidated:
        alone = (stimuli == 1).all()
        (found,) = _plain(plan, stimuli[:1] if alone else stimuli, [subjects])
        return found, variances.covariance_of_samples(found.models, found.ceilings)
    models, ceilings = _crossvalidated(plan, stimuli, subjects, number)
    found = Evaluations(models.mean(axis=2), ceilings.mean(axis=2))
    covariance = variances.covariance_of_samples(found.models, found.ceilings)
    if plan.n_cv > 1:
        single = np.mean(
            [
                variances.covariance_of_samples(models[..., n], ceilings[..., n])
                for n in range(plan.n_cv)
            ],
            axis=0,
        )
        covariance = variances.without_crossvalidation(covariance, single, plan.n_cv)
    return found, covariance


def _plain(plan: Plan, stimuli: np.ndarray, subjects: Sequence[np.ndarray]) -> list[Evaluations]:
    groups = plan.groups
    return evaluate_samples(
        plan.problem,
        groups.stimuli.members(stimuli),
        [groups.subjects.members(s) for s in subjects],
        show=plan.progress,
    )


def _crossvalidated(
    plan: Plan, stimuli: np.ndarray, subjects: np.ndarray, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return models (sample, model, n_cv) and ceilings (sample, bound, n_cv), means over folds."""
    rng = np.random.default_rng([plan.seed, 1 + number])
    parts = []
    for _ in range(plan.n_cv):
        of_stimuli, of_subjects = (
            tuple(
                groups.members(part)
                for part in folds.split(counts, folds.assign_folds(counts, k, rng), k)
            )
            for groups, counts, k in (
                (plan.groups.stimuli, stimuli, plan.folds[0]),
                (plan.groups.subjects, subjects, plan.folds[1]),
            )
        )
        found = evaluate_folds(
            plan.problem,
            plan.candidates,
            folds.cross(of_stimuli, of_subjects),  # type: ignore[arg-type]
            subjects_held_out=plan.folds[1] > 1,
            show=plan.progress,
        )
        parts.append(
            [
                v.reshape(len(stimuli), -1, v.shape[1]).mean(axis=1)
                for v in (found.models, found.ceilings)
            ]
        )
    return np.stack([p[0] for p in parts], axis=2), np.stack([p[1] for p in parts], axis=2)
