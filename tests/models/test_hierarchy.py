"""The family between HMAX and a small VGG: its two ends are those models, its steps single."""

import itertools

import pytest
import torch
from torch import nn

from cnnperception.models import HMAX, Hierarchy, VisionModel
from cnnperception.models.hierarchy import (
    CHANGES,
    GaborStage,
    GaussianUnits,
    LearntGaborStage,
    RectifiedUnits,
    between,
    patch_stage,
    sample_patches,
)
from cnnperception.models.hmax import Prototypes
from cnnperception.models.hmax.prototypes import EMBEDDED
from cnnperception.models.objects_vgg import SmallVGG
from cnnperception.training import folded, prepared, trainable


def _images(count: int = 2, side: int = 64) -> torch.Tensor:
    return torch.rand((count, 3, side, side), generator=torch.Generator().manual_seed(0))


def test_without_changes_it_is_hmax() -> None:
    prototypes = Prototypes.load(EMBEDDED)
    model = between(set(), units=250)
    for (units,), patches in zip(model.second.branches, prototypes.patches.values(), strict=True):
        units.store(patches)
    expected = HMAX(prototypes=prototypes).features(_images(), ["c2"])
    found = model.features(_images(), ["pooled"])["pooled"]
    assert found.std() > 0.05
    torch.testing.assert_close(found, torch.cat(list(expected.values()), dim=1))


def test_bands_can_be_left_out() -> None:
    stage = GaborStage(bands=(2, 4))
    expected = HMAX(prototypes=None).features(_images(), ["c1/band2", "c1/band4"])
    for maps, band in zip(stage(_images()), expected.values(), strict=True):
        assert torch.equal(maps, band)


def test_with_all_changes_it_is_the_small_vgg() -> None:
    width, classes = 4, 3
    small = SmallVGG(classes, width=width)
    trained = trainable(small)
    model = between(CHANGES, width=width).eval()
    ours = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    theirs = [m for m in trained.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    random = torch.Generator().manual_seed(1)
    for mine, other in zip(ours, theirs, strict=True):
        if isinstance(other, nn.Conv2d):
            nn.init.zeros_(other.bias)
            mine.weight.data = other.weight.data.clone()
        else:
            for part in (mine, other):
                part.running_mean = torch.linspace(-0.1, 0.3, part.num_features)
                part.running_var = torch.linspace(0.5, 2, part.num_features)
            shift = torch.rand(other.num_features, generator=random)
            mine.bias.data, other.bias.data = shift, shift.clone()
    vgg = folded(trained, small)
    with torch.no_grad():
        expected = vgg.average(vgg.features(prepared(_images())))
        found = model(_images())
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_changes_what_it_says_and_nothing_else(change: str) -> None:
    others = [c for c in CHANGES if c != change]
    for count in range(len(others) + 1):
        for made in itertools.combinations(others, count):
            without, with_it = _described(made), _described((*made, change))
            assert {part for part in without if without[part] != with_it[part]} == {change}


def _described(changes: tuple[str, ...]) -> dict[str, object]:
    model = between(changes, width=2, units=3)
    units = [m for m in model.second.modules() if isinstance(m, GaussianUnits | RectifiedUnits)]
    return {
        "convolved": type(model.first),
        "deep": [(unit.size, unit.same) for unit in units],
        "rectified": {type(unit) for unit in units},
        "averaged": model.pooling,
    }


@pytest.mark.parametrize("changes", [set(), {"deep"}, {"rectified"}, {"convolved"}, set(CHANGES)])
def test_every_model_has_gradients_back_to_its_images(changes: set[str]) -> None:
    model = between(changes, width=2, units=3)
    model.imprint(_images(8), seed=0)
    assert isinstance(model, VisionModel)
    images = _images().requires_grad_()
    found = model.features(images, ["grid", "pooled"])
    assert found["grid"].shape[2:] == (4, 4)
    found["pooled"].square().sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()
    assert images.grad.abs().sum() > 0


def test_the_maximum_and_the_average_are_of_the_grid() -> None:
    model = between(set(), units=3)
    model.imprint(_images(8), seed=0)
    found = model.features(_images(), ["grid", "pooled"])
    assert torch.equal(found["pooled"], found["grid"].flatten(2).amax(dim=2))
    average = Hierarchy(model.first, model.second, pooling="average")
    assert torch.equal(average(_images()), found["grid"].mean(dim=(2, 3)))


def test_a_gaussian_unit_answers_one_to_the_patch_it_stores() -> None:
    model = between({"deep"}, width=2)
    first = model.first(_images(4))
    model.imprint(_images(4), seed=3)
    (branch,) = model.second.branches
    answers = torch.stack([maps.amax(dim=(0, 2, 3)) for maps in branch[0](first)])
    torch.testing.assert_close(answers.amax(dim=0), torch.ones(8), rtol=0, atol=1e-5)
    assert branch[0](first)[0].mean() < 0.9


def test_learnt_gabors_start_as_hmax_and_can_be_learnt() -> None:
    learnt, fixed = LearntGaborStage(bands=(1, 2)), GaborStage(bands=(1, 2))
    images = _images()
    # Where the Gabors hardly answer, their single precision shows.
    for mine, theirs in zip(learnt(images), fixed(images), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    torch.stack([maps.sum() for maps in learnt(images)]).sum().backward()
    for filters in learnt.filters.values():
        assert filters.grad is not None
        assert filters.grad.abs().sum() > 0


def test_averages_in_c1_are_below_its_maxima_and_keep_constants() -> None:
    maxima, averages = GaborStage()(_images()), GaborStage("average")(_images())
    for high, low in zip(maxima, averages, strict=True):
        assert high.shape == low.shape
        assert (low <= high + 1e-6).all()
    ones = [torch.ones(1, 4, 64, 64)] * 2
    from cnnperception.models.hierarchy.stages import _means

    assert torch.equal(_means(ones, 14, 7), torch.ones(1, 4, 10, 10))


def test_rectified_units_that_store_patches_have_the_statistics_of_their_products() -> None:
    units = RectifiedUnits(4, 6, 3)
    bands = [torch.rand(5, 4, 9, 9), torch.rand(5, 4, 7, 7)]
    units.store(torch.rand(6, 4, 3, 3), bands)
    products = torch.cat([units.filters(maps).flatten(2) for maps in bands], dim=2)
    standard = units.eval().normalisation(products[..., None])
    torch.testing.assert_close(standard.mean(dim=(0, 2, 3)), torch.zeros(6), rtol=0, atol=1e-4)
    torch.testing.assert_close(standard.std(dim=(0, 2, 3)), torch.ones(6), rtol=0, atol=1e-2)
    for mine, maps in zip(units(bands), bands, strict=True):
        expected = torch.relu(units.normalisation(units.filters(maps)))
        torch.testing.assert_close(mine, expected)


def test_the_same_seed_makes_the_same_model() -> None:
    states = []
    for seed in (1, 1, 2):
        model = between({"convolved"}, width=2, units=3, seed=seed)
        model.imprint(_images(8), seed=seed)
        states.append(torch.cat([value.flatten().float() for value in model.state_dict().values()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_sampled_patches_are_parts_of_the_maps() -> None:
    bands = [torch.rand(2, 4, 9, 9), torch.rand(2, 4, 6, 6), torch.rand(2, 4, 3, 3)]
    patches = sample_patches(bands, 5, 7, torch.Generator().manual_seed(0))
    parts = [maps.unfold(2, 5, 1).unfold(3, 5, 1) for maps in bands[:2]]
    windows = torch.cat([part.permute(0, 2, 3, 1, 4, 5).flatten(0, 2) for part in parts])
    for patch in patches:
        assert (windows == patch).flatten(1).all(dim=1).any()


def test_errors_say_what_was_wrong() -> None:
    with pytest.raises(ValueError, match="no change is called 'wide'"):
        between({"wide"})
    with pytest.raises(ValueError, match="max, average"):
        Hierarchy(GaborStage(), patch_stage(4, 2, "gaussian"), pooling="sum")
    with pytest.raises(ValueError, match="gaussian, rectified"):
        patch_stage(4, 2, "linear")
    with pytest.raises(ValueError, match="do not fit"):
        sample_patches([torch.rand(1, 4, 3, 3)], 5, 1, torch.Generator())
    with pytest.raises(ValueError, match="hardly a patch"):
        sample_patches([torch.zeros(1, 4, 6, 6)], 5, 1, torch.Generator())
    with pytest.raises(ValueError, match="fit into no band"):
        between(set())(torch.rand(1, 3, 40, 40))
