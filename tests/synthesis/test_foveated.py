import pytest
import torch

import cnnperception as cp
from cnnperception.models.random_filters import RandomFilters
from cnnperception.synthesis.measures import MEASURES
from cnnperception.synthesis.pooled_statistics import pooled_terms
from cnnperception.synthesis.pooling_windows import log_polar_windows

IMAGE = cp.exemplar("coffee", size=(96, 96))
MODEL = RandomFilters(scales=2, channels=24)
FEW = {"model": MODEL, "layers": ["scale1", "scale2"], "progress": False}


@pytest.fixture(scope="module")
def made() -> cp.SynthesisResult:
    return cp.foveated_metamer(IMAGE, evaluations=60, fixation=(40, 60), fovea=12, **FEW)


def test_the_fovea_is_kept_and_the_periphery_is_not(made) -> None:
    rows, columns = torch.meshgrid(torch.arange(96) + 0.5, torch.arange(96) + 0.5, indexing="ij")
    eccentricity = ((rows - 40).square() + (columns - 60).square()).sqrt()
    difference = (made.image - IMAGE[0]).abs().amax(dim=0)
    assert difference[eccentricity < 9].max() < 1e-6
    assert difference[eccentricity > 30].mean() > 0.05


def test_the_statistics_of_every_region_are_met(made) -> None:
    for distance in made.provenance["distances"].values():
        assert distance["to_statistics"] < 0.15
        assert distance["to_start"] < 0.1


def test_larger_regions_leave_more_free() -> None:
    changed = [
        (
            cp.foveated_metamer(IMAGE, evaluations=60, scaling=scaling, seed=1, **FEW).image
            - IMAGE[0]
        )
        .square()
        .mean()
        for scaling in (0.2, 1.5)
    ]
    assert changed[0] < changed[1]


def test_the_loss_is_zero_for_the_image_itself_and_its_gradient_is_right() -> None:
    model = RandomFilters(scales=1, channels=6).double()
    image = IMAGE[..., :32, :32].double()
    windows = log_polar_windows((32, 32), (16, 16), scaling=1.0, fovea=4)
    (term,) = pooled_terms(model, ["scale1"], MEASURES["gram"], image, windows)
    features = model.features(image, ["scale1"])["scale1"]
    assert float(term.loss(features)) == pytest.approx(0, abs=1e-20)
    varied = (features[:, :2, ::4, ::4] + 0.1).clone().requires_grad_()

    def loss(part):
        whole = features.clone()
        whole[:, :2, ::4, ::4] = part
        return term.loss(whole)

    assert torch.autograd.gradcheck(loss, varied)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fixation": (200, 10)}, "outside of the image"),
        ({"scaling": 0.0}, "scaling"),
        ({"fovea": 500}, "periphery"),
        ({"statistic": "shifted-gram"}, "regions have the statistics"),
        ({"start": IMAGE[..., :64, :64]}, "as large as the image"),
    ],
)
def test_what_cannot_be_is_refused(wrong, message) -> None:
    with pytest.raises(ValueError, match=message):
        cp.foveated_metamer(IMAGE, **FEW, **wrong)
