"""The permutation test of two RDMs."""

import itertools

import numpy as np
import pytest

from cnnperception import rsa


def pair(seed=0, stimuli=8, related=0.0):
    rng = np.random.default_rng(seed)
    ids = [f"s{i}" for i in range(stimuli)]
    one, other = rng.random((2, stimuli * (stimuli - 1) // 2))
    return rsa.condensed(one, ids), rsa.condensed(other + related * one, ids)


@pytest.mark.parametrize("method", ["corr", "spearman", "tau-a", "cosine_cov", "bures"])
def test_the_null_is_that_of_all_orders(method):
    a, b = pair(stimuli=5)
    found = rsa.permutation_test(a, b, method, n_permutations=300)
    square = rsa.square(a)
    rows, columns = np.triu_indices(5, 1)
    every = [
        rsa.compare(square[np.ix_(order, order)][rows, columns][None], b.to_numpy(), method)[0, 0]
        for order in itertools.permutations(range(5))
    ]
    distances = np.abs(found["null"].to_numpy()[:, None] - np.array(every)[None]).min(axis=1)
    assert distances.max() < 1e-9
    reached = (np.array(every) >= float(found["similarity"]) - 1e-9).mean()
    assert float(found["p"]) == pytest.approx(reached, abs=0.1)


def test_p_counts_the_observed_order_and_is_uniform_without_relation():
    a, b = pair(related=20.0)
    found = rsa.permutation_test(a, b, n_permutations=199)
    assert float(found["p"]) == pytest.approx((1 + (found["null"] > 0.99).sum()) / 200)
    p = [
        float(rsa.permutation_test(*pair(seed), "corr", n_permutations=99)["p"])
        for seed in range(200)
    ]
    # Binomial: 10 expected of 200, with a standard deviation of 3.
    assert 2 <= (np.array(p) <= 0.05).sum() <= 20


def test_stimuli_are_aligned_and_the_seed_is_kept():
    a, b = pair(related=1.0)
    turned = rsa.select(b, rsa.stimulus_ids(b)[::-1])
    first, second = (rsa.permutation_test(a, x, n_permutations=20, seed=5) for x in (b, turned))
    assert first.identical(second)
    assert first.attrs["seed"] == 5


def test_what_cannot_be_permuted_is_named():
    a, b = pair()
    with pytest.raises(ValueError, match="some are NaN"):
        rsa.permutation_test(a, b.where(b > b.min()))
    with pytest.raises(ValueError, match="distance"):
        rsa.permutation_test(a, b, "bures_metric")
    with pytest.raises(ValueError, match="1 or more"):
        rsa.permutation_test(a, b, n_permutations=0)
    with pytest.raises(ValueError, match="different stimuli"):
        rsa.permutation_test(a, pair(stimuli=9)[1])


@pytest.mark.parametrize("method", ["spearman", "corr", "tau-b", "corr_cov"])
def test_an_rdm_that_does_not_vary_has_no_p(method):
    a, _ = pair()
    constant = rsa.condensed(np.ones(28), rsa.stimulus_ids(a))
    with (
        pytest.warns(UserWarning, match="NaN"),
        pytest.raises(ValueError, match="one of them does not vary"),
    ):
        rsa.permutation_test(a, constant, method, n_permutations=10)


def test_one_rdm_is_tested_at_a_time():
    a, b = pair()
    with pytest.raises(ValueError, match="one RDM with one other"):
        rsa.permutation_test(rsa.concat([a, b]), b)
