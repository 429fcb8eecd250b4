"""Presets are the papers to the letter: numbers, losses, starts, and what is said of changes."""

import dataclasses
import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor
from typer.testing import CliRunner

import cnnperception as cp
from cnnperception import images as image_files
from cnnperception.cli import app
from cnnperception.models import RandomMultiscale
from cnnperception.models.interface import VisionModel
from cnnperception.synthesis import Objective, procedure
from cnnperception.synthesis.optimisers import Progress, ScipyLBFGSB, Steps, TorchLBFGS
from cnnperception.synthesis.overrides import record, settled, summary
from cnnperception.synthesis.presets import PUBLISHED, listed, named, sized
from cnnperception.synthesis.procedure import Procedure, description
from cnnperception.synthesis.published import Loss, Noise, redrawn_slices, spectrum_distance

from .interruptions import interrupt_at

MEAN = np.array([123.68, 116.779, 103.939])  # RGB, in grey levels
needs_plenoptic = pytest.mark.skipif(
    importlib.util.find_spec("plenoptic") is None, reason="plenoptic is not installed"
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return files of random convolutions of VGG-11, named as torchvision and as Gatys do."""
    random = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        network = torchvision.models.vgg11(weights=None)
    states: dict[str, dict[str, Tensor]] = {"torchvision": {}, "gatys": {}}
    block, number = 1, 0
    for index, module in enumerate(network.features):
        if isinstance(module, torch.nn.MaxPool2d):
            block, number = block + 1, 0
        elif isinstance(module, torch.nn.Conv2d):
            number += 1
            deviation = (2 / (9 * module.in_channels)) ** 0.5
            weight = deviation * torch.randn(module.weight.shape, generator=random)
            bias = 0.1 * torch.randn(module.bias.shape, generator=random)
            names = {"torchvision": f"features.{index}", "gatys": f"conv{block}_{number}"}
            for convention, name in names.items():
                states[convention] |= {f"{name}.weight": weight, f"{name}.bias": bias}
    folder = tmp_path_factory.mktemp("weights")
    for convention, state in states.items():
        torch.save(state, folder / f"{convention}.pth")
    return {convention: folder / f"{convention}.pth" for convention in states}


@pytest.fixture(scope="module")
def vgg11(files: dict[str, Path]) -> VisionModel:
    return cp.load_model("vgg11", weights=files["torchvision"], pooling="avg", device="cpu")


@pytest.fixture(scope="module")
def caffe11(files: dict[str, Path]) -> VisionModel:
    return cp.load_model("vgg11", weights=files["gatys"], pooling="avg", device="cpu")


@pytest.fixture(scope="module")
def small() -> VisionModel:
    return cp.load_model("objects-vgg", weights=None, width=8, pooling="avg", device="cpu")


def _picture(height: int = 48, width: int = 48, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((1, 3, height // 4, width // 4), generator=generator)
    grain = torch.rand((1, 3, height, width), generator=generator)
    # Away from black and white, and of one colour more than of the others.
    tint = torch.tensor([0.8, 0.6, 0.4]).view(1, 3, 1, 1)
    return 0.1 + tint * (0.7 * image_files.resize(coarse, (height, width)) + 0.3 * grain) / 1.2


@dataclasses.dataclass
class _Spy:
    """Stands for an optimiser: looks at what it is given, and leaves it as it is."""

    seen: list[tuple[Objective, Tensor, int]] = dataclasses.field(default_factory=list)

    def search(self, objective: Objective, start: Tensor, evaluations: int) -> Steps:
        self.seen.append((objective, start, evaluations))
        loss, _, terms = objective(start)
        yield Progress(start, loss, terms, 1)


def _spied(name: str) -> tuple[Procedure, _Spy]:
    spy = _Spy()
    preset = named(name)
    # A search that looks nowhere bears any loss.
    kind = type("Spied", (_Spy, TorchLBFGS), {"search": spy.search}) if name == "heitz2021" else spy
    return dataclasses.replace(preset, optimiser=kind() if isinstance(kind, type) else kind), spy


# ---------------------------------------------------------------------------------------- numbers

POOLS = ("conv1_1", "pool1", "pool2", "pool3", "pool4")
FIRSTS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
NUMBERS = {
    "gatys2015": {
        "layers": POOLS,
        "statistic": "gram",
        "loss": Loss("4 N^2", 1e9),
        "evaluations": 2000,
        "optimiser": ScipyLBFGSB(20, 0.0, 0.0, "iterations", 255.0),
        "bounds": "shared",
        "noise": Noise("training mean", 1.0, "normal"),
        "histogram": False,
        "spectrum": 0.0,
        "range_weight": 0.0,
        "pixels": 256,
    },
    "gatys2016": {
        "style_layers": FIRSTS,
        "content_layers": ("conv4_2",),
        "loss": Loss("N^4", 1e3),
        "content_weight": 1.0,
        "content_divisor": "size",
        "elsewhere": {"loss": Loss("N^2", 1e9 / 5), "content_weight": 1e6},
        "start": "content",
        "evaluations": 520,
        "optimiser": TorchLBFGS(1.0, 100, 20, 1e-7, 1e-9, 255.0),
        "bounds": None,
        "range_weight": 0.0,
        "pixels": 512,
        "measured": "shorter side",
        "style_size": "shorter side",
    },
    "gatys2016-fast": {
        "style_layers": FIRSTS,
        "content_layers": ("conv4_2",),
        "statistic": "gram",
        "loss": Loss("N^4", 1e3),
        "content_weight": 1.0,
        "content_divisor": "size",
        "elsewhere": {"loss": Loss("N^2", 1e9 / 5), "content_weight": 1e6},
        "start": "content",
        "optimiser": None,
        "bounds": None,
        "range_weight": 0.0,
        "pixels": 512,
        "measured": "shorter side",
        "style_size": "shorter side",
    },
    "gatys2017-hr": {
        "style_layers": FIRSTS,
        "content_layers": ("conv4_2",),
        "loss": Loss("N^4", 1e3),
        "content_weight": 1.0,
        "elsewhere": {"loss": Loss("N^2", 1e9 / 5), "content_weight": 1e6},
        "evaluations": 700,
        "optimiser": TorchLBFGS(1.0, 100, 500, 0.0, 0.0, 255.0),
        "pixels": 1024,
        "style_size": "area",
    },
    "ustyuzhaninov2017": {
        "layers": ("filters",),
        "loss": Loss("4 N^2", 1e7),
        "evaluations": 4000,
        "optimiser": ScipyLBFGSB(10, 2.220446049250313e-09, 1e-5, "evaluations", 255.0),
        "bounds": None,
        "noise": Noise("training mean", 1.0, "uniform"),
        "pixels": 256,
        "measured": "square",
    },
    "heitz2021": {
        "layers": (
            *("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2"),
            *("conv3_3", "conv3_4", "conv4_1", "conv4_2", "conv4_3", "conv4_4"),
        ),
        "loss": Loss("size", 1.0),
        "evaluations": 64 * 64,
        "optimiser": TorchLBFGS(1.0, 100, 64, 0.0, 1e-9, 1.0),
        "noise": Noise("exemplar mean", 0.01 * 255, "normal"),
        "multiple": 8,
    },
    "gonthier2022": {
        "layers": POOLS,
        "loss": Loss("4 N^2 layers", 1e9),
        "spectrum": 1e5,
        "spectrum_loss": "every frequency",
        "evaluations": 3000,
        "optimiser": ScipyLBFGSB(20, 2.220446049250313e-09, 1e-5, "iterations", 255.0),
        "bounds": "by channel",
        "noise": Noise("exemplar mean", 1.0, "normal"),
        "reduction": "area",
    },
    "ps2000": {"statistic": "features", "grey": True, "multiple": 16, "pixels": 256},
}
NETWORKS = {
    "gatys2015": ("vgg19", {"pooling": "avg"}, "trained"),
    "gatys2016": ("vgg19", {"pooling": "avg"}, "substitutes"),
    "gatys2016-fast": ("vgg19", {"pooling": "avg"}, "substitutes"),
    "gatys2017-hr": ("vgg19", {"pooling": "avg"}, "substitutes"),
    "ustyuzhaninov2017": ("random-multiscale", {}, "never"),
    "heitz2021": ("vgg19", {"pooling": "avg", "padding": "reflect"}, "trained"),
    "gonthier2022": ("vgg19", {"pooling": "avg"}, "trained"),
    "ps2000": (
        "portilla-simoncelli",
        {"scales": 4, "orientations": 4, "neighbourhood": 7},
        "never",
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_numbers_are_those_of_the_paper(name: str) -> None:
    preset = named(name)
    assert {field: getattr(preset, field) for field in NUMBERS[name]} == NUMBERS[name]
    network = preset.network
    assert (network.name, dict(network.options), network.normalised) == NETWORKS[name]
    assert preset.notes


def test_the_optimiser_of_gatys2016_has_the_defaults_of_torch() -> None:
    ours = named("gatys2016").optimiser
    theirs = torch.optim.LBFGS([torch.zeros(1, requires_grad=True)]).defaults
    assert (ours.rate, ours.history) == (theirs["lr"], theirs["history_size"])
    assert ours.iterations == theirs["max_iter"]
    assert ours.gradient_tolerance == theirs["tolerance_grad"]
    assert ours.change_tolerance == theirs["tolerance_change"]


def _channels() -> dict[str, int]:
    """Return the channels of the convolutions and poolings of VGG-19."""
    with torch.device("meta"):
        network = torchvision.models.vgg19(weights=None)
    found, block, number, count = {}, 1, 0, 3
    for module in network.features:
        if isinstance(module, torch.nn.Conv2d):
            number, count = number + 1, module.out_channels
            found[f"conv{block}_{number}"] = count
        elif isinstance(module, torch.nn.MaxPool2d):
            found[f"pool{block}"] = count
            block, number = block + 1, 0
    return found


def test_the_gram_matrices_of_gatys2015_have_the_papers_number_of_parameters() -> None:
    channels = _channels()

    def parameters(layers: list[str]) -> int:
        return sum(channels[layer] * (channels[layer] + 1) // 2 for layer in layers)

    assert parameters(named("gatys2015").layers) == 176_640
    assert parameters([layer for layer in channels if layer[4] < "5"]) == 852_128


def test_sizes_and_evaluations_are_shared_out_as_in_the_papers() -> None:
    def stages(name: str, size: tuple[int, int]) -> list[tuple[int, ...]]:
        return [(*level.size, level.evaluations) for level in named(name).levels(size)]

    assert stages("gonthier2022", (130, 96)) == [(32, 24, 1000), (65, 48, 1000), (130, 96, 1000)]
    assert stages("gatys2017-hr", (1024, 768)) == [(512, 384, 500), (1024, 768, 200)]
    assert stages("gatys2015", (64, 80)) == [(64, 80, 2000)]
    fewer = dataclasses.replace(named("gonthier2022"), evaluations=30)
    assert [level.evaluations for level in fewer.levels((64, 64))] == [10, 10, 10]


def test_pictures_are_sized_as_in_the_papers() -> None:
    picture = _picture(60, 120)
    assert sized(named("gatys2015"), picture).shape[-2:] == (181, 362)  # 256^2 in all
    assert sized(named("gatys2016"), picture).shape[-2:] == (512, 1024)
    assert sized(named("ustyuzhaninov2017"), picture).shape[-2:] == (256, 256)
    assert sized(named("gonthier2022"), picture) is picture  # reduced, never enlarged
    large = torch.rand(1, 3, 1024, 2048)
    assert sized(named("gatys2017-hr"), large).shape[-2:] == (724, 1448)
    middle = torch.zeros(1, 3, 256, 512)
    middle[..., 128:384] = 1
    assert sized(named("ustyuzhaninov2017"), middle).min() == 1
    painting = torch.rand(1, 3, 40, 80)
    assert named("gatys2016").cover(painting, (64, 96)) == 64 / 40
    area = named("gatys2017-hr").cover(painting, (64, 96))
    assert area == pytest.approx(math.sqrt(64 * 96 / (40 * 80)))


# ----------------------------------------------------------------------- losses, starts and bounds


def _features(model: VisionModel, image: Tensor, layers: tuple[str, ...]) -> list[np.ndarray]:
    """Return (channel, position) of each layer, in float64."""
    with torch.no_grad():
        found = model.features(image, layers)
    return [found[layer][0].flatten(1).double().numpy() for layer in layers]


def _grams(model: VisionModel, image: Tensor, layers: tuple[str, ...]) -> list[np.ndarray]:
    return [f @ f.T / f.shape[1] for f in _features(model, image, layers)]


def _close(found: Tensor, expected: float) -> None:
    assert expected > 0
    assert float(found) == pytest.approx(expected, rel=2e-4)


def test_the_loss_of_gatys2015_is_equation_5_with_weights_of_1e9(vgg11) -> None:
    preset, spy = _spied("gatys2015")
    exemplar = _picture()
    cp.texture(exemplar, preset=preset, model=vgg11, seed=3)
    ((objective, start, evaluations),) = spy.seen
    assert evaluations == 2000
    pairs = zip(_grams(vgg11, start, POOLS), _grams(vgg11, exemplar, POOLS), strict=True)
    _close(
        objective(start)[0],
        sum(1e9 / (4 * len(g) ** 2) * ((g - target) ** 2).sum() for g, target in pairs),
    )
    white = torch.randn(start.shape, generator=torch.Generator().manual_seed(3))
    levels = 255 * start - torch.tensor(MEAN).float().view(1, 3, 1, 1)
    torch.testing.assert_close(levels, white, atol=1e-4, rtol=0)
    low, high = objective.bounds
    about = 255 * exemplar[0].numpy() - MEAN[:, None, None]
    np.testing.assert_allclose(255 * low.flatten() - MEAN, about.min(), rtol=1e-4)
    np.testing.assert_allclose(255 * high.flatten() - MEAN, about.max(), rtol=1e-4)


def test_the_loss_of_gonthier2022_adds_the_spectrum(vgg11) -> None:
    preset, spy = _spied("gonthier2022")
    exemplar = _picture(64, 64)
    cp.texture(exemplar, preset=preset, model=vgg11)
    assert [evaluations for _, _, evaluations in spy.seen] == [1000, 1000, 1000]
    assert [start.shape[-1] for _, start, _ in spy.seen] == [16, 32, 64]
    sources = [
        torch.nn.functional.avg_pool2d(exemplar, by) if by > 1 else exemplar for by in (4, 2, 1)
    ]
    for (objective, start, _), source in zip(spy.seen, sources, strict=True):
        pairs = zip(_grams(vgg11, start, POOLS), _grams(vgg11, source, POOLS), strict=True)
        expected = sum(
            1e9 * 0.5 * ((g - target) ** 2).sum() / (2 * len(g) ** 2 * 5) for g, target in pairs
        )
        x, a = (255 * i[0].double().numpy() - MEAN[:, None, None] for i in (start, source))
        cross = (np.fft.fft2(x) * np.fft.fft2(a).conj()).sum(axis=0)
        nearest = np.fft.ifft2(cross / (np.abs(cross) + 1e-16) * np.fft.fft2(a)).real
        spectrum = 1e5 / (3 * x[0].size) * 0.5 * ((x - nearest) ** 2).sum()
        _close(objective(start)[0], expected + spectrum)
        assert spectrum > 1e-3 * expected
        lowest, highest = source.amin((2, 3)).flatten(), source.amax((2, 3)).flatten()
        torch.testing.assert_close(objective.bounds[0].flatten(), lowest)
        torch.testing.assert_close(objective.bounds[1].flatten(), highest)


@pytest.mark.parametrize("name", ["gatys2016", "gatys2017-hr"])
@pytest.mark.parametrize("network", ["vgg11", "caffe11"])
def test_the_loss_of_style_transfer_is_the_notebooks(name: str, network: str, request) -> None:
    model = request.getfixturevalue(network)
    preset, spy = _spied(name)
    content, style = _picture(seed=1), _picture(seed=2)
    cp.stylize(content, style, preset=preset, model=model, start="noise", seed=5)
    objective, start, _ = spy.seen[-1]
    pairs = zip(_grams(model, start, FIRSTS), _grams(model, style, FIRSTS), strict=True)
    means = [(len(g), ((g - target) ** 2).mean()) for g, target in pairs]
    (made,), (kept,) = (_features(model, i, ("conv4_2",)) for i in (start, content))
    apart = ((made - kept) ** 2).mean()
    if network == "caffe11":
        expected = sum(1e3 / count**2 * mean for count, mean in means) + apart
    else:
        expected = sum(1e9 / 5 * mean for _, mean in means) + 1e6 * apart
    _close(objective(start)[0], expected)
    assert objective.bounds is None


def test_the_next_size_begins_with_a_picture_that_can_be_shown(vgg11) -> None:
    class Explosive(_Spy):
        def search(self, objective: Objective, start: Tensor, evaluations: int) -> Steps:
            (seen,) = super().search(objective, start, evaluations)
            yield dataclasses.replace(seen, images=start + 9)

    spy = Explosive()
    preset = dataclasses.replace(named("gatys2017-hr"), optimiser=spy)
    cp.stylize(_picture(seed=1), _picture(seed=2), preset=preset, model=vgg11)
    torch.testing.assert_close(spy.seen[1][1], torch.ones(1, 3, 48, 48))


def test_weights_of_ones_own_are_kept_with_any_network(vgg11) -> None:
    preset, _ = _spied("gatys2016")
    pictures = _picture(seed=1), _picture(seed=2)
    result = cp.stylize(*pictures, preset=preset, model=vgg11, content_weight=7.0)
    assert result.provenance["content_weight"] == 7
    told = result.provenance["preset"]["differences"]
    assert "content_weight 7 instead of 1" in told
    assert "loss 2e8 x ||S - T||^2 / N^2 instead of 1000 x ||S - T||^2 / N^4" in told


def test_style_transfer_begins_with_the_content(vgg11) -> None:
    preset, spy = _spied("gatys2016")
    content = _picture(seed=1)
    cp.stylize(content, _picture(seed=2), preset=preset, model=vgg11)
    torch.testing.assert_close(spy.seen[0][1], content, atol=1e-6, rtol=0)


def test_the_loss_of_ustyuzhaninov2017_is_of_raw_gram_matrices() -> None:
    preset, spy = _spied("ustyuzhaninov2017")
    model, exemplar = RandomMultiscale(sizes=(3, 7), maps=6), _picture()
    cp.texture(exemplar, preset=preset, model=model, seed=2)
    ((objective, start, _),) = spy.seen
    (x,), (a,) = (_features(model, i, ("filters",)) for i in (start, exemplar))
    channels, positions = x.shape
    raw = ((x @ x.T - a @ a.T) ** 2).sum()
    _close(objective(start)[0], 1e7 / (4 * channels**2 * positions**2) * raw)
    levels = 255 * start[0].numpy() - MEAN[:, None, None]
    assert np.abs(levels).max() <= 1.0001
    assert levels.std() == pytest.approx(1 / math.sqrt(3), rel=0.02)


def test_the_loss_of_heitz2021_is_of_sorted_projections(vgg11) -> None:
    preset, spy = _spied("heitz2021")
    exemplar = _picture(50, 49)
    cp.texture(exemplar, preset=preset, model=vgg11, seed=4)
    ((objective, start, _),) = spy.seen
    assert start.shape[-2:] == (48, 48)
    source = exemplar[..., :48, :48]
    layers = tuple(layer for layer in NUMBERS["heitz2021"]["layers"] if layer in vgg11.layers)
    random = torch.Generator().manual_seed(4 + 2**32)

    def expected() -> float:
        loss = 0.0
        made, wanted = (_features(vgg11, i, layers) for i in (start, source))
        for x, a in zip(made, wanted, strict=True):
            drawn = torch.randn((len(x), len(x)), generator=random).double().numpy()
            directions = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
            apart = np.sort(directions @ x, axis=1) - np.sort(directions @ a, axis=1)
            loss += (apart**2).mean()
        return loss

    first = expected()  # the spy's own evaluation came first
    second = expected()
    found = float(objective(start)[0])
    assert found == pytest.approx(second, rel=1e-3)
    assert found != pytest.approx(first, rel=1e-5)
    means = source.mean((2, 3))
    torch.testing.assert_close(start.mean((2, 3)), means, atol=1e-3, rtol=0)
    assert (start - means[..., None, None]).std() == pytest.approx(0.01, rel=0.05)


def test_redrawn_slices_are_blind_to_places_and_see_every_distribution(vgg11) -> None:
    exemplar = _picture()
    (term,) = redrawn_slices("texture", vgg11, ["conv1_1"], exemplar, seed=0)
    features = vgg11.features(exemplar, ["conv1_1"])["conv1_1"]
    order = torch.randperm(48 * 48, generator=torch.Generator().manual_seed(1))
    shuffled = features.flatten(2)[..., order].view_as(features)
    assert float(term.loss(shuffled)) < 1e-10
    assert float(term.loss(1.1 * features)) > 1e-3
    tiled = features.repeat(1, 1, 2, 1)
    assert float(term.loss(tiled)) < 1e-3 * float(term.loss(1.1 * features))


def test_the_spectrum_is_that_of_any_shift_of_the_exemplar() -> None:
    exemplar = _picture().double()
    loss = spectrum_distance(exemplar)
    assert float(loss(exemplar.roll((7, 11), (2, 3)))) < 1e-12
    assert float(loss(exemplar.flip(1))) > 1
    assert torch.autograd.gradcheck(
        spectrum_distance(exemplar[..., :6, :6]),
        (_picture(8, 8, 3).double()[..., :6, :6].requires_grad_(),),
    )
    with pytest.raises(ValueError, match="leave size out"):
        loss(exemplar[..., :40])


# ---------------------------------------------------------------------------- what is said of them


def test_what_is_given_in_place_of_a_presets_is_told(small) -> None:
    given = settled("texture", "gatys2015", evaluations=200, layers=["conv1_1", "pool1"])
    told = record(given, small, (256, 256), tileable=(True, False), pool_grid=(1, 1))
    assert told["name"] == "gatys2015"
    assert told["differences"] == [
        "layers conv1_1, pool1 instead of conv1_1, pool1, pool2, pool3, pool4",
        "evaluations 200 instead of 2000",
        "model objects-vgg (random weights, avg pooling) instead of vgg19 (Caffe's weights, "
        "normalised, avg pooling)",
        "tileable True instead of False",
    ]
    assert summary(told).startswith("gatys2015 with layers conv1_1, pool1 instead of")
    assert summary({"name": "x", "differences": []}) == "x with nothing changed"


def test_what_lies_beneath_can_be_replaced_and_is_told(small) -> None:
    changed = dataclasses.replace(
        named("gatys2015"), optimiser=None, bounds=None, loss=Loss("4 N^2", 1e9, {"pool4": 2.0})
    )
    told = record(settled("texture", changed), small, (128, 128))["differences"]
    assert told[0].startswith("loss 1e9 x ||S - T||^2 / (4 N^2), pool4 times 2 instead of 1e9")
    assert "bounds None instead of shared" in [t.replace("the model's own", "None") for t in told]
    assert any(t.startswith("optimiser the engine's own L-BFGS") for t in told)
    assert "pixels 128 x 128 instead of the area of 256 x 256" in told
    same = record(settled("texture", "ps2000"), small, (256, 256))["differences"]
    assert [t for t in same if not t.startswith("model")] == []


def test_the_provenance_has_the_preset_and_the_layers_that_the_model_has(small) -> None:
    result = cp.texture(
        _picture(), preset="gatys2015", model=small, layers=["conv1_1"], evaluations=2
    )
    told = result.provenance["preset"]
    assert set(told) == {"name", "differences"}
    assert "evaluations 2 instead of 2000" in told["differences"]
    assert result.provenance["layers"] == ["conv1_1"]
    # Of the twelve layers of heitz2021, those that this network has.
    result = cp.texture(_picture(), preset="heitz2021", model=small, evaluations=1)
    present = [layer for layer in named("heitz2021").layers if layer in small.layers]
    assert result.provenance["layers"] == present
    assert any(t.startswith("layers conv1_1") for t in result.provenance["preset"]["differences"])
    own = cp.texture(_picture(), evaluations=2, model=small, layers="conv1_1").provenance["preset"]
    assert own["name"] == "default"
    assert "evaluations 2 instead of 400" in own["differences"]


def test_wrong_presets_and_settings_are_named(small) -> None:
    picture = _picture()
    with pytest.raises(ValueError, match="did you mean 'gatys2015'"):
        cp.texture(picture, preset="gatis2015")
    with pytest.raises(ValueError, match="gatys2016 is a preset for style; those for texture are"):
        cp.texture(picture, preset="gatys2016")
    with pytest.raises(ValueError, match="for style"):
        cp.texture(picture, preset=named("gatys2016"))
    with pytest.raises(ValueError, match="one picture at a time"):
        cp.texture(picture, preset="gatys2015", model=small, seed=[1, 2])
    with pytest.raises(ValueError, match="multiples of 8"):
        cp.texture(picture, preset="heitz2021", model=small, size=44)
    with pytest.raises(ValueError, match="bears"):
        cp.texture(picture, model=small, statistic="redrawn-sliced-wasserstein")
    with pytest.raises(ValueError, match="no mask"):
        cp.texture(picture, preset="heitz2021", model=small, pool_grid=2)
    with pytest.raises(ValueError, match="did you mean"):
        cp.texture(picture, preset="gatys2015", model=small, layers="pool9")
    with pytest.raises(ValueError, match="leave size out"):
        cp.texture(_picture(64, 64), preset="gonthier2022", model=small, size=96)


# ------------------------------------------------------------------------------------ the networks


def test_without_weights_the_error_says_what_to_do(monkeypatch) -> None:
    def offline(name: str, **options: object) -> VisionModel:
        raise OSError("there is no network")

    monkeypatch.setattr(procedure, "load_model", offline)
    with pytest.raises(OSError, match="no network") as caught:
        cp.texture(_picture(), preset="gatys2015")
    for words in ("vgg19 (Caffe's weights, normalised", "weights=None", "--weights none"):
        assert words in str(caught.value)


def test_a_presets_network_is_normalised_and_called_what_the_paper_had(
    files, caffe11, vgg11, small, tmp_path: Path, monkeypatch
) -> None:
    cp.images.write(tmp_path / "a.png", _picture(64, 64))
    monkeypatch.setattr(procedure, "PICTURES", tmp_path)

    def load(name: str, weights: str) -> VisionModel:
        network = dataclasses.replace(named(name).network, name="vgg11")
        return network.load(device="cpu", weights=files[weights])

    def said(name: str) -> str:
        return named(name).network.described.replace("vgg19", "vgg11")

    model = load("heitz2021", "gatys")
    assert description(model) == said("heitz2021")
    assert model.network.features[0].padding_mode == "reflect"
    seen = model.features(image_files.read(tmp_path / "a.png"), ["conv2_1"])["conv2_1"]
    means = seen.mean((0, 2, 3))
    torch.testing.assert_close(means[means > 0], torch.ones(int((means > 0).sum())))
    # The numbers of gatys2016 are for Caffe's network as it is.
    assert description(load("gatys2016", "gatys")) == said("gatys2016") == description(caffe11)
    substitute = description(load("gatys2016", "torchvision"))
    assert substitute == "vgg11 (torchvision.pth weights, normalised, avg pooling)"
    assert description(small) == "objects-vgg (random weights, avg pooling)"


def test_there_are_pictures_to_normalise_over() -> None:
    assert len(list(procedure.PICTURES.glob("*.png"))) == 12


def test_embedded_networks_are_described_as_they_load() -> None:
    network = named("ustyuzhaninov2017").network
    assert description(network.load(device="cpu")) == network.described


# -------------------------------------------------------------------------------------- end to end


def _falls(result: cp.SynthesisResult, term: str) -> None:
    losses = result.losses[result.losses["term"].str.startswith(term)]
    total = losses.groupby("evaluation")["loss"].sum()
    assert total.iloc[-1] < 0.5 * total.iloc[0]
    assert torch.isfinite(result.images).all()
    assert result.finished


@pytest.mark.parametrize("name", ["gatys2015", "gonthier2022", "heitz2021"])
def test_textures_of_papers_come_near_their_exemplar(name: str, small) -> None:
    exemplar = _picture(64, 72)
    result = cp.texture(exemplar, preset=name, model=small, evaluations=12, seed=1)
    assert result.image.shape == (3, 64, 72)
    _falls(result, "texture")
    again = cp.texture(exemplar, preset=name, model=small, evaluations=12, seed=1)
    assert torch.equal(result.images, again.images)


def test_a_texture_of_random_filters_comes_near_its_exemplar() -> None:
    model = RandomMultiscale(sizes=(3, 7, 15), maps=8)
    result = cp.texture(_picture(), preset="ustyuzhaninov2017", model=model, evaluations=12)
    _falls(result, "texture")
    size = cp.texture(_picture(), preset="ustyuzhaninov2017", model=model, evaluations=2, size=40)
    assert size.image.shape == (3, 40, 40)


@needs_plenoptic
def test_a_texture_of_portilla_and_simoncelli_is_grey_and_has_their_710_statistics() -> None:
    exemplar = image_files.resize(cp.exemplar("gravel"), (120, 130))
    result = cp.texture(exemplar, preset="ps2000", evaluations=10)
    assert result.image.shape == (3, 112, 128)
    assert torch.equal(result.image[0], result.image[1])
    _falls(result, "texture")
    network = named("ps2000").network
    model = network.load(device="cpu")
    assert description(model) == network.described
    counts = {k: v.shape[1] for k, v in model.features(result.images, model.layers).items()}
    assert sum(counts.values()) == 710
    assert list(counts.values()) == [6, 384, 5, 5, 120, 5, 24, 16, 48, 96, 1]


@pytest.mark.parametrize("name", ["gatys2016", "gatys2016-fast", "gatys2017-hr"])
def test_style_transfers_of_papers_go_from_the_content_to_the_style(name: str, vgg11) -> None:
    content, style = _picture(48, 64, 1), _picture(40, 40, 2)
    result = cp.stylize(content, style, preset=name, model=vgg11, evaluations=14)
    assert result.image.shape == (3, 48, 64)
    assert {"style/conv5_1", "content/conv4_2"} <= set(result.losses["term"])
    last = result.losses[result.losses["height"] == 48]
    total = last[last["term"].str.startswith("style")].groupby("evaluation")["loss"].sum()
    assert total.iloc[-1] < total.iloc[0]
    assert "evaluations 14 instead of" in " ".join(result.provenance["preset"]["differences"])


def test_an_interrupted_preset_begins_anew_from_its_picture(small, tmp_path, monkeypatch) -> None:
    path = tmp_path / "texture.checkpoint"
    settings = {"preset": "gatys2015", "model": small, "evaluations": 12, "checkpoint": path}
    interrupt_at(monkeypatch, 8)
    partial = cp.texture(_picture(), **settings)
    assert not partial.finished
    assert path.exists()
    resumed = cp.texture(_picture(), **settings)
    assert resumed.finished
    assert resumed.provenance["restarted"] == 7
    assert not path.exists()
    total = resumed.losses.groupby("evaluation")["loss"].sum()
    assert total.iloc[7] == pytest.approx(total.iloc[6], rel=1e-4)
    assert total.iloc[-1] < total.iloc[6]


# -------------------------------------------------------------------------------- the command line


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_line_lists_presets_and_their_numbers() -> None:
    printed = _run("presets")
    assert all(name in printed for name in ("default", *PUBLISHED))
    assert list(listed()["name"]) == ["default", *PUBLISHED]
    for name, preset in PUBLISHED.items():
        printed = _run("presets", name)
        assert str(preset.evaluations) in printed
        assert preset.network.described in printed
        assert all(note in printed for note in preset.notes)
    assert "1e9 x ||S - T||^2 / (4 N^2)" in _run("presets", "gatys2015")


def test_the_command_line_tells_what_is_not_the_presets(tmp_path: Path) -> None:
    out = tmp_path / "t.png"
    network = ("--model", "objects-vgg", "--pooling", "avg", "--device", "cpu", "-q")
    texture = ("texture", "gravel", "-o", out, "--preset", "gatys2015", "--exemplar-size", 64)
    printed = _run(*texture, "--evaluations", 3, *network)
    assert "gatys2015 with evaluations 3 instead of 2000, model objects-vgg" in printed
    assert cp.images.read_provenance(out)["preset"]["name"] == "gatys2015"
    assert cp.images.read(out).shape[-2:] == (64, 64)
    style = ("style", "chelsea", "retina", "-o", out, "--preset", "gatys2016", "--size", 48)
    printed = _run(*style, "--evaluations", 2, *network)
    assert "gatys2016 with" in printed
    assert max(cp.images.read(out).shape[-2:]) == 48
