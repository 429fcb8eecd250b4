import warnings

import numpy as np
import pytest
import rsatoolbox
from hypothesis import given, settings
from hypothesis import strategies as st
from rsatoolbox.rdm.compare import _bures_similarity_second_way, _get_v

from cnnperception import rsa

VECTORS = ["cosine", "corr", "spearman", "rho-a", "tau-a", "tau-b", "kendall"]
WHITENED = ["cosine_cov", "corr_cov"]


def _stack(rdms: int, seed: int, ties: bool = False, stimuli: int = 8) -> np.ndarray:
    values = np.random.default_rng(seed).gamma(2, 1, (rdms, stimuli * (stimuli - 1) // 2))
    return np.round(values) if ties else values


def _euclidean(rdms: int, seed: int, stimuli: int = 8) -> np.ndarray:
    rng = np.random.default_rng(seed)
    patterns = rng.normal(size=(rdms, stimuli, 20))
    return np.stack([rsa.rdm(p, "euclidean").to_numpy() for p in patterns])


def _reference(a: np.ndarray, b: np.ndarray, method: str, **settings) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rdms = rsatoolbox.rdm.RDMs
        return rsatoolbox.rdm.compare(rdms(a), rdms(b), method=method, **settings)


@pytest.mark.parametrize("method", VECTORS + WHITENED)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), ties=st.booleans(), stimuli=st.integers(3, 9))
def test_similarities_equal_rsatoolbox_with_and_without_ties(method, seed, ties, stimuli) -> None:
    # Three stimuli can tie altogether; then no correlation is defined: another test.
    a, b = _stack(3, seed, ties, stimuli), _stack(4, seed + 1, ties, stimuli)
    a[:, 0], b[:, 0] = a[:, 1] + 1, b[:, 1] + 2
    ours = rsa.compare(a, b, method)
    np.testing.assert_allclose(ours, _reference(a, b, method), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", VECTORS + WHITENED)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), missing=st.sets(st.integers(0, 27), min_size=1, max_size=9))
def test_pairs_missing_in_all_rdms_are_left_out_as_in_rsatoolbox(method, seed, missing) -> None:
    a, b = _stack(2, seed), _stack(3, seed + 1)
    a[:, list(missing)] = b[:, list(missing)] = np.nan
    ours = rsa.compare(a, b, method)
    np.testing.assert_allclose(ours, _reference(a, b, method), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("method", VECTORS + WHITENED)
def test_pairs_missing_in_some_rdms_are_left_out_of_their_comparisons(method: str) -> None:
    a, b = _stack(3, 0), _stack(2, 1)
    a[0, 3] = b[1, 5] = a[2, 3] = np.nan
    ours = rsa.compare(a, b, method)
    for i, j in np.ndindex(3, 2):
        x, y = a[i : i + 1].copy(), b[j : j + 1].copy()
        x[np.isnan(y)] = np.nan
        y[np.isnan(x)] = np.nan
        np.testing.assert_allclose(ours[i, j], _reference(x, y, method)[0, 0], rtol=1e-10)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), stimuli=st.integers(3, 9))
def test_measures_of_kernels_equal_rsatoolbox(seed: int, stimuli: int) -> None:
    a, b = _euclidean(2, seed, stimuli), _euclidean(3, seed + 1, stimuli)
    riemannian = rsa.compare(a, b, "neg_riem_dist")
    np.testing.assert_allclose(riemannian, _reference(a, b, "neg_riem_dist"), rtol=1e-6)
    # The eigenvalues that should be zero leave errors of 1e-8 in rsatoolbox's Bures.
    for method in ("bures", "bures_metric"):
        ours = rsa.compare(a, b, method)
        np.testing.assert_allclose(ours, _reference(a, b, method), atol=3e-7)


def test_bures_is_as_exact_as_rsatoolboxs_unused_other_formula() -> None:
    a, b = rsa.condensed(_euclidean(1, 0)[0]), rsa.condensed(_euclidean(1, 1)[0])
    centring = np.eye(8) - 1 / 8
    kernels = [centring @ (rsa.square(r) / -2) @ centring for r in (a, b)]
    # A root of a singular kernel, from more digits than float64 gives the other way.
    exact = rsa.compare(a, b, "bures")[0, 0]
    x, y = (np.linalg.eigh(k) for k in kernels)
    factors = [v[:, 1:] * np.sqrt(w[1:]) for w, v in (x, y)]
    nuclear = np.linalg.svd(factors[0].T @ factors[1], compute_uv=False).sum()
    expected = nuclear / np.sqrt(np.trace(kernels[0]) * np.trace(kernels[1]))
    np.testing.assert_allclose(exact, expected, rtol=1e-13)
    assert abs(_bures_similarity_second_way(*kernels) - expected) < 1e-6


@pytest.mark.parametrize("method", WHITENED)
def test_whitening_solves_for_the_covariance_exactly(method: str) -> None:
    rng = np.random.default_rng(0)
    a, b = _euclidean(2, 0), _euclidean(3, 1)
    root = rng.normal(size=(8, 12))
    for sigma in (root @ root.T, rng.gamma(2, 1, 8)):
        ours = rsa.compare(a, b, method, sigma_k=sigma)
        v = _get_v(8, np.diag(sigma) if sigma.ndim == 1 else sigma).toarray()
        x, y = (r - r.mean(1, keepdims=True) if method == "corr_cov" else r for r in (a, b))
        products = [p @ np.linalg.solve(v, q.T) for p, q in ((x, y), (x, x), (y, y))]
        length = np.sqrt(np.outer(np.diag(products[1]), np.diag(products[2])))
        np.testing.assert_allclose(ours, products[0] / length, rtol=1e-9)
        # rsatoolbox's solver stops early: near, and not nearer.
        full = np.diag(sigma) if sigma.ndim == 1 else sigma
        np.testing.assert_allclose(ours, _reference(a, b, method, sigma_k=full), atol=1e-3)


def test_a_diagonal_covariance_means_the_same_as_its_matrix_unlike_in_rsatoolbox() -> None:
    a, b, sigma = _euclidean(1, 0), _euclidean(1, 1), np.linspace(0.2, 3, 8)
    ours = [rsa.compare(a, b, "cosine_cov", sigma_k=s) for s in (sigma, np.diag(sigma))]
    np.testing.assert_allclose(*ours, rtol=1e-12)
    theirs = [_reference(a, b, "cosine_cov", sigma_k=s) for s in (sigma, np.diag(sigma))]
    assert abs(theirs[0] - theirs[1]) > 0.01
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-3)


def test_a_covariance_of_ones_is_no_covariance_with_missing_pairs_too() -> None:
    a, b = _stack(2, 0), _stack(2, 1)
    a[:, 4] = b[0, 9] = np.nan
    plain = rsa.compare(a, b, "cosine_cov")
    np.testing.assert_allclose(rsa.compare(a, b, "cosine_cov", sigma_k=np.ones(8)), plain)


def test_whitened_cosine_is_linear_cka() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 30)), rng.normal(size=(9, 5))
    centred = [p - p.mean(0) for p in (x, y)]
    cross, own_x, own_y = (
        np.linalg.norm(p.T @ q) for p, q in (centred, centred[:1] * 2, centred[1:] * 2)
    )
    found = rsa.compare(rsa.rdm(x, "euclidean"), rsa.rdm(y, "euclidean"), "cosine_cov")
    np.testing.assert_allclose(found, cross**2 / (own_x * own_y))


def test_rdms_are_aligned_by_label_not_by_position() -> None:
    patterns = np.random.default_rng(0).normal(size=(9, 20))
    names = [f"im{i}" for i in range(9)]
    shuffled = [4, 0, 8, 2, 6, 1, 7, 3, 5]
    one = rsa.rdm(patterns, stimulus_ids=names)
    other = rsa.rdm(patterns[shuffled], stimulus_ids=[names[i] for i in shuffled])
    np.testing.assert_allclose(rsa.compare(one, other), 1)


@pytest.mark.parametrize("method", [m for m in rsa.METHODS if m != "bures_metric"])
@given(seed=st.integers(0, 10**6))
@settings(max_examples=5, deadline=None)
def test_an_rdm_is_most_like_itself_and_scale_does_not_matter(method: str, seed: int) -> None:
    a = _euclidean(4, seed)
    found = rsa.compare(a, a * [[1], [2], [0.5], [3]], method)
    np.testing.assert_array_equal(found.argmax(axis=1), range(4))
    if method != "rho-a":
        expected = 0 if method == "neg_riem_dist" else 1
        np.testing.assert_allclose(found.diagonal(), expected, atol=2e-2 * (expected == 0) + 1e-9)


def test_zeros_have_cosine_zero_and_no_correlation() -> None:
    zeros, other = np.zeros((1, 10)), _stack(1, 0, False, stimuli=5)
    for method in ("cosine", "cosine_cov", "tau-a"):
        assert rsa.compare(zeros, other, method)[0, 0] == 0
    for method in ("corr", "spearman", "tau-b", "corr_cov"):
        with pytest.warns(UserWarning, match="1 similarities are NaN"):
            assert np.isnan(rsa.compare(zeros, other, method)[0, 0])


def test_bad_comparisons_are_named() -> None:
    one = rsa.rdm(np.eye(4), stimulus_ids=list("abcd"))
    other = rsa.rdm(np.eye(4), stimulus_ids=list("abce"))
    with pytest.raises(ValueError, match="different stimuli: 'd'"):
        rsa.compare(one, other)
    with pytest.raises(ValueError, match="6 and 10 pairs"):
        rsa.compare(np.ones(6), np.ones(10))
    with pytest.raises(ValueError, match="no method is called 'pearson'"):
        rsa.compare(np.ones(6), np.ones(6), "pearson")
    with pytest.raises(ValueError, match="does not use sigma_k"):
        rsa.compare(np.ones(6), np.ones(6), "corr", sigma_k=np.ones(4))
    with pytest.raises(ValueError, match=r"must be \(4, 4\)"):
        rsa.compare(np.ones(6), np.ones(6), "cosine_cov", sigma_k=np.ones(5))
    with pytest.raises(ValueError, match="not positive definite"):
        rsa.compare(_stack(1, 0), np.zeros((1, 28)), "neg_riem_dist")
    holes = _stack(1, 0)
    holes[0, 2] = np.nan
    with pytest.raises(ValueError, match="needs every pair"):
        rsa.compare(holes, holes, "bures")
