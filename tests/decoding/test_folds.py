"""Folds keep groups whole and classes in proportion."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnperception.decoding.folds import assign_folds, groups_of_strata, splits
from cnnperception.decoding.inputs import draw_folds, labelled


@given(st.lists(st.integers(0, 3), min_size=8, max_size=60), st.integers(2, 5), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_without_groups_each_class_is_spread_as_evenly_as_can_be(labels, folds, seed):
    codes = np.unique(labels, return_inverse=True)[1]
    fold_of = assign_folds(codes, np.arange(len(codes)), folds, np.random.default_rng(seed))
    for code in np.unique(codes):
        counts = np.bincount(fold_of[codes == code], minlength=folds)
        assert np.ptp(counts) <= 1


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=5, max_size=80),
    st.integers(2, 4),
)
@settings(max_examples=50, deadline=None)
def test_a_group_is_never_cut(pairs, folds):
    codes, groups = (np.unique(x, return_inverse=True)[1] for x in zip(*pairs, strict=True))
    fold_of = assign_folds(codes, groups, folds, np.random.default_rng(0))
    assert (groups_of_strata(groups, fold_of) == 1).all()


def test_groups_of_one_class_each_are_stratified_by_class():
    codes, groups = np.repeat([0, 1, 2], 40), np.repeat(np.arange(30), 4)
    fold_of = assign_folds(codes, groups, 5, np.random.default_rng(3))
    counts = np.stack([np.bincount(fold_of[codes == c], minlength=5) for c in range(3)])
    assert (counts == 8).all()


def test_groups_of_several_sizes_fill_folds_about_equally():
    groups = np.repeat(np.arange(12), [20, 12, 10, 8, 8, 6, 6, 4, 4, 2, 2, 2])
    codes = np.arange(len(groups)) % 2
    fold_of = assign_folds(codes, groups, 4, np.random.default_rng(0))
    assert np.bincount(fold_of).max() <= 1.2 * len(groups) / 4


def test_splits_train_on_all_that_they_do_not_test():
    fold_of = np.array([0, 1, 2, 1, 0])
    tested = []
    for train, test in splits(fold_of):
        assert sorted([*train, *test]) == list(range(5))
        tested += list(test)
    assert sorted(tested) == list(range(5))


def test_a_class_that_groups_force_into_one_fold_is_an_error():
    members = {0: "xxxxyyyyzzzz", 1: "bccccccccc", 2: "bxyz", 3: "c"}
    labels = [label for group in members.values() for label in group]
    groups = [number for number, group in members.items() for _ in group]
    stimuli = labelled(np.ones((len(labels), 3)), labels, groups)
    with pytest.raises(ValueError, match="all groups of class b came into one fold"):
        draw_folds(stimuli, 2, np.random.default_rng(0))
