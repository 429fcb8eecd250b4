import pytest
import torch
from torch import Tensor

import cnnperception as cp
from cnnperception.models import RandomFilters
from cnnperception.models.neocognitron import handwritten_digits
from cnnperception.synthesis import Level, minimise
from cnnperception.synthesis.objective import centred, in_colours_of, match

MODEL = RandomFilters(scales=3, channels=24)
HMAX = cp.load_model("hmax", device="cpu")


def _picture(side: int = 48) -> Tensor:
    return cp.exemplar("coffee", size=(side, side))


def _distance(model, layer: str, one: Tensor, other: Tensor) -> float:
    with torch.no_grad():
        wanted, made = (model.features(images, [layer])[layer] for images in (one, other))
    return float((made - wanted).norm() / wanted.norm())


def test_a_metamer_has_the_features_and_not_the_pixels() -> None:
    image = _picture()
    result = cp.metamer(image, MODEL, "scale2", evaluations=600)
    assert result.images.shape == image.shape
    distance = _distance(MODEL, "scale2", image, result.images)
    assert distance < 0.01
    assert result.provenance["distances"]["scale2"]["to_features"] == pytest.approx(distance)
    assert (result.images - image).square().mean().sqrt() > 0.02


def test_the_loss_falls_by_orders_of_magnitude() -> None:
    losses = cp.metamer(_picture(), MODEL, "scale1", evaluations=400).losses
    last = losses[losses["level"] == losses["level"].max()].query("term == 'metamer/scale1'")
    assert last["loss"].iloc[-1] < 1e-4
    assert losses["loss"].iloc[0] > 0.1


@pytest.mark.parametrize("layer", ["c1/band1", "c2/4"])
def test_metamers_of_hmax_come_near_though_maxima_have_local_minima(layer: str) -> None:
    image = _picture()
    result = cp.metamer(image, HMAX, layer, evaluations=200)
    assert result.provenance["distances"][layer]["to_start"] < 0.25
    assert (result.images - image).square().mean().sqrt() > 0.05


def test_levels_begin_with_all_of_the_last_ones_result() -> None:
    # Clipped to [0, 1], black regions would be singular for responses relative to contrast.
    image = (_picture(64).mean(dim=1, keepdim=True) > 0.5).float().expand(-1, 3, -1, -1)
    losses = cp.metamer(image, HMAX, "c1/band1", evaluations=60).losses
    first = losses.query("term == 'range'").groupby("level")["loss"].first()
    assert len(first) == 5
    assert (first > 0).all()


def test_an_image_is_its_own_metamer() -> None:
    image = _picture()
    result = cp.metamer(image, MODEL, "*", start=image, evaluations=3)
    assert torch.equal(result.images, image)
    assert result.final_losses().max() == 0
    zero = {"to_features": 0.0, "to_start": 0.0}
    assert result.provenance["distances"] == dict.fromkeys(MODEL.layers, zero)


def test_a_metamer_may_begin_with_another_image() -> None:
    image, other = _picture(), cp.exemplar("chelsea", size=(60, 40))
    result = cp.metamer(image, MODEL, "scale3", start=other, evaluations=60)
    assert result.images.shape == image.shape
    assert result.provenance["schedule"] == [[48, 48, 60]]
    assert set(result.provenance["sources"]) == {"image", "start"}
    assert result.provenance["distances"]["scale3"]["to_start"] < 0.2


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_image() -> None:
    def make(seed: int) -> Tensor:
        return cp.metamer(_picture(), HMAX, ["c1/band1", "c2/4"], seed=seed, evaluations=30).images

    assert torch.equal(make(1), make(1))
    assert not torch.equal(make(1), make(2))


def test_layers_of_any_width_and_scale_have_losses_of_one_size() -> None:
    image, grey = _picture(), torch.full((1, 3, 48, 48), 0.5)

    class Louder(RandomFilters):
        def features(self, images, layers):
            return {name: 100 * f + 7 for name, f in super().features(images, layers).items()}

    louder = Louder(scales=3, channels=24)
    terms, louder_terms = (match("m", m, m.layers, centred, image) for m in (MODEL, louder))
    for term, loud in zip(terms, louder_terms, strict=True):
        quiet = term.loss(MODEL.features(grey, [term.layer])[term.layer])
        loss = loud.loss(louder.features(grey, [term.layer])[term.layer])
        torch.testing.assert_close(loss, quiet, rtol=1e-3, atol=0)


def test_the_loss_is_the_share_of_variance_not_met() -> None:
    features = torch.rand((1, 5, 4, 3), generator=torch.Generator().manual_seed(0)) + 3
    statistic = centred(features)
    assert statistic(features).mean().abs() < 1e-6
    total = statistic(features).square().sum()
    mean = torch.full_like(features, float(features.mean()))
    missed = (statistic(mean) - statistic(features)).square().sum()
    torch.testing.assert_close(missed, total)


def test_uniform_features_keep_their_level_as_scale() -> None:
    features = torch.full((1, 5, 4, 3), 3.0)
    assert torch.equal(centred(features)(features), features)


@pytest.mark.filterwarnings("ignore:the image did not come near")
def test_layers_without_positions_lead_at_full_size_alone() -> None:
    losses = cp.metamer(_picture(64), HMAX, ["c1/band1", "c2/4"], evaluations=40).losses
    seen = losses.groupby("term")["height"].agg(["min", "max"])
    assert seen.loc["metamer/c1/band1"].tolist() == [32, 64]
    assert seen.loc["metamer/c2/4"].tolist() == [64, 64]


@pytest.mark.filterwarnings("ignore:the image did not come near")
def test_layers_that_do_not_fit_into_a_small_image_join_later() -> None:
    layers = ["c1/band1", "c1/band8"]  # band 8 has filters of 37 pixels
    losses = cp.metamer(_picture(64), HMAX, layers, evaluations=40).losses
    first = losses.groupby("term")["height"].min()
    assert first["metamer/c1/band1"] == 32
    assert first["metamer/c1/band8"] >= 37


def test_a_model_blind_to_colour_is_satisfied_in_the_colours_of_the_image() -> None:
    ramp = torch.linspace(0, 1, 48)
    image = torch.stack([ramp, 0.5 + 0 * ramp, 0.5 + 0 * ramp])[:, None].expand(3, 48, 48)
    image = 0.8 * image + 0.1 * (_picture().mean(1) > 0.5) * torch.tensor([1.0, 0, 0]).view(3, 1, 1)
    result = cp.metamer(image, HMAX, "c1/band1", evaluations=60).image
    reds, greens = result[0].std(), result[1].std()
    assert reds > 5 * greens


def test_of_many_solutions_the_preconditioned_search_finds_the_nearest_in_its_metric() -> None:
    # One equation, w . x = t, for the three channels of each pixel: from 0 the solution nearest
    # in the metric P^-1 is P w t / (w . P w), by Lagrange.
    draw = torch.Generator().manual_seed(0)
    weights = torch.tensor([0.299, 0.587, 0.114])
    target = torch.rand((1, 8, 8), generator=draw)
    source = torch.randn((1, 3, 30, 30), generator=draw) * torch.tensor([3, 1, 0.5]).view(3, 1, 1)
    precondition = in_colours_of(source)

    def evaluate(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        missed = torch.einsum("c,bchw->bhw", weights, images) - target
        loss = missed.square().sum((1, 2))
        return loss, 2 * missed[:, None] * weights.view(1, 3, 1, 1), loss[:, None]

    search = minimise(evaluate, torch.zeros((1, 3, 8, 8)), precondition=precondition)
    solution = next(state for state in search if state.evaluations == 60).images
    spread = precondition(weights.view(1, 3, 1, 1)).flatten()
    expected = (spread / (weights @ spread)).view(1, 3, 1, 1) * target[:, None]
    torch.testing.assert_close(solution, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.filterwarnings("ignore:the image did not come near")
def test_a_schedule_and_a_size_can_be_given() -> None:
    schedule = [Level((24, 24), 3), Level((40, 40), 2)]
    result = cp.metamer(_picture(), MODEL, "scale1", size=40, schedule=schedule)
    heights = result.losses.drop_duplicates("evaluation")["height"]
    assert heights.tolist() == [24, 24, 24, 40, 40]
    assert result.provenance["size"] == [40, 40]


def test_the_search_can_stay_at_full_size() -> None:
    model = cp.load_model("neocognitron", device="cpu")
    digit = handwritten_digits(48, 4)[0][13:14]
    result = cp.metamer(digit, model, "uc1", evaluations=200, coarsest=48)
    assert result.provenance["schedule"] == [[48, 48, 200]]
    assert result.provenance["distances"]["uc1"]["to_start"] < 0.1


def test_what_cannot_be_matched_is_said() -> None:
    with pytest.warns(UserWarning, match="did not come near the features of c2/16"):
        cp.metamer(_picture(96), HMAX, "c2/16", evaluations=2)


def test_bad_inputs_are_named() -> None:
    image = _picture()
    with pytest.raises(ValueError, match="no layers were given"):
        cp.metamer(image, MODEL, [])
    with pytest.raises(ValueError, match="did you mean 'scale3'"):
        cp.metamer(image, MODEL, "scale33")
    with pytest.raises(ValueError, match=r"too small for layer 'c1/band8'"):
        cp.metamer(_picture(36), HMAX, ["c1/band1", "c1/band8"])
    with pytest.raises(ValueError, match="coarsest must be a positive"):
        cp.metamer(image, MODEL, "scale1", coarsest=0)
    with pytest.raises(ValueError, match="does not respond to the metamer image"):
        cp.metamer(torch.zeros_like(image), HMAX, "c1/band1")
    with pytest.raises(ValueError, match="the start must be one RGB image"):
        cp.metamer(image, MODEL, "scale1", start=image[0, 0])
    with pytest.raises(FloatingPointError, match="image has pixels"):
        cp.metamer(torch.full_like(image, torch.nan), MODEL, "scale1")
