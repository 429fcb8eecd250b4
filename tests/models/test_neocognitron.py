"""Neocognitron: its cells, how it learns, what it recognises, files, gradients, errors."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cnnperception.models import Neocognitron, fingerprint, load_model
from cnnperception.models.interface import VisionModel
from cnnperception.models.neocognitron import equations as cells
from cnnperception.models.neocognitron import handwritten_digits, preferred_patterns, shifted
from cnnperception.models.neocognitron.edges import ORIENTATIONS, edge_image
from cnnperception.models.neocognitron.forms import FORMS
from cnnperception.models.neocognitron.learning import add_if_silent, compete_for_seeds, seeds
from cnnperception.models.neocognitron.model import CONTRAST
from cnnperception.models.neocognitron.stage import SimpleCells
from tests.references import neocognitron_naive as naive

SHORTAGE = 60  # training digits of the small models
STRONG = replace(FORMS["2003"], gain=1e7)


@pytest.fixture(scope="module")
def digits():
    images, labels = handwritten_digits()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(7))
    return images[order], labels[order]


@pytest.fixture(scope="module")
def taught(digits):
    """A model taught a few digits, and its learning curves."""
    model = Neocognitron(weights=None)
    return model, model.fit(digits[0][:SHORTAGE], digits[1][:SHORTAGE], seed=3)


@pytest.fixture(scope="module")
def model():
    return Neocognitron()


def _random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def _cells_on(pattern):
    """S-cells that know one pattern, (plane, 7, 7), as it lies in their field."""
    found = SimpleCells(3.4, 2.0)
    found.add(found.seen_from(pattern[None], 3, 3))
    return found


def _response(simple, pattern, threshold, form=STRONG):
    return float(simple(pattern[None], threshold, form)[0, 0, 3, 3])


# --- cells -----------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), threshold=st.floats(0.1, 0.9))
def test_strong_s_cells_measure_the_cosine_above_their_threshold(seed, threshold):
    stored, seen = _random(2, 5, 7, 7, seed=seed) ** 3
    simple = _cells_on(stored)
    known, weights = simple.stored[0].double(), simple.window.double()
    product = float((known * seen * weights).sum())
    norms = [math.sqrt(float((x.double() ** 2 * weights).sum())) for x in (known, seen)]
    expected = max(product / norms[0] / norms[1] - threshold, 0) / (1 - threshold)
    assert _response(simple, seen, threshold) == pytest.approx(expected, abs=1e-3)


def test_the_pattern_a_cell_has_learnt_gives_one_at_any_contrast():
    pattern = _random(5, 7, 7)
    simple = _cells_on(pattern)
    for contrast in (1, 0.5, 0.2):
        assert _response(simple, contrast * pattern, 0.6) == pytest.approx(1, abs=2e-3)


def test_with_weak_connections_the_response_grows_with_contrast_towards_one():
    pattern = _random(5, 7, 7)
    simple = _cells_on(pattern)
    form = FORMS["2003"]
    responses = [_response(simple, c * pattern, 0.6, form) for c in (0.01, 0.1, 1, 10)]
    assert responses == sorted(responses)
    assert responses[0] < 0.7 < 0.9 < responses[-1] < 1
    # Half of the limit at v = 1 / (theta q b).
    half = 1 / (0.6 * form.gain * float(simple.summed[0]) ** 2)
    assert _response(simple, half * pattern, 0.6, form) == pytest.approx(0.5, abs=0.02)


@given(excited=st.floats(0, 1e4), inhibited=st.floats(0, 1e4), selectivity=st.floats(0.2, 10))
def test_the_cells_of_1980_are_those_of_2003_with_half_the_inhibition(
    excited, inhibited, selectivity
):
    e, i = torch.tensor([excited, inhibited], dtype=torch.float64)
    old = cells.s_cells_1980(e, i / 2, selectivity)
    new = cells.s_cells_2003(e, i, selectivity / (1 + selectivity))
    assert float(old) == pytest.approx(float(new), rel=1e-9, abs=1e-9)


def test_the_shunting_is_the_quotient_that_the_paper_writes():
    e, i = _random(2, 3, 4, 5, 6).double() * 30
    written = 0.6 / 0.4 * ((1 + e) / (1 + 0.6 * i) - 1).clamp_min(0)
    torch.testing.assert_close(cells.s_cells_2003(e, i, 0.6), written)


def test_silent_inputs_leave_every_cell_silent(taught):
    uniform = torch.full((1, 3, 40, 44), 0.3)
    for name, response in taught[0].features(uniform, taught[0].layers).items():
        assert not response.any(), name


def test_raising_the_threshold_only_takes_responses_away(taught):
    inputs = taught[0].features(handwritten_digits()[0][:4], ["uc1"])["uc1"]
    answers = [taught[0].stage(2)(inputs, t, FORMS["2003"]) > 0 for t in (0.4, 0.5, 0.6, 0.7)]
    for lower, higher in itertools.pairwise(answers):
        assert not (higher & ~lower).any()
        assert higher.sum() < lower.sum()


def test_contrast_cells_see_differences_alone_and_swap_when_light_and_dark_do():
    weights = cells.centre_surround(*CONTRAST)
    assert float(weights.sum()) == pytest.approx(0, abs=1e-6)
    assert float(weights.clamp_min(0).sum()) == pytest.approx(1, abs=1e-6)
    image = _random(1, 1, 20, 24) / 2
    seen = cells.contrast_cells(image, weights)
    torch.testing.assert_close(cells.contrast_cells(image + 0.4, weights), seen, atol=1e-6, rtol=0)
    torch.testing.assert_close(
        cells.contrast_cells(1 - image, weights), seen.flip(1), atol=1e-6, rtol=0
    )


def test_the_root_has_a_finite_slope_at_nothing_and_is_a_root_elsewhere():
    x = torch.tensor([0.0, 1e-4, 0.3, 2.0], dtype=torch.float64, requires_grad=True)
    values = cells.root(x)
    assert values[0] == 0
    torch.testing.assert_close(values, x.sqrt(), atol=1e-4, rtol=0)
    (slope,) = torch.autograd.grad(values.sum(), x)
    assert slope.isfinite().all()


def test_complex_cells_of_1980_inhibit_one_another_and_saturate():
    pooled = torch.tensor([0.8, 0.2, 0.2])[None, :, None, None]
    mean = 0.4
    x = (1 + 0.8) / (1 + mean) - 1
    expected = torch.tensor([x / (0.5 + x), 0, 0])[None, :, None, None]
    torch.testing.assert_close(cells.c_cells_1980(pooled), expected)


# --- the naive restatement -------------------------------------------------------------------


def test_every_kind_of_cell_equals_its_equation_written_as_loops():
    image = _random(11, 14).double()
    inner = naive.contrast(image.numpy(), *CONTRAST)
    seen = cells.contrast_cells(image[None, None], cells.centre_surround(*CONTRAST).double())
    np.testing.assert_allclose(seen[0], inner, atol=1e-6)

    inputs = (_random(3, 9, 10, seed=1).double() - 0.4).clamp_min(0)
    simple = SimpleCells(3.4, 2.0).double()
    for place in ((2, 3), (5, 8)):
        simple.add(simple.seen_from(inputs[None] ** 2, *place))
    responses = simple(inputs[None], 0.5, FORMS["2003"])[0]
    window = naive.gaussian_disc(3.4, 2.0)
    stored = simple.stored.numpy()
    for feature, row, column in [(0, 0, 0), (0, 4, 5), (1, 8, 9), (1, 5, 8), (0, 2, 3)]:
        expected = naive.s_cell(inputs.numpy(), stored[feature], row, column, window, 100, 0.5)
        assert float(responses[feature, row, column]) == pytest.approx(expected, abs=1e-3)
    assert (responses > 0).any()
    assert (responses == 0).any()

    pooling = naive.gaussian_disc(2.3, 1.5)
    pooled = cells.pool(responses[None], cells.gaussian_disc(2.3, 1.5).double())
    for ours, theirs in (
        (cells.c_cells_2003, naive.c_layer_2003),
        (cells.c_cells_1980, naive.c_layer_1980),
    ):
        np.testing.assert_allclose(ours(pooled)[0], theirs(responses.numpy(), pooling), atol=2e-4)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), reach=st.integers(0, 3))
def test_seed_cells_are_those_that_loops_over_columns_find(seed, reach):
    responses = (_random(4, 7, 9, seed=seed) - 0.5).clamp_min(0)
    assert seeds(responses, reach) == naive.seed_cells(responses.numpy(), reach)


# --- edges and positions ---------------------------------------------------------------------


@pytest.mark.parametrize("plane", range(ORIENTATIONS))
def test_each_plane_of_us1_answers_most_to_its_own_edge(model, plane):
    edge = edge_image(2 * math.pi * plane / ORIENTATIONS, 41).expand(1, 3, 41, 41)
    middle = model.features(edge, ["us1"])["us1"][0, :, 20, 20]
    assert int(middle.argmax()) == plane
    assert float(middle[plane]) > 0.7
    assert middle[(plane + ORIENTATIONS // 2) % ORIENTATIONS] == 0  # the other polarity


def test_an_edge_between_two_orientations_excites_both_planes_alike(model):
    edge = edge_image(2 * math.pi * 0.5 / ORIENTATIONS, 41).expand(1, 3, 41, 41)
    middle = model.features(edge, ["us1"])["us1"][0, :, 20, 20]
    assert set(middle.topk(2).indices.tolist()) == {0, 1}
    assert float(middle[0]) == pytest.approx(float(middle[1]), rel=0.05)


@pytest.mark.parametrize(("layer", "step"), [("us1", 1), ("uc1", 2), ("uc2", 4), ("uc3", 8)])
def test_moving_the_image_by_a_layers_step_moves_its_map_by_one_cell(model, digits, layer, step):
    # So much black around the digit that nothing it excites touches the border.
    wide = torch.nn.functional.pad(digits[0][:1], (60, 60, 60, 60))
    moved = wide.roll((step, step), dims=(2, 3))
    before, after = model.features(torch.cat([wide, moved]), [layer])[layer]
    assert before.any()
    torch.testing.assert_close(after[:, 1:, 1:], before[:, :-1, :-1], atol=1e-5, rtol=0)


def test_uc4_is_the_same_wherever_the_lattice_puts_the_digit(model, digits):
    wide = torch.nn.functional.pad(digits[0][:1], (60, 60, 60, 60))
    moved = torch.cat([wide.roll((8 * i, -8 * i), dims=(2, 3)) for i in range(-2, 3)])
    answers = model.features(moved, ["uc4"])["uc4"]
    torch.testing.assert_close(answers, answers[:1].expand_as(answers), atol=1e-5, rtol=0)


# --- learning --------------------------------------------------------------------------------


def test_add_if_silent_leaves_no_live_place_silent_and_then_adds_nothing(digits):
    inputs = Neocognitron(weights=None).features(digits[0][:12], ["uc1"])["uc1"]
    simple, form = SimpleCells(3.4, 2.0), FORMS["2003"]
    first = list(add_if_silent(simple, inputs.split(5), 0.66, form, 1000))
    planes = [shown.planes for shown in first]
    assert planes == sorted(planes)
    assert 20 < planes[-1] < 200
    live = simple.v(inputs) > 0.3 * simple.v(inputs).amax(dim=(1, 2, 3), keepdim=True)
    answered = simple(inputs, 0.66, form).amax(dim=1, keepdim=True) > 0
    assert not (live & ~answered).any()
    again = list(add_if_silent(simple, inputs.flip(0).split(5), 0.66, form, 1000))
    assert {shown.planes for shown in again} == {planes[-1]}


def test_what_is_learnt_in_one_shot_is_what_a_place_in_an_image_shows(digits):
    inputs = Neocognitron(weights=None).features(digits[0][:1], ["uc1"])["uc1"]
    simple = SimpleCells(3.4, 2.0)
    list(add_if_silent(simple, [inputs], 0.66, FORMS["2003"], 1))
    assert len(simple) == 1
    row, column = divmod(int(simple.v(inputs).argmax()), inputs.shape[-1])
    window = inputs[0, :, row - 3 : row + 4, column - 3 : column + 4] * (simple.window > 0)
    torch.testing.assert_close(simple.stored[0], window, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("rule", [add_if_silent, compete_for_seeds])
def test_a_higher_learning_threshold_grows_more_planes(digits, rule):
    inputs = Neocognitron(weights=None).features(digits[0][:6], ["uc1"])["uc1"]
    counts = []
    for threshold in (0.5, 0.6, 0.7):
        simple = SimpleCells(3.4, 2.0)
        list(rule(simple, [inputs], threshold, FORMS["2003"], 1000))
        counts.append(len(simple))
    assert counts[0] < counts[1] < counts[2]


def test_seed_cells_teach_their_planes_more_than_one_pattern(digits):
    inputs = Neocognitron(weights=None).features(digits[0][:6], ["uc1"])["uc1"]
    simple = SimpleCells(3.4, 2.0)
    list(compete_for_seeds(simple, [inputs], 0.66, FORMS["2003"], 1000))
    norms = cells.norms(simple.stored, simple.window)
    # A sum of different patterns is shorter than the sum of their lengths.
    assert (simple.summed - norms > 1e-3).sum() > 5
    assert (simple.summed - norms > -1e-3).all()


def test_learning_ends_without_mistakes_and_is_told_presentation_by_presentation(taught, digits):
    model, curves = taught
    assert list(curves.columns) == ["stage", "presentation", "planes", "wrong"]
    for stage in ("us2", "us3", "us4"):
        rows = curves[curves["stage"] == stage]
        assert rows["planes"].is_monotonic_increasing
        assert rows["planes"].iloc[-1] == model.provenance["planes"][stage]
        assert len(rows) % SHORTAGE == 0
    us4 = curves[curves["stage"] == "us4"]
    assert us4["wrong"].sum() == model.provenance["planes"]["us4"]
    assert not us4["wrong"].iloc[-SHORTAGE:].any()
    predicted = model.predict(digits[0][:SHORTAGE])
    assert (predicted == digits[1][:SHORTAGE]).float().mean() > 0.97


def test_unseen_digits_are_recognised_and_where_they_lie_matters_little(taught, digits):
    images, labels = digits[0][-150:], digits[1][-150:]
    assert (taught[0].predict(images) == labels).float().mean() > 0.8
    places = torch.randint(-9, 10, (2, 150), generator=torch.Generator().manual_seed(0))
    assert (taught[0].predict(shifted(images, *places)) == labels).float().mean() > 0.78


def test_the_same_seed_learns_the_same_and_another_order_something_else(taught, digits):
    images, labels = digits[0][:SHORTAGE], digits[1][:SHORTAGE]
    twin, other = Neocognitron(weights=None), Neocognitron(weights=None)
    assert twin.fit(images, labels, seed=3).equals(taught[1])
    other.fit(images, labels, seed=4)
    assert fingerprint(twin) == fingerprint(taught[0]) != fingerprint(other)


@pytest.mark.parametrize("learning", ["add-if-silent", "seed-competition"])
@pytest.mark.parametrize("form", ["2003", "1980"])
def test_every_form_and_way_of_learning_recognises_far_above_chance(digits, form, learning):
    small = Neocognitron(weights=None, form=form, learning=learning)
    small.fit(digits[0][:40], digits[1][:40].tolist())
    predicted = small.predict(digits[0][-100:])
    assert (predicted == digits[1][-100:]).float().mean() > 0.6


def test_labels_may_be_any_whole_numbers(digits):
    keep = (digits[1] == 0) | (digits[1] == 1)
    images, labels = digits[0][keep][:16], digits[1][keep][:16]
    two = Neocognitron(weights=None)
    two.fit(images, np.where(labels.numpy() == 1, 700, 5))
    assert two.features(images[:3], ["uc4"])["uc4"].shape == (3, 2)
    assert two.predict(images).tolist() == [700 if label == 1 else 5 for label in labels]


def test_reaching_the_most_planes_allowed_is_told(digits):
    few = Neocognitron(weights=None, max_planes=8)
    with pytest.warns(UserWarning, match="us2 has grown as many planes as max_planes=8"):
        few.fit(digits[0][:12], digits[1][:12])
    assert few.provenance["planes"]["us2"] == 8


def test_a_failed_fit_loses_nothing(taught, digits):
    model = taught[0]
    before = fingerprint(model)
    spoilt = digits[0][:20].clone()
    spoilt[-1] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        model.fit(spoilt, digits[1][:20])
    with pytest.raises(ValueError, match="without any contrast"):
        model.fit(torch.full((4, 3, 32, 32), 0.5), [0, 1, 0, 1])
    assert fingerprint(model) == before


# --- the embedded weights --------------------------------------------------------------------


def test_the_embedded_weights_recognise_digits_they_were_not_taught(model):
    images, labels = handwritten_digits()
    # What data/make_neocognitron_weights.py draws.
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    unseen = torch.cat([order[labels[order] == digit][40:55] for digit in range(10)])
    assert (model.predict(images[unseen]) == labels[unseen]).float().mean() > 0.95
    places = torch.randint(-9, 10, (2, len(unseen)), generator=torch.Generator().manual_seed(0))
    moved = shifted(images[unseen], *places)
    assert (model.predict(moved) == labels[unseen]).float().mean() > 0.9


def test_a_dark_digit_on_light_is_not_taken_for_the_light_one(model, digits):
    """Edges have a polarity: the model that saw white digits does not know black ones."""
    images, labels = digits[0][-60:], digits[1][-60:]
    assert (model.predict(images) == labels).float().mean() > 0.9
    assert (model.predict(1 - images) == labels).float().mean() < 0.5


def test_images_that_show_nothing_are_rejected(model):
    assert model.predict(torch.zeros(2, 3, 65, 65)).tolist() == [-1, -1]


# --- the model's interface -------------------------------------------------------------------


@pytest.mark.parametrize("size", [(32, 32), (33, 50), (65, 65), (90, 71)])
def test_images_of_any_size_have_all_layers(model, size):
    height, width = size
    found = model.features(_random(2, 3, *size), model.layers)
    assert tuple(found) == model.layers == (
        "ug", "us1", "uc1", "us2", "uc2", "us3", "uc3", "us4", "uc4"
    )  # fmt: skip
    halved = height, width
    for number, planes in ((1, 16), (2, 115), (3, 149)):
        assert found[f"us{number}"].shape == (2, planes, *halved)
        halved = tuple(-(-side // 2) for side in halved)
        assert found[f"uc{number}"].shape == (2, planes, *halved)
    assert found["us4"].shape == (2, 27, *halved)
    assert found["uc4"].shape == (2, 10)
    for response in found.values():
        assert response.isfinite().all()
        assert response.min() >= 0


def test_it_is_a_vision_model_and_loads_by_name():
    loaded = load_model("neocognitron", device="cpu")
    assert isinstance(loaded, VisionModel)
    assert loaded.provenance["training"]["images"] == 400
    for names in loaded.recommended.values():
        assert set(names) <= set(loaded.layers)


def test_nothing_beyond_the_deepest_layer_is_computed(model):
    ran = []
    handles = [
        model.stage(number).register_forward_hook(lambda *_, number=number: ran.append(number))
        for number in (1, 2, 3, 4)
    ]
    try:
        found = model.features(_random(1, 3, 40, 40), ["us2", "ug"])
        assert ran == [1, 2]
        assert list(found) == ["us2", "ug"]
        model.features(_random(1, 3, 40, 40), ["ug"])
        assert ran == [1, 2]
    finally:
        for handle in handles:
            handle.remove()


def test_layers_do_not_depend_on_what_else_is_asked_for_or_lies_beside(model):
    images = _random(3, 3, 40, 48)
    together = model.features(images, model.layers)
    for name in ("us1", "uc2", "uc4"):
        alone = model.features(images[1:2], [name])[name]
        torch.testing.assert_close(alone, together[name][1:2], atol=1e-5, rtol=0)


def test_colour_counts_only_by_its_luminance(model):
    images = _random(1, 3, 40, 40)
    weights = torch.tensor([0.299, 0.587, 0.114])[None, :, None, None]
    grey = (images * weights).sum(dim=1, keepdim=True).expand_as(images)
    for name in ("us1", "uc3"):
        torch.testing.assert_close(
            model.features(images, [name])[name],
            model.features(grey, [name])[name],
            atol=1e-4,
            rtol=0,
        )


def test_receptive_fields_are_as_wide_as_what_changes_a_unit(model):
    images = _random(1, 3, 128, 128).requires_grad_()
    for layer in ("ug", "us1", "uc1", "us2", "uc2"):
        responses = model.features(images, [layer])[layer]
        row = responses.shape[-1] // 2
        (slope,) = torch.autograd.grad(responses[..., row, row].sum(), images)
        seen = (slope.abs().amax(dim=(0, 1)) > 0).any(dim=0).nonzero()
        assert int(seen.max() - seen.min()) + 1 == model.receptive_fields[layer]


def test_half_precision_images_are_computed_in_single(model):
    images = _random(1, 3, 40, 40).half()
    found = model.features(images, ["uc2"])["uc2"]
    assert found.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(model.features(images, ["uc2"])["uc2"], found)


# --- gradients -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["2003", "1980"])
def test_gradients_are_finite_even_where_everything_is_silent(taught, digits, form):
    model = Neocognitron(weights=None, form=form)
    model.fit(digits[0][:20], digits[1][:20])
    pictures = {
        "black": torch.zeros(1, 3, 40, 40),
        "grey": torch.full((1, 3, 40, 40), 0.5),
        "digit": digits[0][:1].clone(),
        "noise": _random(1, 3, 40, 40),
    }
    for name, picture in pictures.items():
        picture.requires_grad_()
        for layer, response in model.features(picture, model.layers).items():
            (slope,) = torch.autograd.grad(response.sum(), picture, retain_graph=True)
            assert slope.isfinite().all(), (name, layer)
            assert slope.any() or name in ("black", "grey"), (name, layer)


@pytest.mark.parametrize("layer", ["us1", "uc1", "us2", "uc2", "us3", "uc3", "uc4"])
def test_gradients_are_the_slopes_of_the_responses(taught, digits, layer):
    precise = load_model("neocognitron", device="cpu").double()
    # Uneven all over: where an image is uniform the rectified responses have no slope.
    uneven = _random(1, 1, *digits[0].shape[2:]).double()
    image = (0.2 + 0.4 * digits[0][:1].double() + 0.2 * uneven).requires_grad_()
    direction = torch.randn(image.shape, generator=torch.Generator().manual_seed(1)).double()

    def energy(picture):
        return precise.features(picture, [layer])[layer].square().sum()

    (slope,) = torch.autograd.grad(energy(image), image)
    step = 1e-8 * direction  # the root bends within 1e-8 of nothing
    with torch.no_grad():
        measured = (energy(image + step) - energy(image - step)) / 2e-8
    assert float((slope * direction).sum()) == pytest.approx(float(measured), rel=1e-4)


# --- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("learning", ["add-if-silent", "seed-competition"])
def test_a_saved_model_is_the_same_model(tmp_path, digits, learning):
    model = Neocognitron(
        weights=None, learning=learning, thresholds=(0.5, 0.5, 0.55, 0.2), max_planes=500
    )
    model.fit(digits[0][:30], digits[1][:30], seed=5)
    model.save(tmp_path / "model.safetensors")
    copy = Neocognitron.load(tmp_path / "model.safetensors")
    assert fingerprint(copy) == fingerprint(model)
    assert copy.provenance == model.provenance
    images = digits[0][-20:]
    for name, response in model.features(images, model.layers).items():
        assert torch.equal(response, copy.features(images, [name])[name])
    by_name = load_model(
        "neocognitron", device="cpu", weights=tmp_path / "model.safetensors", thresholds=(0.6,) * 4
    )
    assert by_name.provenance["thresholds"] == [0.6] * 4
    assert by_name.provenance["learning"] == learning


def test_the_embedded_file_is_small_and_says_nothing_of_a_machine():
    from cnnperception.models.neocognitron.model import EMBEDDED

    assert EMBEDDED.stat().st_size < 2e6
    training = Neocognitron().provenance["training"]
    assert set(training) == {"images", "size", "sha256", "seed", "torch"}


def test_files_of_other_things_are_refused(tmp_path):
    from cnnperception.models.hmax.prototypes import EMBEDDED as PROTOTYPES

    with pytest.raises(ValueError, match="does not hold a neocognitron"):
        Neocognitron(weights=PROTOTYPES)
    (tmp_path / "text.safetensors").write_text("no tensors here")
    with pytest.raises(ValueError, match="is not a safetensors file"):
        Neocognitron.load(tmp_path / "text.safetensors")
    with pytest.raises(FileNotFoundError):
        Neocognitron.load(tmp_path / "missing.safetensors")


# --- errors ----------------------------------------------------------------------------------


def test_what_has_not_been_learnt_cannot_be_read_out():
    model = load_model("neocognitron", device="cpu", weights=None)
    images = _random(1, 3, 32, 32)
    assert set(model.features(images, ["ug", "us1", "uc1"])) == {"ug", "us1", "uc1"}
    for layer in ("us2", "uc4"):
        with pytest.raises(ValueError, match="call fit.*weights='DEFAULT'"):
            model.features(images, [layer])
    with pytest.raises(ValueError, match="call fit"):
        model.save("nowhere.safetensors")
    with pytest.raises(ValueError, match="call fit"):
        model.predict(images)
    with pytest.raises(ValueError, match="has not learnt"):
        preferred_patterns(model, "us2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "1999", "weights": None}, "form must be one of 2003, 1980; got '1999'"),
        ({"form": "1980"}, "learnt with the cells of 2003.*weights=None"),
        ({"learning": "backpropagation"}, "learning must be one of add-if-silent"),
        ({"thresholds": (0.5, 0.5)}, "thresholds must be four numbers"),
        ({"thresholds": (0.5, 0.5, 1.0, 0.5)}, "between 0 and 1"),
        ({"learning_thresholds": (0.5, -0.5, 0.4, 0.5)}, "learning_thresholds must be four"),
        ({"max_planes": 0}, "max_planes must be at least 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Neocognitron(**options)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(1, 3, 31, 64), "31 x 64 pixels are too small.*at least 32 x 32"),
        (torch.rand(1, 1, 64, 64), "must have the shape"),
        (torch.rand(3, 64, 64), "must have the shape"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "floating point"),
        (torch.full((1, 3, 64, 64), float("inf")), "not finite"),
    ],
)
def test_images_that_make_no_sense_are_refused(model, images, message):
    with pytest.raises(ValueError, match=message):
        model.features(images, ["us1"])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 0], "4 images need as many labels"),
        ([0.5, 1, 0, 1], "whole numbers.*np.unique"),
        (["a", "b", "a", "b"], "whole numbers.*np.unique"),
        ([-1, 0, 1, 2], "whole numbers from 0"),
        ([2, 2, 2, 2], "at least 2 classes; got 1"),
    ],
)
def test_labels_that_make_no_sense_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        Neocognitron(weights=None).fit(torch.rand(4, 3, 40, 40), labels)


def test_unknown_layers_and_an_empty_list_are_refused(model):
    images = torch.rand(1, 3, 40, 40)
    with pytest.raises(ValueError, match="layer 'us5' is not in neocognitron"):
        model.features(images, ["us5"])
    with pytest.raises(ValueError, match="no layers were given"):
        model.features(images, [])


# --- pictures and digits ---------------------------------------------------------------------


def test_the_pattern_of_an_edge_plane_is_its_edge(model):
    patterns = preferred_patterns(model, "us1")
    assert patterns.shape[0] == ORIENTATIONS
    assert patterns.abs().amax(dim=(1, 2)).allclose(torch.ones(ORIENTATIONS))
    side = patterns.shape[-1]
    edges = torch.cat(
        [edge_image(2 * math.pi * k / ORIENTATIONS, side)[0] - 0.5 for k in range(ORIENTATIONS)]
    )
    alike = torch.einsum("ahw,bhw->ab", patterns, edges)
    assert alike.argmax(dim=1).tolist() == list(range(ORIENTATIONS))


def test_the_patterns_of_us2_excite_their_own_planes(model):
    patterns = preferred_patterns(model, "us2")
    seen = ((1 + patterns) / 2)[:, None].expand(-1, 3, -1, -1)
    answers = model.features(nn.functional.pad(seen, (8,) * 4, value=0.5), ["us2"])["us2"]
    middle = answers[:, :, answers.shape[2] // 2, answers.shape[3] // 2]
    own = middle.diagonal()[:, None]
    assert ((middle <= own).float().mean(dim=1) > 0.9).float().mean() > 0.8
    with pytest.raises(ValueError, match="only features of us1, us2 and us3"):
        preferred_patterns(model, "us4")


def test_digits_are_light_on_black_with_real_edges_in_the_middle():
    images, labels = handwritten_digits()
    assert images.shape == (1797, 3, 65, 65)
    assert labels.unique().tolist() == list(range(10))
    assert images.min() == 0
    assert images.max() == 1
    assert not images[:, :, :7].any()
    assert not images[..., :7].any()
    # Most of the ink is full white, and little is left between black and white.
    ink = images[:, 0][images[:, 0] > 0]
    assert (ink == 1).float().mean() > 0.4
    with pytest.raises(ValueError, match="do not fit"):
        handwritten_digits(size=40, scale=5)


def test_shifting_moves_each_image_its_own_way():
    images = _random(2, 3, 6, 7)
    moved = shifted(images, torch.tensor([2, 0]), torch.tensor([0, -3]))
    assert torch.equal(moved[0, :, 2:], images[0, :, :-2])
    assert not moved[0, :, :2].any()
    assert torch.equal(moved[1, :, :, :-3], images[1, :, :, 3:])
    assert not moved[1, :, :, -3:].any()
