import json
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from PIL import Image
from scipy.spatial.distance import pdist

import cnnperception as cp
from cnnperception import activations as extraction
from cnnperception import readouts, stored_activations
from cnnperception.images import ImageError
from cnnperception.models import RandomFilters
from cnnperception.stored_activations import open_store

MODEL = RandomFilters(scales=2, channels=6)


def _stimuli(count: int = 7, side: int = 24) -> cp.StimulusSet:
    pictures = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    table = pd.DataFrame({"category": [f"kind{i % 2}" for i in range(count)]})
    return cp.StimulusSet.from_arrays(pictures, table=table)


def _folder(path: Path, count: int = 5) -> Path:
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path / f"im{number}.png")
    return path


def _values(tree: xr.DataTree) -> dict[str, np.ndarray]:
    return {node.path.strip("/"): node["activations"].to_numpy() for node in tree.leaves}


def _assert_same(a: xr.DataTree, b: xr.DataTree) -> None:
    first, second = _values(a), _values(b)
    assert list(first) == list(second)
    for layer, values in first.items():
        np.testing.assert_array_equal(values, second[layer])


def test_activations_equal_the_models_features() -> None:
    stimuli = _stimuli()
    tree = cp.extract(MODEL, stimuli, batch_size=3)
    features = MODEL.features(stimuli.batch(range(7)), MODEL.layers)
    for layer, values in _values(tree).items():
        np.testing.assert_allclose(values, features[layer].numpy(), rtol=1e-4, atol=1e-6)
    assert [node.path.strip("/") for node in tree.leaves] == list(MODEL.layers)


def test_activations_are_computed_in_float32_as_such(rounding_convolutions) -> None:
    seen = []

    class Watching(RandomFilters):
        def features(self, images, layers):
            seen.append(rounding_convolutions.fp32_precision)
            return super().features(images, layers)

    cp.extract(Watching(scales=2, channels=6), _stimuli(), readout="pca")
    assert set(seen) == {"ieee"}


def test_stimuli_and_dimensions_are_labelled() -> None:
    node = cp.extract(MODEL, _stimuli(), "scale2")["scale2"]
    assert node["activations"].dims == ("stimulus", "channel", "y", "x")
    assert node["stimulus"].to_numpy().tolist() == [f"stimulus{i}" for i in range(1, 8)]
    assert node["category"].to_numpy().tolist() == [f"kind{i % 2}" for i in range(7)]


@pytest.mark.parametrize("name", ["store.zarr", "store.nc"])
def test_what_is_stored_equals_what_is_in_memory(tmp_path: Path, name: str) -> None:
    in_memory = cp.extract(MODEL, _stimuli(), batch_size=2)
    stored = cp.extract(MODEL, _stimuli(), batch_size=2, store=tmp_path / name)
    _assert_same(in_memory, stored)
    again = open_store(tmp_path / name)
    _assert_same(in_memory, again)
    assert again["scale1"]["category"].to_numpy().tolist()[:2] == ["kind0", "kind1"]
    record = json.loads(again.attrs["provenance"])
    assert record["model"]["name"] == "random-filters"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_nested_layers_become_nested_groups(tmp_path: Path) -> None:
    hmax = cp.load_model("hmax", device="cpu")
    tree = cp.extract(hmax, _stimuli(2, 64), "c1/band[12]", store=tmp_path / "h.zarr")
    assert list(_values(tree)) == ["c1/band1", "c1/band2"]
    assert tree["c1/band1"]["activations"].sizes["stimulus"] == 2


def test_a_finished_store_is_not_computed_again(tmp_path: Path, monkeypatch) -> None:
    first = cp.extract(MODEL, _stimuli(), store=tmp_path / "a.zarr")
    monkeypatch.setattr(RandomFilters, "features", None)
    _assert_same(first, cp.extract(MODEL, _stimuli(), store=tmp_path / "a.zarr"))


def _tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what was known of seven stimuli, and what is known of them now."""
    before = pd.DataFrame({"category": list("abcdefg"), "size": np.arange(7), "gone": range(7)})
    now = pd.DataFrame(
        {
            "category": ["x", None, *"cdefg"],
            "size": [0.5, np.nan, *range(5)],
            "new one": [True, False] * 3 + [True],
        }
    )
    return before, now


def _with_table(table: pd.DataFrame) -> cp.StimulusSet:
    return cp.StimulusSet.from_arrays(_stimuli().sources, table=table)


@pytest.mark.parametrize("name", ["a.zarr", "a.nc"])
@pytest.mark.filterwarnings("ignore:.*has a space in its name")
def test_a_store_tells_what_the_table_says_now(tmp_path: Path, monkeypatch, name: str) -> None:
    store, (before, now) = tmp_path / name, _tables()
    cp.extract(MODEL, _with_table(before), store=store)
    monkeypatch.setattr(RandomFilters, "features", None)
    found = cp.extract(MODEL, _with_table(now), store=store)
    monkeypatch.undo()
    expected = cp.extract(MODEL, _with_table(now))
    for tree in (found, open_store(store)):
        _assert_same(tree, expected)
        for layer in MODEL.layers:
            assert set(tree[layer].coords) == {"stimulus", *now.columns}
            assert tree[layer]["category"].to_numpy().tolist() == ["x", "", *"cdefg"]
            np.testing.assert_array_equal(tree[layer]["size"], now["size"])
            assert tree[layer]["new one"].dtype == bool
            assert tree[layer].attrs["layer"] == layer
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with monkeypatch.context() as context:
        context.setattr(stored_activations, "_write_other_coordinates", None)
        cp.extract(MODEL, _with_table(now), store=store)  # nothing has changed
    again = cp.extract(MODEL, _stimuli(), store=store)
    assert set(again["scale1"].coords) == {"stimulus", "category"}


@pytest.mark.parametrize("name", ["a.zarr", "a.nc"])
@pytest.mark.filterwarnings("ignore:.*has a space in its name")
def test_an_interrupted_change_of_the_table_loses_nothing(tmp_path, monkeypatch, name) -> None:
    store, (before, now) = tmp_path / name, _tables()
    cp.extract(MODEL, _with_table(before), store=store)
    write, written = stored_activations.write_coordinates, []

    def failing(folder: Path, layer: str, coordinates) -> None:
        written.append(layer)
        if len(written) == 2:
            raise KeyboardInterrupt
        write(folder, layer, coordinates)

    with monkeypatch.context() as context:
        context.setattr(stored_activations, "write_coordinates", failing)
        context.setattr(xr.DataTree, "to_netcdf", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            cp.extract(MODEL, _with_table(now), store=store)
    if name == "a.zarr":
        # Neither the old table nor the new one.
        with pytest.raises(ValueError, match="not complete; run the same extraction again"):
            open_store(store)
    else:
        assert open_store(store)["scale1"]["category"].to_numpy().tolist() == list("abcdefg")
    with monkeypatch.context() as context:
        context.setattr(RandomFilters, "features", None)
        found = cp.extract(MODEL, _with_table(now), batch_size=1, store=store)
    _assert_same(found, cp.extract(MODEL, _stimuli()))
    for tree in (found, open_store(store)):
        for layer in MODEL.layers:
            assert tree[layer]["category"].to_numpy().tolist() == ["x", "", *"cdefg"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.zarr", "a.nc"])
@pytest.mark.filterwarnings("ignore:.*has a space in its name")
def test_an_extraction_that_is_gone_on_with_has_the_table_of_now(tmp_path, monkeypatch, name):
    store, (before, now), respond = tmp_path / name, _tables(), RandomFilters.features
    seen: list[int] = []

    def failing(self, images: torch.Tensor, layers):
        seen.append(len(images))
        if len(seen) == 4:
            raise KeyboardInterrupt
        return respond(self, images, layers)

    with monkeypatch.context() as context:
        context.setattr(RandomFilters, "features", failing)
        with pytest.raises(KeyboardInterrupt):
            cp.extract(MODEL, _with_table(before), batch_size=2, store=store)
    found = cp.extract(MODEL, _with_table(now), batch_size=2, store=store)
    _assert_same(found, cp.extract(MODEL, _stimuli(), batch_size=2))
    assert found["scale1"]["category"].to_numpy().tolist() == ["x", "", *"cdefg"]
    assert "gone" not in found["scale1"].variables


@pytest.mark.parametrize("column", ["stimulus", "activations", "of/object"])
def test_columns_that_cannot_be_coordinates_are_refused_at_once(monkeypatch, column) -> None:
    monkeypatch.setattr(RandomFilters, "features", None)
    with pytest.raises(ValueError, match=f"column '{column}'.*rename the column"):
        cp.extract(MODEL, _with_table(pd.DataFrame({column: list("abcdefg")})))


def test_layers_within_layers_are_refused_at_once(monkeypatch) -> None:
    class Nested(RandomFilters):
        def features(self, images, layers):
            return dict.fromkeys(layers, images)

    model = Nested(scales=2, channels=6)
    model.layers = ("block", "block/conv", "blocks")
    apart = cp.extract(model, _stimuli(), ["block/conv", "blocks"])
    assert set(_values(apart)) == {"block/conv", "blocks"}
    monkeypatch.setattr(Nested, "features", None)
    with pytest.raises(ValueError, match="'block' and 'block/conv' cannot be kept together"):
        cp.extract(model, _stimuli())


@pytest.mark.parametrize("name", ["a.zarr", "a.nc"])
@pytest.mark.parametrize("change", ["size", "weights", "image", "readout", "layers"])
def test_a_store_of_something_else_is_never_returned(tmp_path, name, change) -> None:
    store = tmp_path / name
    before = _values(cp.extract(MODEL, _stimuli(), "scale1", store=store))
    model, stimuli, settings = MODEL, _stimuli(), {"layers": "scale1"}
    if change == "size":
        settings["size"] = 20
    elif change == "weights":
        model = RandomFilters(scales=2, channels=6, seed=1)
    elif change == "image":
        stimuli.sources[3][0, 0, 0] ^= 255
    else:
        settings |= {"readout": "mean"} if change == "readout" else {"layers": "scale2"}
    with pytest.raises(ValueError, match="other weights, images or settings"):
        cp.extract(model, stimuli, store=store, **settings)
    np.testing.assert_array_equal(_values(open_store(store))["scale1"], before["scale1"])
    fresh = cp.extract(model, stimuli, store=store, overwrite=True, **settings)
    _assert_same(fresh, cp.extract(model, stimuli, **settings))


def test_an_interrupted_extraction_goes_on_where_it_stopped(tmp_path: Path, monkeypatch) -> None:
    store, respond = tmp_path / "a.zarr", RandomFilters.features
    seen: list[int] = []

    def failing(self, images: torch.Tensor, layers):
        seen.append(len(images))
        if len(seen) == 4:
            raise KeyboardInterrupt
        return respond(self, images, layers)

    unbroken = cp.extract(MODEL, _stimuli(), batch_size=2)
    monkeypatch.setattr(RandomFilters, "features", failing)
    with pytest.raises(KeyboardInterrupt):
        cp.extract(MODEL, _stimuli(), batch_size=2, store=store)
    with pytest.raises(ValueError, match="not complete"):
        open_store(store)
    seen.clear()
    resumed = cp.extract(MODEL, _stimuli(), batch_size=2, store=store)
    assert seen[0] == 1  # to learn the shapes
    assert sum(seen[1:]) < 7
    _assert_same(resumed, unbroken)


@pytest.mark.parametrize("name", ["a.zarr", "a.nc"])
def test_a_killed_extraction_resumes_to_the_same_bits(tmp_path: Path, name: str) -> None:
    script = textwrap.dedent(
        """
        import sys, time
        import numpy as np
        import cnnperception as cp
        from cnnperception.models import RandomFilters
        features = RandomFilters.features
        def slow(self, images, layers):
            print("batch", flush=True)
            time.sleep(0.1)
            return features(self, images, layers)
        RandomFilters.features = slow
        pictures = np.random.default_rng(0).integers(0, 256, (30, 24, 24, 3), dtype=np.uint8)
        stimuli = cp.StimulusSet.from_arrays(pictures)
        cp.extract(RandomFilters(scales=2, channels=6), stimuli, batch_size=1, store=sys.argv[1])
        """
    )
    store = tmp_path / name
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(store)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(8):
        assert process.stdout.readline() == "batch\n"
    time.sleep(0.03)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (store / "x").exists()
    stimuli = _stimuli(30)
    pictures = np.random.default_rng(0).integers(0, 256, (30, 24, 24, 3), dtype=np.uint8)
    stimuli = cp.StimulusSet.from_arrays(pictures)
    resumed = cp.extract(MODEL, stimuli, batch_size=1, store=store)
    _assert_same(resumed, cp.extract(MODEL, stimuli, batch_size=1))


def test_an_unreadable_stimulus_is_named_and_skipped_only_on_request(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (folder / "im2.png").write_bytes((folder / "im2.png").read_bytes()[:400])
    stimuli = cp.StimulusSet.from_folder(folder)
    with pytest.raises(ImageError, match=r"im2\.png: truncated"):
        cp.extract(MODEL, stimuli, "scale1")
    with pytest.warns(UserWarning, match=r"left out: .*im2\.png"):
        tree = cp.extract(MODEL, stimuli, "scale1", skip_unreadable=True)
    assert tree["scale1"]["stimulus"].to_numpy().tolist() == ["im0", "im1", "im3", "im4"]
    assert "im2" in json.loads(tree.attrs["provenance"])["unreadable"]
    kept = cp.extract(MODEL, stimuli[[0, 1, 3, 4]], "scale1")
    np.testing.assert_array_equal(_values(tree)["scale1"], _values(kept)["scale1"])


def test_when_nothing_can_be_read_there_is_no_empty_result(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    stimuli = cp.StimulusSet.from_folder(tmp_path)
    with pytest.raises(ImageError, match="no stimulus can be read"):
        cp.extract(MODEL, stimuli, skip_unreadable=True)


def test_images_of_different_size_need_a_size(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    Image.new("RGB", (30, 20)).save(folder / "im9.png")
    stimuli = cp.StimulusSet.from_folder(folder)
    with pytest.raises(ValueError, match=r"im9 20 x 30; give size="):
        cp.extract(MODEL, stimuli)
    tree = cp.extract(MODEL, stimuli, "scale1", size=16)
    assert tree["scale1"]["activations"].shape == (6, 9, 16, 16)


def test_readouts_keep_what_they_say() -> None:
    whole = _values(cp.extract(MODEL, _stimuli(), "scale1"))["scale1"]
    means = _values(cp.extract(MODEL, _stimuli(), "scale1", readout="mean"))["scale1"]
    np.testing.assert_allclose(means, whole.mean(axis=(2, 3)), rtol=1e-5)
    grams = _values(cp.extract(MODEL, _stimuli(), "scale1", readout="gram"))["scale1"]
    expected = cp.gram(torch.from_numpy(whole)).numpy()[:, *np.triu_indices(9)]
    np.testing.assert_allclose(grams, expected, rtol=1e-4)
    with pytest.raises(ValueError, match="no readout is called 'median'"):
        cp.extract(MODEL, _stimuli(), readout="median")


def test_readouts_are_chosen_by_layer(tmp_path: Path) -> None:
    tree = cp.extract(
        MODEL, _stimuli(), readout={"scale*": "mean", "scale2": "gram"}, store=tmp_path / "a.zarr"
    )
    shapes = {node.path.strip("/"): node["activations"].shape for node in tree.leaves}
    assert shapes["scale1"] == (7, 9)
    assert shapes["scale2"][1] > 9
    provenance = json.loads(tree.attrs["provenance"])
    assert provenance["readout"]["scale2"]["name"] == "gram"
    with pytest.raises(ValueError, match="of no layer that is extracted"):
        cp.extract(MODEL, _stimuli(), "scale1", readout={"scale2": "mean"})


def test_a_projection_keeps_distances_within_its_bound(monkeypatch) -> None:
    whole = _values(cp.extract(MODEL, _stimuli(), "scale1"))["scale1"].reshape(7, -1)
    monkeypatch.setattr(readouts, "DISTORTION", 0.3)
    tree = cp.extract(MODEL, _stimuli(), "scale1", readout="projection")
    kept = _values(tree)["scale1"]
    known = json.loads(tree.attrs["provenance"])["readout"]["scale1"]
    assert kept.shape == (7, known["components"])
    assert known["components"] < whole.shape[1] == known["units"]
    before, after = pdist(whole, "sqeuclidean"), pdist(kept, "sqeuclidean")
    assert np.abs(after / before - 1).max() < known["distortion"] == 0.3
    again = _values(cp.extract(MODEL, _stimuli(), "scale1", readout="projection"))["scale1"]
    np.testing.assert_array_equal(kept, again)
    other = cp.extract(MODEL, _stimuli(), "scale1", readout="projection", seed=1)
    assert not np.allclose(_values(other)["scale1"], kept)


def test_a_small_layer_is_not_projected() -> None:
    whole = _values(cp.extract(MODEL, _stimuli(), "scale1", size=8))["scale1"].reshape(7, -1)
    tree = cp.extract(MODEL, _stimuli(), "scale1", size=8, readout="projection")
    np.testing.assert_array_equal(_values(tree)["scale1"], whole)
    assert json.loads(tree.attrs["provenance"])["readout"]["scale1"]["distortion"] == 0


def test_principal_components_keep_the_geometry_of_the_stimuli_they_are_fitted_to() -> None:
    whole = _values(cp.extract(MODEL, _stimuli(), "scale1"))["scale1"].reshape(7, -1)
    tree = cp.extract(MODEL, _stimuli(), "scale1", readout="pca")
    scores = _values(tree)["scale1"]
    assert scores.shape == (7, 6)
    np.testing.assert_allclose(pdist(scores), pdist(whole), rtol=1e-4)
    assert (np.diff(scores.var(axis=0)) < 0).all()
    known = json.loads(tree.attrs["provenance"])["readout"]["scale1"]
    assert known["variance"] == pytest.approx(1)
    assert known["fitted_stimuli"] == 7


def test_values_that_are_not_finite_are_named() -> None:
    broken = RandomFilters(scales=2, channels=6)
    broken.filters.weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match="'scale1' of random-filters.*'stimulus1'"):
        cp.extract(broken, _stimuli())


def test_the_automatic_batch_size_fits_the_budget(monkeypatch) -> None:
    monkeypatch.setattr(extraction, "BATCH_BYTES", 4 * 9 * 24 * 24 * 3)
    sizes: list[int] = []
    model = RandomFilters(scales=2, channels=6)
    features = model.features
    model.features = lambda images, layers: (sizes.append(len(images)), features(images, layers))[1]
    cp.extract(model, _stimuli(), "scale1")
    assert sizes == [1, 3, 3, 1]
    with pytest.raises(ValueError, match="'auto' or a number"):
        cp.extract(model, _stimuli(), batch_size=0)


def test_other_endings_and_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.zarr or \.nc"):
        cp.extract(MODEL, _stimuli(), store=tmp_path / "a.csv")
    mine = tmp_path / "mine.zarr"
    mine.mkdir()
    (mine / "precious.txt").write_text("keep")
    with pytest.raises(ValueError, match="folder of something else"):
        cp.extract(MODEL, _stimuli(), store=mine)
    assert (mine / "precious.txt").exists()
    other = xr.Dataset({"a": ("x", np.arange(3))}, attrs={"who": "me"})
    other.to_zarr(tmp_path / "other.zarr", zarr_format=2)
    with pytest.raises(ValueError, match="folder of something else"):
        cp.extract(MODEL, _stimuli(), store=tmp_path / "other.zarr")
    (tmp_path / "folder.nc").mkdir()
    (tmp_path / "file.zarr").write_text("keep")
    for name in ("folder.nc", "file.zarr"):
        with pytest.raises(ValueError, match="is a folder and one in .nc a file"):
            cp.extract(MODEL, _stimuli(), store=tmp_path / name, overwrite=True)


def test_what_are_no_activations_is_not_opened(tmp_path: Path) -> None:
    rdms = xr.Dataset({"rdm_values": (("rdm", "pair"), np.zeros((1, 3)))})
    rdms.to_netcdf(tmp_path / "rdms.nc", engine="h5netcdf")
    rdms.to_zarr(tmp_path / "rdms.zarr", zarr_format=2)
    (tmp_path / "text.nc").write_text("text")
    (tmp_path / "text").write_text("text")
    (tmp_path / "folder.nc").mkdir()
    (tmp_path / "pictures").mkdir()
    _folder(tmp_path / "pictures")
    (tmp_path / "broken.zarr").mkdir()
    (tmp_path / "broken.zarr" / ".zattrs").write_text("{")
    for path in tmp_path.iterdir():
        with pytest.raises(ValueError, match=f"{path.name} is no store of activations"):
            open_store(path)
    with pytest.raises(FileNotFoundError, match="there are no stored activations"):
        open_store(tmp_path / "none.zarr")


def test_a_store_that_has_lost_a_layer_says_so(tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    cp.extract(MODEL, _stimuli(), store=store)
    shutil.rmtree(store / "scale2")
    for again in (lambda: open_store(store), lambda: cp.extract(MODEL, _stimuli(), store=store)):
        with pytest.raises(ValueError, match="no complete store.*'scale2' is gone.*overwrite"):
            again()
    tree = cp.extract(MODEL, _stimuli(), store=store, overwrite=True)
    _assert_same(tree, cp.extract(MODEL, _stimuli()))


def test_an_unfinished_store_that_has_lost_a_layer_says_so(tmp_path: Path, monkeypatch) -> None:
    store = tmp_path / "a.zarr"
    with monkeypatch.context() as context:
        context.setattr(extraction, "_check_finite", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            cp.extract(MODEL, _stimuli(), store=store)
    shutil.rmtree(store / "scale2")
    with pytest.raises(ValueError, match="'scale2' is gone"):
        cp.extract(MODEL, _stimuli(), store=store)


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
