"""Models' layers evaluated on subjects: tables, figures and the report's section."""

import numpy as np
import pytest
import xarray as xr

from cnnperception import evaluation, rsa


def _rdms(subjects: int = 7, stimuli: int = 16) -> tuple[list[xr.DataArray], xr.DataArray]:
    rng = np.random.default_rng(0)
    ids = [f"picture{i}" for i in range(stimuli)]
    truth = rng.random(stimuli * (stimuli - 1) // 2)

    def rdm(share: float) -> xr.DataArray:
        return rsa.condensed(share * truth + rng.random(truth.size), ids)

    models = []
    for name, shares in (("good", [0.2, 2.0]), ("bad", [0.0, 0.0]), ("single", [0.5])):
        layers = rsa.concat({f"{name} layer{i}": rdm(s) for i, s in enumerate(shares)})
        models.append(
            layers.assign_coords(
                model=("rdm", [name] * len(shares)),
                layer=("rdm", [f"layer{i}" for i in range(len(shares))]),
            )
        )
    return models, rsa.concat({f"subject {i}": rdm(1.0) for i in range(subjects)})


def test_layers_and_models_by_their_best_layer_are_ranked() -> None:
    models, subjects = _rdms()
    results = evaluation.evaluate_layers(models, subjects, n_boot=200)
    layers = results["layers"]
    assert layers.attrs["bootstrap"] == "dual"
    assert layers.sizes["model"] == 5
    assert str(layers["model"][int(layers["similarity"].argmax())].item()) == "good layer1"
    chosen = results["models"]["similarity"].to_series()
    assert chosen.idxmax() == "good"
    # The choice of its layer is made on other data, and so is no advantage.
    best = layers["similarity"].sel(model="good layer1").item()
    assert chosen["good"] == pytest.approx(best, abs=0.1)
    assert abs(chosen["bad"]) < 0.1


def test_few_subjects_resample_stimuli_and_one_subject_warns_of_its_ceiling() -> None:
    models, subjects = _rdms(subjects=3)
    found = evaluation.evaluate_layers(models, subjects, n_boot=20)["layers"]
    assert found.attrs["bootstrap"] == "stimuli"
    with pytest.warns(UserWarning, match="noise ceiling"):
        evaluation.evaluate_layers(models, subjects[:1], n_boot=20)


def test_means_of_subjects_are_not_subjects() -> None:
    _, subjects = _rdms(subjects=3)
    marked = subjects.assign_coords(subject=("rdm", ["", "a", "b"]))
    assert evaluation.subjects_of(marked)["rdm"].to_numpy().tolist() == ["subject 1", "subject 2"]
    assert evaluation.subjects_of(subjects).sizes["rdm"] == 3


def test_tables_hold_what_the_result_does() -> None:
    models, subjects = _rdms()
    result = evaluation.evaluate_layers(models, subjects, n_boot=50)["layers"]
    table = evaluation.table_of(result)
    np.testing.assert_array_equal(table["p_zero_holm"], result["p_zero_holm"])
    pairs = evaluation.pairs_of(result)
    assert len(pairs) == 10
    row = pairs[(pairs["model"] == "good layer1") & (pairs["other_model"] == "bad layer0")].iloc[0]
    assert row["p_pairs_fdr"] == result["p_pairs_fdr"].sel(
        model="good layer1", other_model="bad layer0"
    )
    assert row["difference"] > 0
    corrected = evaluation.corrected(result, "holm")
    np.testing.assert_array_equal(corrected["p_zero"], result["p_zero_holm"])


def test_the_section_says_what_was_resampled_and_draws_both_figures() -> None:
    models, subjects = _rdms()
    results = evaluation.evaluate_layers(models, subjects, n_boot=30, seed=4)
    section, drawn = evaluation.evaluation_section(results, models)
    assert list(drawn) == ["evaluation_layers", "evaluation_models"]
    assert "7 subjects, 16 stimuli" in section.text
    assert "two-factor" in section.text
    layers = section.tables[0].frame
    assert layers.loc["good layer1", "similarity"] == f"{results['layers']['similarity'][1]:.3f}"
    assert float(layers.loc["good layer1", "p_zero"]) > 0  # however small, never shown as 0
    assert "seed 4" in section.tables[1].caption
    assert "folds of stimuli" in section.tables[1].caption


def test_models_and_layers_of_the_same_name_are_refused() -> None:
    models, subjects = _rdms()
    with pytest.raises(ValueError, match="2 models are called 'good'"):
        evaluation.evaluate_layers([models[0], models[0]], subjects, n_boot=20)
    renamed = models[0].assign_coords(model=("rdm", ["other", "other"]))
    with pytest.raises(ValueError, match="2 RDMs are called 'good layer0'"):
        evaluation.evaluate_layers([models[0], renamed], subjects, n_boot=20)


def test_without_subjects_there_is_nothing_to_evaluate_and_the_section_says_so() -> None:
    models, subjects = _rdms()
    means = subjects.assign_coords(subject=("rdm", [""] * subjects.sizes["rdm"]))
    with pytest.raises(ValueError, match="no RDM of a subject"):
        evaluation.evaluate_layers(models, evaluation.subjects_of(means))
    section, drawn = evaluation.evaluation_section({}, models)
    assert "not tested" in section.text
    assert not section.pictures
    assert not drawn
