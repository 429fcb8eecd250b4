"""Generalisation over conditions, learning curves, and tests against chance."""

from math import comb

import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import binom, norm

from cnnperception.decoding import (
    decode,
    generalization,
    learning_curve,
    permutation,
    permutation_test,
)
from cnnperception.decoding.folds import assign_folds
from cnnperception.decoding.inputs import labelled
from cnnperception.decoding.learning import _order_in_class
from cnnperception.decoding.permutation import exchange_of, log_arrangements, permuted
from cnnperception.decoding.readouts import ridge, ridge_of_labelings
from cnnperception.decoding.span import coordinates

FAST = {"readout": "ridge", "penalties": 1.0}


def views(objects=20, conditions=2, seed=0, channels=200):
    """Views of objects: what identifies an object is the same in all conditions."""
    rng = np.random.default_rng(seed)
    of_object = np.tile(np.arange(objects), conditions)
    condition = np.repeat(np.arange(conditions), objects)
    identity = rng.normal(size=(objects, channels))
    patterns = identity[of_object] + 0.1 * rng.normal(size=(objects * conditions, channels))
    return patterns, of_object % 2, condition, of_object


def test_groups_keep_objects_out_of_the_tests_of_every_condition():
    right, leaky = [], []
    for seed in range(15):
        patterns, labels, condition, of_object = views(seed=seed)
        settings = {**FAST, "seed": seed, "resamples": 1}
        found = generalization(patterns, labels, condition, groups=of_object, **settings)
        right.append(found["accuracy"].values)
        leaky.append(generalization(patterns, labels, condition, **settings)["accuracy"].values)
    lower, upper = binom.interval(0.995, 15 * 20, 0.5)
    right = np.mean(right, axis=0) * 15 * 20
    assert ((lower <= right) & (right <= upper)).all()
    # Without groups the same objects are trained on, in the other condition.
    assert np.mean(leaky, axis=0)[0, 1] > 0.75


def test_conditions_generalise_as_far_as_their_signals_agree():
    rng = np.random.default_rng(0)
    labels, condition = np.tile([0, 1], 300), np.repeat(["same", "flipped", "other"], 200)
    sign = 2 * labels - 1
    patterns = rng.normal(size=(600, 2))
    patterns[:, 0] += sign * np.select([condition == "same", condition == "flipped"], [1, -1], 0)
    patterns[:, 1] += sign * (condition == "other")
    found = generalization(patterns, labels, condition, **FAST)["accuracy"]
    high = norm.cdf(1)
    expected = {
        ("same", "same"): high,
        ("same", "flipped"): 1 - high,
        ("same", "other"): 0.5,
        ("other", "other"): high,
        ("flipped", "same"): 1 - high,
        ("other", "same"): 0.5,
    }
    for (train, test), accuracy in expected.items():
        cell = found.sel(train_condition=train, test_condition=test)
        np.testing.assert_allclose(cell, accuracy, atol=0.09)


def test_generalization_scores_are_those_of_its_predictions():
    patterns, labels, condition, of_object = views(conditions=3)
    found = generalization(patterns, labels, condition, groups=of_object, **FAST)
    right = found["prediction"] == found["label"]
    for train in range(3):
        for test in range(3):
            cell = right.sel(train_condition=train)[{"stimulus": condition == test}]
            assert float(found["accuracy"][train, test]) == float(cell.mean())
    assert found["confusion"].dims == ("train_condition", "test_condition", "true", "predicted")
    again = generalization(patterns, labels, condition, groups=of_object, **FAST)
    xr.testing.assert_identical(found, again)


def test_a_condition_without_enough_of_a_class_is_named():
    patterns, labels, condition, of_object = views()
    few = (condition == 0) | (labels == 0) | (of_object < 6)
    with pytest.raises(ValueError, match="class 1 has 3 stimuli in condition 1, fewer than 5"):
        generalization(patterns[few], labels[few], condition[few], **FAST)
    with pytest.raises(ValueError, match="there must be two"):
        generalization(patterns, labels, np.zeros(40), **FAST)


def test_accuracy_grows_with_training_stimuli_to_that_of_the_known_means():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 500)
    patterns = rng.normal(size=(1000, 30)) + (2 * labels[:, None] - 1) * 0.2
    found = learning_curve(patterns, labels, [2, 20, 400], repeats=3, readout="ridge")
    two, twenty, most = found["accuracy"].mean("repeat").values
    # The best readout there is has d' = 2 * 0.2 * sqrt(30).
    best = norm.cdf(0.2 * np.sqrt(30))
    assert two + 0.05 < twenty < most - 0.03
    assert best - 0.04 < most < best + 0.02
    assert found["accuracy"].dims == ("size", "repeat")
    mean = found["accuracy"].mean("repeat")
    lower, upper = found["accuracy_interval"].values.T
    assert ((lower < mean) & (mean < upper)).all()
    # Of one readout on 1000 stimuli; the mean of three is no less sure.
    assert (upper - lower <= 1.1 * 2 * 1.96 * np.sqrt(mean * (1 - mean) / 1000)).all()


def test_a_learning_curve_of_noise_is_flat_at_chance():
    labels = np.repeat([0, 1], 30)
    right = np.zeros(2)
    for seed in range(10):
        noise = np.random.default_rng(seed).normal(size=(60, 500))
        found = learning_curve(noise, labels, [3, 20], repeats=1, seed=seed, readout="ridge")
        right += found["accuracy"].values[:, 0] * 60
    lower, upper = binom.interval(0.99, 600, 0.5)
    assert ((lower <= right) & (right <= upper)).all()


def test_learning_sets_have_a_size_of_each_class_and_visit_every_group_first():
    groups = np.repeat(np.arange(8), 5)
    stimuli = labelled(np.ones((40, 2)), groups // 4, groups)
    train = np.random.default_rng(1).permutation(40)[:34]
    place = _order_in_class(stimuli, train, np.random.default_rng(0))
    for size in (1, 4, 6):
        chosen = train[place < size]
        assert (np.bincount(stimuli.codes[chosen]) == size).all()
        taken = np.bincount(groups[chosen], minlength=8)
        assert ((taken == size // 4) | (taken == -(-size // 4))).all()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [([0, 3], "from 1"), ([], "from 1"), ([17], "more than the 16 stimuli of class 0")],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        learning_curve(np.ones((40, 2)), np.repeat([0, 1], 20), sizes, **FAST)


def test_a_single_training_stimulus_cannot_choose_among_penalties():
    patterns = np.random.default_rng(0).normal(size=(40, 2))
    with pytest.raises(ValueError, match="Give a single penalty"):
        learning_curve(patterns, np.repeat([0, 1], 20), [1])
    assert learning_curve(patterns, np.repeat([0, 1], 20), [1], **FAST)["accuracy"].shape == (1, 5)


def test_a_clear_signal_is_significant_and_its_null_at_chance():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 12)
    patterns = rng.normal(size=(36, 50)) + rng.normal(size=(3, 50))[labels]
    found = permutation_test(patterns, labels, permutations=99, **FAST)
    assert float(found["p_value"]) == 0.01
    assert float(found["balanced_p_value"]) == 0.01
    # The mean of 99 accuracies of 36 stimuli.
    np.testing.assert_allclose(found["null_accuracy"].mean(), 1 / 3, atol=0.035)
    again = permutation_test(patterns, labels, permutations=99, **FAST)
    xr.testing.assert_identical(found, again)


def test_p_values_of_noise_are_uniform():
    labels = np.repeat([0, 1], 10)
    p_values = []
    for seed in range(60):
        noise = np.random.default_rng(seed).normal(size=(20, 6))
        found = permutation_test(noise, labels, permutations=19, seed=seed, folds=4, **FAST)
        p_values.append(float(found["p_value"]))
    assert binom.cdf(np.sum(np.array(p_values) <= 0.2), 60, 0.2) < 0.995
    assert 0.4 < np.mean(p_values) < 0.68


def test_clones_of_few_objects_are_significant_only_without_their_groups():
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(8), 6)
    patterns, labels = rng.normal(size=(8, 40))[groups], groups % 2
    settings = {**FAST, "permutations": 49, "folds": 4}
    assert float(permutation_test(patterns, labels, **settings)["p_value"]) == 0.02
    grouped = permutation_test(patterns, labels, groups=groups, **settings)
    assert float(grouped["p_value"]) > 0.05


def exchanged(codes, groups=None, folds=2):
    stimuli = labelled(np.ones((len(codes), 2)), codes, groups)
    fold_of = assign_folds(stimuli.codes, stimuli.groups, folds, np.random.default_rng(0))
    return stimuli, fold_of, exchange_of(stimuli, fold_of)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), min_size=3, max_size=30))
def test_labels_are_permuted_among_groups_or_within_them(pairs):
    labels, groups = zip(*pairs, strict=True)
    assume(len(set(labels)) > 1)
    stimuli, _, exchange = exchanged(labels, groups)
    codes, groups = stimuli.codes, stimuli.groups
    found = permuted(codes, exchange, np.random.default_rng(0))
    constant = all(len(set(codes[groups == g])) == 1 for g in set(groups))
    for group in set(groups):
        of_group = found[groups == group]
        if constant:
            assert len(set(of_group)) == 1
        else:
            assert sorted(of_group) == sorted(codes[groups == group])


@given(st.integers(2, 4), st.integers(15, 20), st.integers(1, 3), st.integers(2, 5))
def test_many_groups_of_one_size_keep_the_classes_of_every_fold(classes, members, size, folds):
    codes = np.repeat(np.arange(classes), members * size)
    stimuli, fold_of, exchange = exchanged(codes, np.arange(len(codes)) // size, folds)
    found = permuted(codes, exchange, np.random.default_rng(0))
    assert (np.unique(np.stack([found, stimuli.groups]), axis=1).shape[1]) == classes * members
    assert exchange.keeps_folds
    assert (found != codes).any()
    for fold in range(folds):
        mine = fold_of == fold
        assert (np.bincount(found[mine]) == np.bincount(codes[mine])).all()


def test_arrangements_are_counted():
    two = np.repeat([0, 1], 4)
    _, _, among = exchanged(two, np.arange(8))
    assert among.name == "among groups"
    np.testing.assert_allclose(np.exp(log_arrangements(two, among)), comb(8, 4))
    mixed, groups = [0, 0, 1, 0, 1, 2], [0, 0, 0, 1, 1, 1]
    stimuli, _, within = exchanged(mixed, groups)
    assert within.name == "within groups"
    np.testing.assert_allclose(np.exp(log_arrangements(stimuli.codes, within)), 3 * 6)
    many = np.repeat([0, 1], 40)
    _, _, in_folds = exchanged(many, folds=4)
    assert in_folds.name == "among the groups of a fold"
    np.testing.assert_allclose(log_arrangements(many, in_folds), 4 * np.log(comb(20, 10)))
    uneven = np.repeat(np.arange(60), 40 * [1] + 20 * [2])
    assert exchanged(np.repeat([0, 1], 40), uneven)[2].name == "among groups"


def test_too_few_arrangements_are_an_error():
    patterns = np.random.default_rng(0).normal(size=(16, 3))
    with pytest.raises(ValueError, match="in only 6 ways .among groups., .* below 0.17"):
        permutation_test(patterns, np.repeat([0, 1], 8), groups=np.arange(16) // 4, folds=2, **FAST)


@pytest.mark.parametrize("readout", ["ridge", "logistic", "lda"])
@pytest.mark.parametrize("size", [1, 4])
def test_the_accuracy_tested_is_that_of_decode(readout, size):
    rng = np.random.default_rng(1)
    labels, groups = np.repeat([0, 1, 2], 12), np.arange(36) // size
    patterns = rng.normal(size=(36, 50)) + 0.3 * rng.normal(size=(3, 50))[labels]
    settings = {"readout": readout, "groups": groups, "folds": 3}
    settings["penalties"] = None if readout == "lda" else [0.1, 1.0]
    found = permutation_test(patterns, labels, permutations=2, **settings)
    expected = decode(patterns, labels, **settings)
    assert float(found["accuracy"]) == float(expected["accuracy"])
    assert float(found["balanced_accuracy"]) == float(expected["balanced_accuracy"])


def test_labels_decoded_together_are_as_decoded_one_by_one():
    rng = np.random.default_rng(2)
    points = coordinates(rng.normal(size=(30, 60)), np.arange(20), np.arange(20, 30))
    labelings = np.stack([rng.permutation(np.arange(20) % 3) for _ in range(7)])
    found = ridge_of_labelings(points, labelings, 0.2)
    for codes, decision in zip(labelings, found, strict=True):
        np.testing.assert_allclose(decision, ridge(points, codes, [0.2])[0], atol=1e-12)


@pytest.mark.parametrize("members", [2, 25])
def test_permuted_labels_in_blocks_at_once_or_one_by_one_are_the_same(members, monkeypatch):
    labels = np.repeat([0, 1], 2 * members)
    patterns = np.random.default_rng(0).normal(size=(4 * members, 9))
    settings = {**FAST, "folds": 4, "permutations": 23}
    together = permutation_test(patterns, labels, **settings)
    for at_once in (5, 1):
        monkeypatch.setattr(permutation, "BLOCK_VALUES", at_once * 4 * members * 2)
        xr.testing.assert_identical(together, permutation_test(patterns, labels, **settings))
