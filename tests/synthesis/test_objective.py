import pytest
import torch
from torch import Tensor

import cnnperception as cp
from cnnperception.models import RandomFilters
from cnnperception.statistics import gram
from cnnperception.synthesis import Level, Objective, PixelTerm
from cnnperception.synthesis.measures import MEASURES
from cnnperception.synthesis.objective import (
    LEAST_ENERGY,
    _ridge,
    balanced_gram,
    match,
    out_of_range,
    plain_gram,
    total_variation,
    unchanged,
    whitened_gram,
)

MODEL = RandomFilters(scales=3, channels=24)


def _image(side: int = 48, seed: int = 0, batch: int = 1) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.rand((batch, 3, side, side), generator=random)


@pytest.mark.parametrize("measure", [*MEASURES.values(), unchanged])
def test_every_term_is_zero_at_its_target_and_positive_elsewhere(measure) -> None:
    source = _image()
    terms = match("texture", MODEL, ["scale1", "scale3"], measure, source)
    objective = Objective(MODEL, terms)
    assert objective.losses(source).abs().max() < 1e-10
    assert (objective.losses(_image(seed=1) ** 3) > 1e-4).all()


@pytest.mark.parametrize("measure", [*MEASURES.values(), unchanged])
def test_gradients_equal_finite_differences(measure) -> None:
    model = RandomFilters(scales=2, channels=6).double()
    terms = match("texture", model, ["scale1", "scale2"], measure, _image(8).double())
    objective = Objective(model, terms, [PixelTerm("range", out_of_range, 3.0)])
    images = (1.4 * _image(8, seed=1).double() - 0.2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: objective.losses(x).sum(dim=1), (images,))
    total, gradient, losses = objective(images)
    weights = torch.tensor([0.5, 0.5, 3.0], dtype=torch.float64)
    torch.testing.assert_close(total, losses @ weights)
    torch.testing.assert_close(
        gradient, torch.autograd.grad((objective.losses(images) @ weights).sum(), images)[0]
    )


def test_gram_terms_do_not_change_with_image_size_for_a_repeated_pattern() -> None:
    tile, other = _image(48), _image(48, seed=1) ** 2
    losses = []
    for repeats in (1, 2, 3):
        source, image = tile.repeat(1, 1, repeats, repeats), other.repeat(1, 1, repeats, repeats)
        terms = match("texture", MODEL, ["scale1"], MEASURES["gram"], source)
        losses.append(Objective(MODEL, terms).losses(image).item())
    assert max(losses) / min(losses) < 1.05


def test_whitening_makes_a_weak_direction_count() -> None:
    random = torch.Generator().manual_seed(0)
    source = torch.randn((1, 4, 64, 64), generator=random)
    source[:, 3] *= 0.01
    changed = source.clone()
    changed[:, 3] *= 3
    losses = {}
    for name, measure in MEASURES.items():
        statistic = measure(source)
        target = statistic(source)
        losses[name] = ((statistic(changed) - target).norm() / target.norm()).item()
    assert losses["gram"] < 1e-3
    assert losses["whitened-gram"] > 30 * losses["gram"]
    assert 3 * losses["gram"] < losses["balanced-gram"] < losses["whitened-gram"] / 3


def test_balancing_weighs_directions_by_the_fourth_root_of_their_energy() -> None:
    # Channels that are active one at a time: their Gram matrix is diagonal, its roots known.
    source = torch.diag(torch.tensor([4.0, 2.0, 0.0])).view(1, 3, 1, 3)
    energies = torch.tensor([1.0, 0.25, 0.0]) + LEAST_ENERGY
    other = torch.rand((2, 3, 5, 7), generator=torch.Generator().manual_seed(0))
    expected = gram(other) / (energies[:, None] * energies).pow(0.25)
    torch.testing.assert_close(balanced_gram(source)(other), expected)


def test_by_balanced_matrices_plain_ones_come_near_sooner() -> None:
    vgg = cp.load_model("vgg11", weights=None, pooling="avg", device="cpu")
    layers, exemplar = ["conv1_1", "pool1", "pool2"], cp.exemplar("gravel", size=64)
    plain = match("texture", vgg, layers, plain_gram, exemplar)
    reached = {}
    for statistic in ("gram", "balanced-gram"):
        made = cp.texture(
            exemplar,
            model=vgg,
            layers=layers,
            statistic=statistic,
            schedule=[Level((64, 64), 60)],
            precision="float32",
        )
        reached[statistic] = Objective(vgg, plain).losses(made.images).sum().item()
    assert reached["balanced-gram"] < 0.7 * reached["gram"]


def test_a_term_without_weight_is_watched_and_changes_nothing() -> None:
    source, image = _image(32), _image(32, 1)
    kept = match("x", MODEL, ["scale1"], plain_gram, source)
    watched = match("y", MODEL, ["scale2"], plain_gram, source, weight=0.0)
    loss, gradient, terms = Objective(MODEL, [*kept, *watched])(image)
    alone, expected, _ = Objective(MODEL, kept)(image)
    assert torch.equal(loss, alone)
    assert torch.equal(gradient, expected)
    assert terms[0, 1] == Objective(MODEL, watched).losses(image)[0, 0] > 0


@pytest.mark.parametrize("directions", [1.0, 4.5, 20.0])
def test_the_ridge_leaves_the_asked_number_of_directions(directions: float) -> None:
    values = torch.logspace(-6, 2, 32, dtype=torch.float64)
    ridge = _ridge(values, directions)
    assert (values / (values + ridge)).sum().item() == pytest.approx(directions, rel=1e-6)


def test_few_positions_allow_few_whitened_directions() -> None:
    random = torch.Generator().manual_seed(0)

    def directions(side: int) -> float:
        source = torch.randn((1, 32, side, side), generator=random)
        whitened = whitened_gram(source)(source)[0, 1]
        # Of a matrix with n eigenvalues of the same size and others of zero, this is n.
        return (whitened.trace().square() / whitened.square().sum()).item()

    assert directions(4) < 0.7 * directions(64)


def test_pixel_terms_measure_what_they_say() -> None:
    image = torch.tensor([-0.5, 0.5, 2.0]).view(1, 1, 1, 3).expand(1, 3, 2, 3)
    assert out_of_range(image).item() == pytest.approx((0.25 + 0 + 1) / 3)
    assert total_variation(image).item() == pytest.approx((1 + 2.25) / 2)
    assert total_variation(torch.ones(1, 3, 4, 4)).item() == 0


def test_a_silent_layer_and_values_that_are_not_numbers_are_refused() -> None:
    silent = RandomFilters(scales=1, channels=3)
    with pytest.raises(ValueError, match="does not respond"):
        match("texture", silent, ["normalised1"], MEASURES["gram"], torch.zeros(1, 3, 16, 16))
    silent.filters.weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match="scale1"):
        match("texture", silent, ["scale1"], MEASURES["gram"], _image(16))


def test_images_of_a_batch_do_not_influence_each_other() -> None:
    terms = match("texture", MODEL, ["scale2"], MEASURES["gram"], _image())
    objective = Objective(MODEL, terms)
    pair = _image(batch=2, seed=3)
    together = objective(pair)
    for index in range(2):
        alone = objective(pair[index : index + 1])
        torch.testing.assert_close(together[0][index], alone[0][0])
        torch.testing.assert_close(together[1][index], alone[1][0], rtol=1e-4, atol=1e-8)


def test_gram_is_the_one_of_the_public_names() -> None:
    features = torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(MEASURES["gram"](features)(features), cp.gram(features))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_float32_is_no_tensorfloat32_there_and_back(rounding_convolutions, precision) -> None:
    convolutions, seen = rounding_convolutions, {}

    class Watching(RandomFilters):
        def features(self, images, layers):
            seen["there"] = convolutions.fp32_precision
            found = super().features(images, layers)
            if images.requires_grad:
                for response in found.values():
                    response.register_hook(
                        lambda slope: seen.update(back=convolutions.fp32_precision)
                    )
            return found

    model = Watching(scales=1, channels=6)
    terms = match("texture", model, ["scale1"], MEASURES["gram"], _image())
    assert seen.pop("there") == "ieee"  # of the target too, whatever follows
    Objective(model, terms, precision=precision)(_image(seed=1))
    asked = "ieee" if precision == torch.float32 else "tf32"
    assert seen == {"there": asked, "back": asked}
    assert convolutions.fp32_precision == "tf32"
