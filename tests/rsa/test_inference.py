"""Inference against rsatoolbox on the same resamples, and where it deliberately differs."""

import warnings

import numpy as np
import pytest
import rsatoolbox
import rsatoolbox.inference.evaluate as toolbox
import xarray as xr
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from cnnperception import rsa
from cnnperception.rsa.bootstrap import Resamples, counts_of, draw_resamples

METHODS = ["cosine", "corr", "spearman", "rho-a", "tau-a", "tau-b", "cosine_cov", "corr_cov"]
EVALUATE = {
    "both": toolbox.eval_bootstrap,
    "stimuli": toolbox.eval_bootstrap_pattern,
    "subjects": toolbox.eval_bootstrap_rdm,
    "dual": toolbox.eval_dual_bootstrap,
}
TIGHT = {"rtol": 0, "atol": 1e-10}


def problem(seed=0, stimuli=10, subjects=4, models=3, ties=False):
    rng = np.random.default_rng(seed)
    pairs = stimuli * (stimuli - 1) // 2
    of_models = rng.random((models, pairs))
    of_subjects = rng.random((subjects, pairs)) + 0.5 * of_models[0]
    if ties:
        of_models, of_subjects = np.round(of_models * 3), np.round(of_subjects * 3)
    return of_models, of_subjects


def vary(rdms, counts):
    """Return the samples of stimuli in which every RDM varies, (sample,)."""
    a, b = np.triu_indices(counts.shape[1], 1)
    there = (counts[:, a] > 0) & (counts[:, b] > 0)
    return np.array([pairs.any() and (np.ptp(rdms[:, pairs], axis=1) > 0).all() for pairs in there])


def stack(values, letter="m"):
    count = round((1 + (1 + 8 * values.shape[1]) ** 0.5) / 2)
    ids = [f"stimulus{number:03d}" for number in range(count)]
    return rsa.concat({f"{letter}{i}": rsa.condensed(v, ids) for i, v in enumerate(values)})


def replay(monkeypatch, kind, of_models, of_subjects, method, n_boot=12, seed=3):
    """Return rsatoolbox's result and the resamples that it drew."""
    drawn = {"stimuli": [], "subjects": []}
    subjects, stimuli = len(of_subjects), stack(of_subjects).sizes["pair"]
    stimuli = round((1 + (1 + 8 * stimuli) ** 0.5) / 2)

    def record(sample, subject_index=None, stimulus_index=None):
        drawn["subjects"].append(np.arange(subjects) if subject_index is None else subject_index)
        drawn["stimuli"].append(np.arange(stimuli) if stimulus_index is None else stimulus_index)

    def both(*args, **kwargs):
        found = rsatoolbox.inference.bootstrap_sample(*args, **kwargs)
        record(*found)
        return found

    def of_rdms(*args, **kwargs):
        found = rsatoolbox.inference.bootstrap_sample_rdm(*args, **kwargs)
        record(found[0], subject_index=found[1])
        return found

    def of_patterns(*args, **kwargs):
        found = rsatoolbox.inference.bootstrap_sample_pattern(*args, **kwargs)
        record(found[0], stimulus_index=found[1])
        return found

    monkeypatch.setattr(toolbox, "bootstrap_sample", both)
    monkeypatch.setattr(toolbox, "bootstrap_sample_rdm", of_rdms)
    monkeypatch.setattr(toolbox, "bootstrap_sample_pattern", of_patterns)
    monkeypatch.setattr(toolbox.tqdm, "trange", range)
    np.random.seed(seed)  # noqa: NPY002 - rsatoolbox draws from the global generator
    models = [rsatoolbox.model.ModelFixed(f"m{i}", v) for i, v in enumerate(of_models)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = EVALUATE[kind](
            models,
            rsatoolbox.rdm.RDMs(of_subjects),
            method="kendall" if method == "tau-b" else method,
            N=n_boot,
        )
    counts = Resamples(
        counts_of(np.array(drawn["stimuli"]), stimuli),
        counts_of(np.array(drawn["subjects"]), subjects),
    )
    return found, counts


def theirs(found, kind):
    """Return rsatoolbox's evaluations (sample, model) and ceilings (bound, sample)."""
    if kind == "dual":
        return found.evaluations[:, :, 0, 0, 0], found.noise_ceiling[:, :, 0, 0]
    return found.evaluations, np.asarray(found.noise_ceiling)


def kept(resamples):
    """Return which resamples have three stimuli, and which two subjects."""
    return (resamples.stimuli > 0).sum(1) >= 3, (resamples.subjects > 0).sum(1) >= 2


@pytest.mark.parametrize("kind", EVALUATE)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ties", [False, True])
def test_bootstrap_equals_rsatoolbox_on_the_same_resamples(monkeypatch, kind, method, ties):
    of_models, of_subjects = problem(seed=METHODS.index(method), subjects=6, ties=ties)
    found, resamples = replay(monkeypatch, kind, of_models, of_subjects, method)
    assert all(k.all() for k in kept(resamples))
    result = rsa.evaluate(
        stack(of_models), stack(of_subjects, "s"), method, bootstrap=kind, resamples=resamples
    )
    evaluations, ceilings = theirs(found, kind)
    np.testing.assert_allclose(result["evaluations"], evaluations, **TIGHT)
    np.testing.assert_allclose(result["ceilings"].T, ceilings, **TIGHT)
    np.testing.assert_allclose(result["variance"], found.model_var, **TIGHT)
    rows, columns = np.triu_indices(len(of_models), 1)
    pairs = result["variance_pairs"].to_numpy()[rows, columns]
    np.testing.assert_allclose(pairs, found.diff_var, **TIGHT)
    p_pairs, p_zero, p_ceiling = found.test_all()
    np.testing.assert_allclose(result["p_pairs"], p_pairs, **TIGHT)
    np.testing.assert_allclose(result["p_zero"], p_zero, **TIGHT)
    np.testing.assert_allclose(result["lower"], found.get_ci(0.95)[0], **TIGHT)
    np.testing.assert_allclose(result["upper"], found.get_ci(0.95)[1], **TIGHT)
    if kind != "subjects":
        np.testing.assert_allclose(result["variance_ceiling"], found.noise_ceil_var, **TIGHT)
        np.testing.assert_allclose(result["p_ceiling"], p_ceiling, **TIGHT)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    stimuli=st.integers(5, 9),
    subjects=st.integers(2, 4),
    ties=st.booleans(),
    method=st.sampled_from(METHODS),
    kind=st.sampled_from(["both", "stimuli", "subjects"]),
)
def test_random_problems_equal_rsatoolbox_sample_by_sample(
    seed, stimuli, subjects, ties, method, kind
):
    of_models, of_subjects = problem(seed, stimuli, subjects, 2, ties)
    with pytest.MonkeyPatch.context() as monkeypatch:
        try:
            found, resamples = replay(
                monkeypatch, kind, of_models, of_subjects, method, n_boot=6, seed=seed % 1000
            )
        except ValueError:
            # rsatoolbox cannot go on where an RDM of a resample does not vary.
            assume(False)
    enough, two = kept(resamples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = rsa.evaluate(
            stack(of_models), stack(of_subjects, "s"), method, bootstrap=kind, resamples=resamples
        )
    assert result.attrs["dropped_resamples"] == (~enough).sum()
    evaluations, ceilings = theirs(found, kind)
    # Where an RDM does not vary in a resample, rsatoolbox has NaN, or a similarity of rounding.
    mine = result["evaluations"].to_numpy()
    assert np.isfinite(mine).all()
    all_vary = vary(np.concatenate([of_models, of_subjects]), resamples.stimuli)[enough]
    defined = all_vary[:, None] & np.isfinite(evaluations[enough])
    np.testing.assert_allclose(mine[defined], evaluations[enough][defined], **TIGHT)
    ours = result["ceilings"].to_numpy().T
    known = two[enough] & all_vary & np.isfinite(ceilings[:, enough]).all(0)
    np.testing.assert_allclose(ours[:, known], ceilings[:, enough][:, known], **TIGHT)


@pytest.mark.parametrize("method", METHODS)
def test_without_bootstrap_equals_eval_fixed(method):
    of_models, of_subjects = problem(subjects=6)
    models = [rsatoolbox.model.ModelFixed(f"m{i}", v) for i, v in enumerate(of_models)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = toolbox.eval_fixed(
            models,
            rsatoolbox.rdm.RDMs(of_subjects),
            method="kendall" if method == "tau-b" else method,
        )
    result = rsa.evaluate(stack(of_models), stack(of_subjects, "s"), method, bootstrap=None)
    np.testing.assert_allclose(result["similarity"], found.get_means(), **TIGHT)
    np.testing.assert_allclose(result["evaluations"].T, found.evaluations[0], **TIGHT)
    np.testing.assert_allclose(result["variance"], found.model_var, **TIGHT)
    np.testing.assert_allclose(result["ceilings"][0], np.ravel(found.noise_ceiling), **TIGHT)
    p_pairs, p_zero, p_ceiling = found.test_all()
    np.testing.assert_allclose(result["p_pairs"], p_pairs, **TIGHT)
    np.testing.assert_allclose(result["p_zero"], p_zero, **TIGHT)
    np.testing.assert_allclose(result["p_ceiling"], p_ceiling, **TIGHT)


def test_tests_without_bootstrap_are_those_of_scipy():
    of_models, of_subjects = problem(subjects=7)
    models, data = stack(of_models), stack(of_subjects, "s")
    result = rsa.evaluate(models, data, "corr", bootstrap=None)
    per_subject = rsa.compare(models, data, "corr")
    np.testing.assert_allclose(
        result["p_zero"], stats.ttest_1samp(per_subject, 0, axis=1, alternative="greater").pvalue
    )
    paired = stats.ttest_rel(per_subject[0], per_subject[2]).pvalue
    np.testing.assert_allclose(result["p_pairs"][0, 2], paired)
    result = rsa.evaluate(models, data, "corr", bootstrap=None, test="wilcoxon")
    np.testing.assert_allclose(result["p_zero"][1], stats.wilcoxon(per_subject[1]).pvalue)
    np.testing.assert_allclose(
        result["p_pairs"][0, 1], stats.wilcoxon(per_subject[0] - per_subject[1]).pvalue
    )


def test_adjusted_p_values_are_those_of_scipy_and_holm():
    of_models, of_subjects = problem(models=5)
    result = rsa.evaluate(stack(of_models), stack(of_subjects, "s"), n_boot=50)
    p = result["p_zero"].to_numpy()
    np.testing.assert_allclose(result["p_zero_fdr"], stats.false_discovery_control(p))
    order = np.argsort(p)
    holm = np.minimum(np.maximum.accumulate(p[order] * np.arange(5, 0, -1)), 1)
    np.testing.assert_allclose(result["p_zero_holm"].to_numpy()[order], holm)
    upper = np.triu_indices(5, 1)
    pairs = result["p_pairs"].to_numpy()[upper]
    np.testing.assert_allclose(
        result["p_pairs_fdr"].to_numpy()[upper], stats.false_discovery_control(pairs)
    )
    assert (result["p_zero_best"] >= p - 0.05).all()


# ---- deliberate differences ----


def test_the_variance_of_the_ceiling_counts_when_subjects_are_resampled(monkeypatch):
    of_models, of_subjects = problem()
    found, resamples = replay(monkeypatch, "subjects", of_models, of_subjects, "corr")
    np.testing.assert_allclose(found.noise_ceil_var[:, 0], found.model_var)  # rsatoolbox's slip
    result = rsa.evaluate(
        stack(of_models), stack(of_subjects, "s"), bootstrap="subjects", resamples=resamples
    )
    differences = result["evaluations"].to_numpy() - result["ceilings"].to_numpy()[:, :1]
    expected = differences.var(axis=0, ddof=1) * 4 / 3
    np.testing.assert_allclose(result["variance_ceiling"][:, 0], expected)


def test_p_values_of_resamples_never_exceed_one_and_test_the_ceiling(monkeypatch):
    of_models, of_subjects = problem()
    of_models[2] = -of_models[2] - of_models[0]
    found, resamples = replay(monkeypatch, "both", of_models, of_subjects, "corr", n_boot=20)
    assert found.test_zero("bootstrap").max() > 1  # rsatoolbox's slip
    result = rsa.evaluate(
        stack(of_models),
        stack(of_subjects, "s"),
        bootstrap="both",
        resamples=resamples,
        test="bootstrap",
    )
    below = (result["evaluations"].to_numpy() <= 0).sum(axis=0)
    np.testing.assert_allclose(result["p_zero"], (below + 1) / 21)
    np.testing.assert_allclose(result["p_pairs"], found.test_pairwise("bootstrap"))
    assert ((result["p_ceiling"] > 0) & (result["p_ceiling"] <= 1)).all()
    quantiles = np.quantile(result["evaluations"], [0.025, 0.975], axis=0)
    np.testing.assert_allclose([result["lower"], result["upper"]], quantiles)


def test_one_subject_has_no_noise_ceiling_and_says_so():
    of_models, of_subjects = problem(subjects=1)
    slip = rsatoolbox.inference.boot_noise_ceiling(rsatoolbox.rdm.RDMs(of_subjects))
    np.testing.assert_allclose(slip, (1, 1))
    with pytest.warns(UserWarning, match="one subject"):
        result = rsa.evaluate(
            stack(of_models), stack(of_subjects, "s"), bootstrap="stimuli", n_boot=20
        )
    assert np.isnan(result["ceiling_lower"])
    assert np.isfinite(result["p_zero"]).all()


def test_a_resample_of_one_subject_has_no_ceiling_rather_than_one():
    of_models, of_subjects = problem(subjects=3)
    stimuli = np.ones((4, 10), dtype=int)
    subjects = np.array([[1, 1, 1], [3, 0, 0], [2, 1, 0], [0, 1, 2]])
    result = rsa.evaluate(
        stack(of_models),
        stack(of_subjects, "s"),
        bootstrap="subjects",
        resamples=Resamples(stimuli, subjects),
    )
    assert np.isnan(result["ceilings"][1]).all()
    np.testing.assert_allclose(result["ceiling_upper"], result["ceilings"][[0, 2, 3], 1].mean())


def test_missing_pairs_are_left_out_of_all_with_a_warning():
    of_models, of_subjects = problem()
    of_subjects[:, 5] = np.nan
    of_models[1, 7] = np.nan
    present = np.ones(45, dtype=bool)
    present[[5, 7]] = False
    for method in METHODS:
        with pytest.warns(UserWarning, match="2 of 45 pairs"):
            result = rsa.evaluate(stack(of_models), stack(of_subjects, "s"), method, bootstrap=None)
        models = np.where(present, of_models, np.nan)
        data = np.where(present, of_subjects, np.nan)
        expected = rsa.compare(models, data, method).mean(axis=1)
        np.testing.assert_allclose(result["similarity"], expected, **TIGHT)


def test_an_rdm_that_does_not_vary_in_a_resample_counts_as_unrelated_there():
    of_models, of_subjects = problem(stimuli=5)
    of_subjects[0] = 1.0
    of_subjects[0, -1] = 2.0  # the pair of the last two stimuli
    counts = np.array([[2, 1, 1, 1, 0], [1, 1, 1, 1, 1]])
    result = rsa.evaluate(
        stack(of_models),
        stack(of_subjects, "s"),
        bootstrap="stimuli",
        resamples=Resamples(counts, np.ones((2, 4), dtype=int)),
    )
    others = rsa.evaluate(
        stack(of_models),
        stack(of_subjects[1:], "s"),
        bootstrap="stimuli",
        resamples=Resamples(counts, np.ones((2, 3), dtype=int)),
    )
    np.testing.assert_allclose(result["evaluations"][0], others["evaluations"][0] * 3 / 4)


# ---- properties ----


@pytest.mark.parametrize("method", METHODS)
def test_a_resample_with_duplicates_is_the_rdm_with_those_rows_repeated(method):
    of_models, of_subjects = problem()
    drawn = np.array([[0, 0, 1, 3, 3, 3, 5, 7, 8, 9]])
    resamples = Resamples(np.repeat(counts_of(drawn, 10), 2, 0), np.ones((2, 4), dtype=int))
    result = rsa.evaluate(
        stack(of_models), stack(of_subjects, "s"), method, bootstrap="stimuli", resamples=resamples
    )
    repeated = [
        rsa.square(stack(values))[:, drawn[0][:, None], drawn[0][None]]
        for values in (of_models, of_subjects)
    ]
    different = (drawn[0][:, None] != drawn[0][None])[np.triu_indices(10, 1)]
    vectors = [r[:, *np.triu_indices(10, 1)][:, different] for r in repeated]
    if method.endswith("_cov"):
        vectors = [np.where(different, r[:, *np.triu_indices(10, 1)], np.nan) for r in repeated]
        pytest.importorskip("rsatoolbox")
        expected = np.array(
            rsatoolbox.rdm.compare(
                rsatoolbox.rdm.RDMs(vectors[0]), rsatoolbox.rdm.RDMs(vectors[1]), method
            )
        )
    else:
        expected = np.stack([[_similarity(a, b, method) for b in vectors[1]] for a in vectors[0]])
    np.testing.assert_allclose(result["evaluations"][0], expected.mean(axis=1), **TIGHT)


def _similarity(a, b, method):
    if method == "cosine":
        return a @ b / np.sqrt(a @ a * (b @ b))
    if method == "corr":
        return stats.pearsonr(a, b).statistic
    if method == "spearman":
        return stats.spearmanr(a, b).statistic
    if method == "tau-b":
        return stats.kendalltau(a, b).statistic
    signs = [np.sign(v[:, None] - v[None])[np.triu_indices(len(v), 1)] for v in (a, b)]
    if method == "tau-a":
        return (signs[0] * signs[1]).mean()
    ranks = [stats.rankdata(v) - (len(v) + 1) / 2 for v in (a, b)]
    return 12 * (ranks[0] @ ranks[1]) / (len(a) ** 3 - len(a))


def test_the_same_seed_gives_the_same_result_and_another_does_not():
    of_models, of_subjects = problem()
    args = (stack(of_models), stack(of_subjects, "s"), "rho-a")
    first, again, other = (rsa.evaluate(*args, n_boot=20, seed=s) for s in (1, 1, 2))
    assert first.identical(again)
    assert not np.allclose(first["evaluations"], other["evaluations"])
    assert first.attrs["seed"] == 1
    assert first.attrs["bootstrap"] == "both"


def test_stimuli_are_aligned_by_id_not_by_place():
    of_models, of_subjects = problem()
    models, data = stack(of_models), stack(of_subjects, "s")
    shuffled = rsa.select(data, rsa.stimulus_ids(data)[::-1])
    straight = rsa.evaluate(models, data, bootstrap=None)
    turned = rsa.evaluate(models, shuffled, bootstrap=None)
    np.testing.assert_allclose(straight["similarity"], turned["similarity"])


def test_groups_are_drawn_together_and_set_the_degrees_of_freedom():
    of_models, of_subjects = problem(subjects=6)
    data = stack(of_subjects, "s")
    groups = ["a", "a", "b", "b", "c", "c"]
    result = rsa.evaluate(
        stack(of_models), data, bootstrap="subjects", subject_groups=groups, n_boot=40
    )
    assert result.attrs["degrees_of_freedom"] == 2
    drawn = draw_resamples(40, 10, 3, ["subjects"], 0)
    per_subject = rsa.compare(stack(of_models), data, "corr")
    counts = drawn.subjects[:, [0, 0, 1, 1, 2, 2]]
    np.testing.assert_allclose(result["evaluations"], counts @ per_subject.T / 6)
    # The sessions of a subject do not predict each other: the lower bound leaves out both.
    fixed = rsa.evaluate(stack(of_models), data, bootstrap=None, subject_groups=groups)
    unit = (of_subjects - of_subjects.mean(1, keepdims=True)) / of_subjects.std(1, keepdims=True)
    lower = [
        np.corrcoef(unit[[g != groups[s] for g in groups]].mean(0), unit[s])[0, 1] for s in range(6)
    ]
    np.testing.assert_allclose(fixed["ceiling_lower"], np.mean(lower))


def test_fisher_z_averages_inverse_hyperbolic_tangents():
    of_models, of_subjects = problem()
    models, data = stack(of_models), stack(of_subjects, "s")
    result = rsa.evaluate(models, data, "spearman", bootstrap=None, fisher_z=True)
    z = np.arctanh(rsa.compare(models, data, "spearman"))
    np.testing.assert_allclose(result["similarity"], z.mean(axis=1))
    np.testing.assert_allclose(
        result["p_zero"], stats.ttest_1samp(z, 0, axis=1, alternative="greater").pvalue
    )
    resampled = rsa.evaluate(models, data, "spearman", bootstrap="both", n_boot=20, fisher_z=True)
    assert np.isfinite(resampled["evaluations"]).all()


def test_results_survive_a_file(tmp_path):
    of_models, of_subjects = problem()
    result = rsa.evaluate(stack(of_models), stack(of_subjects, "s"), n_boot=10)
    result.to_netcdf(tmp_path / "result.nc", engine="h5netcdf")
    import xarray as xr

    with xr.open_dataset(tmp_path / "result.nc", engine="h5netcdf") as read:
        np.testing.assert_array_equal(read["p_pairs"], result["p_pairs"])
        assert read.attrs["method"] == "corr"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "bures"}, "cannot evaluate by 'bures'"),
        ({"bootstrap": "trials"}, "bootstrap must be"),
        ({"test": "z"}, "no test is called 'z'"),
        ({"test": "wilcoxon"}, "bootstrap=None"),
        ({"test": "bootstrap", "bootstrap": None}, "needs a bootstrap"),
        ({"n_boot": 1}, "n_boot must be 2"),
        ({"confidence": 95}, "between 0 and 1"),
        ({"subject_folds": 9}, "cannot be split into 9"),
        ({"stimulus_folds": 9}, "need 27 stimuli"),
        ({"subject_groups": ["a"]}, "1 groups of subject"),
        ({"subject_groups": {"s0": 1}}, "'s1' is not given"),
    ],
)
def test_settings_that_do_not_go_together_are_named(change, message):
    of_models, of_subjects = problem()
    with pytest.raises(ValueError, match=message):
        rsa.evaluate(stack(of_models), stack(of_subjects, "s"), **{"n_boot": 10, **change})


def test_other_stimuli_too_few_subjects_and_no_models_are_named():
    of_models, of_subjects = problem()
    data = stack(of_subjects, "s")
    other = rsa.condensed(of_models[0], [f"picture{i}" for i in range(10)])
    with pytest.raises(ValueError, match="different stimuli"):
        rsa.evaluate({"mine": other}, data)
    with pytest.raises(ValueError, match="two subjects or more"):
        rsa.evaluate(stack(of_models), data[:1])
    with pytest.raises(ValueError, match="no models"):
        rsa.evaluate({}, data)
    with pytest.raises(ValueError, match="different names"):
        rsa.evaluate(stack(of_models).assign_coords(rdm=["a", "a", "b"]), data)
    small = stack(of_models[:, :1]), stack(of_subjects[:, :1], "s")
    with pytest.raises(ValueError, match="three"):
        rsa.evaluate(*small)


@pytest.mark.parametrize("test", ["t-test", "wilcoxon"])
def test_without_resampling_groups_of_subjects_count_as_one_each(test):
    of_models, of_subjects = problem(subjects=4)
    repeated, sessions = np.repeat(of_subjects, 3, axis=0), np.repeat(list("abcd"), 3)
    alone, grouped = (
        rsa.evaluate(
            stack(of_models), stack(values, "s"), bootstrap=None, test=test, subject_groups=groups
        )
        for values, groups in (
            (of_subjects, None),
            (repeated, xr.DataArray(sessions, dims="rdm")),
        )
    )
    for name in ("similarity", "p_zero", "p_pairs", "ceiling_lower"):
        np.testing.assert_allclose(grouped[name], alone[name], **TIGHT)
    assert grouped.attrs["degrees_of_freedom"] == alone.attrs["degrees_of_freedom"] == 3


def test_groups_that_are_missing_are_named():
    of_models, of_subjects = problem(subjects=4)
    with pytest.raises(ValueError, match="groups of subject are missing in 2 places"):
        rsa.evaluate(
            stack(of_models), stack(of_subjects, "s"), subject_groups=["a", np.nan, "b", None]
        )


def test_one_subject_has_a_bootstrap_test_without_that_of_the_ceiling():
    of_models, of_subjects = problem(subjects=1)
    with pytest.warns(UserWarning, match="noise ceiling"):
        result = rsa.evaluate(
            stack(of_models),
            stack(of_subjects, "s"),
            bootstrap="stimuli",
            test="bootstrap",
            n_boot=50,
        )
    assert np.isnan(result["p_ceiling"]).all()
    assert np.isfinite(result["p_zero"]).all()


def test_models_without_names_are_refused():
    of_models, of_subjects = problem()
    with pytest.raises(ValueError, match="mapping of names to these; got a list"):
        rsa.evaluate([rsa.condensed(m) for m in of_models], stack(of_subjects, "s"))
