"""Large style transfers: what is asked of the picture at smaller sizes, and what it does."""

import itertools
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from typer.testing import CliRunner

import cnnperception as cp
from cnnperception.cli import app
from cnnperception.models import RandomFilters
from cnnperception.synthesis import Level, Objective, PixelTerm, setup
from cnnperception.synthesis.measures import MEASURES
from cnnperception.synthesis.objective import match, out_of_range, unchanged
from cnnperception.synthesis.pyramid import halvings
from cnnperception.synthesis.resampling import resampled
from cnnperception.synthesis.tiling import fitting_tiles

MODEL = RandomFilters(scales=3, channels=16)


def _noise(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(seed))


def _coarser(model: RandomFilters, side: int, dtype: torch.dtype = torch.float32) -> Objective:
    source = _noise(side, side, 1).to(dtype)
    terms = match("style", model, ["scale1"], MEASURES["gram"], source)
    terms += match("content", model, ["normalised1"], unchanged, source, weight=0.1)
    return Objective(model, terms)


@given(height=st.integers(1, 3000), width=st.integers(1, 3000), smallest=st.integers(1, 3000))
def test_sizes_are_halved_down_to_the_smallest(height: int, width: int, smallest: int) -> None:
    sizes = halvings((height, width), smallest)
    assert sizes[0] == (height, width)
    assert min(sizes[-1]) == min(smallest, height, width)
    needed = math.log2(max(1.0, min(height, width) / smallest))
    assert abs(len(sizes) - 1 - needed) < 2  # an odd side is halved to a whole number
    for (tall, wide), (half_tall, half_wide) in itertools.pairwise(sizes):
        assert tall / 2 - 1 <= half_tall <= tall
        assert wide / 2 - 1 <= half_wide <= wide


def test_what_is_asked_of_reduced_images_is_added() -> None:
    small = _coarser(MODEL, 20)
    terms = match("style", MODEL, ["scale2"], MEASURES["gram"], _noise(48, 48, 2))
    limits = [PixelTerm("range", out_of_range, 3.0)]
    alone = Objective(MODEL, terms, limits)
    both = Objective(MODEL, terms, limits, coarser=[((20, 20), small)])
    images = 1.2 * torch.cat([_noise(48, 48, 3), _noise(48, 48, 4)])
    total, _, losses = both(images)
    reduced = resampled(images, (20, 20))
    torch.testing.assert_close(total, alone(images)[0] + small(reduced)[0])
    torch.testing.assert_close(losses, torch.cat([alone.losses(images), small.losses(reduced)], 1))
    torch.testing.assert_close(losses @ torch.tensor(both.weights), total)
    assert both.names == (
        "style/scale2",
        "range",
        "style/scale1/20x20",
        "content/normalised1/20x20",
    )


def test_the_gradient_of_what_is_asked_of_reduced_images_equals_finite_differences() -> None:
    model = RandomFilters(scales=1, channels=4).double()
    objective = Objective(model, [], [PixelTerm("range", out_of_range)])
    objective = Objective(
        model,
        match("style", model, ["scale1"], MEASURES["gram"], _noise(10, 10, 2).double()),
        coarser=[((7, 7), _coarser(model, 7, torch.float64)), ((5, 5), objective)],
    )
    images = (1.4 * _noise(10, 10, 3).double() - 0.2).requires_grad_()
    weights = torch.tensor(objective.weights, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: objective.losses(x) @ weights, (images,))
    expected = torch.autograd.grad((objective.losses(images) @ weights).sum(), images)[0]
    torch.testing.assert_close(objective(images)[1], expected)


def test_reduced_images_can_be_seen_in_tiles() -> None:
    source, images = _noise(96, 96, 1), _noise(192, 192, 2)
    layers = ["scale1", "scale2"]

    def objective(tiles: object) -> Objective:
        terms = match("style", MODEL, layers, MEASURES["gram"], source)
        small = Objective(MODEL, terms, tiles=tiles)  # type: ignore[arg-type]
        return Objective(MODEL, terms, tiles=tiles, coarser=[((96, 96), small)])  # type: ignore[arg-type]

    whole, pieces = objective(None)(images), objective(fitting_tiles(MODEL, layers, 32))(images)
    for one, other in zip(whole, pieces, strict=True):
        error = (one - other).norm() / one.norm()
        assert error < 1e-4


def test_scenes_are_composed_at_the_papers_size_for_the_papers_layer() -> None:
    class Sees(RandomFilters):
        recommended = {"content": ("conv4_2",)}  # noqa: RUF012
        receptive_fields = {"conv4_2": 84}  # noqa: RUF012

        def __init__(self) -> None:
            torch.nn.Module.__init__(self)

    assert setup.composition(Sees(), ("whatever",)) == 512
    assert setup.composition(RandomFilters(), ("normalised1",)) == round(34 * 512 / 84)
    without = cp.load_model("pixels", device="cpu")
    assert without.recommended == {}
    assert setup.composition(without, ("pixels",)) == round(512 / 84)
    hmax = cp.load_model("hmax", device="cpu")
    hmax.recommended = {}  # type: ignore[misc]
    assert setup.composition(hmax, ("c2/8",)) is None


def _transfer(size: int, composed_at: int | None, **options: object) -> cp.SynthesisResult:
    return cp.stylize(
        cp.exemplar("chelsea", size=(96, 96)),
        cp.exemplar("ihc", size=(96, 96)),
        model=MODEL,
        size=(size, size),
        composed_at=composed_at,
        **options,  # type: ignore[arg-type]
    )


def test_pictures_as_small_as_the_size_of_composition_are_as_without_it() -> None:
    settings = {"evaluations": 6}
    own = _transfer(64, None, **settings)
    assert own.provenance["composed_at"] == 207
    assert torch.equal(own.image, _transfer(64, 64, **settings).image)
    assert torch.equal(own.image, _transfer(64, 1000, **settings).image)
    smaller = _transfer(64, 40, **settings)
    assert not torch.equal(own.image, smaller.image)
    told = "composed_at 40 instead of what suits the model"
    assert told in smaller.provenance["preset"]["differences"]
    assert not any("composed" in told for told in own.provenance["preset"]["differences"])


def test_the_scene_is_compared_at_the_size_of_composition_and_the_style_at_all() -> None:
    last = _transfer(96, 36, evaluations=3, smoothness=0.1).final_losses()
    content = [name for name in last.index if name.startswith("content")]
    assert content == [f"content/normalised{n}/36x36" for n in (1, 2, 3)]
    assert {"style/scale1", "style/scale1/48x48", "style/scale1/36x36"} <= set(last.index)
    limits = [name for name in last.index if name.startswith(("range", "smoothness"))]
    assert limits == ["range", "smoothness"]


def test_a_larger_picture_keeps_the_look_of_the_smaller() -> None:
    """Of stripes too fine for the size of composition nothing is kept, of the scene all is."""
    side = 96
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    stripes = 0.15 * (rows % 2 * 2 - 1)
    disc = ((rows - 48).square() + (columns - 48).square() < 900).float() * 0.4
    scene = (0.3 + disc + stripes).expand(1, 3, -1, -1)

    def kept(composed_at: int | None) -> tuple[float, float]:
        result = cp.stylize(
            scene,
            cp.exemplar("ihc", size=(side, side)),
            model=MODEL,
            composed_at=composed_at,
            content_weight=1.0,
            schedule=[Level((side, side), 30)],
            start="noise",
        )
        grey = result.image.mean(dim=0)
        fine, coarse = (
            float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])
            for a, b in (
                (grey, stripes),
                (
                    resampled(grey.expand(1, 3, -1, -1), (24, 24))[0, 0],
                    resampled(scene, (24, 24))[0, 0],
                ),
            )
        )
        return fine, coarse

    at_once, composed = kept(None), kept(48)
    assert at_once[0] > 0.2
    assert abs(composed[0]) < 0.05
    assert composed[1] > 0.5


def test_published_presets_compose_at_the_size_of_the_result() -> None:
    network = cp.load_model("objects-vgg", pooling="avg", device="cpu")
    pictures = [cp.exemplar(name, size=(64, 64)) for name in ("chelsea", "ihc")]
    plain = cp.stylize(*pictures, preset="gatys2016", model=network, evaluations=1)
    assert plain.provenance["composed_at"] is None
    assert not any("/32x32" in term for term in plain.losses["term"])
    given = cp.stylize(*pictures, preset="gatys2016", model=network, evaluations=1, composed_at=32)
    told = "composed_at 32 instead of the size of the result"
    assert told in given.provenance["preset"]["differences"]
    assert any("/32x32" in term for term in given.losses["term"])


def test_the_command_line_takes_the_size_of_composition(tmp_path: Path) -> None:
    file = tmp_path / "out.png"
    given = ["chelsea", "ihc", "-o", str(file), "--size", "48", "--composed-at", "24"]
    done = CliRunner().invoke(app, ["style", *given, "--evaluations", "2", "--quiet"])
    assert done.exit_code == 0, done.output
    assert cp.images.read_provenance(file)["composed_at"] == 24


def test_no_size_to_compose_at_is_refused() -> None:
    with pytest.raises(ValueError, match="composed_at must be a positive number of pixels; got 0"):
        _transfer(64, 0)
