"""HMAX: selectivity, invariance, equality with a naive restatement, gradients, errors."""

import math

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from analyses.hmax_invariance import draw, polygons
from cnnperception.models import HMAX, fingerprint, receptive_field
from cnnperception.models.hmax import Prototypes, imprint
from cnnperception.models.hmax.cells import window_sums
from cnnperception.models.hmax.filters import bar_bank, gabor_bank, gabor_parameters
from cnnperception.models.hmax.prototypes import numbered
from cnnperception.models.interface import VisionModel
from tests.references import hmax_naive

SIZES = tuple(range(7, 38, 2))


def _grey(array):
    """A (1, 3, height, width) tensor of a grey picture, double precision."""
    return torch.as_tensor(np.asarray(array, float)).expand(1, 3, *np.shape(array)).contiguous()


def _photograph(height, width):
    return torch.from_numpy(skimage.data.chelsea()[50 : 50 + height, 60 : 60 + width] / 255)[
        None
    ].permute(0, 3, 1, 2)


def _noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def model():
    return HMAX()


@pytest.fixture(scope="module")
def small_set():
    """A few prototypes of each size, from a photograph."""
    return imprint(
        HMAX(prototypes=None), [("chelsea", _photograph(200, 220)[0].float())], count=6, seed=3
    )


# Filters


@pytest.mark.parametrize("bank", [gabor_bank, bar_bank])
@pytest.mark.parametrize("size", [7, 19, 37])
def test_filters_have_no_mean_unit_norm_and_point_symmetry(bank, size):
    filters = bank(size, 4)
    assert filters.shape == (4, size, size)
    assert filters.mean(dim=(1, 2)).abs().max() < 1e-12
    torch.testing.assert_close(filters.flatten(1).norm(dim=1), torch.ones(4).double())
    torch.testing.assert_close(filters, filters.flip(1, 2))
    torch.testing.assert_close(filters[0], filters[2].T)


@pytest.mark.parametrize("size", [7, 21, 37])
def test_gabors_equal_the_formula_written_pixel_by_pixel(size):
    expected = [hmax_naive.gabor(size, turn) for turn in hmax_naive.TURNS]
    np.testing.assert_allclose(gabor_bank(size, 4).numpy(), expected, atol=1e-12)


def test_wavelengths_are_those_of_the_published_table():
    printed = [3.5, 4.6, 5.6, 6.8, 7.9, 9.1, 10.3, 11.5, 12.7, 14.1, 15.4, 16.8, 18.2, 19.7]
    printed += [21.2, 22.8]
    for size, wavelength in zip(SIZES, printed, strict=True):
        assert gabor_parameters(size)[0] == pytest.approx(wavelength, abs=0.081)


def test_filters_are_named_by_the_bars_they_prefer():
    horizontal = np.zeros((41, 41))
    horizontal[20] = 1
    rising = np.eye(41)[::-1].copy()
    model = HMAX(prototypes=None)
    for picture, channel in ((horizontal, 0), (rising, 1), (horizontal.T, 2), (np.eye(41), 3)):
        response = model.features(_grey(picture), ["s1/11"])["s1/11"][0, :, 20, 20]
        assert response.argmax() == channel


# S1


@pytest.mark.parametrize("size", [7, 19, 37])
@pytest.mark.parametrize("channel", range(4))
def test_a_filter_seen_as_an_image_gives_a_response_of_one(size, channel):
    model = HMAX(prototypes=None)
    picture = gabor_bank(size, 4)[channel]
    response = model.features(_grey(picture), [f"s1/{size}"])[f"s1/{size}"]
    assert response[0, channel, size // 2, size // 2] == pytest.approx(1, abs=1e-6)
    others = [other for other in range(4) if other != channel]
    assert response[0, others, size // 2, size // 2].max() < 0.15


@pytest.mark.parametrize(
    ("size", "straight", "diagonal"),
    [(7, 0.8487, 0.870), (11, 0.8868, 0.880), (19, 0.9003, 0.879), (37, 0.8944, 0.886)],
)
def test_each_filter_answers_most_to_a_grating_of_its_orientation_and_wavelength(
    size, straight, diagonal
):
    model = HMAX(prototypes=None)
    row, column = np.mgrid[:129, :129] - 64.0
    wavelength, _ = gabor_parameters(size)

    def response(turn, wavelength):
        across = column * np.cos(turn) - row * np.sin(turn)
        picture = np.cos(2 * np.pi * across / wavelength)
        return model.features(_grey(picture), [f"s1/{size}"])[f"s1/{size}"][0, :, 64, 64]

    for channel in range(4):
        turn = math.pi / 2 + math.pi * channel / 4
        own = response(turn, wavelength)
        assert own.argmax() == channel
        assert own.sort().values[-2] <= 0.14
        expected = straight if channel in (0, 2) else diagonal
        assert own[channel] == pytest.approx(expected, abs=6e-4)
        factors = np.geomspace(0.6, 1.7, 45)
        tuning = [response(turn, wavelength * factor)[channel].item() for factor in factors]
        assert factors[np.argmax(tuning)] == pytest.approx(1, abs=0.06)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.01, 30), st.integers(0, 1000), st.integers(24, 60), st.integers(24, 60))
def test_s1_is_between_0_and_1_and_ignores_contrast_and_polarity(gain, seed, height, width):
    model = HMAX(prototypes=None)
    images = _noise(1, 3, height, width, seed=seed)
    response = model.features(images, ["s1/7", "s1/13"])
    scaled = model.features(gain * images, ["s1/7", "s1/13"])
    negative = model.features(-images, ["s1/7", "s1/13"])
    for name, value in response.items():
        assert value.min() >= 0
        assert value.max() <= 1
        torch.testing.assert_close(scaled[name], value, rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(negative[name], value, rtol=1e-7, atol=1e-9)


def test_s1_of_uniform_and_of_black_images_is_zero():
    model = HMAX(prototypes=None)
    for value in (0.0, 0.5, 1.0):
        images = torch.full((1, 3, 64, 64), value)
        for response in model.features(images, ["s1"]).values():
            assert response.max() < 1e-6


def test_s1_is_precise_in_dark_regions_beside_bright_ones():
    picture = np.zeros((80, 80))
    picture[:, 40:] = 1
    picture[:, :40] += np.random.default_rng(0).integers(0, 2, (80, 40)) / 255
    exact = hmax_naive.s1(picture, 9)
    ours = HMAX(variant="maxlab", prototypes=None).features(_grey(picture).float(), ["s1/9"])
    np.testing.assert_allclose(ours["s1/9"][0].numpy(), exact, atol=1e-4)


def test_window_sums_are_the_sums_of_all_windows():
    maps = _noise(2, 1, 23, 19)
    for size in (1, 2, 7, 16, 19):
        windows = maps.unfold(2, size, 1).unfold(3, size, 1)
        torch.testing.assert_close(window_sums(maps, size), windows.sum(dim=(-2, -1)))


# C1


@pytest.mark.parametrize("band", range(1, 9))
def test_shifting_the_image_by_a_bands_step_shifts_its_c1_by_one_cell(model, band):
    images, step = _photograph(150, 160), band + 3
    name = f"c1/band{band}"
    before = model.features(images, [name])[name]
    after = model.features(images.roll((step, 2 * step), dims=(2, 3)), [name])[name]
    # Cells whose window and filters stay clear of both the image's border and the seam.
    clear = math.ceil((4 * band + 5) / step) + 1
    inner = before[..., clear : -clear - 1, clear : -clear - 2]
    moved = after[..., clear + 1 : -clear, clear + 2 : -clear]
    assert min(inner.shape) > 0
    torch.testing.assert_close(moved, inner, rtol=0, atol=1e-9)


def test_c1_changes_less_by_a_small_shift_than_s1(model):
    images = _photograph(150, 160)
    layers = ["s1/15", "c1/band3"]
    before, after = (model.features(x, layers) for x in (images, images.roll(2, dims=3)))
    alike = {
        name: torch.corrcoef(torch.stack([before[name].flatten(), after[name].flatten()]))[0, 1]
        for name in layers
    }
    assert alike["c1/band3"] > 0.95 > alike["s1/15"]


@pytest.mark.parametrize(("height", "width"), [(256, 256), (250, 231), (97, 120)])
def test_c1_is_the_maximum_over_windows_that_cover_the_image(model, height, width):
    images = _noise(1, 3, height, width).float()
    found = model.features(images, ["s1/7", "s1/9", "s1/35", "s1/37", "c1/band1", "c1/band8"])
    for band, sizes, step in ((1, (7, 9), 4), (8, (35, 37), 11)):
        pooled = found[f"c1/band{band}"]
        assert pooled.shape[2:] == (-(-height // step), -(-width // step))
        strongest = torch.maximum(*(found[f"s1/{size}"] for size in sizes))
        for row, column in ((0, 0), (2, 3), (pooled.shape[2] - 1, pooled.shape[3] - 1)):
            y, x = row * step, column * step
            window = strongest[..., y : y + 2 * step, x : x + 2 * step]
            torch.testing.assert_close(pooled[..., row, column], window.amax(dim=(2, 3)))


def test_c1_of_a_256_pixel_image_has_the_published_number_of_cells(model):
    maps = model.features(torch.rand(1, 3, 256, 256), ["c1"])
    assert [value.shape[2] for value in maps.values()] == [64, 52, 43, 37, 32, 29, 26, 24]
    assert sum(value.numel() for value in maps.values()) == 52540


# The maxlab conventions


@pytest.mark.parametrize(
    "picture",
    [
        _noise(88, 88, seed=1).numpy(),
        _noise(61, 90, seed=2).numpy(),
        _photograph(99, 77).mean(dim=1)[0].numpy(),
        _photograph(110, 88).mean(dim=1)[0].numpy(),
    ],
    ids=["noise 88x88", "noise 61x90", "photograph 99x77", "photograph 110x88"],
)
def test_maxlab_s1_and_c1_equal_a_naive_restatement(picture):
    model = HMAX(variant="maxlab", prototypes=None)
    ours = model.features(_grey(picture).float(), ["s1", "c1"])
    for size in (7, 9, 15, 25, 37):
        expected = hmax_naive.s1(picture, size)
        np.testing.assert_allclose(ours[f"s1/{size}"][0].numpy(), expected, rtol=1e-4, atol=1e-5)
    for band in range(1, 9):
        expected = hmax_naive.c1(picture, band)
        result = ours[f"c1/band{band}"][0].numpy()
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_maxlab_s2_and_c2_equal_naive_distances(small_set):
    picture = _photograph(72, 83).mean(dim=1)[0].numpy()
    model = HMAX(variant="maxlab", prototypes=small_set)
    ours = model.features(_grey(picture).float(), ["s2", "c2"])
    maps = {band: hmax_naive.c1(picture, band) for band in range(1, 9)}
    for size, patches in small_set.patches.items():
        for band in (1, 5, 8):
            expected = hmax_naive.s2(maps[band], patches.numpy())
            result = ours[f"s2/{size}/band{band}"][0].numpy()
            np.testing.assert_allclose(result, expected, rtol=1e-3)
        expected = hmax_naive.c2(maps.values(), patches.numpy())
        np.testing.assert_allclose(ours[f"c2/{size}"][0].numpy(), expected, rtol=1e-3)
        norms = patches.flatten(1).norm(dim=1)
        assert (ours[f"c2/{size}"][0] <= norms + 1e-5).all()


def test_maxlab_distances_are_no_larger_than_a_prototypes_norm_where_nothing_is_seen():
    model = HMAX(variant="maxlab")
    image = torch.zeros(1, 3, 128, 128)
    image[..., 40:60, 40:60] = 0.8
    with torch.no_grad():
        found = model.features(image, ["c2"])
    for size, patches in model.prototypes.patches.items():
        norms = patches.flatten(1).norm(dim=1)
        assert (found[f"c2/{size}"][0] <= norms + 1e-4).all()


def test_maxlab_windows_of_odd_prototypes_are_centred():
    patches = {3: torch.rand(2, 4, 3, 3)}
    model = HMAX(variant="maxlab", prototypes=Prototypes(patches, numbered(patches), {}))
    images = _photograph(72, 83)
    found = model.features(images, ["c1/band1", "s2/3/band1"])
    expected = hmax_naive.s2(found["c1/band1"][0].numpy(), patches[3].double().numpy())
    np.testing.assert_allclose(found["s2/3/band1"][0].numpy(), expected, rtol=1e-3)


# S2 and C2


def test_s2_equals_the_formula_over_unfolded_windows(small_set):
    model = HMAX(prototypes=small_set, sigma=0.5, normalisation="area")
    found = model.features(_photograph(90, 70).float(), ["c1/band2", "s2/8/band2"])
    windows = found["c1/band2"][0].unfold(1, 8, 1).unfold(2, 8, 1)
    difference = windows[None] - small_set.patches[8][:, :, None, None]
    distance = difference.square().sum(dim=(1, 4, 5))
    expected = torch.exp(-distance / (2 * 0.5**2 * 4))
    torch.testing.assert_close(found["s2/8/band2"][0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("normalisation", ["area", "norm", "none"])
def test_gaussian_c2_is_the_gaussian_of_the_smallest_distance(small_set, normalisation):
    images = _photograph(120, 100).float()
    options = {"prototypes": small_set, "sigma": 0.7}
    distances = HMAX(**options, tuning="distance").features(images, ["c2"])
    responses = HMAX(**options, normalisation=normalisation).features(images, ["c2"])
    for size, patches in small_set.patches.items():
        alpha = {
            "area": torch.tensor((size / 4) ** 2),
            "norm": patches.square().sum(dim=(1, 2, 3)),
            "none": torch.tensor(1.0),
        }[normalisation]
        expected = torch.exp(-distances[f"c2/{size}"].square() / (2 * 0.7**2 * alpha))
        torch.testing.assert_close(responses[f"c2/{size}"], expected)


@pytest.mark.parametrize("variant", ["serre2007", "maxlab", "riesenhuber1999"])
@pytest.mark.parametrize("tuning", ["gaussian", "distance"])
def test_c2_is_the_best_s2_over_positions_and_bands(small_set, variant, tuning):
    prototypes = "default" if variant == "riesenhuber1999" else small_set
    model = HMAX(variant=variant, prototypes=prototypes, tuning=tuning)
    found = model.features(_photograph(170, 190).float(), ["s2", "c2"])
    best = torch.amax if tuning == "gaussian" else torch.amin
    for size in model.prototypes.patches:
        maps = [value for name, value in found.items() if name.startswith(f"s2/{size}/")]
        overall = best(torch.cat([value.flatten(2) for value in maps], dim=2), dim=2)
        # The maps' distances are differences of squares, so a perfect match is not quite 0.
        torch.testing.assert_close(found[f"c2/{size}"], overall, rtol=1e-3, atol=3e-3)


def test_c2_has_one_value_a_prototype_whatever_the_image(model):
    for height, width in ((100, 140), (203, 150), (64, 64)):
        found = model.features(torch.rand(2, 3, height, width), ["c2/4", "c2/8"])
        assert [value.shape for value in found.values()] == [(2, 250), (2, 250)]


def test_c2_of_an_object_does_not_change_when_it_moves_by_the_step_of_the_only_band():
    for band in (1, 4, 8):
        step = band + 3
        source = _photograph(120, 120)
        prototypes = imprint(
            HMAX(prototypes=None), [("a", source[0].float())], sizes=(4,), count=20, bands=[band]
        )
        images = torch.full((2, 3, 200, 220), 0.5, dtype=torch.float64)
        images[0, :, 60:120, 50:110] = source[0, :, :60, :60]
        images[1, :, 60 + step : 120 + step, 50 + 3 * step : 110 + 3 * step] = source[
            0, :, :60, :60
        ]
        maps = HMAX(prototypes=prototypes).features(images, [f"s2/4/band{band}"])
        best = maps[f"s2/4/band{band}"].amax(dim=(2, 3))
        torch.testing.assert_close(best[0], best[1], rtol=0, atol=1e-9)


@torch.inference_mode()
def test_c2_keeps_position_wholly_size_partly_and_loses_rotation(model):
    shapes = polygons(6, seed=1)

    def responses(**transformation):
        found = model.features(draw(shapes, **transformation), ["c1/band4", "c2"])
        c1 = found.pop("c1/band4").flatten(1)
        return c1, torch.cat(list(found.values()), dim=1)

    originals = responses()

    def similarity(stage, **transformation):
        mean = originals[stage].mean(dim=0)
        pairs = (originals[stage] - mean, responses(**transformation)[stage] - mean)
        return torch.cosine_similarity(*pairs).mean()

    assert similarity(1, shift=60) > 0.9
    assert similarity(0, shift=60) < 0.1
    assert 0.95 > similarity(1, scale=1.25) > similarity(1, scale=2.0) > 0.3
    assert similarity(1, rotation=45) < 0.2


def test_adding_or_reordering_prototypes_leaves_the_others_alone(small_set):
    images = _photograph(120, 100).float()
    patches = small_set.patches[8]
    order = torch.tensor([3, 0, 5])
    chosen = Prototypes({8: patches[order]}, numbered({8: patches[order]}), {})
    everything = HMAX(prototypes=small_set).features(images, ["c2/8"])["c2/8"]
    some = HMAX(prototypes=chosen).features(images, ["c2/8"])["c2/8"]
    torch.testing.assert_close(some, everything[:, order])


# The 1999 model


def test_1999_units_stand_for_every_combination_of_orientations():
    model = HMAX(variant="riesenhuber1999")
    assert len(model.layers) == 12 + 4 + 4 + 1
    units = model.units["s2/2"]
    assert units.patches.shape == (256, 4, 2, 2)
    ones = units.maps(torch.ones(1, 4, 5, 6))
    torch.testing.assert_close(ones, torch.ones(1, 256, 4, 5))
    cells = torch.rand(1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    for unit, orientations in ((0, (0, 0, 0, 0)), (27, (0, 1, 2, 3)), (255, (3, 3, 3, 3))):
        inputs = torch.stack([cells[0, o, i // 2, i % 2] for i, o in enumerate(orientations)])
        expected = torch.exp(-(1 - inputs).square().sum() / 2)
        torch.testing.assert_close(units.maps(cells)[0, unit, 0, 0], expected)


def test_1999_units_exchange_responses_when_the_image_is_turned():
    model = HMAX(variant="riesenhuber1999")
    images = _photograph(121, 121)
    upright, turned = (
        model.features(x, ["s1/11"])["s1/11"] for x in (images, images.rot90(1, (2, 3)))
    )
    torch.testing.assert_close(upright.rot90(1, (2, 3))[:, [2, 3, 0, 1]], turned)


# The protocol


def test_it_is_a_vision_model_with_the_published_layers(model):
    assert isinstance(model, VisionModel)
    assert model.layers[:16] == tuple(f"s1/{size}" for size in SIZES)
    assert model.layers[16:24] == tuple(f"c1/band{band}" for band in range(1, 9))
    assert model.layers[-4:] == ("c2/4", "c2/8", "c2/12", "c2/16")
    assert len(model.layers) == 16 + 8 + 32 + 4
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_layers_come_in_the_order_asked_for_and_groups_are_spelled_out(model):
    found = model.features(torch.rand(1, 3, 60, 60), ["c2/4", "s1/9", "s2/4/band1", "s1/7"])
    assert list(found) == ["c2/4", "s1/9", "s2/4/band1", "s1/7"]
    assert list(model.features(torch.rand(1, 3, 60, 60), ["c1"]))[-1] == "c1/band8"


def test_only_the_filters_that_are_needed_are_applied(model, monkeypatch):
    applied = []
    from cnnperception.models.hmax import cells

    original = cells.SimpleCells.__call__

    def spy(self, size):
        applied.append(size)
        return original(self, size)

    monkeypatch.setattr(cells.SimpleCells, "__call__", spy)
    for layers, expected in (
        (["s1/9"], {9}),
        (["c1/band3"], {15, 17}),
        (["s2/4/band1", "s1/37"], {7, 9, 37}),
        (["c2/16"], set(SIZES)),
    ):
        applied.clear()
        model.features(torch.rand(1, 3, 200, 200), layers)
        assert sorted(applied) == sorted(expected)


def test_a_batch_gives_what_its_images_give_alone(model):
    images = _photograph(100, 90).float()
    images = torch.cat([images, images.flip(3), 1 - images])
    together = model.features(images, ["s1/9", "c1/band4", "c2/8"])
    for index in range(3):
        alone = model.features(images[index : index + 1], ["s1/9", "c1/band4", "c2/8"])
        for name, value in alone.items():
            torch.testing.assert_close(together[name][index : index + 1], value)


class _Largest(TorchDispatchMode):
    """Remembers the bytes of the largest tensor made inside the block."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.bytes = max(self.bytes, tensor.numel() * tensor.element_size())
        return result


@pytest.mark.parametrize("variant", ["serre2007", "maxlab"])
@pytest.mark.parametrize("batch", [1, 3])
def test_nothing_in_between_is_larger_than_twice_the_largest_layer(variant, batch):
    model = HMAX(variant=variant)
    images = torch.rand(batch, 3, 250, 250)
    largest = model.features(images, ["s2/4/band1"])["s2/4/band1"]
    for layers in (["c2"], ["c1", "s1"], ["s2/16/band1"]):
        with _Largest() as seen:
            model.features(images, layers)
        assert seen.bytes <= 2 * largest.numel() * largest.element_size()


def test_colour_is_seen_as_luminance(model):
    images = _photograph(64, 64).float()
    grey = torch.einsum("bchw,c->bhw", images, torch.tensor([0.299, 0.587, 0.114]))
    a = model.features(images, ["c1/band1"])["c1/band1"]
    b = model.features(grey[:, None].expand(-1, 3, -1, -1), ["c1/band1"])["c1/band1"]
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_receptive_fields_are_those_the_gradient_shows(model):
    for layer in ("s1/7", "c1/band1", "s2/4/band1"):
        known = receptive_field(model, layer)
        size = known + 12
        images = _noise(1, 3, size, size).requires_grad_()
        response = model.features(images, [layer])[layer]
        y, x = response.shape[2] // 2, response.shape[3] // 2
        (gradient,) = torch.autograd.grad(response[..., y, x].sum(), images)
        seen = gradient.abs().amax(dim=(0, 1, 3))
        rows = (seen > 1e-9 * seen.max()).nonzero()
        assert 0.5 * known <= rows.max() - rows.min() + 1 <= known


def test_provenance_tells_models_apart(small_set):
    models = [
        HMAX(),
        HMAX(sigma=0.5),
        HMAX(variant="maxlab"),
        HMAX(prototypes=small_set),
        HMAX(bypass="default"),
    ]
    assert len({fingerprint(model) for model in models}) == len(models)
    assert fingerprint(HMAX()) == fingerprint(models[0])


def test_bypass_units_have_their_own_layers():
    model = HMAX(bypass="default")
    assert model.layers[-4:] == ("c2b/6", "c2b/9", "c2b/12", "c2b/15")
    found = model.features(torch.rand(1, 3, 90, 90), ["s2b/6/band1", "c2b/6"])
    torch.testing.assert_close(
        found["s2b/6/band1"].amax(dim=(2, 3)).le(found["c2b/6"] + 1e-4).all(), torch.tensor(True)
    )


def test_twelve_orientations_work_with_prototypes_of_their_own():
    bare = HMAX(orientations=12, prototypes=None)
    prototypes = imprint(bare, [("a", _photograph(150, 150)[0].float())], sizes=(4,), count=5)
    model = HMAX(orientations=12, prototypes=prototypes)
    found = model.features(_photograph(150, 150).float(), ["c1/band1", "c2"])
    assert found["c1/band1"].shape[1] == 12
    torch.testing.assert_close(found["c2/4"], torch.ones(1, 5), rtol=0, atol=1e-5)


def test_reduced_precision_outside_does_not_reach_the_distances(model):
    images = _photograph(80, 80).float()
    expected = model.features(images, ["c2/8", "s2/8/band1"])
    with torch.autocast("cpu", torch.bfloat16):
        found = model.features(images, ["c2/8", "s2/8/band1"])
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name])
    half = model.features(images.half(), ["c2/8"])["c2/8"]
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected["c2/8"], rtol=0.05, atol=0.02)


def test_settings_of_the_graphics_processor_are_as_they_were_afterwards(model):
    before = torch.backends.cudnn.conv.fp32_precision, torch.backends.cudnn.enabled
    model.features(torch.rand(1, 3, 64, 64), ["c2/4"])
    assert (torch.backends.cudnn.conv.fp32_precision, torch.backends.cudnn.enabled) == before


def test_a_state_dict_brings_its_prototypes_with_it(small_set):
    images = _photograph(100, 100).float()
    other = Prototypes(
        {size: patches.flip(0) for size, patches in small_set.patches.items()},
        small_set.record,
        {},
    )
    model = HMAX(prototypes=small_set)
    model.load_state_dict(HMAX(prototypes=other).state_dict())
    expected = HMAX(prototypes=other).features(images, ["c2/8", "s2/8/band1"])
    for name, value in model.features(images, ["c2/8", "s2/8/band1"]).items():
        torch.testing.assert_close(value, expected[name])


def test_features_made_in_inference_mode_do_not_spoil_later_gradients(model):
    images = torch.rand(1, 3, 61, 67)
    with torch.inference_mode():
        model.features(images, ["c2/4"])
    images.requires_grad_()
    model.features(images, ["c2/4"])["c2/4"].sum().backward()
    assert images.grad.isfinite().all()


# Gradients


def test_gradients_agree_with_finite_differences():
    bare = HMAX(prototypes=None)
    prototypes = imprint(
        bare, [("a", _photograph(60, 60)[0].float())], sizes=(4,), count=2, bands=[1, 2]
    )
    images = _noise(1, 3, 24, 22, seed=5).requires_grad_()
    for options, layers in (
        ({}, ["s1/9", "c1/band1", "s2/4/band1", "c2/4"]),
        ({"tuning": "distance"}, ["s2/4/band1", "c2/4"]),
        ({"variant": "maxlab"}, ["c1/band1", "c2/4"]),
    ):
        model = HMAX(prototypes=prototypes, **options).double()

        def responses(x, model=model, layers=layers):
            found = model.features(x, layers)
            return tuple(found[name].flatten()[::7] for name in layers)

        assert torch.autograd.gradcheck(responses, (images,), eps=1e-7, atol=1e-4, fast_mode=True)


@pytest.mark.parametrize("tuning", ["gaussian", "distance"])
def test_gradients_are_finite_at_an_exact_match(tuning):
    images = _photograph(80, 80).float()
    prototypes = imprint(HMAX(prototypes=None), [("a", images[0])], sizes=(4, 8), count=5)
    model = HMAX(prototypes=prototypes, tuning=tuning)
    images.requires_grad_()
    found = model.features(images, ["s2/4/band1", "c2"])
    sum(value.sum() for value in found.values()).backward()
    assert images.grad.isfinite().all()
    assert images.grad.abs().max() > 0


def test_gradients_are_finite_in_black_and_uniform_images(model):
    for value in (0.0, 0.5):
        images = torch.full((1, 3, 64, 64), value, requires_grad=True)
        found = model.features(images, ["c1/band1", "c2/4"])
        sum(value.sum() for value in found.values()).backward()
        assert images.grad.isfinite().all()


# Errors


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["s1/37"], "filters of 37 pixels do not fit"),
        (["c1/band8"], "too small for layer 'c1/band8'"),
        (["s2/16/band1"], "prototypes of 16 x 16 C1 cells do not fit"),
        (["c2/16"], "too small for layer 'c2/16'"),
    ],
)
def test_too_small_images_are_refused_by_the_layers_that_cannot_see_them(model, layers, message):
    with pytest.raises(ValueError, match=message):
        model.features(torch.rand(1, 3, 30, 30), layers)
    assert model.features(torch.rand(1, 3, 30, 30), ["c2/4"])["c2/4"].isfinite().all()


def test_values_that_are_not_finite_are_refused(model):
    images = torch.rand(1, 3, 64, 64)
    images[0, 1, 5, 5] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        model.features(images, ["c1/band1"])


def test_wrong_shapes_and_layers_are_refused(model):
    with pytest.raises(ValueError, match=r"shape \(batch, 3, height, width\)"):
        model.features(torch.rand(1, 1, 64, 64), ["c1/band1"])
    with pytest.raises(ValueError, match="did you mean 'c1/band1'"):
        model.features(torch.rand(1, 3, 64, 64), ["c1/bnd1"])
    with pytest.raises(ValueError, match="no layers were given"):
        model.features(torch.rand(1, 3, 64, 64), [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "serre"}, "variant must be one of serre2007"),
        ({"tuning": "cosine"}, "tuning must be one of gaussian, distance"),
        ({"normalisation": "size"}, "normalisation must be one of norm"),
        ({"sigma": 0.0}, "sigma must be positive"),
        ({"orientations": 12}, "4 orientations and the model 12"),
        ({"orientations": 1}, "at least 2 orientations"),
    ],
)
def test_unknown_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        HMAX(**options)
