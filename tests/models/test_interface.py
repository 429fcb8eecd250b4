import threading

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnperception.models import fingerprint, receptive_field, resolve_layers
from cnnperception.models.interface import check_images, check_layers, read_modules, wrap_around


class Reader(nn.Module):
    """Any stack of modules as a model: layer `l0` is the output of the first, and so on."""

    def __init__(self, *modules: nn.Module):
        super().__init__()
        self.name = "reader"
        self.network = nn.Sequential(*modules)
        self.layers = tuple(f"l{index}" for index in range(len(modules)))
        self.provenance = {"weights": "random"}
        self.recommended: dict[str, tuple[str, ...]] = {}
        self.requires_grad_(False)

    def features(self, images: Tensor, layers) -> dict[str, Tensor]:
        check_images(images)
        return read_modules(self.network, images, {layer: layer[1:] for layer in layers})


class Named:
    name = "model"
    layers = ("c1/band1", "c1/band2", "c2", "conv3_1", "conv3_2")


def _images(side: int = 32, batch: int = 2) -> Tensor:
    return torch.rand((batch, 3, side, side), generator=torch.Generator().manual_seed(0))


# Layer names


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("c2", ("c2",)),
        (["conv3_1", "c2"], ("c2", "conv3_1")),
        ("c1", ("c1/band1", "c1/band2")),
        ("conv3_*", ("conv3_1", "conv3_2")),
        (["c1", "c1/band2", "c?/band1"], ("c1/band1", "c1/band2")),
    ],
)
def test_names_groups_and_patterns_stand_for_layers_in_the_models_order(asked, meant) -> None:
    assert resolve_layers(Named(), asked) == meant


def test_unknown_layers_are_named_with_the_nearest_one() -> None:
    with pytest.raises(ValueError, match="'conv3_3' is not in model.*c2.*did you mean 'conv3_"):
        resolve_layers(Named(), ["c2", "conv3_3"])
    with pytest.raises(ValueError, match=r"no layers were given; model has c1/band1"):
        resolve_layers(Named(), [])


def test_features_take_names_alone_and_no_groups() -> None:
    check_layers(Named(), ["c2", "c1/band1"])
    with pytest.raises(ValueError, match="'c1' is not in model"):
        check_layers(Named(), ["c2", "c1"])


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (1, 8, 8, 3)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must have the shape \(batch, 3, height, width\)"):
        check_images(torch.zeros(shape))


def test_images_of_integers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"floating point.*uint8"):
        check_images(torch.zeros((1, 3, 8, 8), dtype=torch.uint8))


# Reading modules


class Awkward(nn.Module):
    """Writes in place, runs a module twice, returns a tuple, and has a module it never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.rectify = nn.ReLU()
        self.second = nn.Conv2d(4, 4, 3)
        self.last = nn.Conv2d(4, 4, 1)
        self.pair = Pair()
        self.unused = nn.Conv2d(4, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        raw = self.first(images)
        functional.relu_(raw)
        return self.pair(self.last(self.rectify(self.second(self.rectify(raw - 0.1)))))[0]


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, -x


@pytest.mark.parametrize("inference", [False, True])
def test_what_is_written_into_later_is_read_as_it_was(inference: bool) -> None:
    network, images = Awkward().requires_grad_(False), _images()
    with torch.inference_mode(inference):
        read = read_modules(network, images, {"end": "second", "start": "first"})
        assert list(read) == ["end", "start"]
        assert torch.equal(read["start"], network.first(images))
        rectified = functional.relu(functional.relu(network.first(images)) - 0.1)
        assert torch.equal(read["end"], network.second(rectified))


def test_gradients_through_what_is_written_into_later_are_right() -> None:
    network, images = Awkward().requires_grad_(False), _images().requires_grad_()
    both = read_modules(network, images, {"start": "first", "end": "second"})
    (gradient,) = torch.autograd.grad(both["start"].square().sum(), images)
    (expected,) = torch.autograd.grad(network.first(images).square().sum(), images)
    torch.testing.assert_close(gradient, expected)


def test_a_module_that_runs_twice_gives_its_first_output() -> None:
    network, images = Awkward().requires_grad_(False), _images()
    read = read_modules(network, images, {"first": "rectify", "later": "last"})
    assert torch.equal(read["first"], functional.relu(functional.relu(network.first(images)) - 0.1))
    assert torch.equal(read["later"], network.last(network.second(read["first"]).relu()))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("unused", r"\['unused'\] do not run"),
        ("pair", "'pair' returns tuple, not a tensor"),
        ("third", "no module 'third'"),
    ],
)
def test_modules_that_cannot_be_read_are_named(path: str, message: str) -> None:
    network = Awkward()
    with pytest.raises(ValueError, match=message):
        read_modules(network, _images(), {"a": "first", "b": path})
    assert not any(module._forward_hooks for module in network.modules())


def test_nothing_after_the_deepest_module_runs() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(999, 1, 1))
    read = read_modules(network, _images(), {"a": "1", "b": "0"})
    assert torch.equal(read["a"], read["b"].relu())


def test_several_threads_read_one_network_at_once() -> None:
    network = nn.Sequential(*[nn.Conv2d(3, 3, 3, padding=1) for _ in range(12)])
    network.requires_grad_(False)
    images = [_images() * scale for scale in range(1, 5)]
    expected = [read_modules(network, x, {"a": str(2 * i)})["a"] for i, x in enumerate(images)]
    wrong: list[object] = []

    def read(index: int) -> None:
        try:
            for _ in range(30):
                found = read_modules(network, images[index], {"a": str(2 * index)})["a"]
                if not torch.equal(found, expected[index]):
                    wrong.append(index)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=read, args=(index,)) for index in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# Fingerprints


def _seeded_reader(seed: int = 0) -> Reader:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Reader(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def test_fingerprints_tell_models_apart_by_weights_buffers_provenance_and_name() -> None:
    changed = [_seeded_reader() for _ in range(4)]
    changed[0].network[0].weight[0, 0, 0, 0] += 1e-6
    changed[1].network[1].running_mean[0] += 1
    changed[2].provenance["seed"] = "1"
    changed[3].name = "other"
    prints = {fingerprint(model) for model in [_seeded_reader(), _seeded_reader(1), *changed]}
    assert len(prints) == 6


def test_fingerprints_do_not_depend_on_the_layout_in_memory() -> None:
    model = _seeded_reader()
    before = fingerprint(model)
    assert before == fingerprint(_seeded_reader())
    assert before == fingerprint(model.to(memory_format=torch.channels_last))


# Receptive fields


@pytest.mark.parametrize(
    ("modules", "side"),
    [
        ([nn.Conv2d(3, 4, 7)], 7),
        ([nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3)], 8),
        ([nn.Conv2d(3, 4, 3, dilation=4, padding=4), nn.MaxPool2d(3, 2, 1)], 11),
        # 4 + 5 x 8 + 12 = 56, but off centre, so that 4 of them are outside of 64 pixels.
        (
            [nn.AvgPool2d(4), *[nn.Conv2d(3, 3, 3, padding=1) for _ in range(5)], nn.AvgPool2d(4)],
            56,
        ),
        # 4 + 15 x 8 = 124: more than fits in the first image that is tried.
        ([nn.AvgPool2d(4, 4), *[nn.Conv2d(3, 3, 3, padding=1) for _ in range(15)]], 124),
    ],
)
def test_receptive_fields_are_measured_exactly(modules: list[nn.Module], side: int) -> None:
    model = Reader(*modules)
    assert receptive_field(model, model.layers[-1]) == side


def test_units_that_select_do_not_hide_what_they_see() -> None:
    # With a bias this low no unit is ever active, and only one input of each pooling is passed.
    convolution = nn.Conv2d(3, 4, 5)
    nn.init.constant_(convolution.bias, -100)
    model = Reader(convolution, nn.ReLU(), nn.MaxPool2d(4))
    assert receptive_field(model, "l2") == 8
    assert model.features(_images(), ["l2"])["l2"].max() == 0


def test_what_a_model_states_of_its_receptive_fields_is_believed() -> None:
    model = Reader(nn.Conv2d(3, 4, 7))
    model.receptive_fields = {"l0": 9}
    assert receptive_field(model, "l0") == 9


def test_a_layer_that_sees_everything_has_the_limit_as_its_field() -> None:
    model = Reader(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1))
    assert receptive_field(model, "l1", limit=100) == 100


def test_a_layer_without_positions_has_no_receptive_field() -> None:
    with pytest.raises(ValueError, match="has no positions"):
        receptive_field(Reader(nn.Conv2d(3, 4, 3), nn.Flatten()), "l1")


# Wrapping around


@pytest.mark.parametrize(
    "modules",
    [
        [nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(4, 4, 5, padding="same")],
        [nn.Conv2d(3, 4, 7, stride=2, padding=3), nn.MaxPool2d(3, 2, padding=1)],
        [nn.Conv2d(3, 4, 3, padding=1), nn.AvgPool2d(3, 4, padding=1, count_include_pad=False)],
    ],
)
def test_wrapped_layers_move_with_the_image(modules: list[nn.Module]) -> None:
    model, images = Reader(*modules), _images()
    layer, rolled = model.layers[-1], _images().roll((8, -4), dims=(2, 3))
    plain = model.features(images, [layer])[layer]
    step = images.shape[-1] // plain.shape[-1]
    with wrap_around(model):
        still, moved = (model.features(x, [layer])[layer] for x in (images, rolled))
    expected = still.roll((8 // step, -4 // step), dims=(2, 3))
    torch.testing.assert_close(moved, expected)
    assert still.shape == plain.shape
    assert torch.equal(model.features(images, [layer])[layer], plain)


def test_wrapping_ends_with_the_block_even_after_an_error() -> None:
    model = Reader(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.MaxPool2d(3, 2, 1))
    with pytest.raises(RuntimeError, match="stop"), wrap_around(model):
        raise RuntimeError("stop")
    assert (model.network[0].padding_mode, model.network[1].padding) == ("reflect", 1)
    assert not model.network[1]._forward_pre_hooks


def test_a_model_without_padding_cannot_wrap_around() -> None:
    model = Reader(nn.Conv2d(3, 4, 3), nn.MaxPool2d(3, padding=1))
    with pytest.raises(ValueError, match="no padded convolutions"), wrap_around(model):
        pass
