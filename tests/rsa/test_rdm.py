import numpy as np
import pytest
import rsatoolbox
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from cnnperception import rsa

PLAIN = ["correlation", "euclidean", "cosine", "manhattan", "spearman", "mahalanobis"]


def _patterns(stimuli: int = 12, channels: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(3, 2, (stimuli, channels))


def _precision(channels: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(3 * channels, channels))
    return rsa.noise_precision(noise)


def _reference(patterns, metric, stimuli=None, **settings) -> np.ndarray:
    """Return rsatoolbox's RDM, in the order of the first appearance of each stimulus."""
    if stimuli is None:
        data = rsatoolbox.data.Dataset(patterns)
        return rsatoolbox.rdm.calc_rdm(data, method=metric, **settings).dissimilarities[0]
    descriptors = {"stimulus": list(stimuli)}
    if "folds" in settings:
        descriptors["fold"] = list(settings.pop("folds"))
        settings["cv_descriptor"] = "fold"
    data = rsatoolbox.data.Dataset(patterns, obs_descriptors=descriptors)
    found = rsatoolbox.rdm.calc_rdm(data, method=metric, descriptor="stimulus", **settings)
    names = list(found.pattern_descriptors["stimulus"])
    wanted = [names.index(name) for name in dict.fromkeys(stimuli)]
    return found.get_matrices()[0][np.ix_(wanted, wanted)][np.triu_indices(len(wanted), 1)]


@pytest.mark.parametrize("metric", ["correlation", "euclidean"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), stimuli=st.integers(2, 15), channels=st.integers(3, 50))
def test_dissimilarities_equal_rsatoolbox(metric, seed, stimuli, channels) -> None:
    patterns = _patterns(stimuli, channels, seed)
    expected = _reference(patterns, metric)
    np.testing.assert_allclose(rsa.rdm(patterns, metric), expected, rtol=1e-10, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), stimuli=st.integers(2, 9), rate=st.floats(0.5, 3))
def test_mahalanobis_and_poisson_equal_rsatoolbox(seed, stimuli, rate) -> None:
    patterns, precision = _patterns(stimuli, 15, seed), _precision(15, seed)
    ours = rsa.rdm(patterns, "mahalanobis", precision=precision)
    expected = _reference(patterns, "mahalanobis", noise=precision)
    np.testing.assert_allclose(ours, expected, rtol=1e-10)
    counts = np.random.default_rng(seed).poisson(4, (stimuli, 15)).astype(float)
    ours = rsa.rdm(counts, "poisson", prior_rate=rate, prior_weight=0.2)
    expected = _reference(counts, "poisson", prior_lambda=rate, prior_weight=0.2)
    np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("metric", ["correlation", "euclidean", "mahalanobis", "poisson"])
def test_repeats_are_averaged_as_rsatoolbox_averages_them(metric: str) -> None:
    stimuli = ["im10", "im2", "im10", "im1", "im2", "im10"]
    patterns = np.abs(_patterns(6, 20))
    expected = _reference(patterns, metric, stimuli)
    ours = rsa.rdm(patterns, metric, stimulus_ids=stimuli)
    # rsatoolbox sorts its labels; ours keep the order in which they came.
    assert rsa.stimulus_ids(ours) == ["im10", "im2", "im1"]
    np.testing.assert_allclose(ours, expected, rtol=1e-10)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    stimuli=st.integers(2, 6),
    runs=st.integers(2, 4),
    repeats=st.integers(1, 2),
    weighted=st.booleans(),
)
def test_crossnobis_equals_rsatoolbox(seed, stimuli, runs, repeats, weighted) -> None:
    rng = np.random.default_rng(seed)
    labels = np.tile([f"s{i}" for i in range(stimuli)], runs * repeats)
    folds = np.repeat(np.arange(runs), stimuli * repeats)
    order = rng.permutation(len(labels))
    patterns = rng.normal(5, 1, (len(labels), 8))[order]
    precision = _precision(8, seed) if weighted else None
    ours = rsa.rdm(
        patterns, "crossnobis", stimulus_ids=labels[order], folds=folds[order], precision=precision
    )
    expected = _reference(
        patterns, "crossnobis", labels[order], folds=folds[order], noise=precision
    )
    np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-12)


def test_crossnobis_with_a_precision_a_fold_equals_rsatoolbox() -> None:
    labels, folds = np.tile(list("abcd"), 3), np.repeat([0, 1, 2], 4)
    patterns, precisions = _patterns(12, 6), [_precision(6, seed) for seed in range(3)]
    expected = _reference(patterns, "crossnobis", labels, folds=folds, noise=list(precisions))
    ours = rsa.rdm(patterns, "crossnobis", stimulus_ids=labels, folds=folds, precision=precisions)
    np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-12)
    by_fold = rsa.rdm(
        patterns,
        "crossnobis",
        stimulus_ids=labels,
        folds=folds,
        precision=dict(zip(range(3), precisions, strict=True)),
    )
    np.testing.assert_array_equal(ours, by_fold)


def test_folds_default_to_the_order_of_the_repeats_as_in_rsatoolbox() -> None:
    labels = ["a", "b", "a", "c", "c", "b"]
    patterns = _patterns(6, 10)
    ours = rsa.rdm(patterns, "crossnobis", stimulus_ids=labels)
    expected = _reference(patterns, "crossnobis", np.array([ord(c) for c in labels]))
    np.testing.assert_allclose(ours, expected, rtol=1e-10)
    with pytest.raises(ValueError, match="between 1 and 2 times"):
        rsa.rdm(patterns[:5], "crossnobis", stimulus_ids=labels[:5])


def test_crossnobis_is_unbiased_where_the_plain_distance_is_not() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (4, 200, 2, 30))  # the same stimulus twice: true distance zero
    folds, labels = np.repeat(range(4), 2), np.tile(["a", "b"], 4)
    found = [
        float(
            rsa.rdm(noise[:, i].reshape(8, 30), "crossnobis", stimulus_ids=labels, folds=folds)[0]
        )
        for i in range(200)
    ]
    assert abs(np.mean(found)) < 3 * np.std(found) / 200**0.5
    assert min(found) < 0


def test_a_stimulus_missing_in_a_fold_is_compared_over_the_other_folds() -> None:
    labels, folds = np.array(list("abcabcab")), np.array([0, 0, 0, 1, 1, 1, 2, 2])
    patterns = _patterns(8, 10)
    found = rsa.square(rsa.rdm(patterns, "crossnobis", stimulus_ids=labels, folds=folds))
    # a against c by hand: fold 0 and fold 1 have both; the others' mean of a spans two folds.
    a, c = patterns[[0, 3, 6]], patterns[[2, 5]]
    first = (a[[1, 2]].mean(0) - c[1]) @ (a[0] - c[0])
    second = (a[[0, 2]].mean(0) - c[0]) @ (a[1] - c[1])
    np.testing.assert_allclose(found[0, 2], (first + second) / 2 / 10)
    assert np.isfinite(found).all()


def test_pairs_without_common_folds_are_nan_and_said_so() -> None:
    labels, folds = list("abab" + "cc"), [0, 0, 1, 1, 2, 2]
    with pytest.warns(UserWarning, match="no two folds that have both"):
        found = rsa.square(rsa.rdm(_patterns(6, 5), "crossnobis", stimulus_ids=labels, folds=folds))
    assert np.isnan(found[0, 2])
    assert np.isfinite(found[0, 1])


def test_poisson_cv_averages_all_folds_where_rsatoolbox_returns_the_last() -> None:
    rng = np.random.default_rng(0)
    labels, folds = np.tile(list("abcd"), 3), np.repeat([0, 1, 2], 4)
    counts = rng.poisson(5, (12, 9)).astype(float)

    def of_fold(fold: int) -> np.ndarray:
        # With two folds, train and test, rsatoolbox's last fold is the one wanted.
        place = np.where(folds == fold, 1, 0)
        return _reference(counts, "poisson_cv", labels, folds=place)

    expected = np.mean([of_fold(fold) for fold in range(3)], axis=0)
    ours = rsa.rdm(counts, "poisson_cv", stimulus_ids=labels, folds=folds)
    np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-12)
    theirs = _reference(counts, "poisson_cv", labels, folds=folds)
    assert np.abs(ours - theirs).max() > 0.01


def test_decoding_equals_linear_discriminant_analysis() -> None:
    rng = np.random.default_rng(0)
    labels, folds = np.tile(np.arange(4), 10), np.repeat(np.arange(5), 8)
    patterns = rng.normal(size=(40, 6)) + 0.6 * rng.normal(size=(4, 6))[labels]
    precision = _precision(6)
    ours = rsa.square(
        rsa.rdm(patterns, "decoding", stimulus_ids=labels, folds=folds, precision=precision)
    )
    root = np.linalg.cholesky(precision)
    for i, j in zip(*np.triu_indices(4, 1), strict=True):
        right = []
        for fold in range(5):
            pair = np.isin(labels, [i, j])
            train, test = pair & (folds != fold), pair & (folds == fold)
            # Whitened by the given precision, the nearer mean is the discriminant's choice.
            means = {k: (patterns[train & (labels == k)] @ root).mean(0) for k in (i, j)}
            for x, label in zip(patterns[test] @ root, labels[test], strict=True):
                other = j if label == i else i
                right.append(np.sum((x - means[label]) ** 2) < np.sum((x - means[other]) ** 2))
        np.testing.assert_allclose(ours[i, j], np.mean(right))
    # And a sanity check by someone else's classifier: isotropic noise, well separated stimuli.
    apart = rng.normal(size=(40, 6)) + 6 * np.eye(6)[labels]
    scores = rsa.rdm(apart, "decoding", stimulus_ids=labels, folds=folds).to_numpy()
    classifier = LinearDiscriminantAnalysis().fit(apart[folds < 4], labels[folds < 4])
    assert classifier.score(apart[folds == 4], labels[folds == 4]) > 0.9
    assert (scores > 0.9).all()


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("correlation", "correlation"),
        ("cosine", "cosine"),
        ("euclidean", "sqeuclidean"),
        ("manhattan", "cityblock"),
    ],
)
def test_dissimilarities_equal_scipy(metric: str, name: str) -> None:
    patterns = _patterns()
    expected = pdist(patterns, name) / (40 if metric in ("euclidean", "manhattan") else 1)
    np.testing.assert_allclose(rsa.rdm(patterns, metric), expected, rtol=1e-10)


def test_spearman_distances_equal_scipy_with_ties() -> None:
    patterns = np.round(_patterns(5))
    expected = 1 - spearmanr(patterns, axis=1).statistic[np.triu_indices(5, 1)]
    np.testing.assert_allclose(rsa.rdm(patterns, "spearman"), expected, atol=1e-12)


def test_a_diagonal_precision_equals_the_matrix() -> None:
    patterns, weights = _patterns(5, 8), np.random.default_rng(1).gamma(2, 1, 8)
    np.testing.assert_allclose(
        rsa.rdm(patterns, "mahalanobis", precision=weights),
        rsa.rdm(patterns, "mahalanobis", precision=np.diag(weights)),
    )


def test_single_precision_far_from_zero_gives_no_negative_distances() -> None:
    patterns = np.random.default_rng(0).normal(100, 0.01, (20, 50)).astype(np.float32)
    expected = pdist(patterns.astype(np.float64), "sqeuclidean") / 50
    np.testing.assert_allclose(rsa.rdm(patterns, "euclidean"), expected, rtol=1e-9)
    assert _reference(patterns, "euclidean").min() < 0


@pytest.mark.parametrize("metric", PLAIN)
def test_identical_patterns_are_at_distance_zero_not_below(metric: str) -> None:
    values = rsa.square(rsa.rdm(np.repeat(_patterns(3), 2, axis=0), metric))
    assert values.min() >= 0
    np.testing.assert_allclose(values[0, 1], 0, atol=1e-12)


def test_a_constant_pattern_is_nan_and_said_so() -> None:
    patterns = _patterns()
    patterns[2] = 0.1
    with pytest.warns(UserWarning, match="without variance"):
        values = rsa.square(rsa.rdm(patterns))
    assert np.isnan(values[2, [0, 1, 3]]).all()
    assert np.isfinite(values[0, 1])


@pytest.mark.parametrize("metric", ["correlation", "euclidean", "cosine"])
def test_missing_channels_are_left_out_of_their_pairs_only(metric: str) -> None:
    patterns = _patterns(6, 30)
    patterns[1, :5] = patterns[4, 3:9] = np.nan
    with pytest.warns(UserWarning, match="11 values are NaN"):
        ours = rsa.square(rsa.rdm(patterns, metric))
    for i, j in zip(*np.triu_indices(6, 1), strict=True):
        both = np.isfinite(patterns[i]) & np.isfinite(patterns[j])
        np.testing.assert_allclose(
            ours[i, j], rsa.rdm(patterns[[i, j]][:, both], metric)[0], rtol=1e-10
        )


def test_repeats_with_missing_channels_are_averaged_over_what_is_there() -> None:
    patterns = _patterns(4, 10)
    patterns[0, 2] = np.nan
    filled = patterns.copy()
    filled[0, 2] = filled[1, 2]
    with pytest.warns(UserWarning, match="1 values are NaN"):
        ours = rsa.rdm(patterns, "euclidean", stimulus_ids=list("aabc"))
    np.testing.assert_allclose(ours, rsa.rdm(filled, "euclidean", stimulus_ids=list("aabc")))


def test_maps_are_flattened_and_tensors_taken() -> None:
    maps = torch.rand((5, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    xr.testing.assert_allclose(rsa.rdm(maps), rsa.rdm(maps.flatten(1).numpy()))


@pytest.mark.parametrize("metric", [m for m in PLAIN if m != "mahalanobis"])
@given(seed=st.integers(0, 1000))
def test_the_order_of_stimuli_and_channels_does_not_matter(metric: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    patterns, order = _patterns(5, 12, seed), rng.permutation(5)
    straight = rsa.square(rsa.rdm(patterns, metric))
    turned = rsa.square(rsa.rdm(patterns[order][:, rng.permutation(12)], metric))
    np.testing.assert_allclose(turned, straight[np.ix_(order, order)], atol=1e-12)


def test_bad_inputs_are_named() -> None:
    with pytest.raises(ValueError, match="no metric is called 'manhatten'"):
        rsa.rdm(_patterns(), "manhatten")
    with pytest.raises(ValueError, match="two stimuli or more"):
        rsa.rdm(_patterns(1))
    with pytest.raises(ValueError, match="stimulus number 1 has values"):
        rsa.rdm(np.array([[1.0, 2], [np.inf, 1], [3, 4]]))
    with pytest.raises(ValueError, match="stimulus number 1 has values"):
        rsa.rdm(np.array([[1.0, 2], [np.nan, 1], [3, 4]]), "manhattan")
    with pytest.raises(ValueError, match="3 stimulus ids for 12"):
        rsa.rdm(_patterns(), stimulus_ids=list("abc"))
    with pytest.raises(ValueError, match="'correlation' does not use folds="):
        rsa.rdm(_patterns(), folds=range(12))
    with pytest.raises(ValueError, match="independent measurements of the same stimulus"):
        rsa.rdm(_patterns(), "crossnobis")
    with pytest.raises(ValueError, match="two independent folds"):
        rsa.rdm(_patterns(4), "crossnobis", stimulus_ids=list("aabb"), folds=[0] * 4)
    with pytest.raises(ValueError, match=r"must be \(40, 40\)"):
        rsa.rdm(_patterns(), "mahalanobis", precision=np.eye(3))
    with pytest.raises(ValueError, match="one a fold"):
        rsa.rdm(_patterns(4), "crossnobis", stimulus_ids=list("abab"), precision=[np.eye(40)] * 3)
    with pytest.raises(ValueError, match="counts or rates"):
        rsa.rdm(-np.abs(_patterns()) - 1, "poisson")


def test_numbers_of_another_byte_order_are_the_same_numbers() -> None:
    patterns = np.random.default_rng(0).normal(size=(5, 9))
    np.testing.assert_array_equal(rsa.rdm(patterns.astype(">f8")), rsa.rdm(patterns))
