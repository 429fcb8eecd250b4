"""RDMs and patterns to and from other toolboxes and files."""

import h5py
import numpy as np
import pandas as pd
import pytest
import rsatoolbox
import xarray as xr

from cnnperception import rsa

IDS = ["im1", "im10", "im2", "im3"]


def rdms(count=3):
    values = np.random.default_rng(0).random((count, 6))
    stacked = rsa.concat({f"subject {i}": rsa.condensed(v, IDS) for i, v in enumerate(values)})
    return stacked.assign_coords(roi=("rdm", ["IT"] * count)).assign_attrs(metric="euclidean")


def test_rdms_come_back_from_rsatoolbox_as_they_went():
    ours = rdms()
    theirs = rsa.to_rsatoolbox(ours)
    np.testing.assert_array_equal(theirs.get_matrices(), rsa.square(ours))
    assert theirs.dissimilarity_measure == "squared euclidean"
    assert theirs.pattern_descriptors["stimulus_id"] == IDS
    back = rsa.from_rsatoolbox(theirs)
    xr.testing.assert_identical(back, ours)


def test_what_rsatoolbox_sorted_is_aligned_by_name():
    patterns = np.random.default_rng(1).normal(size=(4, 20))
    dataset = rsatoolbox.data.Dataset(patterns, obs_descriptors={"conds": IDS})
    theirs = rsatoolbox.rdm.calc_rdm(dataset, method="correlation", descriptor="conds")
    shuffled = rsatoolbox.rdm.calc_rdm(
        rsatoolbox.data.Dataset(patterns[::-1], obs_descriptors={"conds": IDS[::-1]}),
        method="correlation",
        descriptor="conds",
    )
    ours = rsa.rdm(patterns, stimulus_ids=IDS)
    for other in (theirs, shuffled):
        found = rsa.select(rsa.from_rsatoolbox(other, "conds"), IDS)
        np.testing.assert_allclose(found[0], ours, atol=1e-12)


def test_descriptors_that_are_missing_or_repeat_are_named():
    theirs = rsatoolbox.rdm.RDMs(np.ones((1, 6)), pattern_descriptors={"kind": list("aabb")})
    assert rsa.stimulus_ids(rsa.from_rsatoolbox(theirs)) == ["0", "1", "2", "3"]
    with pytest.raises(ValueError, match="no pattern descriptor is called 'name'"):
        rsa.from_rsatoolbox(theirs, "name")
    with pytest.raises(ValueError, match="unique"):
        rsa.from_rsatoolbox(theirs, "kind")


def test_datasets_carry_patterns_and_coordinates():
    patterns = xr.DataArray(
        np.random.default_rng(0).normal(size=(4, 3, 2)),
        dims=("stimulus", "channel", "x"),
        coords={"stimulus": IDS, "category": ("stimulus", list("abab"))},
    )
    theirs = rsa.to_rsatoolbox_dataset(patterns)
    assert theirs.obs_descriptors["category"] == list("abab")
    found = rsatoolbox.rdm.calc_rdm(theirs, method="euclidean")
    np.testing.assert_allclose(found.get_vectors()[0], rsa.rdm(patterns, "euclidean"))
    back = rsa.from_rsatoolbox_dataset(theirs, "stimulus_id")
    np.testing.assert_array_equal(back, patterns.to_numpy().reshape(4, 6))
    assert back["stimulus"].to_numpy().tolist() == IDS
    with pytest.raises(ValueError, match="no descriptor is called 'x'"):
        rsa.from_rsatoolbox_dataset(theirs, "x")


def test_activations_become_neuroids_and_repeats_are_averaged():
    maps = np.random.default_rng(0).normal(size=(4, 2, 3, 2)).astype(np.float32)
    units = np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)
    coords = {"stimulus": IDS, "category": ("stimulus", list("abab"))}
    tree = xr.DataTree.from_dict(
        {
            "/conv": xr.Dataset(
                {"activations": (("stimulus", "channel", "y", "x"), maps)}, coords=coords
            ),
            "/fc": xr.Dataset({"activations": (("stimulus", "unit"), units)}, coords=coords),
        }
    )
    neuroids = rsa.to_neuroids(tree, "net")
    assert neuroids.dims == ("presentation", "neuroid")
    assert neuroids.shape == (4, 17)
    one = neuroids.isel(neuroid=9)
    assert one["neuroid_id"] == "net.conv.9"
    assert (one["channel"], one["channel_x"], one["channel_y"]) == (1, 1, 1)
    np.testing.assert_array_equal(one, maps[:, 1, 1, 1])
    assert np.isnan(neuroids["channel"][-1])
    repeated = xr.concat([neuroids, neuroids + 1], dim="presentation")
    indexed = repeated.set_index(presentation=["stimulus_id", "category"])
    for assembly in (repeated, indexed, indexed.expand_dims(time_bin=1)):
        patterns = rsa.from_neuroids(assembly)
        assert patterns["stimulus"].to_numpy().tolist() == IDS
        np.testing.assert_allclose(patterns, neuroids + 0.5, rtol=1e-6)
        assert patterns["layer"].to_numpy()[-1] == "fc"
    with pytest.raises(ValueError, match="several time bins"):
        rsa.from_neuroids(xr.concat([repeated, repeated], dim="time_bin"))
    with pytest.raises(ValueError, match="dims presentation and neuroid"):
        rsa.from_neuroids(xr.DataArray(units, dims=("stimulus", "neuroid")))
    with pytest.raises(ValueError, match="no coordinate stimulus_id"):
        rsa.from_neuroids(xr.DataArray(units, dims=("presentation", "neuroid")))


@pytest.mark.parametrize("suffix", [".nc", ".npz"])
def test_written_rdms_are_read_as_they_were(tmp_path, suffix):
    rsa.write_rdms(tmp_path / f"a{suffix}", rdms())
    found = rsa.read_rdms(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(found, rdms())
    assert found["rdm"].to_numpy().tolist() == ["subject 0", "subject 1", "subject 2"]
    turned = rsa.read_rdms(tmp_path / f"a{suffix}", IDS[::-1])
    np.testing.assert_array_equal(turned, rsa.select(rdms(), IDS[::-1]))


def test_a_table_of_one_rdm_is_read_in_any_order(tmp_path):
    rsa.write_rdms(tmp_path / "one.csv", rdms()[1])
    table = pd.read_csv(tmp_path / "one.csv", index_col=0)
    table.iloc[::-1, [2, 0, 1, 3]].to_csv(tmp_path / "turned.csv")
    for name in ("one", "turned"):
        found = rsa.read_rdms(tmp_path / f"{name}.csv", IDS)
        np.testing.assert_allclose(found[0], rdms()[1])
        assert found["rdm"].item() == name
    with pytest.raises(ValueError, match="holds one RDM; got 3"):
        rsa.write_rdms(tmp_path / "three.csv", rdms())
    assert not (tmp_path / "three.csv").exists()


def test_arrays_without_names_have_the_stimuli_there_are(tmp_path):
    values = rdms().to_numpy()
    np.save(tmp_path / "square.npy", rsa.square(rdms())[0])
    np.save(tmp_path / "pairs.npy", values[0])
    np.save(tmp_path / "stack.npy", rsa.square(rdms()))
    np.save(tmp_path / "rows.npy", values)
    for name in ("square", "pairs"):
        np.testing.assert_array_equal(
            rsa.read_rdms(tmp_path / f"{name}.npy", IDS), rdms()[:1].to_numpy()
        )
    for name in ("stack", "rows"):
        found = rsa.read_rdms(tmp_path / f"{name}.npy", IDS)
        np.testing.assert_array_equal(found, values)
        assert found["rdm"][1].item() == f"{name} 2"


def test_rdms_that_rsatoolbox_saved_are_read(tmp_path):
    rsa.to_rsatoolbox(rdms()).save(str(tmp_path / "theirs.hdf5"), file_type="hdf5")
    np.testing.assert_allclose(rsa.read_rdms(tmp_path / "theirs.hdf5", IDS), rdms())


def test_files_that_are_something_else_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        rsa.read_rdms(tmp_path / "nowhere.csv")
    (tmp_path / "a.mat").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"a\.mat: RDMs are read from \.csv"):
        rsa.read_rdms(tmp_path / "a.mat")
    rsa.write_rdms(tmp_path / "few.csv", rdms()[0])
    with pytest.raises(ValueError, match="no row for stimulus 'im9'"):
        rsa.read_rdms(tmp_path / "few.csv", [*IDS, "im9"])
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    with pytest.raises(ValueError, match="is no RDM"):
        rsa.read_rdms(tmp_path / "words.npy")
    np.save(tmp_path / "long.npy", np.ones(7))
    with pytest.raises(ValueError, match="not a number of pairs"):
        rsa.read_rdms(tmp_path / "long.npy")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        rsa.read_rdms(tmp_path / "objects.npy")
    xr.Dataset({"x": ("i", [1.0])}).to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match="no variable rdm_values"):
        rsa.read_rdms(tmp_path / "x.nc")
    with pytest.raises(ValueError, match="written as"):
        rsa.write_rdms(tmp_path / "x.txt", rdms())


def test_what_rsatoolbox_sorted_by_another_descriptor_is_aligned_by_it(tmp_path):
    patterns = np.random.default_rng(1).normal(size=(12, 20))
    names = [f"im{k}" for k in range(1, 13)]
    dataset = rsatoolbox.data.Dataset(patterns, obs_descriptors={"image": names})
    theirs = rsatoolbox.rdm.calc_rdm(dataset, method="correlation", descriptor="image")
    ours = rsa.rdm(patterns, stimulus_ids=names)
    similarity = rsa.compare(rsa.from_rsatoolbox(theirs), ours, "corr")
    np.testing.assert_allclose(similarity, 1.0)
    theirs.pattern_descriptors["day"] = [f"day{k}" for k in range(12)]
    with pytest.raises(ValueError, match="image, day: name one"):
        rsa.from_rsatoolbox(theirs)
    # Among several, the one that holds the ids that are asked for.
    theirs.save(tmp_path / "theirs.h5", file_type="hdf5")
    found = rsa.read_rdms(tmp_path / "theirs.h5", names)
    np.testing.assert_allclose(rsa.compare(found, ours, "corr"), 1.0)


def test_a_missing_presentation_leaves_a_neuroid_its_others():
    values = np.random.default_rng(0).random((8, 5))
    values[3, 2] = values[[0, 4], 1] = np.nan
    assembly = xr.DataArray(
        values,
        dims=("presentation", "neuroid"),
        coords={"stimulus_id": ("presentation", list("abcdabcd"))},
    )
    found = rsa.from_neuroids(assembly)
    expected = assembly.groupby("stimulus_id").mean()
    np.testing.assert_allclose(found, expected.sel(stimulus_id=found["stimulus"].to_numpy()))
    assert np.isnan(found).sum() == 1


@pytest.mark.parametrize("suffix", [".nc", ".npz"])
def test_one_rdm_keeps_its_name(tmp_path, suffix):
    rsa.write_rdms(tmp_path / f"one{suffix}", rdms()[1])
    assert rsa.read_rdms(tmp_path / f"one{suffix}")["rdm"].to_numpy().tolist() == ["subject 1"]
    assert rsa.evaluate(rdms()[1], rdms(), bootstrap=None)["model"].to_numpy() == ["subject 1"]


def test_names_that_an_npz_would_mix_up_are_refused(tmp_path):
    twice = xr.concat([rdms(2), rdms(2)], "rdm")
    with pytest.raises(ValueError, match="'subject 0' comes twice"):
        rsa.write_rdms(tmp_path / "twice.npz", twice)
    with pytest.raises(ValueError, match="can be called 'file'"):
        rsa.write_rdms(tmp_path / "named.npz", rdms(1).assign_coords(rdm=["file"]))
    assert not list(tmp_path.iterdir())
    rsa.write_rdms(tmp_path / "twice.nc", twice)
    assert rsa.read_rdms(tmp_path / "twice.nc").sizes["rdm"] == 4


@pytest.mark.parametrize("diagonal", [2e-16, np.nan])
def test_a_square_array_with_rounding_or_gaps_on_its_diagonal_is_one_rdm(tmp_path, diagonal):
    square = rsa.square(rsa.rdm(np.random.default_rng(0).normal(size=(10, 9))))
    np.fill_diagonal(square, diagonal)
    np.save(tmp_path / "one.npy", square)
    found = rsa.read_rdms(tmp_path / "one.npy")
    np.testing.assert_array_equal(found, square[np.triu_indices(10, 1)][None])


def test_ids_like_numbers_or_gaps_stay_as_they_are_in_a_table(tmp_path):
    names = ["000", "001", "NA", "1.0"]
    one = rsa.condensed([0.5, 0.25, np.nan, 1.0, 2.0, 1e-3], names)
    rsa.write_rdms(tmp_path / "one.csv", one)
    for wanted in (None, names):
        found = rsa.read_rdms(tmp_path / "one.csv", wanted)
        assert rsa.stimulus_ids(found) == names
        np.testing.assert_array_equal(found[0], one)


def test_damaged_files_and_those_of_something_else_are_named(tmp_path):
    rsa.write_rdms(tmp_path / "whole.npz", rdms())
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:-60])
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.zeros(3)
    unlabelled = rdms().drop_vars(["stimulus_a", "stimulus_b"])
    unlabelled.to_dataset(name="rdm_values").to_netcdf(tmp_path / "bare.nc", engine="h5netcdf")
    for name in ("cut.npz", "other.h5", "bare.nc"):
        with pytest.raises(ValueError, match=name):
            rsa.read_rdms(tmp_path / name)
