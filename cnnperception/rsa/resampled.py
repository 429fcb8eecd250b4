"""Models' similarity to data, and the noise ceiling, in every bootstrap sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from .. import runtime
from . import moments, ranking
from .ceiling import noise_ceiling
from .ranks import dense_ranks

Chunk = TypeVar("Chunk")
Part = TypeVar("Part")

METHODS = (*moments.METHODS, *ranking.METHODS)

# Samples at a time: matrix products want many, sorting wants what fits into the cache.
_LINEAR_VALUES = 2**22
_RANK_VALUES = {"cpu": 2**18, "cuda": 2**26}


@dataclass(frozen=True)
class Evaluations:
    """Similarities in bootstrap samples.

    Attributes
    ----------
    models : ndarray, shape (sample, model)
        Means over the subjects of the sample.
    ceilings : ndarray, shape (sample, 2)
        Lower and upper bound; NaN in samples with one subject.
    """

    models: np.ndarray
    ceilings: np.ndarray


@dataclass(frozen=True)
class Problem:
    """What is evaluated, as arrays.

    Attributes
    ----------
    models : Tensor, shape (model, pair), float64
        Or the candidate RDMs of flexible models, one after the other.
    subjects : Tensor, shape (subject, pair), float64
    pairs : int Tensor, shape (2, pair)
        The two stimuli of each pair: those that no RDM misses.
    stimuli : int
    groups : Tensor, shape (group, subject)
        1 where a subject's RDM is of the group.
    method : str
    fisher_z : bool
    """

    models: Tensor
    subjects: Tensor
    pairs: Tensor
    stimuli: int
    groups: Tensor
    method: str
    fisher_z: bool

    @property
    def linear(self) -> bool:
        return self.method in moments.METHODS

    @cached_property
    def ranks(self) -> tuple[Tensor, Tensor]:
        """Models' and subjects' dissimilarities as whole numbers in the same order."""
        return dense_ranks(self.models), dense_ranks(self.subjects)


def evaluate_samples(
    problem: Problem, stimuli: np.ndarray, subjects: Sequence[np.ndarray], *, show: bool = False
) -> list[Evaluations]:
    """Evaluate models in samples of stimuli and, for each, several samples of subjects.

    Parameters
    ----------
    problem : Problem
    stimuli : int array, shape (sample, stimulus)
        How often each stimulus was drawn. One sample alone goes with all samples of subjects.
    subjects : sequence of int arrays, shape (sample, subject)
        How often each subject was drawn.
    show : bool
        Whether to show progress.

    Returns
    -------
    list of Evaluations
        One for each array of subjects.
    """
    device = problem.models.device
    counts = torch.as_tensor(stimuli, dtype=torch.float64, device=device)
    drawn = [torch.as_tensor(s, dtype=torch.float64, device=device) for s in subjects]
    work = partial(_evaluate_chunk, problem)
    chunks = list(_chunks(problem, counts, drawn))
    parts = in_turn(problem, lambda chunk: work(*chunk), chunks, show)
    return [
        Evaluations(
            torch.cat([part[number][0] for part in parts]).cpu().numpy(),
            torch.cat([part[number][1] for part in parts]).cpu().numpy(),
        )
        for number in range(len(subjects))
    ]


def similarities_to_subjects(problem: Problem) -> np.ndarray:
    """Return how similar each model is to each subject over all stimuli, (model, subject)."""
    ones = torch.ones((1, problem.stimuli), dtype=torch.float64, device=problem.models.device)
    present = torch.ones((1, len(problem.subjects)), dtype=torch.bool, device=ones.device)
    return _sample(problem, ones)[0](present)[0].cpu().numpy()


def in_turn(
    problem: Problem, work: Callable[[Chunk], Part], chunks: Sequence[Chunk], show: bool
) -> list[Part]:
    """Work on chunks one after the other, or, where each keeps one core busy, in threads."""
    bar = partial(runtime.progress, description="resamples", show=show, total=len(chunks))
    if problem.linear or problem.models.device.type != "cpu":
        return [work(chunk) for chunk in bar(chunks)]
    threads = torch.get_num_threads()
    try:
        # Threads of threads would wait for each other.
        torch.set_num_threads(1)
        with ThreadPoolExecutor(threads) as pool:
            return list(bar(pool.map(work, chunks)))
    finally:
        torch.set_num_threads(threads)


def chunk_size(problem: Problem) -> int:
    """Return how many samples to work on at a time."""
    pairs = problem.models.shape[1]
    rows = len(problem.models) + len(problem.subjects)
    if problem.linear:
        return max(1, _LINEAR_VALUES // max(pairs, problem.stimuli**2, rows * rows))
    values = _RANK_VALUES.get(problem.models.device.type, 2**20)
    if problem.method not in ("spearman", "rho-a"):
        values *= 2  # Kendall's comparisons are cut into portions of their own
    return max(1, values // (pairs * rows))


def _chunks(
    problem: Problem, counts: Tensor, drawn: list[Tensor]
) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Yield as many samples as fit, with their samples of subjects."""
    size = chunk_size(problem)
    total = max(len(counts), *(len(s) for s in drawn))
    for start in range(0, total, size):
        here = counts if len(counts) == 1 else counts[start : start + size]
        yield here, [s[start : start + size] for s in drawn]


def _evaluate_chunk(
    problem: Problem, counts: Tensor, drawn: list[Tensor]
) -> list[tuple[Tensor, Tensor]]:
    to_subjects, of_pools = _sample(problem, counts)
    present = torch.stack([(s > 0).any(dim=0) if len(counts) == 1 else s > 0 for s in drawn])
    needed = present.any(dim=0)
    similarity = to_subjects(needed if needed.ndim == 2 else needed[None])
    if problem.fisher_z:
        similarity = similarity.atanh()
    return [
        (
            (similarity * s[:, None, :]).sum(dim=2) / s.sum(dim=1, keepdim=True),
            noise_ceiling(of_pools, s, problem.groups, problem.fisher_z),
        )
        for s in drawn
    ]


def _sample(
    problem: Problem, counts: Tensor
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]:
    """Return the functions that give similarities to subjects, of models and of pools."""
    if problem.linear:
        products = moments.moments(
            problem.models, problem.subjects, problem.pairs, counts, problem.method
        )
        return (
            lambda needed: products.similarities(),
            lambda weights, needed: products.of_pools(weights),
        )
    ranked = ranking.ranked_sample(*problem.ranks, problem.pairs, counts, problem.method)
    return ranked.similarities, ranked.of_pools
