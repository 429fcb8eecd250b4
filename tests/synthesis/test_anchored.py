"""Differences from an anchor, in bfloat16, are nearly as good as float32."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import cnnperception as cp
from cnnperception.models import RandomFilters
from cnnperception.synthesis import Level, Objective, run
from cnnperception.synthesis.anchored import Anchored
from cnnperception.synthesis.objective import match, plain_gram, unchanged

from .interruptions import interrupt_at

FILTERS = RandomFilters(scales=2, channels=16)
VGG = cp.load_model("vgg11", weights=None, pooling="avg", device="cpu")


def _noise(side: int, seed: int = 0, batch: int = 1) -> Tensor:
    return torch.rand((batch, 3, side, side), generator=torch.Generator().manual_seed(seed))


def _objective(model: Any, layers: Sequence[str], measure: Any = plain_gram) -> Objective:
    return Objective(model, match("x", model, layers, measure, _noise(64, 1)))


def _anchored(objective: Objective, at: Tensor) -> Anchored:
    evaluate = Anchored(dataclasses.replace(objective, precision=torch.bfloat16))
    evaluate(at)
    return evaluate


@pytest.mark.parametrize(("model", "layers"), [(FILTERS, ["scale2"]), (VGG, ["pool1", "pool3"])])
def test_at_the_anchor_all_is_as_in_float32(model: Any, layers: list[str]) -> None:
    objective, images = _objective(model, layers), _noise(64, 2, batch=2)
    evaluate = Anchored(dataclasses.replace(objective, precision=torch.bfloat16))
    for found, expected in zip(evaluate(images), objective(images), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize(("model", "layers"), [(FILTERS, ["scale2"]), (VGG, ["pool1", "pool3"])])
def test_rounding_is_relative_to_the_distance_from_the_anchor(
    model: Any, layers: list[str]
) -> None:
    objective = _objective(model, layers, unchanged)
    rough = dataclasses.replace(objective, precision=torch.bfloat16)
    images = _noise(64, 2)
    exact, gradient, _ = objective(images)
    errors = []
    for distance in (0.1, 0.01, 0.001):
        evaluate = _anchored(objective, images + distance * (_noise(64, 3) - 0.5))
        loss, found, _ = evaluate(images)
        errors.append(abs(float(loss - exact)))
        assert functional.cosine_similarity(found.flatten(), gradient.flatten(), dim=0) > 0.9999
    assert errors[1] < 0.5 * errors[0]
    assert errors[2] < max(0.5 * errors[1], 1e-6 * float(exact))
    assert errors[1] < 0.1 * abs(float(rough(images)[0] - exact))


def test_near_a_match_the_loss_is_nearly_that_of_float32() -> None:
    objective = _objective(FILTERS, ["scale1", "scale2"])
    images = _noise(64, 1) + 0.003 * _noise(64, 2)
    exact = float(objective(images)[0])
    rough = float(dataclasses.replace(objective, precision=torch.bfloat16)(images)[0])
    found = float(_anchored(objective, _noise(64, 1))(images)[0])
    assert abs(found - exact) < 0.02 * exact
    assert abs(rough - exact) > 3 * abs(found - exact)


def test_models_that_need_float32_get_it() -> None:
    hmax = cp.load_model("hmax", device="cpu")
    objective, images = _objective(hmax, ["c1/band1"]), _noise(64, 2)
    evaluate = _anchored(objective, _noise(64, 3))
    for found, expected in zip(evaluate(images), objective(images), strict=True):
        assert torch.equal(found, expected)


class _Made(nn.Module):
    """A model of one function of the images, which autocast may round."""

    name, layers = "made", ("only",)

    def __init__(self, respond: Callable[[nn.Module, Tensor], Tensor]):
        super().__init__()
        self.recommended: dict[str, Any] = {}
        self.provenance: dict[str, Any] = {}
        random = torch.Generator().manual_seed(5)
        self.kernel = nn.Parameter(torch.randn((8, 3, 3, 3), generator=random))
        self.matrix = nn.Parameter(torch.randn((4, 8), generator=random))
        self.respond = respond
        self.requires_grad_(False)

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        return {"only": self.respond(self, images)}


def _by_keyword(model: Any, images: Tensor) -> Tensor:
    return functional.conv2d(input=images, weight=model.kernel, padding=1, stride=2)


def _in_place(model: Any, images: Tensor) -> Tensor:
    return functional.conv2d(images, model.kernel, None, 1, 1).add_(0.1).relu_()


def _linear(model: Any, images: Tensor) -> Tensor:
    wide = functional.conv2d(images, model.kernel)
    return functional.linear(wide.movedim(1, -1), weight=model.matrix, bias=None).movedim(-1, 1)


def _twice(model: Any, images: Tensor) -> Tensor:
    half = functional.avg_pool2d(images, 2)
    small = functional.conv2d(half, model.kernel, padding=1)
    return functional.conv2d(images, model.kernel, padding=1, stride=2) + small


@pytest.mark.parametrize("respond", [_by_keyword, _in_place, _linear, _twice])
def test_every_way_to_call_a_linear_map_is_seen(respond: Any) -> None:
    objective = _objective(_Made(respond), ["only"], unchanged)
    images = _noise(64, 2)
    evaluate = _anchored(objective, images + 0.01 * _noise(64, 3))
    assert len(evaluate.maps) == (2 if respond in (_linear, _twice) else 1)
    loss, gradient, _ = evaluate(images)
    exact, expected, _ = objective(images)
    torch.testing.assert_close(loss, exact, rtol=1e-4, atol=0)
    assert functional.cosine_similarity(gradient.flatten(), expected.flatten(), dim=0) > 0.999
    assert not torch.equal(gradient, expected)  # it was rounded


def test_a_map_that_depends_on_the_images_is_not_taken_for_linear() -> None:
    def respond(model: Any, images: Tensor) -> Tensor:
        return functional.conv2d(images, model.kernel * images.mean())

    objective, images = _objective(_Made(respond), ["only"]), _noise(64, 2)
    evaluate = _anchored(objective, _noise(64, 3))
    assert evaluate.maps == []
    for found, expected in zip(evaluate(images), objective(images), strict=True):
        assert torch.equal(found, expected)


def test_reduced_copies_of_the_images_are_anchored_too() -> None:
    fine, coarse = _objective(FILTERS, ["scale1"]), _objective(FILTERS, ["scale2"])
    objective = dataclasses.replace(fine, coarser=[((32, 32), coarse)])
    images = _noise(64, 2)
    evaluate = _anchored(objective, images + 0.01 * _noise(64, 3))
    assert len(evaluate.maps) == 3
    loss, gradient, terms = evaluate(images)
    exact, expected, parts = objective(images)
    torch.testing.assert_close(loss, exact, rtol=1e-3, atol=0)
    torch.testing.assert_close(terms, parts, rtol=1e-3, atol=0)
    assert functional.cosine_similarity(gradient.flatten(), expected.flatten(), dim=0) > 0.999


def _settings(evaluations: int) -> dict[str, Any]:
    return {
        "model": FILTERS,
        "precision": "mixed",
        "seed": 2,
        "schedule": [Level((32, 32), 3), Level((64, 64), evaluations)],
    }


def test_anchors_are_renewed_and_the_last_evaluation_is_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []

    def noted(self: Anchored, images: Tensor) -> Any:
        seen.append("difference" if self.maps else "anchor")
        return evaluate_near(self, images)

    def noted_otherwise(self: Objective, images: Tensor) -> Any:
        if torch.overrides._get_current_function_mode() is None:
            seen.append(str(self.precision).removeprefix("torch."))
        return evaluate(self, images)

    evaluate_near, evaluate = Anchored.__call__, Objective.__call__
    monkeypatch.setattr(Anchored, "__call__", noted)
    monkeypatch.setattr(Objective, "__call__", noted_otherwise)
    monkeypatch.setattr(run, "RENEWED", 4)
    cp.texture(_noise(64)[0], **_settings(11))
    once = ["anchor"] + 3 * ["difference"]
    assert seen == 3 * ["bfloat16"] + once + once + ["anchor", "difference"] + ["float32"]


@pytest.mark.parametrize("stop", range(2, 14))
def test_an_interruption_between_anchors_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    monkeypatch.setattr(run, "RENEWED", 4)
    whole = cp.texture(_noise(64)[0], **_settings(11))
    interrupt_at(monkeypatch, stop)
    path = tmp_path / "texture.checkpoint"
    broken = cp.texture(_noise(64)[0], **_settings(11), checkpoint=path, checkpoint_every=1)
    assert not broken.finished
    resumed = cp.texture(_noise(64)[0], **_settings(11), checkpoint=path)
    assert torch.equal(resumed.image, whole.image)
    assert len(resumed.losses) == len(whole.losses)


def test_where_there_is_no_memory_for_an_anchor_the_end_is_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[torch.dtype] = []

    def noted(self: Objective, images: Tensor) -> Any:
        seen.append(self.precision)
        return evaluate(self, images)

    evaluate = Objective.__call__
    monkeypatch.setattr(Objective, "__call__", noted)
    monkeypatch.setattr(run, "has_room_for_anchor", lambda *_: False)
    result = cp.texture(_noise(64)[0], **_settings(10))
    assert seen == [torch.bfloat16] * (3 + 6) + [torch.float32] * 4
    assert result.provenance["evaluations"] == 13
