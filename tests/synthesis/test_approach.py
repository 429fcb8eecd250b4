"""A published style transfer by the engine's own search: the same loss, lower and sooner."""

import dataclasses
import itertools

import pytest
import torch

import cnnperception as cp
from cnnperception.models.interface import VisionModel
from cnnperception.synthesis import style
from cnnperception.synthesis.approach import (
    AT_FULL_SIZE,
    AT_SMALLER_SIZES,
    approaching,
    held,
    is_on_the_way,
)
from cnnperception.synthesis.objective import Objective, Term, match, plain_gram
from cnnperception.synthesis.presets import named
from cnnperception.synthesis.pyramid import Level

from .interruptions import interrupt_at

PHOTO, ART = cp.exemplar("chelsea", size=96), cp.exemplar("retina", size=96)
SCENE, SCENE_STYLE = cp.exemplar("astronaut", size=144), cp.exemplar("coffee", size=144)


@pytest.fixture(scope="module")
def small() -> VisionModel:
    return cp.load_model("objects-vgg", pooling="avg", device="cpu")


@pytest.mark.parametrize(
    ("size", "evaluations"),
    list(itertools.product([(512, 384), (65, 90), (130, 200)], [1, 4, 40, 360])),
)
def test_levels_grow_and_end_with_the_loss_itself(size, evaluations) -> None:
    levels = approaching(size, evaluations)
    assert levels[-1].size == size
    assert all(level.evaluations >= 1 for level in levels)
    sides = [level.size[0] for level in levels]
    assert sides == sorted(sides)
    assert min(min(level.size) for level in levels) >= min(64, min(size))
    if evaluations >= 40:
        assert sum(level.evaluations for level in levels) == pytest.approx(evaluations, abs=2)
        assert [level.size for level in levels[-2:]] == [size, size]
        assert levels[-1].evaluations > 0.4 * evaluations


def _term(weight: float) -> Term:
    return Term("x", "x", lambda features: features, torch.ones(1, 2), weight)


def test_content_has_at_least_its_share_on_the_way_and_its_own_weight_at_the_end() -> None:
    levels = [Level((32, 32), 5), Level((64, 64), 5), Level((64, 64), 5)]
    assert [is_on_the_way(levels, index) for index in range(3)] == [True, True, False]
    styles = [_term(3.0), _term(1.0)]
    contents = [_term(0.003), _term(0.001)]  # 0.001 of the style's
    for index, share in enumerate((AT_SMALLER_SIZES, AT_FULL_SIZE, 0.001)):
        weights = [term.weight for term in held(contents, styles, levels, index)]
        assert sum(weights) == pytest.approx(share * 4.0)
        assert weights[0] == pytest.approx(3 * weights[1])
    # What weighs enough by itself is left alone.
    heavy = [_term(9.0)]
    assert [held(heavy, styles, levels, index)[0].weight for index in range(3)] == [9.0] * 3
    assert held([_term(0.0)], styles, levels, 0)[0].weight == 0.0


def _objectives(monkeypatch: pytest.MonkeyPatch, **settings: object) -> list[Objective]:
    found: list[Objective] = []

    def look(objective_at, levels, *arguments, **keywords):
        found.extend(objective_at(index) for index in range(len(levels)))
        raise InterruptedError

    with monkeypatch.context() as patched:
        patched.setattr(style, "synthesize", look)
        with pytest.raises(InterruptedError):
            cp.stylize(PHOTO, ART, **settings)
    return found


def test_the_last_level_is_the_papers_loss_and_those_before_are_not(small, monkeypatch) -> None:
    (paper,) = _objectives(monkeypatch, preset="gatys2016", model=small)
    *way, last = _objectives(monkeypatch, preset="gatys2016-fast", model=small)
    assert last.names == paper.names
    assert last.weights == paper.weights
    images = PHOTO.flip(3)
    torch.testing.assert_close(last.losses(images), paper.losses(images))
    for objective in way:
        assert objective.weights[-1] > 1.5 * last.weights[-1]
        assert objective.names[-1] == "content/conv4_2"
    # Layers that see too much of the small painting are left for the last level.
    assert set(way[-1].names) < set(last.names)
    first = way[-1].losses(images)[0, 0]
    assert abs(first / last.losses(images)[0, 0] - 1) > 0.01


def test_another_statistic_is_used_on_the_way_too(small, monkeypatch) -> None:
    settings = {"preset": "gatys2016-fast", "model": small, "statistic": "mean-covariance"}
    *way, last = _objectives(monkeypatch, **settings)
    images = PHOTO.flip(3)
    assert way[-1].names[0] == last.names[0] == "style/conv1_1"
    torch.testing.assert_close(way[-1].losses(images)[:, 0], last.losses(images)[:, 0])


def _loss(model: VisionModel, result: cp.SynthesisResult) -> float:
    """Return the last loss, as gatys2016 has it for networks that are not Caffe's."""
    rows = result.losses[result.losses["evaluation"] == result.losses["evaluation"].max()]
    relative = rows.set_index("term")["loss"]
    layers = [layer for layer in named("gatys2016").style_layers if layer in model.layers]
    total = 0.0
    for term in match("style", model, layers, plain_gram, SCENE_STYLE):
        per_unit = 2e8 * float(term.target.double().square().mean())
        total += per_unit * relative[f"style/{term.layer}"]
    kept = model.features(SCENE, ["conv4_2"])["conv4_2"].double()
    return total + 1e6 * float(kept.square().mean()) * relative["content/conv4_2"]


def test_it_reaches_a_lower_loss_than_the_paper_and_one_level_in_as_many_evaluations() -> None:
    model = cp.load_model("objects-vgg", weights=None, pooling="avg", device="cpu")
    common = {"model": model, "evaluations": 120}
    paper = _loss(model, cp.stylize(SCENE, SCENE_STYLE, preset="gatys2016", **common))
    ours = _loss(model, cp.stylize(SCENE, SCENE_STYLE, preset="gatys2016-fast", **common))
    one_level = dataclasses.replace(named("gatys2016-fast"), approached=False)
    single = cp.stylize(
        SCENE,
        SCENE_STYLE,
        preset=one_level,
        schedule=[Level((144, 144), 120)],
        composed_at=144,
        **common,
    )
    assert ours < 0.95 * paper
    assert ours < 0.95 * _loss(model, single)


def test_what_cannot_be_approached_is_refused(small) -> None:
    wrong = dataclasses.replace(named("gatys2016"), approached=True)
    with pytest.raises(ValueError, match="only a style transfer without stages"):
        cp.stylize(PHOTO, ART, preset=wrong, model=small)
    texture = dataclasses.replace(named("default"), approached=True)
    with pytest.raises(ValueError, match="only a style transfer without stages"):
        cp.texture(PHOTO, preset=texture, model=small)


def test_it_goes_on_where_it_was_interrupted(small, tmp_path, monkeypatch) -> None:
    settings = {"preset": "gatys2016-fast", "model": small, "evaluations": 27}
    whole = cp.stylize(PHOTO, ART, **settings)
    path = tmp_path / "style.checkpoint"
    interrupt_at(monkeypatch, 14)
    assert not cp.stylize(PHOTO, ART, checkpoint=path, **settings).finished
    resumed = cp.stylize(PHOTO, ART, checkpoint=path, **settings)
    assert resumed.finished
    assert torch.equal(resumed.images, whole.images)
