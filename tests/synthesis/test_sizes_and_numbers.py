"""Sizes, numbers and precisions that were asked for are those that are used, or refused."""

import dataclasses

import pytest
import torch
from torch import Tensor

import cnnperception as cp
from cnnperception.models import RandomFilters
from cnnperception.synthesis import Level
from cnnperception.synthesis.memory import bytes_per_pixel
from cnnperception.synthesis.presets import named
from cnnperception.synthesis.published import Loss
from cnnperception.synthesis.tiling import fitting_tiles

MODEL = RandomFilters(scales=2, channels=6)
BRICK = cp.exemplar("brick", size=64)
pytestmark = pytest.mark.filterwarnings("ignore:the image did not come near")


def test_settings_of_an_own_name_are_told_and_a_run_of_others_is_not_gone_on_with(tmp_path) -> None:
    def weighed(weight: float):
        loss = Loss(layers={"scale1": weight})
        return dataclasses.replace(named("default", "texture"), name="mine", loss=loss)

    options = {"model": MODEL, "size": 32, "evaluations": 12}
    records = [
        cp.texture(BRICK, preset=weighed(weight), **options).provenance["preset"]
        for weight in (1.0, 100.0)
    ]
    assert records[0]["name"] == records[1]["name"] == "mine"
    assert records[0] != records[1]

    def stop(moment) -> None:
        if moment.evaluation == 6:
            raise KeyboardInterrupt

    kept = tmp_path / "kept.safetensors"
    cp.texture(BRICK, preset=weighed(1.0), checkpoint=kept, watch=stop, **options)
    with pytest.raises(ValueError, match="other settings"):
        cp.texture(BRICK, preset=weighed(100.0), checkpoint=kept, **options)


def test_the_size_is_that_of_the_schedules_last_level() -> None:
    schedule = [Level((24, 32), 2), Level((36, 48), 2)]
    made = cp.texture(BRICK, model=MODEL, schedule=iter(schedule))
    assert made.provenance["size"] == [36, 48] == list(made.images.shape[-2:])
    styled = cp.stylize(BRICK, BRICK, model=MODEL, schedule=schedule)
    assert styled.provenance["size"] == [36, 48] == list(styled.images.shape[-2:])
    for synthesise, given in ((cp.texture, (BRICK,)), (cp.stylize, (BRICK, BRICK))):
        with pytest.raises(ValueError, match="ends with 36 x 48 pixels"):
            synthesise(*given, model=MODEL, size=64, schedule=schedule)
        with pytest.raises(ValueError, match="no level"):
            synthesise(*given, model=MODEL, schedule=[])
    with pytest.raises(ValueError, match="no level"):
        cp.metamer(BRICK, MODEL, "scale1", schedule=[])


@pytest.mark.parametrize("count", [0, -5])
def test_a_synthesis_takes_one_evaluation_or_more(count: int) -> None:
    told = pytest.raises(ValueError, match="evaluations")
    with told:
        cp.texture(BRICK, model=MODEL, evaluations=count)
    with told:
        cp.stylize(BRICK, BRICK, model=MODEL, evaluations=count)
    with told:
        cp.metamer(BRICK, MODEL, "scale1", evaluations=count)
    with told:
        cp.foveated_metamer(BRICK, model=MODEL, evaluations=count)
    with told:
        cp.controversial(BRICK, MODEL, "scale1", MODEL, "scale2", evaluations=count)


def test_levels_that_are_nothing_are_refused() -> None:
    for size, evaluations in (((0, 8), 1), ((8, 8), 0)):
        with pytest.raises(ValueError, match="1 pixel and 1 evaluation or more"):
            Level(size, evaluations)


@pytest.mark.parametrize("colour", ["affine", "luminance"])
def test_a_recoloured_painting_is_the_same_at_every_size_it_comes_in(colour: str) -> None:
    scene, large = cp.exemplar("coffee", size=48), cp.exemplar("brick", size=(192, 192))
    small = cp.images.resize(large, (48, 48))
    losses = [
        cp.stylize(
            scene,
            one,
            model=MODEL,
            colour=colour,
            size=(48, 48),
            style_layers=["scale2"],
            schedule=[Level((48, 48), 1)],
        ).final_losses()["style/scale2"]
        for one in (small, large)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.03)


class OnlyContrast(torch.nn.Module):
    """Refuses uniform images, and computes in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.name, self.layers, self.recommended, self.provenance = "own", ("x",), {}, {}
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1, dtype=torch.float64)
        self.requires_grad_(False)

    def features(self, images: Tensor, layers) -> dict[str, Tensor]:
        if not images.detach().flatten(1).std(dim=1).all():
            raise ValueError("an image has no contrast")
        return {"x": self.conv(images.double())}


def test_models_that_compute_in_float64_or_refuse_uniform_images_are_used() -> None:
    torch.manual_seed(0)
    model = OnlyContrast()
    assert bytes_per_pixel(model, ["x"]) > 0
    assert fitting_tiles(model, ["x"], 16).strides == {"x": 1}
    for made in (
        cp.texture(BRICK, model=model, layers="x", evaluations=4, precision="float32"),
        cp.stylize(
            BRICK,
            BRICK,
            model=model,
            content_layers="x",
            style_layers="x",
            evaluations=4,
            precision="float32",
        ),
    ):
        assert made.images.dtype == torch.float32
        assert made.finished


def test_a_held_model_is_never_seen_in_bfloat16() -> None:
    result = cp.controversial(
        BRICK, MODEL, "scale1", MODEL, "scale2", evaluations=2, precision="auto"
    )
    assert result.provenance["precision"] == "float32"


@pytest.mark.parametrize("statistic", ["shifted-gram", "gram-autocorrelation"])
def test_positions_farther_apart_than_the_result_is_wide_are_refused(statistic: str) -> None:
    options = {"model": MODEL, "layers": "scale1", "evaluations": 4, "statistic": statistic}
    with pytest.raises(ValueError, match="an image as large as the exemplar"):
        cp.texture(BRICK, size=8, **options)
    assert cp.texture(BRICK, size=80, **options).finished


def test_features_are_matched_at_the_same_size_alone() -> None:
    with pytest.raises(ValueError, match="between images of the same size"):
        cp.texture(BRICK, model=MODEL, size=40, statistic="features", evaluations=4)


def test_exemplars_with_gradients_memory_below_nothing_and_batches_of_masks(tmp_path) -> None:
    learnt = BRICK.clone().requires_grad_()
    options = {"model": MODEL, "size": 32, "evaluations": 4}
    assert cp.texture(learnt, checkpoint=tmp_path / "kept", **options).finished
    with pytest.raises(ValueError, match="above 0"):
        cp.texture(BRICK, memory=-1, **options)
    masks = [torch.zeros((1, 64, 64), dtype=torch.long)] * 2
    with pytest.raises(ValueError, match=r"of shape \(height, width\)"):
        cp.stylize(BRICK, BRICK, model=MODEL, masks=masks, evaluations=4)


def test_a_level_too_small_for_a_metamers_layers_is_named() -> None:
    hmax = cp.load_model("hmax")
    schedule = [Level((16, 16), 2), Level((64, 64), 2)]
    with pytest.raises(ValueError, match="16 x 16 pixels none of the layers c2"):
        cp.metamer(BRICK, hmax, "c2", schedule=schedule)
