"""Flexible models against rsatoolbox's fitters and cross-validation, fold by fold."""

import warnings

import numpy as np
import pytest
import rsatoolbox
import torch
from rsatoolbox.model import fitter

from cnnperception import rsa
from cnnperception.rsa import folds, inference
from cnnperception.rsa.bootstrap import draw_resamples
from cnnperception.rsa.flexible import evaluate_folds, fit_weights
from tests.rsa.test_inference import problem, stack

KINDS = {
    "selected": (rsa.selected, rsatoolbox.model.ModelSelect, fitter.fit_select),
    "weighted": (rsa.weighted, rsatoolbox.model.ModelWeighted, fitter.fit_regress_nn),
    "interpolated": (rsa.interpolated, rsatoolbox.model.ModelInterpolate, fitter.fit_interpolate),
}
LINEAR = ["cosine", "corr", "cosine_cov", "corr_cov"]


def mixture(seed=0, stimuli=14, subjects=5, candidates=4):
    of_models, of_subjects = problem(seed, stimuli, subjects, candidates)
    return of_models, of_subjects + 0.7 * of_models[2]


@pytest.mark.parametrize("method", LINEAR)
@pytest.mark.parametrize("kind", KINDS)
def test_weights_equal_those_of_rsatoolbox(kind, method):
    of_models, of_subjects = mixture()
    make, their_model, their_fit = KINDS[kind]
    expected = np.asarray(
        their_fit(their_model("model", of_models), rsatoolbox.rdm.RDMs(of_subjects), method=method)
    )
    found = rsa.fit(make(stack(of_models)), stack(of_subjects, "s"), method)["weights"].to_numpy()
    if kind == "selected":
        expected = np.eye(4)[int(expected)]
    # The bounded search of rsatoolbox stops at 1e-5, its whitening by conjugate gradients too.
    loose = kind == "interpolated" or "_cov" in method
    expected = expected / np.linalg.norm(expected)
    np.testing.assert_allclose(
        found / np.linalg.norm(found), expected, rtol=0, atol=2e-3 if loose else 1e-9
    )


@pytest.mark.parametrize("method", [*LINEAR, "spearman", "rho-a", "tau-a"])
def test_selection_takes_the_most_similar_candidate(method):
    of_models, of_subjects = mixture(seed=4)
    models, data = stack(of_models), stack(of_subjects, "s")
    best = rsa.compare(models, data, method).mean(axis=1).argmax()
    assert rsa.fit(rsa.selected(models), data, method)["weights"][best] == 1


@pytest.mark.parametrize("method", ["cosine", "corr", "spearman"])
def test_no_other_weights_that_are_not_negative_are_better(method):
    of_models, of_subjects = mixture(seed=1)
    models, data = stack(of_models), stack(of_subjects, "s")
    fitted = rsa.fit(rsa.weighted(models), data, method)
    assert (fitted["weights"] >= 0).all()

    def similarity(weights):
        return rsa.compare((weights @ of_models)[None], of_subjects, method).mean()

    reached = similarity(fitted["weights"].to_numpy())
    np.testing.assert_allclose(fitted["prediction"], fitted["weights"].to_numpy() @ of_models)
    rng = np.random.default_rng(0)
    others = [similarity(rng.dirichlet(np.full(4, 0.5))) for _ in range(200)]
    # For ranks the weights are those that are best by correlation with the mean ranks.
    assert reached >= max(others) - (0.01 if method == "spearman" else 1e-12)


@pytest.mark.parametrize("method", [*LINEAR, "spearman", "rho-a", "tau-a"])
@pytest.mark.parametrize("held_out", [(3, 2), (1, 3), (2, 1)])
def test_folds_equal_rsatoolbox_on_the_same_folds(method, held_out):
    of_models, of_subjects = mixture(stimuli=15, subjects=6)
    kinds = list(KINDS) if method in LINEAR else ["selected"]
    models = {kind: KINDS[kind][0](stack(of_models)) for kind in kinds}
    data = stack(of_subjects, "s")
    prepared, candidates, _, _ = inference._problem(models, data, method, None, False, "cpu")
    drawn = draw_resamples(2, 15, 6, ["stimuli", "subjects"], 5)
    rng = np.random.default_rng(0)
    parts = [
        folds.split(counts, folds.assign_folds(counts, k, rng), k)
        for counts, k in ((drawn.stimuli, held_out[0]), (drawn.subjects, held_out[1]))
    ]
    splits = folds.cross(*parts)
    assert len(splits) == 2 * held_out[0] * held_out[1]
    found = evaluate_folds(prepared, candidates, splits, subjects_held_out=held_out[1] > 1)
    toolbox = rsatoolbox.rdm.RDMs(of_subjects)
    for row in range(len(splits)):
        chosen = [
            np.repeat(np.arange(part.shape[1]), part[row])
            for part in (
                splits.train_stimuli,
                splits.test_stimuli,
                splits.train_subjects,
                splits.test_subjects,
            )
        ]
        train = toolbox.subsample("index", chosen[2]).subsample_pattern("index", chosen[0])
        test = toolbox.subsample("index", chosen[3]).subsample_pattern("index", chosen[1])
        for number, kind in enumerate(kinds):
            model = KINDS[kind][1](kind, rsatoolbox.rdm.RDMs(of_models))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theta = KINDS[kind][2](
                    model, train, method=method, pattern_idx=chosen[0], pattern_descriptor="index"
                )
            predicted = model.predict_rdm(theta).subsample_pattern("index", chosen[1])
            expected = rsatoolbox.rdm.compare(predicted, test, method).mean()
            loose = kind == "interpolated" or "_cov" in method
            np.testing.assert_allclose(
                found.models[row, number], expected, rtol=0, atol=2e-3 if loose else 1e-9
            )
        _check_ceilings(found.ceilings[row], toolbox, chosen, method, held_out[1] > 1)


def _check_ceilings(found, toolbox, chosen, method, held_out):
    tested = toolbox.subsample_pattern("index", chosen[1])
    test = tested.subsample("index", chosen[3])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not held_out:
            expected = rsatoolbox.inference.boot_noise_ceiling(test, method)
        else:
            from rsatoolbox.util.inference_util import pool_rdm

            every = np.concatenate([chosen[2], chosen[3]])
            expected = [
                rsatoolbox.rdm.compare(
                    pool_rdm(tested.subsample("index", who), method), test, method
                ).mean()
                for who in (chosen[2], every)
            ]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_folds_hold_each_present_group_out_once_and_evenly():
    drawn = draw_resamples(50, 20, 7, ["stimuli", "subjects"], 0)
    for counts, k in ((drawn.stimuli, 4), (drawn.subjects, 2)):
        assigned = folds.assign_folds(counts, k, np.random.default_rng(1))
        train, test = folds.split(counts, assigned, k)
        np.testing.assert_array_equal(test.sum(axis=1), counts)
        np.testing.assert_array_equal(train + test, np.repeat(counts[:, None], k, axis=1))
        assert not (train * test).any()
        sizes = (test > 0).sum(axis=2)
        assert (sizes.max(axis=1) - sizes.min(axis=1) <= 1).all()


def test_default_numbers_of_folds_are_those_of_rsatoolbox():
    from rsatoolbox.util.inference_util import default_k_pattern, default_k_rdm

    for count in range(2, 60):
        assert folds.default_stimulus_folds(count) == default_k_pattern(count)
        assert folds.default_subject_folds(count) == default_k_rdm(count)


def test_choosing_the_best_of_many_unrelated_models_gains_nothing_when_crossvalidated():
    rng = np.random.default_rng(0)
    means = []
    for _ in range(8):
        data = stack(rng.random((8, 190)), "s")
        layers = stack(rng.random((30, 190)))
        best = rsa.evaluate(layers, data, bootstrap=None)["similarity"].max()
        nested = rsa.evaluate(rsa.selected(layers), data, bootstrap=None, n_cv=4)
        means.append((float(best), float(nested["similarity"][0])))
    best, nested = np.mean(means, axis=0)
    assert best > 0.03
    assert abs(nested) < 0.02


def test_flexible_models_are_crossvalidated_within_the_bootstrap():
    of_models, of_subjects = mixture(stimuli=24, subjects=8)
    models = {
        "layers": rsa.selected(stack(of_models)),
        "sum": rsa.weighted(stack(of_models)),
        "one": stack(of_models)[0],
    }
    for kind in ("both", "dual", "stimuli", "subjects"):
        result = rsa.evaluate(models, stack(of_subjects, "s"), bootstrap=kind, n_boot=30)
        assert result.attrs["stimulus_folds"] == 3
        assert result.attrs["subject_folds"] == 2
        assert np.isfinite(result["p_pairs"]).all()
        assert result["similarity"].sel(model="sum") > result["similarity"].sel(model="one")
        assert float(result["ceiling_upper"]) >= float(result["ceiling_lower"])


def test_the_noise_of_fold_assignments_is_taken_out_of_the_variance():
    """More assignments leave less to take out: the corrected variance stays."""
    of_models, of_subjects = mixture(stimuli=20, subjects=6)
    models, data = rsa.weighted(stack(of_models)), stack(of_subjects, "s")
    corrected = [
        float(rsa.evaluate(models, data, n_boot=800, n_cv=n)["variance"][0]) for n in (3, 6)
    ]
    raw = float(rsa.evaluate(models, data, n_boot=800, n_cv=1)["variance"][0])
    assert corrected[0] == pytest.approx(corrected[1], rel=0.2)
    assert raw > 3 * max(corrected)


def test_weights_bear_twins_and_models_that_do_not_vary():
    rng = np.random.default_rng(0)
    one = rng.random(45)
    candidates = stack(np.stack([one, one, np.ones(45)]))
    weights = rsa.fit(rsa.weighted(candidates), stack(one[None] + 1, "s"))["weights"].to_numpy()
    assert np.isfinite(weights).all()
    assert weights[2] == 0
    against = rsa.fit(rsa.weighted(candidates), stack(-one[None], "s"))["weights"].to_numpy()
    assert np.isfinite(against).all()
    assert against.sum() == 1


def test_interpolation_finds_the_mixture_of_neighbours():
    rng = np.random.default_rng(0)
    line = rng.random((4, 190))
    target = 0.3 * line[1] + 0.7 * line[2]
    weights = rsa.fit(rsa.interpolated(stack(line)), stack(target[None], "s"), "cosine")["weights"]
    np.testing.assert_allclose(weights, [0, 0.3, 0.7, 0], atol=1e-9)


def test_a_flexible_model_needs_two_candidates_and_a_fixed_one_a_single_rdm():
    one = stack(np.random.default_rng(0).random((1, 45)))
    for make in (rsa.selected, rsa.weighted, rsa.interpolated):
        with pytest.raises(ValueError, match="2 RDMs or more; got 1"):
            make(one)
    with pytest.raises(ValueError, match="one RDM; got 2"):
        rsa.fixed(rsa.concat([one[0], one[0]]))


def test_weights_of_all_data_come_from_one_function():
    of_models, of_subjects = mixture()
    models = {"sum": rsa.weighted(stack(of_models))}
    prepared, candidates, _, _ = inference._problem(
        models, stack(of_subjects, "s"), "corr", None, False, "cpu"
    )
    (weights,) = fit_weights(prepared, candidates)
    assert isinstance(prepared.models, torch.Tensor)
    np.testing.assert_allclose(np.linalg.norm(weights), 1)
