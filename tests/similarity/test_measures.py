"""Similarity measures against their definitions, invariances and known values."""

import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import pdist, squareform

from cnnperception import similarity

SYMMETRIC = ["cka", "biased_cka", "procrustes", "angular_shape_distance", "distance_correlation"]


def patterns(stimuli=30, units=(8, 5), seed=0, related=0.0):
    rng = np.random.default_rng(seed)
    x, y = (rng.normal(size=(stimuli, u)) + rng.normal(size=u) for u in units)
    shared = min(units)
    y[:, :shared] += related * x[:, :shared]
    return x, y


def rotation(size, seed=1):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def song(x, y):
    """HSIC of Song et al. (2012), eq. 5, of linear kernels with their diagonals left out."""
    k, l = x @ x.T, y @ y.T  # noqa: E741
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    n = len(x)
    one = np.ones(n)
    total = np.trace(k @ l) + (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * one @ k @ l @ one) / (n * (n - 3))


def test_cka_is_the_ratio_of_the_unbiased_estimates():
    x, y = patterns(related=0.7)
    expected = song(x, y) / np.sqrt(song(x, x) * song(y, y))
    assert similarity.cka(x, y) == pytest.approx(expected, abs=1e-12)


def test_biased_cka_is_that_of_the_covariances():
    x, y = patterns(related=0.7)
    x0, y0 = x - x.mean(0), y - y.mean(0)
    expected = np.linalg.norm(x0.T @ y0) ** 2 / (
        np.linalg.norm(x0.T @ x0) * np.linalg.norm(y0.T @ y0)
    )
    assert similarity.biased_cka(x, y) == pytest.approx(expected, abs=1e-12)


def test_many_unrelated_units_look_alike_only_to_the_biased_estimate():
    x, y = patterns(50, (200, 300))
    assert similarity.biased_cka(x, y) == pytest.approx(0.83, abs=0.02)
    found = [similarity.cka(*patterns(50, (200, 300), seed)) for seed in range(20)]
    assert abs(np.mean(found)) < 0.01


def test_procrustes_is_what_the_best_rotation_leaves():
    x, y = patterns(20, (6, 6), related=0.4)
    unit = [(p - p.mean(0)) / np.linalg.norm(p - p.mean(0)) for p in (x, y)]
    turn, _ = orthogonal_procrustes(*unit)
    assert similarity.procrustes(x, y) == pytest.approx(np.linalg.norm(unit[0] @ turn - unit[1]))
    nuclear = np.linalg.svd(unit[0].T @ unit[1], compute_uv=False).sum()
    assert similarity.angular_shape_distance(x, y) == pytest.approx(np.arccos(nuclear))


def test_more_units_than_stimuli_make_no_difference_to_procrustes():
    x, y = patterns(10, (40, 60), related=0.3)
    unit = [(p - p.mean(0)) / np.linalg.norm(p - p.mean(0)) for p in (x, y)]
    nuclear = np.linalg.svd(unit[0].T @ unit[1], compute_uv=False).sum()
    assert similarity.angular_shape_distance(x, y) == pytest.approx(np.arccos(nuclear))


def test_canonical_correlations_are_those_of_whitened_covariances():
    x, y = patterns(60, (6, 4), related=0.8)
    x0, y0 = x - x.mean(0), y - y.mean(0)

    def whitening(p):
        values, vectors = np.linalg.eigh(p.T @ p)
        return vectors / np.sqrt(values) @ vectors.T

    expected = np.linalg.svd(whitening(x0) @ x0.T @ y0 @ whitening(y0), compute_uv=False)
    found = similarity.canonical_correlations(x, y)
    np.testing.assert_allclose(found, expected, atol=1e-10)
    assert similarity.cca(x, y) == pytest.approx(expected.mean())
    assert similarity.svcca(x, y, share=1.0) == pytest.approx(expected.mean())


def test_svcca_keeps_the_components_that_hold_most_variance():
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(80, 2)) * 10
    x = np.concatenate([signal, 0.01 * rng.normal(size=(80, 30))], axis=1) @ rotation(32)
    y = signal @ rotation(2) + 0.001 * rng.normal(size=(80, 2))
    assert similarity.svcca(x, y) == pytest.approx(1, abs=1e-3)


def test_pwcca_weighs_by_the_units_that_variates_account_for():
    x, y = patterns(60, (6, 4), related=0.8)
    x0, y0 = x - x.mean(0), y - y.mean(0)
    qx, qy = np.linalg.qr(x0)[0], np.linalg.qr(y0)[0]
    left, correlations, _ = np.linalg.svd(qx.T @ qy, full_matrices=False)
    weights = np.abs((qx @ left).T @ x0).sum(axis=1)
    expected = (weights * correlations).sum() / weights.sum()
    assert similarity.pwcca(x, y) == pytest.approx(expected)


def test_distance_correlation_is_that_of_u_centred_distances():
    x, y = patterns(15, related=0.5)
    centred = []
    for p in (x, y):
        a = squareform(pdist(p))
        n = len(a)
        u = np.array(
            [
                [
                    0
                    if i == j
                    else a[i, j]
                    - a[i].sum() / (n - 2)
                    - a[:, j].sum() / (n - 2)
                    + a.sum() / ((n - 1) * (n - 2))
                    for j in range(n)
                ]
                for i in range(n)
            ]
        )
        centred.append(u)
    a, b = centred
    expected = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    assert similarity.distance_correlation(x, y) == pytest.approx(expected)


def test_distance_correlation_sees_what_no_correlation_does():
    x = np.random.default_rng(0).normal(size=(300, 1))
    assert similarity.distance_correlation(x, x**2) > 0.1
    assert abs(similarity.cka(x, x**2)) < 0.05


def test_neighbours_are_counted():
    x = np.arange(6.0)[:, None] ** 1.5
    assert similarity.knn_overlap(x, x, neighbours=2) == 1
    y = x[[0, 1, 2, 5, 4, 3]]
    near = [squareform(pdist(p)) + np.diag([np.inf] * 6) for p in (x, y)]
    sets = [[set(np.argsort(row, kind="stable")[:2]) for row in apart] for apart in near]
    expected = np.mean([len(a & b) / 2 for a, b in zip(*sets, strict=True)])
    assert similarity.knn_overlap(x, y, neighbours=2) == pytest.approx(expected)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    scale=st.floats(0.01, 100),
    name=st.sampled_from([*SYMMETRIC, "cca", "knn_overlap"]),
)
def test_rotation_shift_and_scale_change_nothing_and_order_neither(seed, scale, name):
    x, y = patterns(20, (5, 4), seed, related=0.5)
    measure = getattr(similarity, name)
    moved = scale * x @ rotation(5, seed) + 3
    tolerance = 1e-6 if "angular" in name or name == "procrustes" else 1e-9
    assert measure(moved, y) == pytest.approx(measure(x, y), abs=tolerance)
    assert measure(y, x) == pytest.approx(measure(x, y), abs=tolerance)
    alike = 0 if name in ("procrustes", "angular_shape_distance") else 1
    assert measure(moved, x) == pytest.approx(alike, abs=1e-6)


def test_any_invertible_map_leaves_canonical_correlations():
    x, y = patterns(40, (5, 4), related=0.5)
    mixed = x @ np.random.default_rng(2).normal(size=(5, 5))
    np.testing.assert_allclose(
        similarity.canonical_correlations(mixed, y), similarity.canonical_correlations(x, y)
    )
    assert similarity.cka(mixed, y) != pytest.approx(similarity.cka(x, y), abs=1e-3)


def test_copies_of_units_add_no_rank():
    x, y = patterns(30, (5, 4))
    doubled = np.concatenate([x, x[:, :2]], axis=1)
    assert similarity.cca(doubled, y) == pytest.approx(similarity.cca(x, y))


def test_tensors_arrays_and_labelled_arrays_of_any_order_agree():
    x, y = patterns(12, (6, 4), related=0.5)
    ids = [f"p{i}" for i in range(12)]
    order = np.random.default_rng(0).permutation(12)
    maps = x.reshape(12, 2, 3)
    one = xr.DataArray(maps, dims=("stimulus", "channel", "x"), coords={"stimulus": ids})
    other = xr.DataArray(
        y[order], dims=("stimulus", "unit"), coords={"stimulus": [ids[i] for i in order]}
    )
    expected = similarity.cka(x, y)
    assert similarity.cka(one, other) == pytest.approx(expected)
    assert similarity.cka(torch.from_numpy(maps), y) == pytest.approx(expected)
    with pytest.raises(ValueError, match="different stimuli: 'p0'"):
        similarity.cka(one, other.assign_coords(stimulus=["q", *ids[1:]]))


@pytest.mark.parametrize("name", [*SYMMETRIC, "cca", "svcca", "pwcca", "knn_overlap"])
def test_stimuli_are_found_by_the_name_of_their_dimension(name):
    x, y = patterns(related=1.0)
    ids = [f"p{number}" for number in range(30)]
    one, other = (
        xr.DataArray(values, dims=("stimulus", "unit"), coords={"stimulus": ids})
        for values in (x, y)
    )
    measure = getattr(similarity, name)
    expected = measure(x, y)
    assert measure(one.T, other.T) == pytest.approx(expected)
    assert measure(one, other[::-1].T) == pytest.approx(expected)
    assert measure(one.T, y) == pytest.approx(expected)


def test_correlations_that_cannot_but_be_one_are_warned_of():
    x, y = patterns(10, (8, 7))
    with pytest.warns(UserWarning, match="span 8 and 7 dimensions of the 9"):
        similarity.cca(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        similarity.cca(*patterns(30, (8, 7)))


@pytest.mark.parametrize("name", [*SYMMETRIC, "cca", "svcca", "pwcca", "knn_overlap"])
def test_what_has_no_similarity_is_named(name):
    x, y = patterns()
    measure = getattr(similarity, name)
    with pytest.raises(ValueError, match="30 and 29 stimuli"):
        measure(x, y[1:])
    with pytest.raises(ValueError, match=r"the second patterns do not vary"):
        measure(x, np.ones((30, 3)) * 7.1)
    broken = y.copy()
    broken[4, 2] = np.nan
    with pytest.raises(ValueError, match="the second patterns are not finite at stimulus 4"):
        measure(x, broken)
    with pytest.raises(ValueError, match="got the shape"):
        measure(x, y[:, 0])


def test_settings_out_of_range_are_named():
    x, y = patterns()
    with pytest.raises(ValueError, match="share"):
        similarity.svcca(x, y, share=0)
    with pytest.raises(ValueError, match="from 1 to 29"):
        similarity.knn_overlap(x, y, neighbours=30)
    with pytest.raises(ValueError, match="four stimuli"):
        similarity.cka(x[:3], y[:3])
