"""Rank similarities of RDMs in bootstrap samples.

A pair that is in a sample w times has w tied ranks: its mean rank follows from the weights of the
pairs below it, without ever repeating anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .kendall import kendall
from .ranks import Ranked, ranked

METHODS = ("spearman", "rho-a", "tau-a", "tau-b", "kendall")


@dataclass(frozen=True)
class RankedSample:
    """RDMs ranked within each of a few bootstrap samples; pairs that are in none left out.

    Attributes
    ----------
    values : Tensor, shape (sample, row, pair)
        The dissimilarities of models' RDMs, or their ranks.
    subjects : Ranked, shape (sample, subject, pair)
        Mean ranks of subjects' RDMs.
    weights : Tensor, shape (sample, pair)
        How often each pair is in the sample; zero where it is not.
    method : str
    """

    values: Tensor
    subjects: Ranked
    weights: Tensor
    method: str

    def similarities(self, needed: Tensor) -> Tensor:
        """Return how similar each row is to each subject, (sample, row, subject).

        `needed`, bool (sample, subject), spares Kendall's taus the others: they are zero.
        """
        wanted = needed[:, None, :].expand(-1, self.values.shape[1], -1)
        rows = ranked(self.values, self.weights[:, None].expand_as(self.values))
        return rank_similarity(rows, self.subjects, self.weights, self.method, wanted)

    def of_pools(self, pool_weights: Tensor, needed: Tensor) -> Tensor:
        """Return how similar weighted sums of the subjects' ranks are to each subject.

        Parameters
        ----------
        pool_weights : Tensor, shape (sample, pool, subject)
            Whole numbers.
        needed : bool Tensor, shape (sample, pool, subject)

        Returns
        -------
        Tensor, shape (sample, pool, subject)
        """
        if len(self.weights) == 1:
            # All stimuli once: every sample of subjects pools the same ranks.
            pools = pool_weights @ self.subjects.ranks[0]
        else:
            pools = pool_weights @ self.subjects.ranks
        weights = self.weights.expand(len(pools), -1)
        subjects = self.subjects.expand(len(pools), -1, -1)
        # Ranks are multiples of a half.
        ranks = ranked((2 * pools).long(), weights[:, None].expand_as(pools))
        return rank_similarity(ranks, subjects, weights, self.method, needed)

    def of_weighted(self, first: int, weights: Tensor, needed: Tensor) -> Tensor:
        """Return how similar weighted sums of rows, from the first on, are to each subject.

        Parameters
        ----------
        first : int
        weights : Tensor, shape (sample, k)
        needed : bool Tensor, shape (sample, subject)

        Returns
        -------
        Tensor, shape (sample, subject)
        """
        rows = self.values[:, first : first + weights.shape[1]]
        ranks = ranked(weights[:, None] @ rows, self.weights[:, None])
        similarity = rank_similarity(
            ranks, self.subjects, self.weights, self.method, needed[:, None]
        )
        return similarity[:, 0]

    def products_with_mean_ranks(
        self, first: int, last: int, subject_weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the centred products of rows with each other and with the mean of ranks.

        Parameters
        ----------
        first, last : int
            The rows are those from `first` up to, without, `last`.
        subject_weights : Tensor, shape (sample, subject)

        Returns
        -------
        Tensor, shape (sample, k, k), and Tensor, shape (sample, k)
        """
        total = self.weights.sum(dim=1)[:, None, None]
        rows = self.values[:, first:last]
        rows = rows - (rows @ self.weights[:, :, None]) / total
        target = (subject_weights[:, None] @ self.subjects.ranks)[:, 0]
        weighted = rows * self.weights[:, None]
        return weighted @ rows.mT, (weighted @ target[:, :, None])[:, :, 0]


def ranked_sample(
    rows: Tensor, subjects: Tensor, pairs: Tensor, counts: Tensor, method: str
) -> RankedSample:
    """Rank RDMs within samples of the stimuli.

    Parameters
    ----------
    rows, subjects : Tensors, shape (rdm, pair)
        Dissimilarities, or whole numbers in the same order.
    pairs : int Tensor, shape (2, pair)
        The two stimuli of each pair.
    counts : Tensor, shape (sample, stimulus)
        How often each stimulus is in each sample.
    method : str
    """
    weights = counts[:, pairs[0]] * counts[:, pairs[1]]
    # The pairs of each sample first, and room for as many as the largest sample has.
    most = int((weights > 0).sum(dim=1).max())
    kept = (weights == 0).to(torch.int8).argsort(dim=1, stable=True)[:, :most]
    weights = weights.gather(1, kept)
    of_subjects = subjects[:, kept].transpose(0, 1)
    ranks = ranked(of_subjects, weights[:, None].expand_as(of_subjects))
    return RankedSample(rows[:, kept].transpose(0, 1), ranks, weights, method)


def rank_similarity(a: Ranked, b: Ranked, weights: Tensor, method: str, needed: Tensor) -> Tensor:
    """Return the similarity of ranked RDMs within each sample.

    Parameters
    ----------
    a, b : Ranked, shape (sample, n_a, pair), (sample, n_b, pair)
    weights : Tensor, shape (sample, pair)
    method : {"spearman", "rho-a", "tau-a", "tau-b", "kendall"}
    needed : bool Tensor, shape (sample, n_a, n_b)
        The similarities wanted of Kendall's taus; the others are zero.

    Returns
    -------
    Tensor, shape (sample, n_a, n_b)
    """
    if method not in ("spearman", "rho-a"):
        return kendall(a, b, weights, needed, method)
    total = weights.sum(dim=1)[:, None, None]
    centred_a, centred_b = (x.ranks - (total + 1) / 2 for x in (a, b))
    weighted = centred_a * weights[:, None]
    cross = weighted @ centred_b.mT
    if method == "rho-a":
        return 12 * cross / (total**3 - total)
    own_a, own_b = (weighted * centred_a).sum(-1), (centred_b**2 * weights[:, None]).sum(-1)
    length = own_a[:, :, None] * own_b[:, None]
    return torch.where(length > 0, cross / length.sqrt(), 0.0)
