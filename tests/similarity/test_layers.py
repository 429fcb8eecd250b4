"""All layers with all layers, in one pass."""

import numpy as np
import pytest
import xarray as xr

from cnnperception import similarity
from cnnperception.similarity import kernels
from cnnperception.similarity import patterns as module


def layers(seed=0):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(16, 30))
    return {
        "one": base,
        "two/part": (base @ rng.normal(size=(30, 12))).reshape(16, 3, 2, 2),
        "three": rng.normal(size=(16, 5)),
    }


@pytest.mark.parametrize("measure", similarity.MEASURES)
@pytest.mark.filterwarnings("ignore:the patterns span")
def test_entries_are_those_of_the_measure_itself(measure):
    tree = layers()
    found = similarity.similarity_matrix(tree, measure=measure)
    single = getattr(similarity, measure)
    for one in tree:
        for other in tree:
            assert found.sel(layer=one, other_layer=other).item() == pytest.approx(
                single(tree[one], tree[other]), abs=1e-6
            )


def test_a_kernel_summed_over_blocks_is_the_kernel_of_the_whole(monkeypatch):
    units = layers()["two/part"]
    whole = kernels.linear_kernel(units)
    monkeypatch.setattr(module, "BLOCK_VALUES", 1)
    np.testing.assert_allclose(kernels.linear_kernel(units), whole, atol=1e-12)


def test_a_stored_layer_is_read_a_block_at_a_time(tmp_path, monkeypatch):
    tree = {
        name: xr.DataArray(
            values,
            dims=("stimulus", *[f"d{i}" for i in range(values.ndim - 1)]),
            coords={"stimulus": [f"p{i}" for i in range(16)]},
        )
        for name, values in layers().items()
    }
    datatree = xr.DataTree.from_dict(
        {f"/{name}": xr.Dataset({"activations": array}) for name, array in tree.items()}
    )
    datatree.to_zarr(tmp_path / "a.zarr")
    expected = similarity.similarity_matrix(datatree)
    monkeypatch.setattr(module, "BLOCK_VALUES", 32)
    read = []
    original = module.matrix
    monkeypatch.setattr(module, "matrix", lambda v, n: read.append(v.size) or original(v, n))
    with xr.open_datatree(tmp_path / "a.zarr", engine="zarr") as stored:
        found = similarity.similarity_matrix(stored)
    xr.testing.assert_allclose(found, expected)
    assert max(read) <= 16 * 4
    assert set(found["layer"].to_numpy()) == {"one", "two/part", "three"}


def test_two_models_are_compared_layer_by_layer_whatever_the_order_of_stimuli():
    one = layers()
    ids = np.array([f"p{i}" for i in range(16)])
    order = np.random.default_rng(3).permutation(16)

    def named(values, which):
        dims = ("stimulus", *[f"d{i}" for i in range(values.ndim - 1)])
        return xr.DataArray(values[which], dims=dims, coords={"stimulus": ids[which]})

    first = {name: named(values, np.arange(16)) for name, values in one.items()}
    second = {name: named(values, order) for name, values in list(one.items())[:2]}
    found = similarity.similarity_matrix(first, second)
    assert found.shape == (3, 2)
    assert found.sel(layer="one", other_layer="one") == pytest.approx(1)


def test_layers_and_neuroids_may_have_their_stimuli_in_any_place():
    values = layers()
    named = {
        name: xr.DataArray(array, dims=("stimulus", *"abc"[: array.ndim - 1]))
        for name, array in values.items()
    }
    turned = {name: array.transpose(..., "stimulus") for name, array in named.items()}
    xr.testing.assert_allclose(
        similarity.similarity_matrix(turned), similarity.similarity_matrix(named)
    )
    expected = similarity.ridge_predictivity(values["one"], values["three"], folds=4)
    found = similarity.ridge_predictivity(turned["one"], turned["three"], folds=4)
    xr.testing.assert_identical(found, expected)


def test_what_cannot_be_compared_is_named():
    with pytest.raises(ValueError, match="no measure is called 'hsic'"):
        similarity.similarity_matrix(layers(), measure="hsic")
    with pytest.raises(ValueError, match="no layers"):
        similarity.similarity_matrix({})
    silent = {**layers(), "silent": np.zeros((16, 4))}
    with pytest.raises(ValueError, match="activations of 'silent' do not vary"):
        similarity.similarity_matrix(silent)
