"""Scores of predictions against other implementations and analytic cases."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from cnnperception.decoding import d_prime, decode
from cnnperception.decoding.scores import (
    class_d_primes,
    intervals,
    pairwise_d_primes,
    summary,
)


def test_d_prime_is_the_difference_of_corrected_z_scores():
    found = d_prime([10, 7], [0, 2], [10, 10], [10, 20])
    expected = norm.ppf([10.5 / 11, 7.5 / 11]) - norm.ppf([0.5 / 11, 2.5 / 21])
    np.testing.assert_allclose(found, expected)


def test_d_prime_without_correction_is_infinite_for_perfect_rates():
    assert d_prime(10, 0, 10, 10, correction=None) == np.inf
    np.testing.assert_allclose(d_prime(84, 16, 100, 100, correction=None), 2 * norm.ppf(0.84))
    assert np.isfinite(d_prime(10, 0, 10, 10))


@pytest.mark.parametrize("counts", [(11, 0, 10, 10), (-1, 0, 10, 10), (0, 0, 0, 10), (5, 11, 9, 9)])
def test_d_prime_refuses_impossible_counts(counts):
    with pytest.raises(ValueError, match="from 0 to"):
        d_prime(*counts)


def test_d_prime_refuses_an_unknown_correction():
    with pytest.raises(ValueError, match="correction"):
        d_prime(1, 1, 2, 2, correction="clip")


def test_class_d_primes_count_every_other_class_as_noise():
    table = np.array([[8, 1, 1], [2, 6, 2], [0, 3, 7]])
    expected = d_prime(6, 4, 10, 20)
    assert class_d_primes(table)[1] == expected


def test_pairwise_d_primes_are_of_choices_between_two_classes():
    codes = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    decision = np.array(
        [[3, 2, 1], [1, 2, 9], [5, 1, 9], [1, 2, 0], [2, 1, 9], [0, 0, 1], [1, 4, 0], [2, 0, 2]]
    )
    found = pairwise_d_primes(codes, decision)
    # Of class 0, two of three are above class 1; of class 1, one of two is called 0.
    np.testing.assert_allclose(found[0, 1], d_prime(2, 1, 3, 2))
    # A tie is half a call of each.
    np.testing.assert_allclose(found[0, 2], d_prime(1, 1.5, 3, 3))
    np.testing.assert_allclose(found, found.T)
    assert np.isnan(found.diagonal()).all()


def test_pairwise_d_prime_of_equidistant_gaussians_is_their_distance():
    rng = np.random.default_rng(5)
    codes = np.repeat([0, 1, 2], 1500)
    # The corners of a simplex with sides of 1.5.
    patterns = rng.normal(size=(4500, 3)) + 1.5 / np.sqrt(2) * np.eye(3)[codes]
    found = decode(patterns, codes, readout="lda")
    pairs = found["pairwise_d_prime"].values[np.triu_indices(3, 1)]
    np.testing.assert_allclose(pairs, 1.5, atol=0.15)
    np.testing.assert_allclose(found["mean_pairwise_d_prime"], pairs.mean())


def test_the_d_prime_of_two_classes_is_the_same_pairwise():
    patterns = np.random.default_rng(6).normal(size=(50, 4)) + np.repeat([[0], [0.7]], 25, axis=0)
    found = decode(patterns, np.repeat([0, 1], 25), readout="ridge", penalties=1.0)
    np.testing.assert_allclose(found["d_prime"], found["mean_pairwise_d_prime"])


def test_scores_equal_scikit_learn():
    rng = np.random.default_rng(0)
    codes, predicted = np.sort(rng.integers(0, 4, 90)), rng.integers(0, 4, 90)
    scores = summary(codes, np.eye(4)[predicted], np.arange(4), np.arange(90), 10, 0)
    assert (scores["confusion"].values == confusion_matrix(codes, predicted)).all()
    expected = balanced_accuracy_score(codes, predicted)
    np.testing.assert_allclose(float(scores["balanced_accuracy"]), expected)
    assert float(scores["accuracy"]) == (codes == predicted).mean()
    assert float(scores["chance"]) == np.bincount(codes).max() / 90


def test_the_interval_of_independent_stimuli_is_the_binomial_one():
    rng = np.random.default_rng(1)
    correct = rng.random(2000) < 0.8
    lower, upper = intervals(np.zeros(2000, dtype=int), correct, np.arange(2000), 4000, 0)[0]
    error = np.sqrt(correct.mean() * (1 - correct.mean()) / 2000)
    np.testing.assert_allclose(
        [lower, upper], correct.mean() + 1.96 * error * np.array([-1, 1]), atol=0.1 * error
    )


def test_the_interval_of_clones_is_that_of_their_groups():
    correct = np.random.default_rng(2).random(300) < 0.7
    codes = np.zeros(300, dtype=int)
    once = intervals(codes, correct, np.arange(300), 500, 0)
    tenfold = intervals(
        np.repeat(codes, 10), np.repeat(correct, 10), np.repeat(np.arange(300), 10), 500, 0
    )
    np.testing.assert_allclose(once, tenfold)


def test_the_balanced_interval_is_about_the_balanced_accuracy():
    codes = np.repeat([0, 1], [900, 100])
    correct = np.concatenate([np.ones(900), np.arange(100) < 50])
    lower, upper = intervals(codes, correct, np.arange(1000), 2000, 0)[1]
    np.testing.assert_allclose(
        [lower, upper], 0.75 + np.array([-1, 1]) * 1.96 * 0.05 / 2, atol=6e-3
    )


@pytest.mark.parametrize("readout", ["logistic", "ridge", "lda"])
@pytest.mark.parametrize("separation", [1.0, 2.0])
def test_d_prime_of_two_gaussians_is_their_separation(readout, separation):
    rng = np.random.default_rng(4)
    codes = np.repeat([0, 1], 2000)
    means = np.array([[0, 0, 0], [2, 1, 2]]) / 3 * separation
    patterns = rng.normal(size=(4000, 3)) + means[codes]
    found = decode(patterns, codes, readout=readout, penalties=None if readout == "lda" else 1.0)
    # Standard error of d' at criterion 0: sqrt(2 H (1 - H) / n) / phi(z(H)), about 0.05.
    np.testing.assert_allclose(found["d_prime"], separation, atol=0.13)
    np.testing.assert_allclose(found["accuracy"], norm.cdf(separation / 2), atol=0.02)
