"""The study of layers against layers: patterns, jackknife and leads by hand, and a small run."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cnnperception as cp
from analyses import model_similarity
from cnnperception.demo import crops

NETWORKS = model_similarity.NETWORKS


def _patterns(layers: int, units: int = 8, stimuli: int = 20) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    common = random.normal(size=(stimuli, units))
    return [common + random.normal(size=(stimuli, units)) for _ in range(layers)]


def test_coordinates_have_the_distances_they_are_made_from() -> None:
    (patterns,) = _patterns(1)
    rdm = cp.rsa.rdm(patterns, "euclidean")
    places = model_similarity.coordinates(rdm)
    np.testing.assert_allclose(
        ((places[:, None] - places) ** 2).sum(axis=2), cp.rsa.square(rdm), atol=1e-10
    )


def test_the_jackknife_leaves_out_group_by_group() -> None:
    patterns = _patterns(3)
    groups = [str(number // 2) for number in range(20)]
    rdms = cp.rsa.concat([cp.rsa.rdm(one, "euclidean") for one in patterns])
    found, covariance = model_similarity.by_kernels(rdms[:2], rdms[2:], groups, seed=0)
    assert found == pytest.approx([cp.similarity.cka(one, patterns[2]) for one in patterns[:2]])
    left = np.array(
        [
            [
                cp.similarity.cka(
                    *(np.delete(p, [2 * g, 2 * g + 1], axis=0) for p in (one, patterns[2]))
                )
                for one in patterns[:2]
            ]
            for g in range(10)
        ]
    )
    centred = left - left.mean(axis=0)
    np.testing.assert_allclose(covariance, 0.9 * centred.T @ centred, rtol=1e-6)


def test_the_bootstrap_gives_the_similarity_of_the_rdms_themselves() -> None:
    rdms = cp.rsa.concat([cp.rsa.rdm(one) for one in _patterns(3)])
    groups = [str(number // 2) for number in range(20)]
    found, covariance = model_similarity.by_rdms(rdms[:2], rdms[2:], groups, seed=0)
    np.testing.assert_allclose(found, cp.rsa.compare(rdms[:2], rdms[2:], "spearman")[:, 0])
    assert (np.linalg.eigvalsh(covariance) > 0).all()


def test_a_lead_is_the_difference_from_the_untrained_twin() -> None:
    names = [*itertools.product([NETWORKS[0], NETWORKS[-1]], ["pool1", "pool2"]), ("other", "x")]
    table = pd.DataFrame(names, columns=["model", "layer"]).assign(
        similarity=[0.5, 0.6, 0.2, 0.1, 0]
    )
    covariance = np.diag([0.01, 0.02, 0.03, 0.04, 0.01])
    covariance[0, 2] = covariance[2, 0] = 0.015
    found = model_similarity.with_intervals(table, covariance, groups=11)
    np.testing.assert_allclose(found["lead"], [0.3, 0.5, np.nan, np.nan, np.nan])
    # t of 10 degrees of freedom is 2.2281 at 97.5 %; the variance 0.01 + 0.03 - 2 * 0.015.
    assert found["lead_lower"][0] == pytest.approx(0.3 - 2.2281 * 0.1, abs=1e-4)
    assert found["lead_upper"][0] == pytest.approx(0.3 + 2.2281 * 0.1, abs=1e-4)
    assert found["upper"][0] == pytest.approx(0.5 + 2.2281 * 0.1, abs=1e-4)


def test_the_nearest_layer_is_another_model_s() -> None:
    index = pd.MultiIndex.from_tuples(
        [("a", "1"), ("a", "2"), ("b", "1"), ("c", "1")], names=["model", "layer"]
    )
    values = np.array([[1, 0.9, 0.2, 0.3], [0.9, 1, 0.5, 0.1], [0.2, 0.5, 1, 0], [0.3, 0.1, 0, 1]])
    table = pd.DataFrame(values, index, index)
    near = model_similarity.neighbours({"RSA": table})
    assert near["other_model"].tolist() == ["c", "b", "a", "a"]
    assert near["nearest"].tolist() == ["1", "1", "2", "1"]
    closest = model_similarity.closest(table)
    assert closest.loc["a"].tolist() == [1, 0.5, 0.3]


def test_a_small_run_ends_and_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unsaved_figures: dict
) -> None:
    shown = {
        name: (spec, ["pool3", "pool4"], 32)
        for name, (spec, _, _) in zip(NETWORKS, model_similarity.MODELS.values(), strict=False)
    }
    models = shown | {
        "HMAX": ("hmax", ["c1/band1", "c2/4"], 64),
        "Neocognitron": ("neocognitron", ["uc1"], 32),
        "V1": ("v1", ["scale1", "scale2"], 32),
    }
    monkeypatch.setattr(model_similarity, "MODELS", models)
    monkeypatch.setattr(model_similarity, "RESAMPLES", 20)
    anchors = {"HMAX C1": ("HMAX", "c1/"), "HMAX C2": ("HMAX", "c2/")}
    monkeypatch.setattr(model_similarity, "ANCHORS", anchors)
    monkeypatch.setattr(model_similarity, "crops", lambda seed: crops(seed)[::4])
    output = tmp_path / "model_similarity"
    monkeypatch.setattr(sys, "argv", ["script", "--objects", "8", "--output", str(output)])
    model_similarity.main()
    table = pd.read_csv(output / "layers_cka.csv", index_col=0)
    np.testing.assert_allclose(np.diag(table), 1)
    np.testing.assert_allclose(table, table.T)
    leads = pd.read_csv(output / "anchors.csv")
    assert set(leads["pictures"]) == {"all", "crops", "objects"}
    assert leads["lead"].isna().eq(leads["model"] == model_similarity.UNTRAINED).all()
    monkeypatch.delattr(cp, "extract")
    monkeypatch.setattr(model_similarity, "draw", lambda *_: None)
    model_similarity.main()
