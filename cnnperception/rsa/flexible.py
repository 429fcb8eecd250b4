"""Flexible models evaluated on stimuli and subjects they were not fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from . import moments, ranking
from .ceiling import noise_ceiling
from .folds import Folds
from .models import Fit
from .resampled import Evaluations, Problem, chunk_size, in_turn


@dataclass(frozen=True)
class Candidates:
    """Which rows of a problem's RDMs are one model's, and how its weights are found."""

    first: int
    last: int
    fit: Fit


def evaluate_folds(
    problem: Problem,
    candidates: Sequence[Candidates],
    folds: Folds,
    *,
    subjects_held_out: bool,
    show: bool = False,
) -> Evaluations:
    """Fit models to what each fold trains on and evaluate them on what it tests.

    Parameters
    ----------
    problem : Problem
        Its models are the candidate RDMs.
    candidates : sequence of Candidates
    folds : Folds
    subjects_held_out : bool
        Whether folds test other subjects than they train on. The lower noise ceiling is then what
        the pooled training subjects reach; otherwise each subject is predicted by the others. The
        pool is made of the tested pairs of stimuli alone.
    show : bool
        Whether to show progress.

    Returns
    -------
    Evaluations
        A row a fold.
    """
    # Twice the work, on less than half the pairs of stimuli.
    size = chunk_size(problem)
    device = problem.models.device

    def work(rows: slice) -> tuple[Tensor, Tensor]:
        parts = (folds.train_stimuli, folds.test_stimuli, folds.train_subjects, folds.test_subjects)
        tensors = [torch.as_tensor(p[rows], dtype=torch.float64, device=device) for p in parts]
        return _evaluate(problem, candidates, tensors, subjects_held_out)

    chunks = [slice(start, start + size) for start in range(0, len(folds), size)]
    found = in_turn(problem, work, chunks, show)
    models, ceilings = (torch.cat(part).cpu().numpy() for part in zip(*found, strict=True))
    return Evaluations(models, ceilings)


def fit_weights(problem: Problem, candidates: Sequence[Candidates]) -> list[np.ndarray]:
    """Return each model's weights on all of the data."""
    stimuli = torch.ones((1, problem.stimuli), dtype=torch.float64, device=problem.models.device)
    subjects = stimuli.new_ones((1, len(problem.subjects)))
    found = _fit(problem, candidates, stimuli, subjects)
    return [weights[0].cpu().numpy() for weights in found]


def _evaluate(
    problem: Problem,
    candidates: Sequence[Candidates],
    parts: list[Tensor],
    subjects_held_out: bool,
) -> tuple[Tensor, Tensor]:
    train_stimuli, test_stimuli, train_subjects, test_subjects = parts
    weights = _fit(problem, candidates, train_stimuli, train_subjects)
    tested = _Linear if problem.linear else _Ranked
    test = tested(problem, candidates, test_stimuli)
    similarity = torch.stack(
        [test.of_weighted(number, w, test_subjects > 0) for number, w in enumerate(weights)], dim=1
    )
    if problem.fisher_z:
        similarity = similarity.atanh()
    means = _weighted_mean(similarity, test_subjects)
    if not subjects_held_out:
        return means, noise_ceiling(test.of_pools, test_subjects, problem.groups, problem.fisher_z)
    pools = torch.stack([train_subjects, train_subjects + test_subjects], dim=1)
    needed = (test_subjects > 0)[:, None].expand_as(pools)
    ceilings = test.of_pools(pools, needed)
    if problem.fisher_z:
        ceilings = ceilings.atanh()
    return means, _weighted_mean(ceilings, test_subjects)


def _weighted_mean(similarity: Tensor, counts: Tensor) -> Tensor:
    # What was not needed can be infinite after Fisher's z: zero weight must win.
    kept = torch.where(counts[:, None] > 0, similarity, 0.0)
    return (kept * counts[:, None]).sum(dim=2) / counts.sum(dim=1, keepdim=True)


def _fit(
    problem: Problem, candidates: Sequence[Candidates], stimuli: Tensor, subjects: Tensor
) -> list[Tensor]:
    trained = (_Linear if problem.linear else _Ranked)(problem, candidates, stimuli)
    similarity = _weighted_mean(trained.similarities(subjects > 0), subjects)
    weights = []
    for number, model in enumerate(candidates):
        products = partial(trained.products, number, subjects)
        weights.append(model.fit(similarity[:, model.first : model.last], products))
    return weights


class _Linear:
    """Similarities in samples of stimuli by a measure that is a product of RDMs."""

    def __init__(self, problem: Problem, candidates: Sequence[Candidates], stimuli: Tensor) -> None:
        self.candidates = candidates
        blocks = [(model.first, model.last) for model in candidates]
        self.moments = moments.moments(
            problem.models, problem.subjects, problem.pairs, stimuli, problem.method, blocks
        )

    def similarities(self, needed: Tensor) -> Tensor:
        return self.moments.similarities()

    def products(self, number: int, subjects: Tensor) -> tuple[Tensor, Tensor]:
        model = self.candidates[number]
        # The mean cosine with subjects is the product with the sum of their unit vectors.
        norms = self.moments.subjects.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
        unit = torch.where(norms > 0, subjects / norms, 0.0)
        cross = self.moments.cross[:, model.first : model.last] @ unit[:, :, None]
        return self.moments.blocks[number], cross[:, :, 0]

    def of_weighted(self, number: int, weights: Tensor, needed: Tensor) -> Tensor:
        return self.moments.of_weighted(number, self.candidates[number].first, weights)

    def of_pools(self, weights: Tensor, needed: Tensor) -> Tensor:
        return self.moments.of_pools(weights)


class _Ranked:
    """Similarities in samples of stimuli by a measure of ranks."""

    def __init__(self, problem: Problem, candidates: Sequence[Candidates], stimuli: Tensor) -> None:
        self.candidates = candidates
        self.ranked = ranking.ranked_sample(
            problem.models, problem.subjects, problem.pairs, stimuli, problem.method
        )

    def similarities(self, needed: Tensor) -> Tensor:
        return self.ranked.similarities(needed)

    def products(self, number: int, subjects: Tensor) -> tuple[Tensor, Tensor]:
        model = self.candidates[number]
        return self.ranked.products_with_mean_ranks(model.first, model.last, subjects)

    def of_weighted(self, number: int, weights: Tensor, needed: Tensor) -> Tensor:
        return self.ranked.of_weighted(self.candidates[number].first, weights, needed)

    def of_pools(self, weights: Tensor, needed: Tensor) -> Tensor:
        return self.ranked.of_pools(weights, needed)
