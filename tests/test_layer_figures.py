"""Figures of layers against layers: maps of them, and the names of models beside matrices."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist

from cnnperception import figures

LAYERS = pd.MultiIndex.from_tuples(
    [("one", "a"), ("one", "b"), ("one", "c"), ("two", "a"), ("three", "x"), ("three", "y")]
)


def _similarities(places: np.ndarray) -> pd.DataFrame:
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    return pd.DataFrame(1 - apart, LAYERS, LAYERS)


def test_a_map_of_layers_keeps_their_distances_and_joins_those_of_a_model() -> None:
    places = np.random.default_rng(0).uniform(0, 0.5, (6, 2))
    ax = figures.layer_map(_similarities(places), label="CKA").axes[0]
    assert ax.get_title() == "MDS of 1 - CKA, stress 0.00"
    paths = [line.get_xydata() for line in ax.lines[::3]]
    assert [len(path) for path in paths] == [3, 1, 2]
    np.testing.assert_allclose(pdist(np.concatenate(paths)), pdist(places), atol=1e-3)
    named = {text.get_text(): text.xy for text in ax.texts}
    assert set(named) == {"c", "y"}
    np.testing.assert_allclose(named["y"], paths[2][-1])


def test_layers_that_cannot_be_placed_are_refused() -> None:
    table = _similarities(np.random.default_rng(0).uniform(0, 0.5, (6, 2)))
    with pytest.raises(ValueError, match="the same"):
        figures.layer_map(table.iloc[:, ::-1])
    with pytest.raises(ValueError, match="the same"):
        figures.layer_map(pd.DataFrame(np.eye(4)))
    with pytest.raises(ValueError, match="finite"):
        figures.layer_map(table * np.nan)
    with pytest.raises(ValueError, match="three layers"):
        figures.layer_map(table.iloc[:2, :2])


def test_names_that_do_not_fit_along_their_cells_stand_across_them() -> None:
    def turned(names: list[str]) -> set[tuple[str, float]]:
        index = pd.MultiIndex.from_product([names, ["a", "b"]])
        ax = figures.similarity_matrix(pd.DataFrame(np.eye(len(index)), index, index)).axes[0]
        return {(text.get_text(), text.get_rotation()) for text in ax.texts[len(index) ** 2 :]}

    assert turned(["v1", "hmax"]) == {("v1", 0), ("v1", 270), ("hmax", 0), ("hmax", 270)}
    long = "self-supervised network"
    assert turned(["v1", long]) == {("v1", 0), ("v1", 90), (long, 0), (long, 90)}
