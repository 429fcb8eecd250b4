"""Accuracies resampled together, and gains over all orders, against sums by hand."""

import itertools
import math

import numpy as np
import pytest

from cnnperception.decoding import decode, gains, mean_gain, resampled_accuracies


def _correct(readouts: int = 3, stimuli: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((readouts, stimuli)) < 0.6, rng.integers(0, 12, stimuli)


def test_readouts_that_predict_the_same_never_differ() -> None:
    correct, groups = _correct(1)
    found = resampled_accuracies(np.repeat(correct, 2, axis=0), groups, resamples=50)
    assert np.ptp(found[:, 0]) > 0
    assert (found[:, 0] == found[:, 1]).all()


def test_resamples_are_those_of_whole_groups() -> None:
    correct, groups = _correct()
    found = resampled_accuracies(correct, groups, resamples=40, seed=3)
    names, number = np.unique(groups, return_inverse=True)
    drawn = np.random.default_rng(3).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=40
    )
    for counts, row in zip(drawn, found, strict=True):
        repeated = np.repeat(np.arange(correct.shape[1]), counts[number])
        np.testing.assert_allclose(row, correct[:, repeated].mean(axis=1))


def test_the_spread_of_a_mean_is_that_of_the_binomial() -> None:
    right = np.arange(400) % 4 < 3
    found = resampled_accuracies(right[None], np.arange(400), resamples=4000)[:, 0]
    assert found.mean() == pytest.approx(0.75, abs=0.003)
    assert found.std() == pytest.approx(math.sqrt(0.75 * 0.25 / 400), rel=0.05)


def test_intervals_agree_with_those_of_decode() -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(120) % 3
    patterns = rng.normal(size=(120, 4)) + 0.8 * (labels[:, None] == np.arange(4))
    groups = np.arange(120) // 3 * 3 + labels
    groups = groups // 6 * 6 + labels
    result = decode(patterns, labels, groups=groups, readout="lda", resamples=4000)
    right = (result["prediction"] == result["label"]).values
    found = resampled_accuracies(right[None], groups, resamples=4000)[:, 0]
    expected = result["accuracy_interval"].values
    np.testing.assert_allclose(np.quantile(found, [0.025, 0.975]), expected, atol=0.015)


@pytest.mark.parametrize(
    ("correct", "groups", "message"),
    [
        (np.ones(4), np.arange(4), "readout, stimulus"),
        (np.ones((2, 4)), np.arange(3), "a group for each stimulus"),
        (2 * np.ones((2, 4)), np.arange(4), "from 0 to 1"),
        (np.full((2, 4), np.nan), np.arange(4), "from 0 to 1"),
        (np.ones((2, 4)), np.zeros(4), "1 groups"),
    ],
)
def test_what_cannot_be_resampled_is_refused(correct, groups, message) -> None:
    with pytest.raises(ValueError, match=message):
        resampled_accuracies(correct, groups)


def _subsets(names: str) -> list[frozenset[str]]:
    return [frozenset(c) for n in range(len(names) + 1) for c in itertools.combinations(names, n)]


def test_where_changes_do_not_meet_every_order_gives_the_same() -> None:
    worth = {"a": 0.1, "b": -0.05, "c": 0.3}
    values = {made: 0.2 + sum(worth[change] for change in made) for made in _subsets("abc")}
    for change, gain in worth.items():
        found = gains(values, change)
        assert len(found) == 4
        np.testing.assert_allclose(list(found.values()), gain)
        assert mean_gain(values, change) == pytest.approx(gain)


def test_mean_gains_are_means_over_all_orders_and_add_up() -> None:
    rng = np.random.default_rng(0)
    values = {made: rng.random(5) for made in _subsets("abcd")}
    for change in "abcd":
        by_hand = [
            values[frozenset(order[: order.index(change) + 1])]
            - values[frozenset(order[: order.index(change)])]
            for order in itertools.permutations("abcd")
        ]
        np.testing.assert_allclose(mean_gain(values, change), np.mean(by_hand, axis=0))
    total = sum(mean_gain(values, change) for change in "abcd")
    np.testing.assert_allclose(total, values[frozenset("abcd")] - values[frozenset()])


def test_subsets_that_are_missing_and_unknown_changes_are_refused() -> None:
    values = dict.fromkeys(_subsets("ab"), 0.0)
    with pytest.raises(ValueError, match="no change is called 'c'; there are a, b"):
        gains(values, "c")
    del values[frozenset("a")]
    with pytest.raises(ValueError, match="4 subsets; there are values of 3"):
        mean_gain(values, "a")
