import numpy as np
import pytest
import rsatoolbox
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnperception import rsa


def _stack(rdms: int, seed: int, ties: bool, stimuli: int = 8) -> np.ndarray:
    values = np.random.default_rng(seed).gamma(2, 1, (rdms, stimuli * (stimuli - 1) // 2))
    return np.round(values) if ties else values


@pytest.mark.parametrize("method", rsa.METHODS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), ties=st.booleans())
def test_similarities_equal_rsatoolbox_with_and_without_ties(method, seed, ties) -> None:
    a, b = _stack(3, seed, ties), _stack(4, seed + 1, ties)
    expected = rsatoolbox.rdm.compare(rsatoolbox.rdm.RDMs(a), rsatoolbox.rdm.RDMs(b), method=method)
    np.testing.assert_allclose(rsa.compare(a, b, method), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", rsa.METHODS)
def test_missing_pairs_are_left_out_pair_by_pair(method: str) -> None:
    a, b = _stack(2, 0, False), _stack(2, 1, False)
    a[0, 3] = b[1, 5] = np.nan
    ours = rsa.compare(a, b, method)
    for i, j in np.ndindex(2, 2):
        both = np.isfinite(a[i]) & np.isfinite(b[j])
        expected = rsa.compare(a[i, both], b[j, both], method)
        np.testing.assert_allclose(ours[i, j], expected[0, 0])


def test_rdms_are_aligned_by_label_not_by_position() -> None:
    patterns = np.random.default_rng(0).normal(size=(9, 20))
    names = [f"im{i}" for i in range(9)]
    shuffled = [4, 0, 8, 2, 6, 1, 7, 3, 5]
    one = rsa.rdm(patterns, stimulus_ids=names)
    other = rsa.rdm(patterns[shuffled], stimulus_ids=[names[i] for i in shuffled])
    np.testing.assert_allclose(rsa.compare(one, other), 1)


def test_zeros_have_cosine_zero_and_no_correlation() -> None:
    zeros, other = np.zeros((1, 10)), _stack(1, 0, False, stimuli=5)
    assert rsa.compare(zeros, other, "cosine")[0, 0] == 0
    assert np.isnan(rsa.compare(zeros, other, "corr")[0, 0])


def test_different_stimuli_are_refused() -> None:
    one = rsa.rdm(np.eye(4), stimulus_ids=list("abcd"))
    other = rsa.rdm(np.eye(4), stimulus_ids=list("abce"))
    with pytest.raises(ValueError, match="different stimuli: 'd'"):
        rsa.compare(one, other)
    with pytest.raises(ValueError, match="6 and 10 pairs"):
        rsa.compare(np.ones(6), np.ones(10))
    with pytest.raises(ValueError, match="no method is called 'pearson'"):
        rsa.compare(np.ones(6), np.ones(6), "pearson")
