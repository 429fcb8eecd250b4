"""The study of ablations: its paths take single steps, and gains are those of known accuracies."""

import itertools

import numpy as np
import pandas as pd
import pytest

from analyses import ablations
from cnnperception.ablation import CNN, HMAX, Network

WORTH = {"learnt": 40, "rectified": -10, "averaged": 5, "convolved": 20, "deep": 0}
PICTURES = 200


def _measured() -> ablations.Measured:
    """Accuracies that single changes add to, the first of the pictures being named rightly."""
    rights = {}
    for changes in ablations.corners():
        right = np.zeros((2, PICTURES))
        right[:, : 50 + sum(WORTH[change] for change in changes)] = 1
        rights[ablations.name(Network(changes)), "pooled"] = right
    for label in (ablations.PHOTOGRAPHS, ablations.LONGER):
        rights[label, "pooled"] = np.ones((1, PICTURES))
    objects = pd.Series(np.random.default_rng(0).integers(0, 40, PICTURES))
    return ablations.measured("blank", rights, objects, seed=0)


@pytest.mark.parametrize("order", [ablations.THERE, ablations.BACK])
def test_orders_hold_every_change_once(order) -> None:
    assert sorted(order) == sorted(CNN)


@pytest.mark.parametrize("steps", [ablations.there(), ablations.back()])
def test_a_path_goes_from_one_end_to_the_other_by_single_changes(steps) -> None:
    names = {ablations.name(Network(changes)): changes for changes in ablations.corners()}
    assert len(names) == 32
    inner = [names[network] for _, network in steps[1:-1]]
    assert {inner[0], inner[-1]} == {HMAX, CNN}
    for one, other in itertools.pairwise(inner):
        assert len(one ^ other) == 1


def test_gains_are_those_that_were_put_in_whatever_the_order() -> None:
    table = ablations.contributions(_measured())
    for (change, _), row in table.set_index(["change", "way"]).iterrows():
        key = next(key for key, label in ablations.MADE.items() if label == change)
        assert row["value"] == pytest.approx(WORTH[key] / PICTURES)
        assert row["least"] == pytest.approx(row["most"])
        assert row["lower"] - 1e-12 <= row["value"] <= row["upper"] + 1e-12
    # Predictions that are the same never differ.
    same = table[table["change"] == ablations.MADE["deep"]]
    assert (same[["lower", "upper"]].abs() < 1e-12).all(axis=None)
    differing = table[table["change"] == ablations.MADE["learnt"]]
    assert (differing["upper"] > differing["lower"] + 0.01).all()


def test_a_path_tells_accuracies_and_gains_of_the_same_resamples() -> None:
    table = ablations.path(_measured(), ablations.there())
    inner = table.iloc[1:-1]
    assert inner["accuracy"].tolist() == pytest.approx([0.25, 0.45, 0.4, 0.425, 0.525, 0.525])
    np.testing.assert_allclose(inner["gain"].iloc[1:], np.diff(inner["accuracy"]))
    depth = table[table["step"] == ablations.MADE["deep"]].iloc[0]
    assert depth["gain_lower"] == depth["gain_upper"] == 0
    assert depth["lower"] < depth["accuracy"] < depth["upper"]


def test_every_network_is_in_the_study_once_a_seed() -> None:
    listed = ablations.networks(2)
    assert len(set(listed)) == len(listed)
    particulars = len(ablations.PARTICULARS)
    assert len(listed) == 2 * (32 + particulars) - len(ablations.LONG)
