"""The networks that come along do what is recorded of them."""

import pandas as pd
import pytest
import torch

import cnnperception as cp
from cnnperception.objects import CATEGORIES, ObjectScenes
from cnnperception.training import Course, learn_objects

HELD_OUT = ObjectScenes(
    size=64, variation="high", background="clutter", exemplars=range(1000, 1200), seed=2
)


def test_shipped_weights_reach_their_recorded_accuracy() -> None:
    model = cp.load_model("objects-vgg", device="cpu")
    assert model.classes == CATEGORIES
    right = 0
    for first in range(0, 3200, 320):
        numbers = range(first, first + 320)
        seen = model.features(HELD_OUT.pictures(numbers), ["categories"])["categories"]
        right += int((seen.argmax(dim=1) == HELD_OUT.labels(numbers)).sum())
    recorded = model.provenance["training"]["held_out"]
    assert right / 3200 == pytest.approx(recorded, abs=0.005)
    assert recorded > 0.8


def test_training_goes_on_from_its_checkpoint_to_the_same_weights(tmp_path) -> None:
    scenes = ObjectScenes(size=32, variation="low", background="blank", seed=1)
    held_out = scenes.pictures(range(100, 116)), scenes.labels(range(100, 116))
    course = Course(steps=4, batch=8)
    small = {"width": 4, "blocks": 2, "evaluations": 4}
    straight, curve = learn_objects(scenes, held_out, course, **small)
    path = tmp_path / "training.checkpoint"

    class Stopped(Exception):
        pass

    class Halting(ObjectScenes):
        def labels(self, numbers):
            if max(numbers) >= 3 * 8:
                raise Stopped
            return super().labels(numbers)

    halting = Halting(size=32, variation="low", background="blank", seed=1)
    with pytest.raises(Stopped):
        learn_objects(halting, held_out, course, checkpoint=path, **small)
    assert path.exists()
    resumed, again = learn_objects(scenes, held_out, course, checkpoint=path, **small)
    assert not path.exists()
    for name, value in straight.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)
    pd.testing.assert_frame_equal(
        curve.drop(columns="seconds"), again.drop(columns="seconds"), check_exact=True
    )


def test_other_weights_are_refused_and_missing_ones_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="self-supervised"):
        cp.load_model("objects-vgg", weights=str(tmp_path / "none.safetensors"))
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    with pytest.raises(ValueError, match="does not hold the weights"):
        cp.load_model("objects-vgg", weights=str(tmp_path / "broken.safetensors"))
