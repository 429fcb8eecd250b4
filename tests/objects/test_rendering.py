import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnperception.objects import BACKGROUNDS, CATEGORIES, VARIATIONS, ObjectScenes, exemplar_parts
from cnnperception.objects.parts import FORMS, Part, normalised, rotation
from cnnperception.objects.rendering import Scenes, draw
from cnnperception.objects.scenes import _arrays
from cnnperception.objects.shapes import MOST_PARTS
from cnnperception.stimuli import StimulusSet


def _scene(*parts: Part, colour: float = 1.0) -> Scenes:
    arrays = {name: torch.from_numpy(a).float()[None] for name, a in _arrays(parts).items()}
    count = len(parts)
    return Scenes(
        **arrays,
        colours=torch.full((1, count, 2, 3), colour),
        waves=torch.zeros(1, 1, 5),
        to_object=torch.eye(3)[None],
        origin=torch.zeros(1, 3),
        light=torch.tensor([[0.0, 0.0, 1.0]]),
        ambient=torch.zeros(1),
    )


def _mask(*parts: Part, side: int = 64) -> np.ndarray:
    # Light from everywhere: every pixel of the object is white.
    scene = dataclasses.replace(_scene(*parts), ambient=torch.ones(1))
    drawn = draw(scene, torch.zeros(1, 3, side, side))
    return (drawn[0, 0] > 0.5).numpy()


def _inside(part: Part, points: np.ndarray) -> np.ndarray:
    """Say by its definition whether points (n, 3) lie in a part."""
    square, slope, size, lower, upper = FORMS[part.form]
    x, y, z = part.to_own_coordinates() @ (points - np.asarray(part.centre)).T
    own = np.stack([x, y, z])
    held = x**2 + y**2 + square * z**2 + slope * z <= size
    within = (own >= np.array(lower)[:, None]) & (own <= np.array(upper)[:, None])
    return held & within.all(axis=0)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_an_outline_is_that_of_the_points_inside_the_part(form: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    centre, half = random.uniform(-0.3, 0.3, 3), random.uniform(0.2, 0.5, 3)
    part = Part(
        form, tuple(centre), tuple(half), "xyz"[seed % 3], tuple(random.uniform(-180, 180, 3))
    )
    side, depths = 32, np.linspace(-1.2, 1.2, 801)
    along = (np.arange(side) + 0.5) * 2 / side - 1
    x, y = np.meshgrid(along, -along)
    seen = np.zeros((side, side), bool)
    for depth in depths:
        points = np.stack([x.ravel(), y.ravel(), np.full(side**2, depth)], axis=1)
        seen |= _inside(part, points).reshape(side, side)
    # Thin borders fall between the samples along z.
    assert (_mask(part, side=side) != seen).mean() < 0.01
    assert not (seen & ~_mask(part, side=side)).any()


def test_a_ball_is_shaded_by_the_cosine_of_its_normal() -> None:
    side = 65
    drawn = draw(
        _scene(Part("ball", (0, 0, 0), (1, 1, 1)), colour=0.6), torch.zeros(1, 3, side, side)
    )
    along = (np.arange(side) + 0.5) * 2 / side - 1
    x, y = np.meshgrid(along, along)
    cosine = np.sqrt(np.clip(1 - x**2 - y**2, 0, None))
    expected = np.where(x**2 + y**2 < 1, 0.6 * cosine + 0.25 * cosine**24, 0).clip(0, 1)
    np.testing.assert_allclose(drawn[0, 1].numpy(), expected, atol=2e-3)


def test_the_nearer_of_two_parts_hides_the_other() -> None:
    near, far = (
        Part("ball", (0, 0, 0.5), (0.3, 0.3, 0.3)),
        Part("box", (0, 0, -0.5), (0.6, 0.6, 0.1)),
    )
    scene = _scene(near, far)
    scene.colours[0, 1] = 0.2
    drawn = draw(dataclasses.replace(scene, ambient=torch.ones(1)), torch.zeros(1, 3, 64, 64))
    assert drawn[0, 0, 32, 32] > 0.9
    assert 0.1 < drawn[0, 0, 32, 15] < 0.5
    swapped = _scene(far, near)
    swapped.colours[0, 0] = 0.2
    again = draw(dataclasses.replace(swapped, ambient=torch.ones(1)), torch.zeros(1, 3, 64, 64))
    torch.testing.assert_close(drawn, again)


@pytest.mark.parametrize("category", CATEGORIES)
def test_exemplars_fit_the_sphere_and_the_table_of_parts_and_differ(category: str) -> None:
    centres = set()
    for exemplar in range(200):
        parts = exemplar_parts(category, exemplar)
        assert len(parts) <= MOST_PARTS
        radius = max(np.linalg.norm(part.corners(), axis=1).max() for part in parts)
        assert radius <= 1 + 1e-9
        centres.add(tuple(parts[0].half))
    assert len(centres) > 190
    assert exemplar_parts(category, 3) == exemplar_parts(category, 3)


@settings(max_examples=25, deadline=None)
@given(angles=st.tuples(*[st.floats(-360, 360)] * 3))
def test_a_rotation_keeps_lengths_and_handedness(angles: tuple[float, float, float]) -> None:
    turned = rotation(angles)
    np.testing.assert_allclose(turned @ turned.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turned) == pytest.approx(1)


def test_normalised_parts_keep_their_proportions() -> None:
    parts = [Part("ball", (5, 0, 0), (1, 2, 3)), Part("box", (9, 0, 0), (2, 2, 2))]
    small = normalised(parts)
    ratio = small[0].half[0] / 1
    np.testing.assert_allclose(np.array(small[1].half), 2 * ratio)
    assert small[1].centre[0] - small[0].centre[0] == pytest.approx(4 * ratio)


def test_a_picture_depends_on_its_number_and_seed_alone() -> None:
    scenes = ObjectScenes(size=40, background=BACKGROUNDS, seed=3)
    together = scenes.pictures(range(40))
    torch.testing.assert_close(together[17:18], scenes.pictures([17]), rtol=0, atol=0)
    torch.testing.assert_close(together[[5, 2]], scenes.pictures([5, 2]), rtol=0, atol=0)
    other = ObjectScenes(size=40, background=BACKGROUNDS, seed=4).pictures([17])
    assert not torch.equal(together[17:18], other)
    assert together.min() >= 0
    assert together.max() <= 1


def test_low_variation_moves_nothing_and_high_variation_stays_in_its_range() -> None:
    low = ObjectScenes(variation="low", exemplars=[0]).table(range(32))
    assert low[["x", "y", "turn_x", "turn_y", "scale"]].nunique().eq(1).all()
    high = ObjectScenes(variation="high").table(range(300))
    vary = VARIATIONS["high"]
    assert high["x"].abs().max() <= vary.position
    assert high["x"].abs().max() > 0.9 * vary.position
    ratio = high["scale"] / low["scale"].iloc[0]
    assert ratio.between(1 / vary.size, vary.size).all()
    assert (high["turn_z"] - low["turn_z"].iloc[0]).abs().between(0, vary.rotation).all()


def test_the_table_says_where_the_object_is() -> None:
    scenes = ObjectScenes(size=64, variation="high", background="blank", seed=5)
    table, pictures = scenes.table(range(24)), scenes.pictures(range(24))
    along = (np.arange(64) + 0.5) / 32 - 1
    for row, picture in zip(table.itertuples(), pictures, strict=True):
        shown = (picture - 0.5).abs().amax(dim=0).numpy() > 1e-3
        x = (along * shown.sum(axis=0)).sum() / shown.sum()
        y = (-along * shown.sum(axis=1)).sum() / shown.sum()
        assert abs(x - row.x) < row.scale
        assert abs(y - row.y) < row.scale
        assert np.abs(along[shown.any(axis=0)] - row.x).max() <= row.scale + 1 / 32


def test_oversampling_shows_the_same_scene_with_smoother_outlines() -> None:
    rough = ObjectScenes(size=48, background="blank", variation="medium").pictures(range(8))
    smooth = ObjectScenes(size=48, background="blank", variation="medium", oversampling=3)
    assert (rough - smooth.pictures(range(8))).abs().mean() < 0.03


def test_a_written_set_is_a_stimulus_set_and_is_not_drawn_twice(tmp_path: Path) -> None:
    scenes = ObjectScenes(size=32, seed=1)
    written = scenes.write(tmp_path, 5)
    assert isinstance(written, StimulusSet)
    assert written.table["category"].tolist() == list(CATEGORIES[:5])
    first = (tmp_path / written.table["file"][0]).read_bytes()
    (tmp_path / written.table["file"][1]).unlink()
    again = scenes.write(tmp_path, 5)
    assert (tmp_path / again.table["file"][0]).read_bytes() == first
    torch.testing.assert_close(again.image(1), scenes.pictures([1]), atol=1 / 500, rtol=0)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"variation": "huge"}, "low.*medium.*high"),
        ({"background": "sea"}, "no background is called 'sea'"),
        ({"background": []}, "at least one background"),
        ({"categories": ["cat"]}, "no category is called 'cat'"),
        ({"categories": []}, "at least one category"),
        ({"size": 4}, "8 or more"),
        ({"exemplars": [-1]}, "from 0 on"),
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ObjectScenes(**wrong)  # type: ignore[arg-type]
