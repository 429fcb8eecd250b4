"""Displaced objects are the same objects, displaced by what was asked and by nothing else."""

import numpy as np
import pytest
import torch
from torch import Tensor

from cnnperception.objects import Displacement, ObjectScenes

SIDE = 64


def _shown(**settings: object) -> Tensor:
    return ObjectScenes(SIDE, "low", "blank", **settings).pictures(range(8))  # type: ignore[arg-type]


def test_no_displacement_is_the_standard_view() -> None:
    assert torch.equal(_shown(), _shown(displacement=Displacement()))


def test_a_shift_moves_the_pixels() -> None:
    small = Displacement(size=0.5)
    moved = Displacement((0.25, 0.125), 0.5)
    # 0.25 halves of 64 pixels are 8 pixels to the right, 0.125 are 4 up.
    expected = _shown(displacement=small).roll((-4, 8), (2, 3))
    torch.testing.assert_close(_shown(displacement=moved), expected, atol=1e-3, rtol=0)


def test_a_half_turn_in_the_plane_turns_the_outline_upside_down() -> None:
    upright = (_shown() - 0.5).abs().amax(dim=1) > 1e-3
    turned = _shown(displacement=Displacement(rotation=(0, 0, 180)))
    outline = (turned - 0.5).abs().amax(dim=1) > 1e-3
    assert (outline != upright.flip(1, 2)).float().mean() < 0.005


def test_the_table_tells_the_displacement_and_keeps_the_object() -> None:
    standard = ObjectScenes(SIDE, "low", "blank").table(range(8))
    scenes = ObjectScenes(
        SIDE, "low", "blank", displacement=Displacement((0.1, -0.2), 2.0, (1.0, 2.0, 3.0))
    )
    table = scenes.table(range(8))
    assert table["object"].tolist() == standard["object"].tolist()
    np.testing.assert_allclose(table["x"], 0.1)
    np.testing.assert_allclose(table["y"], -0.2)
    np.testing.assert_allclose(table["scale"], 2 * standard["scale"])
    for axis, angle in zip("xyz", (1, 2, 3), strict=True):
        np.testing.assert_allclose(table[f"turn_{axis}"] - standard[f"turn_{axis}"], angle)


def test_variation_is_about_the_displaced_view() -> None:
    still = ObjectScenes(SIDE, "high").table(range(50))
    moved = ObjectScenes(SIDE, "high", displacement=Displacement((0.3, 0.0))).table(range(50))
    np.testing.assert_allclose(moved["x"] - still["x"], 0.3)
    assert moved["turn_y"].tolist() == still["turn_y"].tolist()


def test_background_contrast_fades_what_is_behind_and_leaves_the_object() -> None:
    def clutter(contrast: float) -> Tensor:
        return ObjectScenes(SIDE, "low", "clutter", seed=3, background_contrast=contrast).pictures(
            range(8)
        )

    none, half, full = clutter(0.0), clutter(0.5), clutter(1.0)
    behind = (none - 0.5).abs().amax(dim=1, keepdim=True) < 1e-6
    assert 0.3 < behind.float().mean() < 0.95
    expected = torch.where(behind, 0.5 + 0.5 * (full - 0.5), full)
    torch.testing.assert_close(half, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(clutter(1 - 1e-9), full, atol=1e-6, rtol=0)


def test_stimuli_are_the_pictures_in_eight_bits_with_their_table() -> None:
    scenes = ObjectScenes(SIDE, "medium", "clutter")
    stimuli = scenes.stimuli([3, 5])
    assert stimuli.ids == scenes.table([3, 5])["stimulus_id"].tolist()
    expected = scenes.pictures([3, 5])
    torch.testing.assert_close(stimuli.batch([0, 1]), expected, atol=0.5 / 255 + 1e-6, rtol=0)


@pytest.mark.parametrize(
    "wrong", [{"displacement": Displacement(size=0.0)}, {"background_contrast": 1.5}]
)
def test_what_cannot_be_shown_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="factor above 0.*from 0 to 1"):
        ObjectScenes(**wrong)  # type: ignore[arg-type]
