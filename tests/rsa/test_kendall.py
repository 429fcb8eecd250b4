"""Kendall's taus of weighted vectors equal scipy's of vectors in which elements are repeated."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cnnperception.rsa import kendall
from cnnperception.rsa.ranks import argsort, dense_ranks, ranked

SAMPLES, ROWS, COLUMNS = 3, 2, 4


def _taus(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> torch.Tensor:
    """Return tau-b, (sample, row, column)."""
    repeats = torch.from_numpy(weights).double()
    vectors = [
        ranked(torch.from_numpy(v).expand(SAMPLES, -1, -1), repeats[:, None].expand(-1, len(v), -1))
        for v in (x, y)
    ]
    needed = torch.ones((SAMPLES, len(x), len(y)), dtype=torch.bool)
    return kendall.kendall(*vectors, repeats, needed, "tau-b")


@settings(max_examples=30, deadline=None)
@given(
    size=st.integers(2, 90),
    kinds=st.sampled_from([2, 7, 10**6]),
    heaviest=st.integers(1, 5),
    seed=st.integers(0, 10**6),
)
def test_weighted_taus_equal_scipys_of_repeated_elements(
    size: int, kinds: int, heaviest: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    x, y = (random.integers(0, kinds, (n, size)).astype(float) for n in (ROWS, COLUMNS))
    weights = random.integers(0, heaviest + 1, (SAMPLES, size))
    found = _taus(x, y, weights)
    for sample, row, column in np.ndindex(*found.shape):
        a, b = (np.repeat(v, weights[sample]) for v in (x[row], y[column]))
        constant = len(a) < 2 or a.min() == a.max() or b.min() == b.max()
        expected = 0.0 if constant else stats.kendalltau(a, b).statistic
        assert float(found[sample, row, column]) == pytest.approx(expected, abs=1e-12)


def test_comparing_in_portions_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(ROWS, 40)), random.normal(size=(COLUMNS, 40))
    weights = random.integers(0, 4, (SAMPLES, 40))
    at_once = _taus(x, y, weights)
    monkeypatch.setitem(kendall._ELEMENTS, "cpu", 100)
    assert torch.equal(_taus(x, y, weights), at_once)


@pytest.mark.parametrize("largest", [3, 10**5, 10**12])
def test_whole_numbers_are_ordered_by_value_then_place(largest: int) -> None:
    values = torch.from_numpy(np.random.default_rng(1).integers(0, largest, (2, 3, 50)))
    expected = np.argsort(values.numpy(), axis=-1, kind="stable")
    np.testing.assert_array_equal(argsort(values).numpy(), expected)


def test_dense_ranks_equal_scipys() -> None:
    values = np.random.default_rng(2).integers(0, 9, (3, 30)).astype(float)
    expected = stats.rankdata(values, method="dense", axis=1) - 1
    np.testing.assert_array_equal(dense_ranks(torch.from_numpy(values)).numpy(), expected)
