"""Images beyond memory are seen in tiles; where nothing helps, the error says what would."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import cnnperception as cp
from cnnperception.models import RandomFilters
from cnnperception.synthesis import Level, Objective, memory
from cnnperception.synthesis.objective import match, plain_gram
from cnnperception.synthesis.stages import is_mixed

from .interruptions import interrupt_at

MODEL = RandomFilters(scales=2, channels=16)
LAYERS = ["scale1", "scale2"]


def _noise(side: int, seed: int = 0) -> Tensor:
    return torch.rand((3, side, side), generator=torch.Generator().manual_seed(seed))


def test_the_estimate_grows_with_the_layers_and_not_with_weights() -> None:
    one, two = (memory.bytes_per_pixel(MODEL, LAYERS[:count]) for count in (1, 2))
    # 16 channels and 3 colours, each kept before and after the rectification at least.
    assert one > 4 * 2 * 16
    assert two > 1.2 * one
    wide = memory.bytes_per_pixel(RandomFilters(scales=2, channels=32), LAYERS)
    assert 1.5 < wide / two < 2.2


def test_tiles_are_used_where_an_image_does_not_fit_and_only_there() -> None:
    cost = memory.bytes_per_pixel(MODEL, LAYERS) * memory.WORKSPACE
    whole = int(512 * 512 * cost)
    assert memory.tiles_for(MODEL, LAYERS, (512, 512), memory=whole + 1) is None
    tiles = memory.tiles_for(MODEL, LAYERS, (512, 512), memory=whole // 4)
    assert tiles is not None
    assert (tiles.side + 2 * tiles.halo) ** 2 * cost <= whole // 4
    assert tiles.side > 64
    with pytest.raises(MemoryError, match="smallest tile .* takes about"):
        memory.tiles_for(MODEL, LAYERS, (512, 512), memory=20_000)


def test_a_texture_in_tiles_is_the_texture_in_one_piece() -> None:
    exemplar = _noise(96) ** 2
    cost = memory.bytes_per_pixel(MODEL, LAYERS) * memory.WORKSPACE
    options: dict[str, Any] = {"model": MODEL, "evaluations": 12, "precision": "float32"}
    whole = cp.texture(exemplar, **options)
    tiled = cp.texture(exemplar, **options, memory=int(96 * 96 * cost * 0.7))
    torch.testing.assert_close(tiled.image, whole.image, atol=2e-3, rtol=0)


def test_an_anchor_needs_room_besides_an_evaluation() -> None:
    images = torch.zeros((2, 3, 512, 512))
    cost = 2 * 512 * 512 * memory.bytes_per_pixel(MODEL, LAYERS)
    needed = int(cost * (memory.WORKSPACE + memory.ANCHOR))
    assert memory.has_room_for_anchor(MODEL, LAYERS, images, needed + 1)
    assert not memory.has_room_for_anchor(MODEL, LAYERS, images, needed - 1)
    assert memory.has_room_for_anchor(MODEL, [], images, 1)
    assert memory.has_room_for_anchor(MODEL, LAYERS, images[..., :64, :64])


def test_very_large_images_get_a_shorter_history() -> None:
    start = torch.zeros(1, 3, 256, 256)
    pair = 2 * start.numel() * 4
    assert memory.history_for(start, 100 * pair) == memory.HISTORY
    assert memory.history_for(start, 20 * pair) == 10
    assert memory.history_for(start, pair) == memory.FEWEST_PAIRS


class _Hungry(RandomFilters):
    """Runs out of memory after a while."""

    left = 30

    def features(self, images: Tensor, layers: Any) -> dict[str, Tensor]:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return super().features(images, layers)


def test_without_memory_the_error_says_what_to_lower_and_the_checkpoint_stays(
    tmp_path: Path,
) -> None:
    model, path = _Hungry(scales=2, channels=8), tmp_path / "x.checkpoint"
    levels = [Level((64, 64), 60)]
    with pytest.raises(MemoryError, match=r"lower the size.*keeps what was reached"):
        cp.texture(_noise(64), model=model, schedule=levels, checkpoint=path)
    assert path.exists()
    model.left = 1000
    resumed = cp.texture(_noise(64), model=model, schedule=levels, checkpoint=path)
    assert resumed.finished
    whole = cp.texture(_noise(64), model=model, schedule=levels)
    assert torch.equal(resumed.image, whole.image)


def test_other_errors_of_the_model_are_not_mistaken_for_it() -> None:
    assert not memory.is_out_of_memory(RuntimeError("shapes do not match"))
    assert memory.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))


def test_mixed_precision_comes_as_near_and_tells_the_loss_of_float32() -> None:
    exemplar = cp.exemplar("brick", size=96)
    options: dict[str, Any] = {"model": MODEL, "statistic": "gram", "evaluations": 150}
    full = cp.texture(exemplar, **options, precision="float32")
    mixed = cp.texture(exemplar, **options, precision="mixed")
    assert mixed.provenance["precision"] == "mixed"
    assert mixed.provenance["evaluations"] == full.provenance["evaluations"]
    texture = [term for term in full.final_losses().index if term.startswith("texture")]
    ratio = mixed.final_losses()[texture].sum() / full.final_losses()[texture].sum()
    assert ratio < 1.5
    assert not torch.equal(full.image, mixed.image)
    # The losses at the end are those that the image has in float32.
    terms = match("texture", MODEL, LAYERS, plain_gram, exemplar)
    expected = Objective(MODEL, terms).losses(mixed.images)[0]
    torch.testing.assert_close(
        torch.tensor(mixed.final_losses()[texture].values), expected.double(), rtol=1e-3, atol=1e-9
    )


def test_the_same_seed_gives_the_same_image_in_every_precision() -> None:
    for precision in ("float32", "mixed"):
        one, two = (
            cp.texture(_noise(64), model=MODEL, evaluations=20, precision=precision)
            for _ in range(2)
        )
        assert torch.equal(one.image, two.image)


@pytest.mark.parametrize("stop", range(2, 10))
def test_an_interruption_between_levels_and_precisions_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    settings: dict[str, Any] = {"model": MODEL, "precision": "mixed", "seed": 2}
    settings["schedule"] = [Level((32, 32), 3), Level((64, 64), 6)]
    whole = cp.texture(_noise(64), **settings)
    interrupt_at(monkeypatch, stop)
    path = tmp_path / "texture.checkpoint"
    broken = cp.texture(_noise(64), **settings, checkpoint=path, checkpoint_every=1)
    assert not broken.finished
    resumed = cp.texture(_noise(64), **settings, checkpoint=path)
    assert torch.equal(resumed.image, whole.image)
    assert len(resumed.losses) == len(whole.losses)


def test_an_unknown_precision_is_named() -> None:
    with pytest.raises(ValueError, match="auto, float32, mixed; got 'half'"):
        is_mixed("half", torch.device("cpu"))
    assert not is_mixed("float32", torch.device("cpu"))
