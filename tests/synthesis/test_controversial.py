import math

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import cnnperception as cp
from cnnperception.models import RandomFilters
from cnnperception.synthesis import Objective
from cnnperception.synthesis.controversial import disagreement
from cnnperception.synthesis.noise import with_noise
from cnnperception.synthesis.view import view

HMAX = cp.load_model("hmax", device="cpu")
NETWORK = cp.load_model("objects-vgg", device="cpu")
FILTERS = RandomFilters(scales=2, channels=12)


class Half(nn.Module):
    """Sees the pixels of the left or of the right half."""

    def __init__(self, name: str, columns: slice):
        super().__init__()
        self.name, self.columns = name, columns
        self.layers = ("half",)
        self.provenance = {"columns": str(columns)}
        self.recommended: dict[str, tuple[str, ...]] = {}

    def features(self, images: Tensor, layers) -> dict[str, Tensor]:
        return {"half": images[..., self.columns]}


LEFT, RIGHT = Half("left", slice(0, 8)), Half("right", slice(8, 16))


def _noise(side: int = 16, seed: int = 0, batch: int = 1) -> Tensor:
    return torch.rand((batch, 3, side, side), generator=torch.Generator().manual_seed(seed))


def _table(result: cp.SynthesisResult) -> pd.DataFrame:
    return pd.DataFrame(result.provenance["distances"])


@pytest.fixture(scope="module")
def pair() -> cp.SynthesisResult:
    picture = cp.exemplar("chelsea", size=(48, 48))
    return cp.controversial(
        picture, HMAX, "c1/band[12]", NETWORK, "pool2", both=True, evaluations=24
    )


def test_what_the_held_model_does_not_see_is_driven_to_black_and_white() -> None:
    picture = 0.1 + 0.8 * _noise()
    result = cp.controversial(picture, LEFT, "half", RIGHT, "half", evaluations=100)
    assert (result.images - picture)[..., :8].abs().max() < 2e-3
    driven, seen = result.images[..., 8:], picture[..., 8:]
    assert ((driven - driven.round()).abs() < 0.02).float().mean() > 0.85
    # No image is farther away than one with the farther end at every pixel; ends chosen by lot
    # would be at 0.78 of that.
    largest = ((seen < 0.5).float() - seen).norm() / (seen - seen.mean()).norm()
    distance = _table(result).set_index("role")["distance"]["drive"]
    assert 0.88 * float(largest) < distance <= 1.0001 * float(largest)


def test_the_losses_are_the_formula_and_those_of_a_pair_have_exchanged_roles() -> None:
    picture, images = _noise(), _noise(seed=1, batch=2)
    filters, left = view(FILTERS, ["scale1", "scale2"], picture), view(LEFT, "half", picture)
    hold, drive = disagreement([(filters, left), (left, filters)], 0.5)

    def squares(model, layers, image) -> list[float]:
        there, here = (model.features(each, layers) for each in (picture, image))
        return [
            float((here[k] - there[k]).square().sum() / ((there[k] - there[k].mean()) ** 2).sum())
            for k in layers
        ]

    of_filters, of_left = (
        [squares(model, layers, image) for image in images.split(1)]
        for model, layers in ((FILTERS, ["scale1", "scale2"]), (LEFT, ["half"]))
    )
    expected = torch.tensor([4 * sum(of_filters[0]), 4 * sum(of_left[1])])
    torch.testing.assert_close(hold.penalty(images), expected)
    wins = [[1 / (1 + math.sqrt(s)) for s in seen] for seen in (of_left[0], of_filters[1])]
    expected = torch.tensor([sum(win) / len(win) for win in wins])
    torch.testing.assert_close(drive.penalty(images), expected)


def test_gradients_equal_finite_differences() -> None:
    filters = RandomFilters(scales=2, channels=3).double()
    picture = _noise(6).double()
    sides = [(view(filters, "scale1", picture), view(filters, ["scale1", "scale2"], picture))]
    sides += [sides[0][::-1]]
    objective = Objective(filters, (), disagreement(sides, 0.3))
    images = (0.2 + 0.6 * _noise(6, seed=1, batch=2).double()).requires_grad_()
    assert torch.autograd.gradcheck(objective.losses, (images,))


def test_gradients_are_finite_at_the_picture_itself() -> None:
    picture = _noise()
    seen = view(FILTERS, "scale*", picture)
    loss, gradient, _ = Objective(FILTERS, (), disagreement([(seen, seen)], 0.1))(picture)
    assert float(loss) == pytest.approx(1, abs=1e-5)
    assert torch.isfinite(gradient).all()


def test_unrelated_images_are_at_the_distance_root_two() -> None:
    pixels = cp.load_model("pixels", device="cpu")
    distance = view(pixels, "pixels", _noise(64)).distances(_noise(64, seed=1))
    assert float(distance) == pytest.approx(math.sqrt(2), rel=0.02)


def test_one_model_stays_and_the_other_goes_in_both_images(pair) -> None:
    table = _table(pair)
    means = table.pivot_table(index="image", columns="role", values="distance")
    assert pair.images.shape == (2, 3, 48, 48)
    assert (table.query("role == 'hold'")["distance"] <= 1.005 * 0.1).all()
    assert (means["drive"] > 10 * means["hold"]).all()
    assert set(table.query("image == 0 and role == 'hold'")["model"]) == {"hmax"}
    assert set(table.query("image == 1 and role == 'hold'")["model"]) == {"objects-vgg"}


def test_the_table_is_that_of_the_images(pair) -> None:
    picture = cp.exemplar("chelsea", size=(48, 48))
    table = _table(pair).set_index(["image", "role", "layer"])
    with torch.no_grad():
        there, here = (
            NETWORK.features(images, ["pool2"])["pool2"] for images in (picture, pair.images)
        )
    for image, role in ((0, "drive"), (1, "hold")):
        distance = (here[image] - there).norm() / (there - there.mean()).norm()
        row = table.loc[(image, role, "pool2")]
        assert row["distance"] == pytest.approx(float(distance), rel=1e-4)
    rms = (pair.images - picture).square().mean(dim=(1, 2, 3)).sqrt()
    assert pair.provenance["rms"] == pytest.approx(rms.tolist())


def test_noise_to_compare_with_is_as_strong_or_as_far(pair) -> None:
    picture = cp.exemplar("chelsea", size=(48, 48))
    table = _table(pair).groupby(["image", "role"]).mean(numeric_only=True)
    for image, rms in enumerate(pair.provenance["rms"]):
        noisy = with_noise(picture, rms)
        assert float((noisy - picture).square().mean().sqrt()) == pytest.approx(rms, rel=1e-3)
        assert noisy.min() >= 0
        assert noisy.max() <= 1
        held = table.loc[(image, "hold")]
        assert held["matched_noise"] == pytest.approx(held["distance"], rel=0.02)
        driven = table.loc[(image, "drive")]
        assert driven["distance"] > 5 * driven["matched_noise"]
    expected = view(NETWORK, "pool2", picture).distances(with_noise(picture, rms)).item()
    assert table.loc[(1, "hold"), "noise"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.filterwarnings("ignore:image 0 is")
@pytest.mark.parametrize("evaluations", [1, 2, 5, 12])
def test_the_held_model_is_within_its_tolerance_at_any_time(evaluations: int) -> None:
    result = cp.controversial(
        _noise(32), FILTERS, "scale*", HMAX, "c1/band1", tolerance=0.05, evaluations=evaluations
    )
    table = _table(result)
    assert (table.query("role == 'hold'")["distance"] <= 1.005 * 0.05).all()


def test_an_image_is_the_same_alone_and_in_a_pair() -> None:
    picture, few = _noise(), {"evaluations": 12}
    both = cp.controversial(picture, LEFT, "half", FILTERS, "scale2", both=True, **few).images
    first = cp.controversial(picture, LEFT, "half", FILTERS, "scale2", **few).images
    second = cp.controversial(picture, FILTERS, "scale2", LEFT, "half", **few).images
    torch.testing.assert_close(both, torch.cat([first, second]), atol=1e-4, rtol=0)


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_image() -> None:
    def make(seed: int) -> Tensor:
        return cp.controversial(
            _noise(), FILTERS, "scale2", LEFT, "half", seed=seed, evaluations=20
        ).images

    assert torch.equal(make(1), make(1))
    assert not torch.equal(make(1), make(2))


def test_a_broken_pair_goes_on_to_the_same_bits(tmp_path) -> None:
    def make(**running) -> cp.SynthesisResult:
        return cp.controversial(
            _noise(), FILTERS, "scale2", LEFT, "half", both=True, evaluations=20, **running
        )

    def stop(moment) -> None:
        if moment.evaluation == 9:
            raise KeyboardInterrupt

    path = tmp_path / "c.checkpoint"
    assert not make(checkpoint=path, watch=stop).finished
    assert torch.equal(make(checkpoint=path).images, make().images)


def test_luminance_changes_the_three_channels_alike() -> None:
    picture = 0.3 + 0.4 * _noise()
    result = cp.controversial(
        picture, LEFT, "half", FILTERS, "scale1", luminance=True, evaluations=15
    )
    change = result.images - picture
    inside = ((result.images > 0) & (result.images < 1)).all(dim=1, keepdim=True)
    spread = (change.amax(dim=1) - change.amin(dim=1))[inside[:, 0]]
    assert spread.max() < 1e-3
    assert change.abs().max() > 0.05
    assert inside.float().mean() > 0.5


def test_a_uniform_picture_has_a_start_and_noise_too() -> None:
    uniform = torch.full((1, 3, 16, 16), 0.4)
    result = cp.controversial(uniform, LEFT, "half", RIGHT, "half", evaluations=20)
    assert _table(result).set_index("role")["distance"]["drive"] > 0.3


def test_slopes_are_on_average_those_of_all_units() -> None:
    model, picture = RandomFilters(scales=1, channels=4).double(), _noise(6).double()
    seen = view(model, "scale1", picture)

    def units(image: Tensor) -> Tensor:
        (term,) = seen.terms
        return (term.statistic(model.features(image, ["scale1"])["scale1"]) / term.size().sqrt())[0]

    jacobian = torch.autograd.functional.jacobian(units, picture).flatten(0, 2)
    exact = jacobian.square().sum(dim=(0, 1, 2))
    random = torch.Generator().manual_seed(0)
    estimates = torch.stack([seen.slopes(picture, random)[0, 0] for _ in range(1000)])
    torch.testing.assert_close(estimates.mean(dim=0), exact, rtol=0.25, atol=0)
    assert estimates.mean() == pytest.approx(float(exact.mean()), rel=0.03)


def test_black_parts_where_hmax_bears_no_noise_do_not_keep_the_rest_from_changing() -> None:
    picture = cp.exemplar("coins", size=(48, 48)).clone()
    picture[..., :24, :24] = 0
    result = cp.controversial(picture, HMAX, "c1/band1", NETWORK, "pool1", evaluations=30)
    distances = _table(result).set_index("role")["distance"]
    assert distances["hold"] <= 1.005 * 0.1
    assert distances["drive"] > 0.1


def test_models_that_agree_are_said_to() -> None:
    twin = Half("twin", LEFT.columns)
    with pytest.warns(UserWarning, match="image 0 is hardly farther away to twin than noise"):
        cp.controversial(_noise(), LEFT, "half", twin, "half", evaluations=10)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hold_layers": []}, "no layers were given"),
        ({"drive_layers": "scale9"}, "did you mean 'scale"),
        ({"tolerance": 0.0}, "tolerance must be a positive distance"),
        ({"tolerance": math.nan}, "tolerance must be a positive distance"),
        ({"precision": "mixed"}, "use float32"),
        ({"hold": FILTERS, "hold_layers": "scale*"}, "'scale1' of random-filters cannot be held"),
        ({"image": _noise()[0, 0]}, "the image must be one RGB image"),
        ({"size": 20}, "too small for layer 'c1/band4'"),
        ({"image": torch.zeros((1, 3, 48, 48))}, "does not respond to the original image"),
    ],
)
def test_bad_inputs_are_named(wrong, message) -> None:
    given = {"image": _noise(48), "hold": HMAX, "hold_layers": "c1", "drive": FILTERS}
    with pytest.raises(ValueError, match=message):
        cp.controversial(**{**given, "drive_layers": "scale1", **wrong})


def test_pixels_that_are_not_finite_are_refused() -> None:
    with pytest.raises(FloatingPointError, match="image has pixels"):
        cp.controversial(torch.full((1, 3, 16, 16), torch.nan), LEFT, "half", RIGHT, "half")


def test_models_on_two_devices_are_refused() -> None:
    elsewhere = RandomFilters(scales=1, channels=6).to("meta")
    with pytest.raises(ValueError, match="load both with the same device"):
        cp.controversial(_noise(), FILTERS, "scale1", elsewhere, "scale1")
