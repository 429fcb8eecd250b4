import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import squareform

from cnnperception import rsa


def _patterns(stimuli: int = 12, channels: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(3, 2, (stimuli, channels))


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


def test_bad_forms_are_named() -> None:
    with pytest.raises(ValueError, match="symmetric"):
        rsa.condensed([[0, 1], [2, 0]])
    with pytest.raises(ValueError, match="not a number of pairs"):
        rsa.condensed([1, 2])
    with pytest.raises(ValueError, match="must be unique"):
        rsa.condensed([1, 2, 3], list("aab"))
    with pytest.raises(ValueError, match="'z' is not in the RDM"):
        rsa.select(rsa.rdm(_patterns()), ["0", "z"])
    with pytest.raises(ValueError, match="no RDMs"):
        rsa.concat([])
