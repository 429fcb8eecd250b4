import copy
import re

import pytest
import torch
from torch import Tensor, nn
from torchvision import models as torchvision_models
from torchvision.models.feature_extraction import create_feature_extractor

from cnnperception.models import TorchvisionNetwork, convnets, fingerprint, receptive_field
from cnnperception.models.network import average_pooling
from cnnperception.models.tracing import without_numbers

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _images(side: int = 32, batch: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.rand((batch, 3, side, side), generator=random, dtype=dtype)


def _standardised(images: Tensor) -> Tensor:
    return (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)


@pytest.fixture(scope="module")
def vgg19() -> TorchvisionNetwork:
    return TorchvisionNetwork("vgg19", weights=None)


@pytest.fixture(scope="module")
def vgg11(tmp_path_factory) -> TorchvisionNetwork:
    """A VGG without its classifier, which is small and quickly made."""
    with without_numbers():
        convolutions = torchvision_models.vgg11().features
    random = torch.Generator().manual_seed(0)
    state = {
        f"features.{key}": torch.randn(value.shape, generator=random)
        * (2 / value[0].numel()) ** (0.5 if value.ndim > 1 else 1)
        for key, value in convolutions.state_dict().items()
    }
    path = tmp_path_factory.mktemp("weights") / "vgg11.pth"
    torch.save(state, path)
    return TorchvisionNetwork("vgg11", weights=path)


VGG19_NODES = {
    "conv1_1": "features.1",
    "pool1": "features.4",
    "conv3_4": "features.17",
    "conv4_2": "features.22",
    "pool4": "features.27",
    "conv5_4": "features.35",
    "fc6": "classifier.1",
    "fc8": "classifier.6",
}
CASES = {
    "vgg19": VGG19_NODES,
    "alexnet": {n: n for n in ("features.0", "features.7", "features.12", "classifier.6")},
    "resnet50": {n: n for n in ("relu", "layer1.0", "layer2.3", "layer4.2.conv2", "fc")},
}


@pytest.mark.parametrize("name", CASES)
def test_features_equal_torchvisions_feature_extractor(name: str, request) -> None:
    model = (
        request.getfixturevalue(name) if name == "vgg19" else TorchvisionNetwork(name, weights=None)
    )
    reference = create_feature_extractor(
        model.network, {node: layer for layer, node in CASES[name].items()}
    )
    images = _images(64)
    with torch.no_grad():
        inputs = _standardised(images).contiguous(memory_format=torch.channels_last)
        expected = reference(inputs)
        ours = model.features(images, list(CASES[name]))
    assert list(ours) == list(CASES[name])
    for layer, values in expected.items():
        torch.testing.assert_close(ours[layer], values, rtol=1e-6, atol=1e-6)


# Networks that torchvision builds, loads or feeds in a way of their own.
@pytest.mark.parametrize(
    "name",
    ["googlenet", "inception_v3", "densenet121", "mnasnet0_5", "regnet_x_400mf", "swin_t"],
)
def test_published_weights_give_what_torchvisions_own_builder_gives(name: str, monkeypatch) -> None:
    published = torchvision_models.get_model_weights(name).DEFAULT
    options = {"aux_logits": True, "init_weights": True} if name in convnets.INCEPTIONS else {}
    torch.manual_seed(1)
    state = torchvision_models.get_model(name, weights=None, **options).state_dict()
    for weight in state.values():
        if weight.ndim == 4:  # of a size that lets the input through to the answer
            nn.init.kaiming_normal_(weight)
    if name == "densenet121":  # its published file is older than the names of its modules
        old = r"(denselayer\d+\.(?:norm|relu|conv))([12]\.)"
        state = {
            re.sub(old, r"\1.\2", key): value
            for key, value in state.items()
            if not key.endswith("num_batches_tracked")
        }
        assert "features.denseblock1.denselayer1.norm.1.weight" in state
    monkeypatch.setattr(type(published), "get_state_dict", lambda *_, **__: copy.copy(state))
    images = _images(96)
    reference = torchvision_models.get_model(name, weights=published).eval()
    model = TorchvisionNetwork(name)
    with torch.no_grad():
        expected = reference(_standardised(images))
    answer = model.features(images, model.layers[-1:])[model.layers[-1]]
    assert (answer - expected).norm() < 1e-4 * expected.norm()


@pytest.mark.parametrize("name", ["vit_b_16", "maxvit_t", "regnet_y_400mf", "efficientnet_b1"])
def test_networks_are_built_for_each_of_their_published_weights(name: str) -> None:
    for published in torchvision_models.get_model_weights(name):
        with without_numbers():
            network = convnets._untrained(name, published.transforms().crop_size[0])
        count = sum(parameter.numel() for parameter in network.parameters())
        assert count == published.meta["num_params"]


def test_vgg_layers_have_the_literatures_names(vgg19: TorchvisionNetwork) -> None:
    expected = [
        layer
        for block, count in enumerate((2, 2, 4, 4, 4), 1)
        for layer in [*(f"conv{block}_{i}" for i in range(1, count + 1)), f"pool{block}"]
    ]
    assert list(vgg19.layers) == [*expected, "fc6", "fc7", "fc8"]


def test_convolutions_are_read_after_rectification(vgg11: TorchvisionNetwork) -> None:
    convolution = vgg11.network.features[0]
    features = vgg11.features(_images(), ["conv1_1"])["conv1_1"]
    torch.testing.assert_close(features, convolution(_standardised(_images())).relu())


def test_nothing_beyond_the_deepest_layer_runs(vgg11: TorchvisionNetwork) -> None:
    ran: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, path=path: ran.append(path))
        for path, module in vgg11.network.named_modules()
        if path.count(".") == 1
    ]
    vgg11.features(_images(), ["pool2", "conv1_1"])
    for handle in handles:
        handle.remove()
    assert ran == [f"features.{i}" for i in range(6)]


def test_layers_written_into_later_on_are_kept_as_they_were() -> None:
    # densenet rectifies the output of its last normalisation in place.
    model = TorchvisionNetwork("densenet121", weights=None)
    with torch.no_grad():
        both = model.features(_images(), ["features.norm5", "classifier"])
        alone = model.features(_images(), ["features.norm5"])["features.norm5"]
    assert both["features.norm5"].min() < 0
    torch.testing.assert_close(both["features.norm5"], alone)


def test_parameters_are_frozen_and_gradients_reach_the_pixels(vgg11: TorchvisionNetwork) -> None:
    assert not any(parameter.requires_grad for parameter in vgg11.parameters())
    images = _images().requires_grad_()
    vgg11.features(images, ["pool3"])["pool3"].sum().backward()
    assert images.grad is not None
    assert (images.grad.abs().amax(dim=1) > 0).all()


@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_gradients_equal_finite_differences(vgg11: TorchvisionNetwork, pooling: str) -> None:
    model = _with_pooling(vgg11, pooling).double()
    images = _images(8, 1, torch.float64).requires_grad_()

    def respond(images: Tensor) -> tuple[Tensor, ...]:
        return tuple(model.features(images, ["conv1_1", "conv3_1"]).values())

    assert torch.autograd.gradcheck(respond, (images,), fast_mode=True)


def test_dropout_is_off(vgg19: TorchvisionNetwork) -> None:
    assert not any(module.training for module in vgg19.modules())
    one, two = (vgg19.features(_images(), ["fc8"])["fc8"] for _ in range(2))
    assert torch.equal(one, two)


def test_autocast_gives_nearly_the_same(vgg11: TorchvisionNetwork) -> None:
    plain = vgg11.features(_images(), ["pool3"])["pool3"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        quick = vgg11.features(_images(), ["pool3"])["pool3"]
    assert quick.dtype == torch.bfloat16
    assert (quick.float() - plain).norm() < 0.05 * plain.norm()


def test_a_network_of_lower_precision_takes_the_same_images(vgg11: TorchvisionNetwork) -> None:
    plain = vgg11.features(_images(), ["pool3"])["pool3"]
    quick = copy.deepcopy(vgg11).bfloat16().features(_images(), ["pool3"])["pool3"]
    assert quick.dtype == torch.bfloat16
    assert (quick.float() - plain).norm() < 0.05 * plain.norm()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_channels_are_innermost_whatever_the_layout_of_the_images(vgg11, layout) -> None:
    images = _images().contiguous(memory_format=layout)
    response = vgg11.features(images, ["conv2_1"])["conv2_1"]
    assert response.is_contiguous(memory_format=torch.channels_last)
    weight = vgg11.network.features[3].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(response, vgg11.features(_images(), ["conv2_1"])["conv2_1"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_features_on_a_gpu_equal_those_on_the_cpu(vgg11: TorchvisionNetwork) -> None:
    expected = vgg11.features(_images(), ["conv3_1"])["conv3_1"]
    ours = copy.deepcopy(vgg11).cuda().features(_images().cuda(), ["conv3_1"])["conv3_1"]
    torch.testing.assert_close(ours.cpu(), expected, rtol=1e-2, atol=1e-2)


def _with_pooling(model: TorchvisionNetwork, pooling: str) -> TorchvisionNetwork:
    changed = copy.deepcopy(model)
    if pooling == "avg":
        average_pooling(changed.network, changed.name)
    return changed


def test_average_pooling_averages_over_the_same_windows() -> None:
    largest = TorchvisionNetwork("squeezenet1_1", weights=None, seed=5)
    mean = TorchvisionNetwork("squeezenet1_1", weights=None, seed=5, pooling="avg")
    layers = ["features.1", "features.2"]
    expected, ours = (model.features(_images(), layers) for model in (largest, mean))
    assert torch.equal(ours["features.1"], expected["features.1"])
    averaged = nn.functional.avg_pool2d(
        expected["features.1"], 3, 2, ceil_mode=True, count_include_pad=False
    )
    torch.testing.assert_close(ours["features.2"], averaged)
    assert ours["features.2"].shape == expected["features.2"].shape
    assert mean.provenance["pooling"] == "avg"
    assert fingerprint(mean) != fingerprint(largest)


@pytest.mark.parametrize("size", [(8, 12), (9, 12), (7, 5)])
@pytest.mark.parametrize("pool", [(2, 2), (3, 3), (3, 2), (2, 2, 1)])
def test_gradients_of_average_pooling_are_those_of_torch(
    pool: tuple[int, ...], size: tuple[int, int]
) -> None:
    network = nn.Sequential(nn.MaxPool2d(*pool))
    average_pooling(network, "pool")
    maps = torch.randn((2, 4, *size), dtype=torch.float64).requires_grad_()
    expected = nn.functional.avg_pool2d(maps, *pool, count_include_pad=False)
    found = network(maps)
    torch.testing.assert_close(found, expected)
    change = torch.randn_like(found)
    for output in (found, expected):
        output.backward(change, inputs=[maps])
    torch.testing.assert_close(maps.grad, 2 * torch.autograd.grad(network(maps), maps, change)[0])
    assert torch.autograd.gradgradcheck(network, maps)


def test_average_pooling_leaves_the_border_as_bright_as_the_rest() -> None:
    network = nn.Sequential(nn.MaxPool2d(3, 2, padding=1))
    average_pooling(network, "pool")
    assert torch.equal(network(torch.ones(1, 3, 8, 8)), torch.ones(1, 3, 4, 4))


@pytest.mark.parametrize(
    ("name", "pooling", "message"),
    [
        ("vgg11", "median", "must be 'max' or 'avg'; got 'median'"),
        ("mobilenet_v3_small", "avg", "no maximum pooling to replace"),
        ("inception_v3", "avg", "out of reach"),
    ],
)
def test_poolings_that_cannot_be_had_are_refused(name: str, pooling: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TorchvisionNetwork(name, weights=None, pooling=pooling)


def test_random_weights_are_torchvisions_own_for_the_seed() -> None:
    before = torch.random.get_rng_state()
    ours = TorchvisionNetwork("squeezenet1_1", weights=None, seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(3)
    theirs = torchvision_models.squeezenet1_1(weights=None).state_dict()
    assert all(torch.equal(ours.network.state_dict()[key], theirs[key]) for key in theirs)
    assert ours.provenance["seed"] == 3
    assert ours.provenance["weights"] == "random"
    other = TorchvisionNetwork("squeezenet1_1", weights=None, seed=4)
    assert fingerprint(other) != fingerprint(ours)


@pytest.mark.parametrize("pooling", ["max", "avg"])
@pytest.mark.parametrize("layer", ["conv1_1", "pool1", "conv2_1", "conv3_2", "pool4"])
def test_stated_receptive_fields_equal_those_measured_by_gradients(
    vgg11: TorchvisionNetwork, layer: str, pooling: str
) -> None:
    model = _with_pooling(vgg11, pooling)
    stated = model.receptive_fields[layer]
    model.receptive_fields = {}
    assert receptive_field(model, layer) == stated


def test_vgg19_receptive_fields_are_those_of_the_literature(vgg19: TorchvisionNetwork) -> None:
    fields = vgg19.receptive_fields
    layers = ["conv1_1", "pool1", "pool2", "conv3_1", "pool3", "pool4", "conv5_1", "pool5"]
    assert [fields[layer] for layer in layers] == [3, 6, 16, 24, 52, 124, 156, 268]
    assert list(fields) == [layer for layer in vgg19.layers if not layer.startswith("fc")]


def test_receptive_fields_of_a_resnet_are_those_of_the_literature() -> None:
    model = TorchvisionNetwork("resnet18", weights=None)
    measured = [receptive_field(model, layer) for layer in ("conv1", "maxpool", "layer1", "layer2")]
    assert measured == [7, 11, 43, 99]


def test_recommended_layers_exist(vgg11: TorchvisionNetwork, vgg19: TorchvisionNetwork) -> None:
    assert vgg19.recommended["texture"] == ("conv1_1", "pool1", "pool2", "pool3", "pool4")
    assert vgg19.recommended["style"] == tuple(f"conv{block}_1" for block in range(1, 6))
    assert vgg19.recommended["content"] == ("conv4_2",)
    assert vgg11.recommended["compare"] == tuple(f"pool{block}" for block in range(1, 6))


STAGES = {
    "resnet18": "conv1 bn1 relu maxpool layer1 layer2 layer3 layer4 avgpool fc",
    "regnet_x_400mf": "stem trunk_output.block1 trunk_output.block2 trunk_output.block3 "
    "trunk_output.block4 avgpool fc",
    "maxvit_t": "stem blocks.0 blocks.1 blocks.2 blocks.3 classifier",
}


@pytest.mark.parametrize("name", STAGES)
def test_the_main_stages_are_recommended_for_comparison(name: str) -> None:
    model_layers = convnets._modules(name, 224)
    assert convnets.stages(list(model_layers)) == {"compare": tuple(STAGES[name].split())}


def test_layers_are_listed_in_the_order_in_which_they_finish() -> None:
    layers = list(convnets._modules("resnet18", 224))
    assert layers[:5] == ["conv1", "bn1", "relu", "maxpool", "layer1.0.conv1"]
    assert layers.index("layer1.0.bn2") < layers.index("layer1.0") < layers.index("layer1.1.conv1")
    assert layers[-3:] == ["layer4", "avgpool", "fc"]


def test_modules_that_do_nothing_never_run_or_return_no_tensor_are_no_layers() -> None:
    assert "classifier.0" not in convnets._modules("alexnet", 224)  # dropout
    vit = convnets._modules("vit_b_32", 224)
    assert "encoder.layers.encoder_layer_0.self_attention" not in vit  # returns a pair
    assert "encoder.layers.encoder_layer_0.mlp" in vit
    swin = convnets._modules("swin_t", 224)
    assert "features.1.0.attn.qkv" not in swin  # used by a function, never run
    assert "features.1.0.stochastic_depth" not in swin


# Sides of the images, then for some layers the shape without the batch.
SHAPES = {
    "swin_t": (64, {"features.0.0": (96, 16, 16), "features.1": (96, 16, 16), "head": (1000,)}),
    "convnext_tiny": (64, {"features.1.0.block.3": (384, 16, 16), "features.1": (96, 16, 16)}),
    "vit_b_32": (
        224,
        {"conv_proj": (768, 7, 7), "encoder.layers.encoder_layer_0": (768, 50, 1)},
    ),
    "maxvit_t": (
        224,
        {
            "stem": (64, 112, 112),
            "blocks.0.layers.0.layers.window_attention.attn_layer": (64, 64, 49),
            "blocks.0.layers.0.layers.grid_attention.attn_layer": (64, 64, 49),
            "blocks.0": (64, 56, 56),
        },
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_channels_are_the_second_axis_in_every_network(name: str) -> None:
    side, shapes = SHAPES[name]
    model = TorchvisionNetwork(name, weights=None)
    with torch.no_grad():
        features = model.features(_images(side, 1), list(shapes))
    assert {layer: tuple(f.shape[1:]) for layer, f in features.items()} == shapes


def test_moving_the_channels_keeps_every_number_in_its_place() -> None:
    model = TorchvisionNetwork("swin_t", weights=None)
    kept: list[Tensor] = []
    block = model.network.features[1]
    handle = block.register_forward_hook(lambda module, given, output: kept.append(output))
    with torch.no_grad():
        ours = model.features(_images(), ["features.1"])["features.1"]
    handle.remove()
    assert torch.equal(ours[1, 5, 2, 3], kept[0][1, 2, 3, 5])


@pytest.mark.parametrize("name", ["alexnet", "shufflenet_v2_x0_5", "efficientnet_b0", "swin_v2_t"])
def test_every_layer_is_a_feature_map_or_a_vector_for_each_image(name: str) -> None:
    model = TorchvisionNetwork(name, weights=None)
    with torch.no_grad():
        features = model.features(_images(64), model.layers)
    assert list(features) == list(model.layers)
    assert all(response.ndim in (2, 4) for response in features.values())
    assert all(len(response) == 2 for response in features.values())
    assert all(response.isfinite().all() for response in features.values())


def test_a_transformer_says_the_size_it_needs() -> None:
    model = TorchvisionNetwork("maxvit_t", weights=None)
    assert model.image_size == 224
    with pytest.raises(ValueError, match="224 x 224 pixels and no other; these have 100 x 100"):
        model.features(_images(100, 1), ["stem"])


def test_images_that_vanish_on_the_way_are_called_too_small(vgg11: TorchvisionNetwork) -> None:
    assert vgg11.image_size is None
    assert vgg11.features(_images(4), ["pool2"])["pool2"].shape[2:] == (1, 1)
    with pytest.raises(ValueError, match="4 x 4 pixels are perhaps too small.*224 x 224"):
        vgg11.features(_images(4), ["pool3"])


def test_running_out_of_memory_is_not_blamed_on_the_images(vgg11, monkeypatch) -> None:
    def exhausted(*_) -> Tensor:
        raise torch.OutOfMemoryError("max_split_size_mb")

    monkeypatch.setattr(vgg11.network, "forward", exhausted)
    with pytest.raises(torch.OutOfMemoryError):
        vgg11.features(_images(), ["pool1"])


def test_groups_and_unknown_layers_are_refused_with_a_hint(vgg11: TorchvisionNetwork) -> None:
    with pytest.raises(ValueError, match=r"'conv6_1' is not in vgg11.*did you mean 'conv"):
        vgg11.features(_images(), ["conv6_1"])
    with pytest.raises(ValueError, match=r"'conv1_\*' is not in vgg11"):
        vgg11.features(_images(), ["conv1_*"])


@pytest.mark.parametrize("padding", ["zeros", "reflect", "circular"])
def test_convolutions_see_what_they_are_padded_with(padding: str) -> None:
    model = TorchvisionNetwork("resnet18", weights=None, padding=padding)
    first, images = model.network.conv1, _images(64)
    mode = "constant" if padding == "zeros" else padding
    seen = nn.functional.pad(_standardised(images), [3] * 4, mode=mode)
    expected = nn.functional.conv2d(seen, first.weight, stride=2)
    torch.testing.assert_close(model.features(images, ["conv1"])["conv1"], expected)
    assert model.provenance.get("padding", "zeros") == padding


def test_an_unknown_padding_is_refused() -> None:
    with pytest.raises(ValueError, match="padding must be one of zeros, reflect"):
        TorchvisionNetwork("vgg11", weights=None, padding="mirror")
