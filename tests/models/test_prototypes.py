"""Prototypes: imprinting, files, learned and control sets, view-tuned units, pictures."""

import numpy as np
import pandas as pd
import pytest
import skimage.data
import torch
from scipy.io import savemat

from cnnperception.models import HMAX, ViewTuned
from cnnperception.models.hmax import (
    Prototypes,
    cluster,
    draw,
    imprint,
    locate,
    matched_noise,
    pixel_boxes,
    read_patch_set,
    shuffled,
    write_patch_set,
)
from cnnperception.models.hmax.prototypes import numbered
from cnnperception.stimuli import builtin_exemplars


def _picture(name, height=180, width=200):
    picture = getattr(skimage.data, name)()[:height, :width] / 255
    return torch.from_numpy(picture).float().permute(2, 0, 1)


def _taken_from(stored, name, size):
    record = stored.record
    return record[(record["image"] == name) & (record["size"] == size)]


@pytest.fixture(scope="module")
def pictures():
    return [("cat", _picture("chelsea")), ("cup", _picture("coffee", 170, 190))]


@pytest.fixture(scope="module")
def bare():
    return HMAX(prototypes=None)


@pytest.fixture(scope="module")
def stored(bare, pictures):
    return imprint(bare, pictures, count=12, seed=4)


# Imprinting


def test_an_image_matches_the_prototypes_taken_from_it_perfectly(stored, pictures):
    for tuning, perfect in (("gaussian", 1.0), ("distance", 0.0)):
        model = HMAX(prototypes=stored, tuning=tuning)
        for name, image in pictures:
            found = model.features(image[None], ["c2"])
            for size in stored.patches:
                rows = _taken_from(stored, name, size)
                units = found[f"c2/{size}"][0, rows["unit"].tolist()]
                torch.testing.assert_close(
                    units, torch.full_like(units, perfect), rtol=0, atol=1e-5
                )


@pytest.mark.parametrize("variant", ["serre2007", "maxlab"])
def test_units_find_their_own_patch_where_the_record_says(pictures, variant):
    bare = HMAX(variant=variant, prototypes=None)
    stored = imprint(bare, pictures, sizes=(4, 7), count=15, seed=1, bands=[1, 2, 3])
    model = HMAX(variant=variant, prototypes=stored)
    for name, image in pictures:
        for size in stored.patches:
            rows = _taken_from(stored, name, size).set_index("unit")
            found = locate(model, image[None], f"c2/{size}").set_index("unit").loc[rows.index]
            pd.testing.assert_frame_equal(
                found[["band", "row", "column"]], rows[["band", "row", "column"]], check_dtype=False
            )


def test_the_record_leads_back_to_the_patch(bare, stored, pictures):
    images = dict(pictures)
    for place in stored.record.iloc[::7].itertuples():
        maps = bare.features(images[place.image][None], [f"c1/band{place.band}"])
        cells = maps[f"c1/band{place.band}"][0]
        rows = slice(place.row, place.row + place.size)
        columns = slice(place.column, place.column + place.size)
        patch = stored.patches[place.size][place.unit]
        torch.testing.assert_close(cells[:, rows, columns], patch)


def test_a_stimulus_set_can_be_imprinted_from(bare):
    stimuli = builtin_exemplars(["coffee", "chelsea"])
    found = imprint(bare, stimuli, sizes=(4,), count=6, bands=[2])
    pairs = [(name, stimuli.image(name)) for name in stimuli.ids]
    assert torch.equal(
        found.patches[4], imprint(bare, pairs, sizes=(4,), count=6, bands=[2]).patches[4]
    )
    assert set(found.record["image"]) == {"coffee", "chelsea"}


def test_a_seed_decides_the_prototypes(bare, pictures):
    sets = [imprint(bare, pictures, sizes=(4,), count=8, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(sets[0].patches[4], sets[1].patches[4])
    pd.testing.assert_frame_equal(sets[0].record, sets[1].record)
    assert not torch.equal(sets[0].patches[4], sets[2].patches[4])


def test_empty_regions_are_not_imprinted(bare):
    image = torch.full((3, 150, 300), 0.5)
    image[:, :, :150] = _picture("chelsea", 150, 150)
    found = imprint(bare, [("half", image)], sizes=(4,), count=40, minimum=0.05, bands=[1, 2])
    assert found.patches[4].mean(dim=(1, 2, 3)).min() >= 0.05
    with pytest.raises(ValueError, match="'grey' has hardly a region"):
        imprint(bare, [("grey", torch.full((3, 150, 150), 0.5))], count=1)


def test_what_cannot_be_imprinted_is_refused(bare, pictures):
    with pytest.raises(ValueError, match="no images were given"):
        imprint(bare, [])
    with pytest.raises(ValueError, match="'small' is too small for prototypes of 16 x 16"):
        imprint(bare, [("small", torch.rand(3, 40, 40))], sizes=(16,))
    with pytest.raises(ValueError, match="cannot imprint 0"):
        imprint(bare, pictures, count=0)


def test_embedded_sets_know_where_every_patch_comes_from():
    for model, sizes, count in ((HMAX(), (4, 8, 12, 16), 250),):
        prototypes = model.prototypes
        assert tuple(prototypes.patches) == sizes
        assert all(len(patches) == count for patches in prototypes.patches.values())
        assert len(prototypes.record) == len(sizes) * count
        assert set(prototypes.record["image"]) <= set(prototypes.provenance["images"])
        assert prototypes.record["band"].between(1, 8).all()
        assert prototypes.provenance["seed"] == 0
        for patches in prototypes.patches.values():
            assert patches.min() >= 0
            assert patches.max() <= 1
            assert patches.mean(dim=(1, 2, 3)).min() >= 0.009


# Files


def test_prototypes_survive_a_file(stored, tmp_path):
    stored.save(tmp_path / "set.safetensors")
    read = Prototypes.load(tmp_path / "set.safetensors")
    assert list(read.patches) == list(stored.patches)
    for size, patches in stored.patches.items():
        torch.testing.assert_close(read.patches[size], patches, rtol=1e-3, atol=1e-4)
    pd.testing.assert_frame_equal(read.record, stored.record)
    assert read.provenance == stored.provenance
    path = tmp_path / "set.safetensors"
    assert HMAX(prototypes=path).prototypes.provenance == stored.provenance


def test_the_same_prototypes_make_the_same_file(stored, tmp_path):
    for name in ("a", "b"):
        stored.save(tmp_path / f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_half_precision_on_disk_keeps_the_perfect_match(stored, pictures, tmp_path):
    stored.save(tmp_path / "set.safetensors")
    model = HMAX(prototypes=tmp_path / "set.safetensors")
    name, image = pictures[0]
    found = model.features(image[None], ["c2/16"])["c2/16"][0]
    rows = _taken_from(stored, name, 16)
    assert found[rows["unit"].tolist()].min() > 1 - 1e-5


def test_fixed_features_with_few_inputs_survive_a_file(tmp_path):
    fixed = HMAX(variant="riesenhuber1999").prototypes
    fixed.save(tmp_path / "fixed.safetensors")
    read = Prototypes.load(tmp_path / "fixed.safetensors")
    assert torch.equal(read.afferents[2], fixed.afferents[2])
    assert (read.afferents[2].sum(dim=(1, 2, 3)) == 4).all()


def test_matlab_files_hold_patches_in_matlabs_order(tmp_path):
    """Patch number j of a cell is its column j, read row by row first, then column, then plane."""
    size, orientations, count = 2, 4, 3
    patch = np.zeros((size, size, orientations, count))
    for index in np.ndindex(patch.shape):
        row, column, plane, unit = index
        patch[index] = 0.1 * row + 0.2 * column + 0.05 * plane + 0.01 * unit
    matrix = np.zeros((size * size * orientations, count))
    for row, column, plane, unit in np.ndindex(patch.shape):
        matrix[row + size * column + size * size * plane, unit] = patch[row, column, plane, unit]
    cells = np.empty((1, 1), object)
    cells[0, 0] = matrix
    sizes = np.array([[size], [size], [orientations], [count]])
    savemat(tmp_path / "patches.mat", {"patches": cells, "patchSizes": sizes})
    read = read_patch_set(tmp_path / "patches.mat").patches[2]
    np.testing.assert_allclose(read.numpy(), patch.transpose(3, 2, 0, 1), rtol=1e-6)


def test_a_matlab_file_written_is_read_back(stored, tmp_path):
    write_patch_set(stored, tmp_path / "universal_patch_set.mat")
    read = read_patch_set(tmp_path / "universal_patch_set.mat")
    assert list(read.patches) == [4, 8, 12, 16]
    for size, patches in stored.patches.items():
        torch.testing.assert_close(read.patches[size], patches)
    HMAX(variant="maxlab", prototypes=read)
    with pytest.raises(ValueError, match="only some of their inputs"):
        write_patch_set(HMAX(variant="riesenhuber1999").prototypes, tmp_path / "b.mat")


def test_other_files_are_refused_by_name(tmp_path):
    savemat(tmp_path / "other.mat", {"weights": np.zeros(3)})
    with pytest.raises(ValueError, match="no variable patchSizes and no patches.*has weights"):
        read_patch_set(tmp_path / "other.mat")
    cells = np.empty((1, 1), object)
    cells[0, 0] = np.zeros((5, 3))
    wrong = {"patches": cells, "patchSizes": np.array([[2], [2], [4], [3]])}
    savemat(tmp_path / "wrong.mat", wrong)
    with pytest.raises(ValueError, match="do not fit a cell of shape"):
        read_patch_set(tmp_path / "wrong.mat")
    savemat(tmp_path / "flat.mat", {"patches": np.zeros(4), "patchSizes": np.zeros(4)})
    with pytest.raises(ValueError, match="patchSizes must be 4 rows"):
        read_patch_set(tmp_path / "flat.mat")
    (tmp_path / "text.mat").write_text("not a Matlab file")
    with pytest.raises(ValueError, match="not a Matlab file"):
        read_patch_set(tmp_path / "text.mat")
    with pytest.raises(FileNotFoundError):
        read_patch_set(tmp_path / "missing.mat")
    (tmp_path / "text.safetensors").write_text("not a safetensors file at all")
    with pytest.raises(ValueError, match="not a safetensors file"):
        Prototypes.load(tmp_path / "text.safetensors")


@pytest.mark.parametrize(
    ("patches", "message"),
    [
        ({}, "set of prototypes is empty"),
        ({4: torch.rand(0, 4, 4, 4)}, "at least one unit"),
        ({4: torch.rand(3, 4, 5, 5)}, "must have the shape"),
        ({4: torch.rand(3, 4, 4, 4), 8: torch.rand(3, 2, 8, 8)}, "as many orientations"),
        ({4: torch.full((3, 4, 4, 4), float("nan"))}, "not finite"),
    ],
)
def test_impossible_sets_are_refused(patches, message):
    with pytest.raises(ValueError, match=message):
        Prototypes(patches, numbered(patches), {})


# Learned and control prototypes


def test_cluster_centres_are_closer_to_new_patches_than_as_many_imprinted_ones(bare, pictures):
    many = imprint(bare, pictures, sizes=(4,), count=300, seed=0)
    fresh = imprint(bare, pictures, sizes=(4,), count=100, seed=9).patches[4].flatten(1)
    centres = cluster(many, 20, seed=0)
    assert centres.patches[4].shape == (20, 4, 4, 4)
    nearest = {
        name: torch.cdist(fresh, patches.flatten(1)).amin(dim=1).mean()
        for name, patches in (("learned", centres.patches[4]), ("imprinted", many.patches[4][:20]))
    }
    assert nearest["learned"] < nearest["imprinted"]
    assert centres.provenance["of"] == many.provenance
    with pytest.raises(ValueError, match="400 clusters need at least as many patches"):
        cluster(many, 400)


def test_shuffled_prototypes_keep_each_orientations_responses_at_other_places(stored):
    control = shuffled(stored, seed=0)
    for size, patches in stored.patches.items():
        mixed = control.patches[size]
        assert not torch.equal(mixed, patches)
        torch.testing.assert_close(
            mixed.flatten(2).sort(dim=2).values, patches.flatten(2).sort(dim=2).values
        )


def test_noise_prototypes_have_the_mean_and_variance_of_the_originals(stored):
    control = matched_noise(stored, seed=0)
    for size, patches in stored.patches.items():
        noise = control.patches[size]
        torch.testing.assert_close(noise.mean(dim=(1, 2, 3)), patches.mean(dim=(1, 2, 3)))
        torch.testing.assert_close(noise.var(dim=(1, 2, 3)), patches.var(dim=(1, 2, 3)))
        pairs = torch.stack([noise.flatten(), patches.flatten()])
        within = torch.corrcoef(pairs - pairs.mean(dim=1, keepdim=True))[0, 1]
        assert within.abs() < 0.9


# Pictures


def test_pixel_boxes_hold_all_pixels_a_patch_depends_on_and_no_more(bare, stored, pictures):
    images = dict(pictures)
    boxes = pixel_boxes(bare, stored.record)
    for place in boxes.iloc[::9].itertuples():
        image = images[place.image].double()[None].requires_grad_()
        maps = bare.features(image, [f"c1/band{place.band}"])[f"c1/band{place.band}"]
        rows = slice(place.row, place.row + place.size)
        columns = slice(place.column, place.column + place.size)
        (gradient,) = torch.autograd.grad(maps[0, :, rows, columns].sum(), image)
        seen = gradient.abs().amax(dim=(0, 1))
        outside = seen.clone()
        outside[max(place.top, 0) : place.bottom, max(place.left, 0) : place.right] = 0
        assert outside.max() < 1e-9 * seen.max()
        side = model_side(bare, place.band, place.size)
        assert place.bottom - place.top == side == place.right - place.left


def model_side(model, band, size):
    return model.receptive_fields[f"c1/band{band}"] + (size - 1) * model.variant.steps[band - 1]


def test_locate_refuses_layers_without_winners(bare, stored):
    with pytest.raises(ValueError, match="'c1/band1' is none of C2; this model has c2/4"):
        locate(HMAX(prototypes=stored), torch.rand(1, 3, 90, 90), "c1/band1")
    with pytest.raises(ValueError, match="this model has none"):
        locate(bare, torch.rand(1, 3, 90, 90), "c2/4")


def test_a_drawn_prototype_shows_its_bars():
    patches = torch.zeros(2, 4, 4, 4)
    patches[0, 0, 1] = 1
    patches[1, 2, :, 2] = 0.5
    pictures = draw(patches)
    assert pictures.shape == (2, 1, 28, 28)
    dark = pictures < 0.2
    assert dark[0, 0, 7:14].any()
    assert not dark[0, 0, 14:].any()
    assert torch.equal(dark[1, 0, :, 14:21], dark[0, 0, 7:14].T)


# View-tuned units


def test_view_tuned_units_answer_most_to_their_own_view(pictures):
    views = torch.stack([image[:, :160, :160] for _, image in pictures])
    model = ViewTuned(HMAX(variant="riesenhuber1999"), views)
    responses = model.features(views, ["s4"])["s4"]
    torch.testing.assert_close(responses.diagonal(), torch.ones(2))
    assert responses[0, 1] < 1
    assert responses[1, 0] < 1
    moved = views[:, :, 12:, :-6]
    assert (model.features(moved, ["s4"])["s4"].argmax(dim=1) == torch.arange(2)).all()


def test_view_tuned_units_use_the_inputs_their_view_drives_most(pictures):
    views = torch.stack([image[:, :160, :160] for _, image in pictures])
    below = HMAX(variant="riesenhuber1999")
    model = ViewTuned(below, views, afferents=10, sigma=0.2)
    found = model.features(views, ["c2", "s4"])
    assert list(found) == ["c2/2", "s4"]
    strongest = found["c2/2"][0].topk(10)
    other = found["c2/2"][1][strongest.indices]
    expected = torch.exp(-(other - strongest.values).square().sum() / (2 * 0.2**2))
    torch.testing.assert_close(found["s4"][1, 0], expected)


def test_impossible_view_tuned_units_are_refused():
    below = HMAX(variant="riesenhuber1999")
    with pytest.raises(ValueError, match="cannot have 300 inputs"):
        ViewTuned(below, torch.rand(1, 3, 80, 80), afferents=300)
    with pytest.raises(ValueError, match="no views were given"):
        ViewTuned(below, torch.rand(0, 3, 80, 80))
    with pytest.raises(ValueError, match="sigma must be positive"):
        ViewTuned(below, torch.rand(1, 3, 80, 80), sigma=0)
