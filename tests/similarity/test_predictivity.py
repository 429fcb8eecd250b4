"""Cross-validated regression against scikit-learn, and what it must not do."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import RidgeCV

from cnnperception import similarity
from cnnperception.similarity import predictivity


def responses(stimuli=60, units=20, neuroids=7, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(stimuli, units)) + 2
    y = x @ rng.normal(size=(units, neuroids)) / np.sqrt(units) + 3
    return x, y + noise * rng.normal(size=y.shape)


@pytest.mark.parametrize("units", [20, 150])
def test_ridge_equals_that_of_scikit_learn_with_leave_one_out_penalties(units):
    x, y = responses(units=units)
    penalties = np.array([0.01, 0.1, 1.0, 10.0])
    found = similarity.ridge_predictivity(x, y, penalties=penalties, folds=5, seed=3)
    for fold, (train, test) in enumerate(predictivity._folds(60, 5, None, 3)):
        centred = x[train] - x[train].mean(axis=0)
        scale = np.linalg.eigvalsh(centred @ centred.T).clip(0).mean()
        model = RidgeCV(penalties * scale, alpha_per_target=True).fit(x[train], y[train])
        np.testing.assert_allclose(found["penalty"][fold], model.alpha_ / scale)
        expected = [
            np.corrcoef(column, measured)[0, 1]
            for column, measured in zip(model.predict(x[test]).T, y[test].T, strict=True)
        ]
        np.testing.assert_allclose(found["r_folds"][fold], expected, atol=1e-8)
    np.testing.assert_allclose(found["r"], found["r_folds"].mean("fold"))
    assert found["median"] == pytest.approx(np.median(found["r"]))


@pytest.mark.parametrize("units", [20, 150])
def test_pls_equals_that_of_scikit_learn(units):
    x, y = responses(units=units)
    found = similarity.pls_predictivity(x, y, components=6, folds=5, seed=1)
    for fold, (train, test) in enumerate(predictivity._folds(60, 5, None, 1)):
        model = PLSRegression(6, scale=False).fit(x[train], y[train])
        predicted = np.asarray(model.predict(x[test]))
        expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(predicted.T, y[test].T, strict=True)]
        np.testing.assert_allclose(found["r_folds"][fold], expected, atol=1e-6)
    few = similarity.pls_predictivity(x[:, :4], y, components=25, folds=5)
    assert (few["components"] == 4).all()


@pytest.mark.parametrize("predict", [similarity.ridge_predictivity, similarity.pls_predictivity])
def test_unrelated_features_predict_nothing(predict):
    rng = np.random.default_rng(0)
    found = [
        float(predict(rng.normal(size=(60, 200)), rng.normal(size=(60, 20)), folds=5)["r"].mean())
        for _ in range(6)
    ]
    # The mean over 6 x 20 neuroids of correlations over 12 stimuli, five folds each.
    assert abs(np.mean(found)) < 0.06


def test_a_group_is_never_torn_apart():
    """Copies of a stimulus predict each other: groups keep them from doing so."""
    rng = np.random.default_rng(0)
    objects, copies = 20, 4
    x = np.repeat(rng.normal(size=(objects, 50)), copies, axis=0)
    y = np.repeat(rng.normal(size=(objects, 10)), copies, axis=0)
    groups = [f"object{i}" for i in np.repeat(np.arange(objects), copies)]
    torn = similarity.ridge_predictivity(x, y, folds=5)
    whole = similarity.ridge_predictivity(x, y, folds=5, groups=groups)
    assert torn["median"] > 0.95
    assert abs(whole["median"]) < 0.3
    assert whole.attrs["grouped"] == 1
    for train, test in predictivity._folds(80, 5, groups, 0):
        assert not {groups[i] for i in train} & {groups[i] for i in test}


def test_groups_are_taken_in_every_form_and_in_the_order_of_the_features():
    x, y = responses()
    groups = [f"object{number // 4}" for number in range(60)]
    expected = similarity.ridge_predictivity(x, y, folds=5, groups=groups)
    ids = [f"p{number}" for number in range(60)]
    named = xr.DataArray(x, dims=("stimulus", "unit"), coords={"stimulus": ids})
    labels = xr.DataArray(groups, dims="stimulus", coords={"stimulus": ids})
    for given in (np.array(groups), pd.Series(groups), labels, labels[::-1]):
        found = similarity.ridge_predictivity(named, y, folds=5, groups=given)
        xr.testing.assert_identical(found, expected)
    for missing in (None, np.nan):
        with pytest.raises(ValueError, match="groups are missing in 1 places, the first number 59"):
            similarity.ridge_predictivity(x, y, groups=pd.Series([*groups[:-1], missing]))


def test_reliability_is_that_of_the_mean_over_repetitions():
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(1, 400, 30))
    for repetitions in (4, 5):
        repeats = signal + 1.5 * rng.normal(size=(repetitions, 400, 30))
        found = similarity.split_half_reliability(repeats)
        # Of the mean over k: 1 / (1 + 1.5^2 / k).
        assert found.mean() == pytest.approx(1 / (1 + 2.25 / repetitions), abs=0.015)
    with pytest.raises(ValueError, match="two repetitions"):
        similarity.split_half_reliability(repeats[:1])


def test_correcting_for_noise_recovers_a_perfect_model():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 10))
    signal = x @ rng.normal(size=(10, 12)) / np.sqrt(10)
    repeats = signal + rng.normal(size=(6, *signal.shape))
    reliability = similarity.split_half_reliability(repeats)
    found = similarity.ridge_predictivity(x, repeats.mean(0), reliability=reliability)
    assert found["median"] < 0.95
    assert found["median_corrected"] == pytest.approx(1, abs=0.03)
    np.testing.assert_allclose(found["corrected"], found["r"] / np.sqrt(reliability))
    with pytest.warns(UserWarning, match="1 neuroids are not reliable"):
        worse = similarity.ridge_predictivity(
            x, repeats.mean(0), reliability=np.r_[-0.1, reliability[1:]]
        )
    assert np.isnan(worse["corrected"][0])
    assert np.isfinite(worse["median_corrected"])


def test_the_seed_decides_and_is_kept():
    x, y = responses()
    first, again, other = (similarity.ridge_predictivity(x, y, seed=s) for s in (1, 1, 2))
    assert first.identical(again)
    assert not first["r"].equals(other["r"])
    assert first.attrs["seed"] == 1


def test_bad_inputs_are_named():
    x, y = responses()
    with pytest.raises(ValueError, match="60 and 59"):
        similarity.ridge_predictivity(x, y[1:])
    with pytest.raises(ValueError, match="above 0"):
        similarity.ridge_predictivity(x, y, penalties=[0.0])
    with pytest.raises(ValueError, match="enough"):
        similarity.ridge_predictivity(x[:20], y[:20], folds=10)
    with pytest.raises(ValueError, match="59 groups for 60"):
        similarity.ridge_predictivity(x, y, groups=[0] * 59)
    with pytest.raises(ValueError, match="1 or more"):
        similarity.pls_predictivity(x, y, components=0)
    with pytest.raises(ValueError, match="reliabilities for 7"):
        similarity.ridge_predictivity(x, y, reliability=[1.0])
    broken = x.copy()
    broken[3, 3] = np.inf
    with pytest.raises(ValueError, match="features are not finite at stimulus 3"):
        similarity.ridge_predictivity(broken, y)


@pytest.mark.parametrize("predict", [similarity.ridge_predictivity, similarity.pls_predictivity])
@pytest.mark.parametrize("value", [1.0, 0.1, 1000.1])
def test_features_that_do_not_vary_predict_the_mean(predict, value):
    x, y = responses()
    found = predict(np.full_like(x, value), y, folds=5)
    np.testing.assert_allclose(found["r"], 0, atol=1e-12)


@pytest.mark.parametrize("predict", [similarity.ridge_predictivity, similarity.pls_predictivity])
@pytest.mark.parametrize("stimuli", [37, 92, 118])
def test_neuroids_that_do_not_vary_correlate_with_nothing(predict, stimuli):
    x, y = responses(stimuli)
    silent = np.stack([np.full(stimuli, value) for value in (0.1, 1 / 3, 1000.1)], axis=1)
    np.testing.assert_array_equal(predict(x, silent, folds=5)["r"], 0)
    found = predict(x, np.concatenate([silent, y], axis=1), folds=5)
    np.testing.assert_array_equal(found["r"][:3], 0)
    np.testing.assert_allclose(found["r"][3:], predict(x, y, folds=5)["r"], atol=1e-9)
    repeats = np.stack([silent] * 5)
    np.testing.assert_array_equal(similarity.split_half_reliability(repeats), 0)


@pytest.mark.parametrize("predict", [similarity.ridge_predictivity, similarity.pls_predictivity])
def test_the_unit_and_the_level_of_responses_do_not_matter(predict):
    x, y = responses()
    expected = predict(x, y, folds=5)["r"]
    np.testing.assert_allclose(predict(x, 1e-17 * y, folds=5)["r"], expected, atol=1e-9)
    # A thousandth of a millionth of the level is variation all the same.
    np.testing.assert_allclose(predict(x, 1e9 + y, folds=5)["r"], expected, atol=1e-5)
