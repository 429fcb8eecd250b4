"""Decoding against scikit-learn on the same folds, and what must not leak."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from scipy.stats import binom
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

import cnnperception as cp
from cnnperception.decoding import decode, decode_layers, generalization, span
from cnnperception.decoding.folds import assign_folds, splits
from cnnperception.decoding.readouts import READOUTS as READOUT_FUNCTIONS
from cnnperception.decoding.span import coordinates

READOUTS = ("logistic", "ridge", "lda")


def noisy_classes(classes=3, members=20, channels=10, separation=0.6, seed=0):
    """Correlated channels of several scales; a class shifts all of them."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(classes), members)
    mixing = rng.normal(size=(channels, channels)) / np.sqrt(channels) + np.eye(channels)
    means = separation * rng.normal(size=(classes, channels))
    patterns = (rng.normal(size=(len(codes), channels)) + means[codes]) @ mixing
    return patterns * rng.lognormal(size=channels) + 5, codes


def by_hand(patterns, codes, fold_of, model):
    """Decision values of a scikit-learn model on standardised channels, fold by fold."""
    found = []
    for train, test in splits(fold_of):
        scaler = StandardScaler().fit(patterns[train])
        fitted = model(scaler.transform(patterns[train]), codes[train])
        found.append((test, fitted(scaler.transform(patterns[test]))))
    order = np.argsort(np.concatenate([test for test, _ in found]))
    return np.concatenate([values for _, values in found])[order]


@pytest.mark.parametrize("channels", [8, 300])
def test_ridge_equals_scikit_learn(channels):
    patterns, codes = noisy_classes(channels=channels)
    found = decode(patterns, codes, readout="ridge", penalties=0.3, folds=4)
    targets = 2.0 * np.eye(3) - 1

    def fit(points, train):
        return Ridge(alpha=0.3 * channels).fit(points, targets[train]).predict

    expected = by_hand(patterns, codes, found["fold_of"].values, fit)
    np.testing.assert_allclose(found["decision"], expected, rtol=1e-7, atol=1e-9)
    assert (found["prediction"].values == expected.argmax(axis=1)).all()


@pytest.mark.parametrize("channels", [8, 300])
@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_equals_scikit_learn(channels, classes):
    patterns, codes = noisy_classes(classes=classes, channels=channels)
    found = decode(patterns, codes, penalties=0.1, folds=4)

    def fit(points, train):
        model = LogisticRegression(C=1 / (0.1 * channels), tol=1e-8, max_iter=10_000)
        return model.fit(points, train).predict_log_proba

    expected = by_hand(patterns, codes, found["fold_of"].values, fit)
    decision = found["decision"].values
    # Log probabilities and decision values differ by the same number for all classes.
    np.testing.assert_allclose(
        decision - decision[:, :1], expected - expected[:, :1], rtol=2e-3, atol=2e-3
    )


@pytest.mark.parametrize("channels", [8, 300])
@pytest.mark.parametrize("classes", [2, 3])
def test_lda_equals_scikit_learn_with_ledoit_and_wolfs_covariance(channels, classes):
    patterns, codes = noisy_classes(classes=classes, channels=channels)
    found = decode(patterns, codes, readout="lda", folds=4)

    def fit(points, train):
        model = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=LedoitWolf())
        return model.fit(points, train).predict_log_proba

    expected = by_hand(patterns, codes, found["fold_of"].values, fit)
    decision = found["decision"].values
    # The probabilities underflow where a class is very unlikely.
    known = np.isfinite(expected) & (expected > -300)
    differences = decision - decision.max(axis=1, keepdims=True)
    expected = expected - expected.max(axis=1, keepdims=True)
    np.testing.assert_allclose(differences[known], expected[known], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("channels", [8, 200])
def test_the_penalty_is_that_of_a_grid_search_in_nested_folds(channels):
    patterns, codes = noisy_classes(members=25, channels=channels, separation=0.3)
    penalties = [10.0, 0.1, 0.001]
    found = decode(patterns, codes, penalties=penalties, folds=5, seed=3)
    for fold, (train, _) in enumerate(splits(found["fold_of"].values)):
        inner = assign_folds(codes[train], np.arange(len(train)), 5, np.random.default_rng(3))
        search = GridSearchCV(
            LogisticRegression(tol=1e-6, max_iter=10_000),
            {"C": [1 / (penalty * channels) for penalty in penalties]},
            cv=list(splits(inner)),
        )
        search.fit(StandardScaler().fit_transform(patterns[train]), codes[train])
        best = 1 / (search.best_params_["C"] * channels)
        np.testing.assert_allclose(found["penalty"][fold], best)


def test_nested_folds_keep_groups_whole():
    patterns, codes = noisy_classes(members=25, channels=40, separation=0.2)
    groups = np.arange(75) // 5
    # Members of a group are alike: folds that cut groups choose other penalties.
    patterns += 3 * patterns.std(axis=0) * np.random.default_rng(1).normal(size=(15, 40))[groups]
    penalties = [10.0, 0.1, 0.001]
    found = decode(patterns, codes, groups=groups, readout="ridge", penalties=penalties)
    for fold, (train, _) in enumerate(splits(found["fold_of"].values)):
        numbers = np.unique(groups[train], return_inverse=True)[1]
        inner = assign_folds(codes[train], numbers, 4, np.random.default_rng(0))
        search = GridSearchCV(
            RidgeClassifier(),
            {"alpha": [penalty * 40 for penalty in penalties]},
            cv=list(splits(inner)),
        )
        search.fit(StandardScaler().fit_transform(patterns[train]), codes[train])
        np.testing.assert_allclose(found["penalty"][fold], search.best_params_["alpha"] / 40)


def test_coordinates_keep_inner_products_with_training_patterns(monkeypatch):
    patterns, _ = noisy_classes(channels=150)
    train, test = np.arange(40), np.arange(40, 60)
    found = coordinates(patterns, train, test)
    scaler = StandardScaler().fit(patterns[train])
    full = scaler.transform(patterns) / np.sqrt(150)
    assert found.train.shape == (40, 39)
    both = np.concatenate([found.train, found.test])
    np.testing.assert_allclose(both @ found.train.T, full @ full[:40].T, atol=1e-10)
    monkeypatch.setattr(span, "BLOCK_VALUES", 7 * 60)
    in_blocks = coordinates(patterns, train, test)
    np.testing.assert_allclose(in_blocks.test @ in_blocks.train.T, full[40:] @ full[:40].T)


@pytest.mark.parametrize("channels", [8, 100])
def test_channels_that_do_not_vary_in_training_are_left_out(channels):
    patterns, _ = noisy_classes(channels=channels)
    train, test = np.arange(40), np.arange(40, 60)
    silent = np.full((60, 5), 0.1, dtype=np.float64)
    silent[test] = np.random.default_rng(0).normal(size=(20, 5))
    found = coordinates(np.concatenate([silent, patterns], axis=1), train, test)
    expected = coordinates(patterns, train, test)
    assert found.channels == channels
    np.testing.assert_allclose(
        found.test @ found.train.T, expected.test @ expected.train.T, atol=1e-10
    )


@pytest.mark.parametrize("readout", READOUTS)
def test_patterns_that_never_vary_are_decoded_at_chance(readout):
    found = decode(np.full((30, 40), 0.1), np.repeat([0, 1, 2], 10), readout=readout)
    np.testing.assert_allclose(found["accuracy"], 1 / 3)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("channels", [10, 3000])
def test_noise_is_decoded_at_chance(readout, channels):
    labels = np.repeat([0, 1, 2], 20)
    right = 0
    for seed in range(12):
        noise = np.random.default_rng([seed, channels]).normal(size=(60, channels)) + 3
        found = decode(
            noise,
            labels,
            readout=readout,
            seed=seed,
            resamples=1,
            penalties=None if readout == "lda" else [0.01, 1.0],
        )
        right += round(60 * float(found["accuracy"]))
    lower, upper = binom.interval(0.99, 12 * 60, 1 / 3)
    assert lower <= right <= upper


@pytest.mark.parametrize("readout", READOUTS)
def test_duplicates_in_a_group_do_not_leak(readout):
    labels, groups = np.repeat([0, 1], 60), np.repeat(np.arange(40), 3)
    right = []
    for seed in range(10):
        patterns = np.random.default_rng(seed).normal(size=(40, 200))[groups]
        settings = {
            "readout": readout,
            "penalties": None if readout == "lda" else 0.01,
            "resamples": 1,
            "seed": seed,
        }
        right.append(float(decode(patterns, labels, groups=groups, **settings)["accuracy"]))
        leaky = decode(patterns, labels, **settings)
        assert float(leaky["accuracy"]) > 0.8
    # All of a group are right or wrong together.
    lower, upper = binom.interval(0.99, 400, 0.5)
    assert lower <= 400 * np.mean(right) <= upper


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("channels", [10, 200])
def test_a_decision_does_not_depend_on_other_test_stimuli(readout, channels):
    patterns, codes = noisy_classes(channels=channels)
    before = decode(patterns, codes, readout=readout)
    first = np.flatnonzero(before["fold_of"] == 0)
    patterns[first[0]] += 100
    after = decode(patterns, codes, readout=readout)
    np.testing.assert_allclose(
        before["decision"][first[1:]], after["decision"][first[1:]], rtol=1e-6, atol=1e-9
    )
    assert not np.allclose(before["decision"][first[0]], after["decision"][first[0]])


@pytest.mark.parametrize("readout", READOUTS)
def test_a_readout_tested_on_held_out_stimuli_is_trained_on_the_others(readout):
    patterns, codes = noisy_classes(channels=100)
    test_on = np.random.default_rng(0).random(60) < 0.4
    penalties = None if readout == "lda" else 0.1
    found = decode(patterns, codes, readout=readout, penalties=penalties, test_on=test_on)
    assert list(found["stimulus"].values) == [str(n) for n in np.flatnonzero(test_on)]
    # What is tested with it changes nothing; what it is trained on does.
    order = np.concatenate([np.flatnonzero(~test_on), np.flatnonzero(test_on)])
    points = coordinates(patterns, *np.split(order, [int((~test_on).sum())]))
    expected = READOUT_FUNCTIONS[readout](points, codes[~test_on], [0.1])[0]
    np.testing.assert_allclose(found["decision"], expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(
        found["accuracy"], (expected.argmax(axis=1) == codes[test_on]).mean()
    )
    assert found["confusion"].sum() == test_on.sum()
    assert found.sizes["fold"] == 1


def test_held_out_stimuli_can_be_named_by_a_coordinate_in_every_layer():
    patterns, codes = noisy_classes()
    held_out = np.arange(60) % 4 == 0
    table = xr.DataArray(
        patterns, dims=("stimulus", "unit"), coords={"held_out": ("stimulus", held_out)}
    )
    found = decode_layers({"a": table}, codes, test_on="held_out", readout="lda")
    expected = decode(patterns, codes, test_on=held_out, readout="lda")
    xr.testing.assert_allclose(found.isel(layer=0, drop=True), expected)


def test_scale_and_offset_of_channels_do_not_matter():
    patterns, codes = noisy_classes(channels=200)
    rng = np.random.default_rng(0)
    other = patterns * rng.lognormal(sigma=3, size=200) + rng.normal(size=200)
    for readout in READOUTS:
        one, two = (decode(p, codes, readout=readout) for p in (patterns, other))
        assert (one["prediction"].values == two["prediction"].values).all()


@pytest.mark.parametrize("readout", READOUTS)
def test_the_same_seed_gives_the_same_bytes(readout):
    patterns, codes = noisy_classes(channels=80)
    one, two = (decode(patterns, codes, readout=readout, seed=5) for _ in range(2))
    xr.testing.assert_identical(one, two)
    other = decode(patterns, codes, readout=readout, seed=6)
    assert (one["fold_of"] != other["fold_of"]).any()


def test_arrays_tensors_and_tables_of_maps_give_the_same():
    patterns, codes = noisy_classes(channels=24)
    patterns = patterns.astype(np.float32)
    labels = np.array(["ant", "bee", "cat"])[codes]
    maps = xr.DataArray(
        patterns.reshape(60, 2, 3, 4),
        dims=("stimulus", "channel", "y", "x"),
        coords={
            "stimulus": [f"s{n}" for n in range(60)],
            "kind": ("stimulus", labels.astype(object)),
        },
    )
    one = decode(patterns, labels)
    two = decode(torch.from_numpy(patterns), list(labels))
    three = decode(maps.transpose("channel", "y", "x", "stimulus"), "kind")
    xr.testing.assert_identical(one, two)
    assert list(three["stimulus"].values[:2]) == ["s0", "s1"]
    xr.testing.assert_equal(one, three.assign_coords(stimulus=one["stimulus"]))
    assert list(one["class"].values) == ["ant", "bee", "cat"]


def test_results_hang_together_and_can_be_stored(tmp_path):
    patterns, codes = noisy_classes(channels=30)
    found = decode(patterns, codes, groups=np.arange(60) // 2, seed=2, resamples=50)
    right = found["prediction"] == found["label"]
    assert float(found["accuracy"]) == float(right.mean())
    assert (found["decision"].argmax("class") == found["prediction"]).all()
    for fold, accuracy in enumerate(found["fold_accuracy"].values):
        np.testing.assert_allclose(accuracy, right[found["fold_of"] == fold].mean())
    assert found["confusion"].sum() == 60
    assert found["accuracy_interval"][0] <= found["accuracy"] <= found["accuracy_interval"][1]
    assert found.attrs["seed"] == 2
    assert found.attrs["grouped"] == 1
    found.to_netcdf(tmp_path / "decoding.nc")
    with xr.open_dataset(tmp_path / "decoding.nc") as stored:
        xr.testing.assert_equal(found, stored.load())


@pytest.fixture(scope="module")
def activations():
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :32]
    phases = rng.uniform(0, 6, 20)
    waves = [np.sin(0.8 * (rows if n < 10 else columns) + phases[n]) for n in range(20)]
    grey = 0.5 + 0.3 * np.stack(waves) + 0.03 * rng.normal(size=(20, 32, 32))
    table = pd.DataFrame({"orientation": np.repeat(["horizontal", "vertical"], 10)})
    stimuli = cp.StimulusSet.from_arrays(
        np.repeat(grey.clip(0, 1)[..., None], 3, axis=-1), table=table
    )
    return cp.extract(cp.load_model("random-filters", device="cpu"), stimuli, readout="mean")


def test_every_layer_of_a_model_is_decoded_by_a_column_of_the_table(activations):
    found = decode_layers(activations, "orientation", readout="ridge", resamples=20)
    layers = [node.path.strip("/") for node in activations.leaves]
    assert list(found["layer"].values) == layers
    assert (found["accuracy"] > 0.8).all()
    last = decode(
        activations[layers[-1]]["activations"], "orientation", readout="ridge", resamples=20
    )
    xr.testing.assert_equal(found.isel(layer=-1, drop=True), last)


def test_what_is_stored_is_decoded_by_columns_of_text(tmp_path):
    pictures = np.random.default_rng(0).random((24, 16, 16, 3))
    table = pd.DataFrame(
        {
            "kind": np.repeat(["ant", "bee"], 12),
            "object": [f"o{number // 2}" for number in range(24)],
            "background": ["blank", "clutter"] * 12,
        }
    )
    stimuli = cp.StimulusSet.from_arrays(pictures, table=table)
    model = cp.models.RandomFilters(scales=1, channels=6)
    settings = {"readout": "ridge", "penalties": 1.0, "groups": "object", "folds": 3}
    kept = [
        cp.extract(model, stimuli, "scale1", readout="mean", store=store)["scale1"]["activations"]
        for store in (None, tmp_path / "a.zarr", tmp_path / "a.nc")
    ]
    in_memory, *stored = (decode(patterns, "kind", **settings) for patterns in kept)
    for found in stored:
        xr.testing.assert_equal(found, in_memory)
    in_memory, *stored = (
        generalization(patterns, "kind", "background", **settings) for patterns in kept
    )
    for found in stored:
        xr.testing.assert_equal(found, in_memory)


@pytest.mark.parametrize("name", ["labels", "groups", "test_on"])
@pytest.mark.parametrize("form", ["DataArray", "Series"])
def test_values_that_name_their_stimuli_are_put_in_the_order_of_the_patterns(name, form):
    patterns, codes = noisy_classes(separation=2.0)
    ids = [f"s{number}" for number in range(60)]
    given = {"labels": codes, "groups": np.arange(60) // 2, "test_on": np.arange(60) % 4 > 1}
    table = xr.DataArray(patterns, dims=("stimulus", "unit"), coords={"stimulus": ids})
    order = np.random.default_rng(1).permutation(60)
    shuffled = {
        "DataArray": xr.DataArray(given[name], dims="stimulus", coords={"stimulus": ids}),
        "Series": pd.Series(given[name], index=ids),
    }[form]
    found = decode(table[order], **{"labels": codes[order], name: shuffled}, readout="lda")
    expected = decode(
        table[order], **{"labels": codes[order], name: given[name][order]}, readout="lda"
    )
    xr.testing.assert_identical(found, expected)
    other = shuffled[1:] if form == "Series" else shuffled.assign_coords(stimulus=["x", *ids[1:]])
    with pytest.raises(ValueError, match=f"{name} and patterns are of different stimuli"):
        decode(table[order], **{"labels": codes[order], name: other})


def test_an_index_of_rows_names_no_stimuli():
    patterns, codes = noisy_classes()
    table = xr.DataArray(
        patterns, dims=("stimulus", "unit"), coords={"stimulus": [f"s{n}" for n in range(60)]}
    )
    expected = decode(table, codes, readout="lda")
    for index in (None, np.arange(60)[::-1] + 3):
        found = decode(table, pd.Series(codes, index=index), readout="lda")
        xr.testing.assert_identical(found, expected)
    # Patterns that name no stimuli have nothing to be matched by.
    unnamed = decode(patterns, pd.Series(codes, index=np.arange(60)[::-1]), readout="lda")
    np.testing.assert_array_equal(unnamed["decision"], expected["decision"])


def test_a_stimulus_with_two_labels_is_refused():
    patterns, codes = noisy_classes()
    table = xr.DataArray(patterns, dims=("stimulus", "unit"), coords={"stimulus": np.arange(60)})
    twice = pd.Series([*codes, 0], index=[*range(60), 0])
    with pytest.raises(ValueError, match="several values for one stimulus"):
        decode(table, twice)


def test_layers_in_groups_keep_their_whole_names():
    patterns, codes = noisy_classes()
    bands = {
        f"c1/band{n}": xr.Dataset({"activations": (("stimulus", "unit"), patterns[:, n:])})
        for n in range(2)
    }
    found = decode_layers(xr.DataTree.from_dict(bands), codes, readout="lda")
    assert list(found["layer"].values) == ["c1/band0", "c1/band1"]
    assert found["fold_of"].dims == ("layer", "stimulus")


def test_a_category_that_the_table_lacks_is_no_class():
    pictures = np.random.default_rng(0).random((9, 16, 16, 3))
    table = pd.DataFrame({"kind": np.repeat(["ant", None, "bee"], 3)})
    stimuli = cp.StimulusSet.from_arrays(pictures, table=table)
    model = cp.models.RandomFilters(scales=1, channels=6)
    patterns = cp.extract(model, stimuli, "scale1", readout="mean")["scale1"]["activations"]
    with pytest.raises(ValueError, match="labels are missing for 3 stimuli, the first 'stimulus4'"):
        decode(patterns, "kind", folds=2)


def test_layers_are_named_in_errors():
    layers = {"early": np.ones((6, 2)), "late": np.full((6, 2), np.nan)}
    with pytest.raises(ValueError, match="layer 'late': patterns are not finite at stimulus 0"):
        decode_layers(layers, [0, 0, 0, 1, 1, 1], folds=3, penalties=1.0)
    with pytest.raises(ValueError, match="no layers"):
        decode_layers({}, [0, 1])


LABELS = np.repeat([0, 1], 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros(20)}, "all 20 stimuli are of the class 0.0"),
        ({"labels": LABELS[:19]}, "there are 20 stimuli and labels of the shape"),
        (
            {"labels": np.where(LABELS, np.nan, 1.0)},
            "missing for 10 stimuli, the first '10'",
        ),
        ({"labels": ["a"] * 12 + [""] * 8}, "missing for 8 stimuli, the first '12'"),
        ({"labels": ["a"] * 10 + ["b"] * 9 + [np.nan]}, "missing for 1 stimuli, the first '19'"),
        ({"groups": ["a", None] * 10}, "groups are missing for 10 stimuli"),
        ({"labels": "kind"}, "no coordinate"),
        ({"labels": [0] * 17 + [1] * 3}, "class 1 has 3 stimuli, fewer than 5 folds"),
        ({"groups": np.arange(20) // 3}, "class 0 has 4 groups, fewer than 5 folds"),
        ({"groups": LABELS}, "all stimuli of class 0 are in one group"),
        ({"groups": np.arange(19)}, "groups of the shape"),
        ({"patterns": np.full((20, 3), np.inf)}, "not finite"),
        ({"patterns": np.ones(20)}, r"\(stimulus, \.\.\.\)"),
        ({"patterns": np.ones((20, 0))}, r"\(stimulus, \.\.\.\)"),
        ({"folds": 1}, "at least 2"),
        ({"readout": "svm"}, "no readout is called 'svm'"),
        ({"readout": "lda", "penalties": 1.0}, "no penalties"),
        ({"penalties": [0.1, -1]}, "above 0"),
        ({"penalties": []}, "above 0"),
        ({"resamples": 0}, "resamples"),
        ({"test_on": LABELS == 0}, "no stimulus of class 0 is trained on"),
        ({"test_on": LABELS * 0 > 1}, "no stimulus of class 0 is tested"),
        ({"test_on": LABELS}, "True or False"),
        (
            {"test_on": np.arange(20) % 5 == 0, "groups": np.arange(20) // 2},
            "4 groups are both trained on and tested, such as that of stimulus '0'",
        ),
        ({"labels": [0, 0, 1, 1] + [2] * 16, "folds": 2}, "Give a single penalty"),
    ],
)
def test_errors_say_what_is_wrong(change, message):
    settings = {"patterns": np.random.default_rng(0).normal(size=(20, 3)), "labels": LABELS}
    settings |= change
    with pytest.raises(ValueError, match=message):
        decode(settings.pop("patterns"), settings.pop("labels"), **settings)


def test_a_covariance_of_single_stimuli_is_an_error():
    with pytest.raises(ValueError, match="two training stimuli of a class"):
        decode(np.random.default_rng(0).normal(size=(4, 3)), [0, 0, 1, 1], readout="lda", folds=2)
