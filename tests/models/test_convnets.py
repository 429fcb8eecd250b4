import pickle
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models as torchvision_models
from torchvision.models.feature_extraction import create_feature_extractor

import cnnperception as cp
from cnnperception.models import TorchvisionNetwork, normalised, receptive_field


def _images(side: int = 64, batch: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.rand((batch, 3, side, side), generator=random, dtype=dtype)


def _standardised(images: Tensor) -> Tensor:
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(deviation).view(3, 1, 1)


@pytest.fixture(scope="module")
def vgg19() -> TorchvisionNetwork:
    return TorchvisionNetwork("vgg19", weights=None)


@pytest.fixture(scope="module")
def vgg11() -> TorchvisionNetwork:
    return TorchvisionNetwork("vgg11", weights=None)


@pytest.fixture(scope="module")
def vgg11_file(vgg11: TorchvisionNetwork, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "vgg11.safetensors"
    state = {k: v.contiguous() for k, v in vgg11.network.state_dict().items() if "features" in k}
    save_file(state, path)
    return path


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
    made = request.getfixturevalue("vgg19") if name == "vgg19" else None
    model = made or TorchvisionNetwork(name, weights=None)
    reference = create_feature_extractor(
        model.network, {node: layer for layer, node in CASES[name].items()}
    )
    images = _images()
    with torch.no_grad():
        expected = reference(_standardised(images))
        ours = model.features(images, list(CASES[name]))
    assert list(ours) == list(CASES[name])
    for layer, values in expected.items():
        torch.testing.assert_close(ours[layer], values, rtol=1e-4, atol=1e-5)


def test_vgg_layers_have_the_literatures_names(vgg19: TorchvisionNetwork) -> None:
    convolutions = [
        f"conv{b}_{i}" for b, n in enumerate((2, 2, 4, 4, 4), 1) for i in range(1, n + 1)
    ]
    expected = [*convolutions, *(f"pool{b}" for b in range(1, 6)), "fc6", "fc7", "fc8"]
    assert sorted(vgg19.layers) == sorted(expected)
    assert vgg19.layers[:6] == ("conv1_1", "conv1_2", "pool1", "conv2_1", "conv2_2", "pool2")


def test_convolutions_are_read_after_rectification(vgg11: TorchvisionNetwork) -> None:
    features = vgg11.features(_images(32), ["conv1_1", "conv2_1", "pool2"])
    assert all(response.min() >= 0 for response in features.values())


def test_nothing_beyond_the_deepest_layer_runs(vgg11: TorchvisionNetwork) -> None:
    ran: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, path=path: ran.append(path))
        for path, module in vgg11.network.named_modules()
        if path.count(".") == 1
    ]
    vgg11.features(_images(32), ["pool2", "conv1_1"])
    for handle in handles:
        handle.remove()
    assert ran == [f"features.{i}" for i in range(6)]


def test_layers_written_into_later_on_are_kept_as_they_were() -> None:
    # densenet rectifies the output of its last normalisation in place.
    model = TorchvisionNetwork("densenet121", weights=None)
    both = model.features(_images(), ["features.norm5", "classifier"])
    assert both["features.norm5"].min() < 0
    alone = model.features(_images(), ["features.norm5"])["features.norm5"]
    torch.testing.assert_close(both["features.norm5"], alone)


def test_parameters_are_frozen_and_gradients_reach_the_pixels(vgg11: TorchvisionNetwork) -> None:
    assert not any(parameter.requires_grad for parameter in vgg11.parameters())
    images = _images(32).requires_grad_()
    vgg11.features(images, ["pool3"])["pool3"].sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_gradients_equal_finite_differences() -> None:
    model = TorchvisionNetwork("vgg11", weights=None, pooling="avg")
    small = model.double()
    images = _images(8, 1, torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: small.features(x, ["conv2_1"])["conv2_1"][:, :4], (images,), fast_mode=True
    )


def test_autocast_gives_nearly_the_same(vgg11: TorchvisionNetwork) -> None:
    plain = vgg11.features(_images(32), ["pool3"])["pool3"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        quick = vgg11.features(_images(32), ["pool3"])["pool3"]
    assert quick.dtype == torch.bfloat16
    assert (quick.float() - plain).norm() < 0.05 * plain.norm()


def test_average_pooling_averages() -> None:
    model = TorchvisionNetwork("vgg11", weights=None, pooling="avg")
    features = model.features(_images(32), ["conv1_1", "pool1"])
    expected = nn.functional.avg_pool2d(features["conv1_1"], 2)
    torch.testing.assert_close(features["pool1"], expected)
    with pytest.raises(ValueError, match="'max' or 'avg'"):
        TorchvisionNetwork("vgg11", weights=None, pooling="median")


def test_the_seed_decides_random_weights_and_the_global_state_stays() -> None:
    state = torch.random.get_rng_state()
    one = TorchvisionNetwork("squeezenet1_1", weights=None, seed=1).features(
        _images(), ["classifier"]
    )
    same = TorchvisionNetwork("squeezenet1_1", weights=None, seed=1).features(
        _images(), ["classifier"]
    )
    other = TorchvisionNetwork("squeezenet1_1", weights=None, seed=2).features(
        _images(), ["classifier"]
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(one["classifier"], same["classifier"])
    assert not torch.equal(one["classifier"], other["classifier"])


@pytest.mark.parametrize("layer", ["conv1_2", "pool1", "conv2_2", "pool2"])
def test_stated_receptive_fields_equal_those_measured_by_gradients(layer: str) -> None:
    model = TorchvisionNetwork("vgg13", weights=None, pooling="avg")
    stated = model.receptive_fields[layer]
    model.receptive_fields = {}
    assert receptive_field(model, layer) == stated


def test_vgg19_receptive_fields_are_those_of_the_literature(vgg19: TorchvisionNetwork) -> None:
    fields = vgg19.receptive_fields
    assert [fields[f"pool{i}"] for i in range(1, 5)] == [6, 16, 52, 124]


def test_a_state_dict_from_a_file_is_used(vgg11, vgg11_file, tmp_path: Path) -> None:
    expected = vgg11.features(_images(32), ["pool5"])["pool5"]
    wrapped = tmp_path / "wrapped.pth"
    state = {f"module.{k}": v for k, v in vgg11.network.state_dict().items() if "features" in k}
    torch.save({"state_dict": state}, wrapped)
    for path in (vgg11_file, wrapped):
        model = cp.load_model("vgg11", weights=path, device="cpu")
        torch.testing.assert_close(model.features(_images(32), ["pool5"])["pool5"], expected)
        assert "fc6" not in model.layers
        assert len(model.provenance["file_sha256"]) == 64


def test_gatys_weights_are_recognised_by_their_keys(tmp_path: Path) -> None:
    model = TorchvisionNetwork("vgg19", weights=None)
    names = [n for n in model.layers if n.startswith("conv")]
    state = {}
    for name in names:
        index = int(model.paths[name].split(".")[1]) - 1
        convolution = model.network.features[index]
        state[f"{name}.weight"], state[f"{name}.bias"] = convolution.weight, convolution.bias
    torch.save(state, tmp_path / "vgg_conv.pth")
    loaded = TorchvisionNetwork("vgg19", weights=tmp_path / "vgg_conv.pth")
    assert loaded.provenance["preprocessing"]["channels"] == "BGR"
    images = _images(32)
    mean = torch.tensor((103.939, 116.779, 123.68)).view(3, 1, 1)
    pixels = 255 * images[:, [2, 1, 0]] - mean
    with torch.no_grad():
        expected = model.network.features[:2](pixels)
    ours = loaded.features(images, ["conv1_1"])["conv1_1"]
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-2)


def test_files_that_do_not_fit_are_refused_with_the_reason(tmp_path: Path, vgg11_file) -> None:
    class Harmful:
        def __reduce__(self):
            return (print, ("this must never run",))

    def refused(path: Path, message: str, error: type[Exception] = ValueError) -> None:
        with pytest.raises(error, match=message):
            TorchvisionNetwork("vgg11", weights=path)

    refused(tmp_path / "none.pth", "no file of weights", FileNotFoundError)
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps(Harmful()))
    refused(tmp_path / "pickle.pth", "never run")
    (tmp_path / "cut.safetensors").write_bytes(vgg11_file.read_bytes()[:1000])
    refused(tmp_path / "cut.safetensors", "damaged")
    torch.save([1, 2], tmp_path / "list.pth")
    refused(tmp_path / "list.pth", "not a state dict")
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "little.pth")
    refused(tmp_path / "little.pth", "it lacks features.0.bias")
    with pytest.raises(ValueError, match="do not fit"):
        TorchvisionNetwork("vgg13", weights=vgg11_file)


def test_without_a_network_the_message_says_what_to_do(monkeypatch, tmp_path: Path) -> None:
    def offline(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(
        torchvision_models.WeightsEnum
        if hasattr(torchvision_models, "WeightsEnum")
        else type(torchvision_models.VGG19_Weights.DEFAULT),
        "get_state_dict",
        offline,
    )
    with pytest.raises(OSError, match="could not be loaded") as raised:
        cp.load_model("vgg19", device="cpu")
    message = str(raised.value)
    for part in (
        "vgg19-dcbb9e9d.pth",
        str(tmp_path / "checkpoints"),
        "--weights none",
        "random-filters",
    ):
        assert part in message


def test_unknown_weights_and_models_are_named() -> None:
    with pytest.raises(ValueError, match="IMAGENET1K_V1"):
        TorchvisionNetwork("vgg11", weights="IMAGENET")
    with pytest.raises(ValueError, match="did you mean vgg19"):
        cp.load_model("vgg-19", device="cpu")
    with pytest.raises(ValueError, match="takes no such option"):
        cp.load_model("random-filters", device="cpu", poolings="avg")


def test_a_transformer_says_the_size_it_needs() -> None:
    model = TorchvisionNetwork("vit_b_32", weights=None)
    with pytest.raises(ValueError, match="224 x 224 pixels and no other; these have 100 x 100"):
        model.features(_images(100, 1), ["encoder"])


@pytest.mark.parametrize("name", ["vgg11", "vgg11_bn"])
def test_normalising_makes_mean_activations_one_and_changes_scale_alone(name: str) -> None:
    model = TorchvisionNetwork(name, weights=None)
    images = _images(64, 4)
    scaled = normalised(model, images)
    layers = ["conv1_1", "conv3_2", "conv5_2", "pool5"]
    before, after = model.features(images, layers), scaled.features(images, layers)
    for layer in layers[:3]:
        means = cp.channel_mean(after[layer]).mean(dim=0)
        alive = cp.channel_mean(before[layer]).mean(dim=0) > 0
        torch.testing.assert_close(means[alive], torch.ones(int(alive.sum())), rtol=1e-3, atol=1e-3)
        factor = cp.channel_mean(before[layer]).mean(dim=0).clamp(min=1e-12)
        restored = after[layer] * factor[:, None, None]
        torch.testing.assert_close(
            restored[:, alive], before[layer][:, alive], rtol=1e-2, atol=1e-4
        )
    torch.testing.assert_close(
        scaled.features(images, ["fc8"])["fc8"],
        model.features(images, ["fc8"])["fc8"],
        rtol=1e-3,
        atol=1e-4,
    )
    assert scaled.provenance["normalised"]["images"] == 4
    assert "normalised" not in model.provenance


def test_every_torchvision_network_lists_its_layers_and_can_be_read() -> None:
    names = cp.list_models()["name"].tolist()
    assert {"vgg19", "resnet50", "swin_t", "hmax", "random-filters", "pixels"} <= set(names)
    for name in ("mobilenet_v3_small", "shufflenet_v2_x0_5", "googlenet", "swin_t"):
        model = TorchvisionNetwork(name, weights=None)
        chosen = [model.layers[0], model.layers[len(model.layers) // 2], model.layers[-1]]
        features = model.features(_images(64, 1), chosen)
        assert all(torch.isfinite(response).all() for response in features.values())
