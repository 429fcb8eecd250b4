import numpy as np
import pytest
import rsatoolbox
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import pdist, squareform

from cnnperception import rsa

NAMES = {"correlation": "correlation", "euclidean": "euclidean"}


def _patterns(stimuli: int = 12, channels: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(3, 2, (stimuli, channels))


@pytest.mark.parametrize("metric", NAMES)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), stimuli=st.integers(2, 15), channels=st.integers(3, 50))
def test_dissimilarities_equal_rsatoolbox(metric, seed, stimuli, channels) -> None:
    patterns = _patterns(stimuli, channels, seed)
    reference = rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(patterns), method=metric)
    np.testing.assert_allclose(
        rsa.rdm(patterns, metric), reference.dissimilarities[0], rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize(
    ("metric", "name"),
    [("correlation", "correlation"), ("cosine", "cosine"), ("euclidean", "sqeuclidean")],
)
def test_dissimilarities_equal_scipy(metric: str, name: str) -> None:
    patterns = _patterns()
    expected = pdist(patterns, name) / (40 if metric == "euclidean" else 1)
    np.testing.assert_allclose(rsa.rdm(patterns, metric), expected, rtol=1e-10)


def test_single_precision_far_from_zero_gives_no_negative_distances() -> None:
    # rsatoolbox keeps float32 and comes out at -0.004 instead of 0.0002 on data like this.
    patterns = np.random.default_rng(0).normal(100, 0.01, (20, 50)).astype(np.float32)
    ours = rsa.rdm(patterns, "euclidean")
    expected = pdist(patterns.astype(np.float64), "sqeuclidean") / 50
    np.testing.assert_allclose(ours, expected, rtol=1e-9)


def test_identical_patterns_are_at_distance_zero_not_below() -> None:
    patterns = np.repeat(_patterns(3), 2, axis=0)
    for metric in rsa.METRICS:
        values = rsa.square(rsa.rdm(patterns, metric))
        assert values.min() >= 0
        np.testing.assert_allclose(values[0, 1], 0, atol=1e-12)


def test_a_constant_pattern_is_nan_and_said_so() -> None:
    patterns = _patterns()
    patterns[2] = 0.1
    with pytest.warns(UserWarning, match="without variance"):
        values = rsa.square(rsa.rdm(patterns))
    assert np.isnan(values[2, [0, 1, 3]]).all()
    assert np.isfinite(values[0, 1])


def test_maps_are_flattened_and_tensors_taken() -> None:
    maps = torch.rand((5, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    xr.testing.assert_allclose(rsa.rdm(maps), rsa.rdm(maps.flatten(1).numpy()))


def test_labels_come_from_the_coordinate_and_order_is_squareforms() -> None:
    patterns = xr.DataArray(
        _patterns(4), dims=("stimulus", "unit"), coords={"stimulus": list("dbca")}
    )
    one = rsa.rdm(patterns)
    assert rsa.stimulus_ids(one) == list("dbca")
    assert one["stimulus_a"].to_numpy().tolist() == list("dddbbc")
    assert one["stimulus_b"].to_numpy().tolist() == list("bcacaa")
    np.testing.assert_allclose(squareform(one.to_numpy()), rsa.square(one))


@given(order=st.permutations(range(6)), keep=st.integers(2, 6))
def test_selecting_equals_computing_the_rdm_of_the_selected(order, keep) -> None:
    patterns, chosen = _patterns(6), order[:keep]
    names = [f"s{i}" for i in range(6)]
    selected = rsa.select(rsa.rdm(patterns, stimulus_ids=names), [names[i] for i in chosen])
    expected = rsa.rdm(patterns[chosen], stimulus_ids=[names[i] for i in chosen])
    np.testing.assert_allclose(selected, expected, atol=1e-12)
    assert rsa.stimulus_ids(selected) == rsa.stimulus_ids(expected)


@given(arrays(np.float64, (10,), elements=st.floats(0, 10)))
def test_square_and_condensed_undo_each_other(values: np.ndarray) -> None:
    np.testing.assert_array_equal(rsa.condensed(rsa.square(rsa.condensed(values))), values)


def test_concat_aligns_by_label() -> None:
    patterns, names = _patterns(5), list("abcde")
    straight = rsa.rdm(patterns, stimulus_ids=names)
    turned = rsa.rdm(patterns[::-1], stimulus_ids=names[::-1])
    both = rsa.concat({"one": straight, "two": turned})
    assert both.dims == ("rdm", "pair")
    assert both["rdm"].to_numpy().tolist() == ["one", "two"]
    np.testing.assert_allclose(both[0], both[1])


def test_bad_inputs_are_named() -> None:
    with pytest.raises(ValueError, match="no metric is called 'manhatten'"):
        rsa.rdm(_patterns(), "manhatten")
    with pytest.raises(ValueError, match="two stimuli or more"):
        rsa.rdm(_patterns(1))
    with pytest.raises(ValueError, match="stimulus number 1 has values"):
        rsa.rdm(np.array([[1.0, 2], [np.nan, 1], [3, 4]]))
    with pytest.raises(ValueError, match="3 stimulus ids for 12"):
        rsa.rdm(_patterns(), stimulus_ids=list("abc"))
    with pytest.raises(ValueError, match="symmetric"):
        rsa.condensed([[0, 1], [2, 0]])
    with pytest.raises(ValueError, match="not a number of pairs"):
        rsa.condensed([1, 2])
    with pytest.raises(ValueError, match="'z' is not in the RDM"):
        rsa.select(rsa.rdm(_patterns()), ["0", "z"])
