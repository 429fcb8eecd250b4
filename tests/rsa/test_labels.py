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


def test_pairs_in_another_order_or_without_stimuli_are_refused() -> None:
    one = rsa.rdm(_patterns(), stimulus_ids=[f"im{k}" for k in range(1, 13)])
    by_name = one.sortby(["stimulus_a", "stimulus_b"])
    with pytest.raises(ValueError, match="not in the order of an upper triangle"):
        rsa.compare(one, by_name, "corr")
    with pytest.raises(ValueError, match="no coordinate 'stimulus_a'.*rsa.condensed"):
        rsa.compare(one, xr.DataArray(one.to_numpy(), dims="pair"))


def test_ids_may_be_a_data_array_and_repeats_are_averaged_by_it() -> None:
    patterns = xr.DataArray(
        _patterns(4),
        dims=("stimulus", "unit"),
        coords={"stimulus": list("dbca"), "category": ("stimulus", list("xyxy"))},
    )
    found = rsa.rdm(patterns, stimulus_ids=patterns["category"])
    expected = rsa.rdm(patterns.to_numpy(), stimulus_ids=list("xyxy"))
    xr.testing.assert_identical(found, expected)
    labelled = rsa.condensed(found.to_numpy(), patterns["category"][:2])
    assert rsa.stimulus_ids(labelled) == ["x", "y"]


def test_patterns_with_the_stimuli_last_are_turned() -> None:
    patterns = xr.DataArray(
        _patterns(6, 6), dims=("stimulus", "unit"), coords={"stimulus": list("abcdef")}
    )
    xr.testing.assert_identical(rsa.rdm(patterns.T), rsa.rdm(patterns))


def test_only_rdms_of_the_same_stimuli_are_put_together() -> None:
    names = list("abcdef")
    few, many = (rsa.rdm(_patterns(n), stimulus_ids=names[:n]) for n in (5, 6))
    for both in ([few, many], [many, few]):
        with pytest.raises(ValueError, match="RDM '1' is of other stimuli than the first: 'f'"):
            rsa.concat(both)


def test_no_stimulus_is_selected_twice() -> None:
    one = rsa.rdm(_patterns(4), stimulus_ids=list("abcd"))
    with pytest.raises(ValueError, match="wanted twice"):
        rsa.select(one, ["c", "c", "d"])


def test_square_arrays_are_no_stacks_of_rdms() -> None:
    square = rsa.square(rsa.rdm(_patterns(10)))
    with pytest.raises(ValueError, match="rsa.condensed"):
        rsa.compare(square, square)
    stack = np.random.default_rng(0).random((10, 10))
    assert rsa.compare(stack, stack).shape == (10, 10)
