import pickle
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models as torchvision_models
from torchvision.models.vision_transformer import VisionTransformer

import cnnperception as cp
from cnnperception.models import TorchvisionNetwork, convnets
from cnnperception.models import weights as weight_files
from cnnperception.models.tracing import without_numbers

CAFFE_MEAN = (103.939, 116.779, 123.68)
State = dict[str, Tensor]


def _images(side: int = 32, batch: int = 2) -> Tensor:
    return torch.rand((batch, 3, side, side), generator=torch.Generator().manual_seed(0))


def _state(name: str) -> State:
    """Return the convolutions of a network: numbers of the right shapes and spread."""
    with without_numbers():
        network = torchvision_models.get_model(name).features
    random = torch.Generator().manual_seed(0)
    return {
        f"features.{key}": torch.randn(value.shape, generator=random)
        * (2 / value[0].numel()) ** (0.5 if value.ndim > 1 else 1)
        for key, value in network.state_dict().items()
    }


@pytest.fixture(scope="module")
def state() -> State:
    return _state("vgg11")


def _first_responses(state: State, images: Tensor) -> Tensor:
    """Return conv1_1 for preprocessed images, without any code of ours."""
    weight, bias = state["features.0.weight"], state["features.0.bias"]
    return nn.functional.conv2d(images, weight, bias, padding=1).relu()


def _torchvision_pixels(images: Tensor) -> Tensor:
    mean = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1)
    return (images - mean) / torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)


def _caffe_pixels(images: Tensor) -> Tensor:
    return 255 * images[:, [2, 1, 0]] - torch.tensor(CAFFE_MEAN).view(3, 1, 1)


def _wrapped(state: State) -> dict[str, object]:
    return {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}


WAYS_TO_SAVE: dict[str, Callable[[State, Path], object]] = {
    "plain.safetensors": save_file,
    "plain.pth": torch.save,
    "wrapped.pt": lambda state, path: torch.save(_wrapped(state), path),
    "nested.pth.tar": lambda state, path: torch.save({"model": state}, path),
    "old.pth": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "half.pth": lambda state, path: torch.save({k: v.half() for k, v in state.items()}, path),
}


@pytest.mark.parametrize("file", WAYS_TO_SAVE)
def test_a_state_dict_is_read_however_it_was_saved(state, tmp_path: Path, file: str) -> None:
    WAYS_TO_SAVE[file](state, tmp_path / file)
    model = cp.load_model("vgg11", weights=tmp_path / file, device="cpu")
    ours = model.features(_images(), ["conv1_1"])["conv1_1"]
    expected = _first_responses(state, _torchvision_pixels(_images()))
    tolerance = 1e-2 if "half" in file else 1e-5
    torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance)
    assert model.provenance["weights"] == file
    assert model.provenance["preprocessing"]["channels"] == "RGB"
    assert len(model.provenance["file_sha256"]) == 64


def test_a_vgg_without_its_classifier_offers_what_it_has(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "vgg11.pth")
    model = TorchvisionNetwork("vgg11", weights=str(tmp_path / "vgg11.pth"))
    assert model.layers[-1] == "pool5"
    assert sum(p.numel() for p in model.parameters()) == sum(v.numel() for v in state.values())
    assert not any(parameter.is_meta for parameter in model.parameters())


def test_weights_for_features_alone_are_published_with_a_classifier_of_nan(state: State) -> None:
    published = torchvision_models.VGG16_Weights.IMAGENET1K_FEATURES
    # VGG-11's shapes will do: what is tested is what becomes of the classifier.
    full = state | {
        f"classifier.{index}.{kind}": torch.full((1,), torch.nan)
        for index in (0, 3, 6)
        for kind in ("weight", "bias")
    }
    with without_numbers():
        network = torchvision_models.vgg11()
    found = weight_files._with_table(full, published, "file", None)
    assert not weight_files.load_into(network, found, {"conv1_1": "features.0"})
    assert found.preprocessing.mean == (0.48235, 0.45882, 0.40784)
    assert found.preprocessing.deviation == (1 / 255, 1 / 255, 1 / 255)


def test_gatys_weights_are_recognised_by_their_keys(state: State, tmp_path: Path) -> None:
    with without_numbers():
        paths = convnets.vgg.convolution_paths(torchvision_models.vgg11())
    gatys = {
        f"{layer}.{kind}": state[f"{path}.{kind}"]
        for layer, path in paths.items()
        for kind in ("weight", "bias")
    }
    assert list(gatys)[:3] == ["conv1_1.weight", "conv1_1.bias", "conv2_1.weight"]
    torch.save(gatys, tmp_path / "vgg_conv.pth")
    model = TorchvisionNetwork("vgg11", weights=tmp_path / "vgg_conv.pth")
    ours = model.features(_images(), ["conv1_1"])["conv1_1"]
    expected = _first_responses(state, _caffe_pixels(_images()))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-3)
    assert model.provenance["preprocessing"]["channels"] == "BGR"
    with pytest.raises(ValueError, match=r"it lacks features.*it has conv1_1.weight"):
        TorchvisionNetwork("alexnet", weights=tmp_path / "vgg_conv.pth")


@pytest.mark.parametrize("form", ["his keys", "torchvision's keys"])
def test_johnsons_weights_get_caffes_preprocessing(tmp_path: Path, form: str) -> None:
    state = _state("vgg16")
    if form == "his keys":
        file = tmp_path / "renamed.pth"
        shapes = {"1": (4096, 25088), "4": (4096, 4096), "6": (1000, 4096)}
        for index, shape in shapes.items():
            state[f"classifier.{index}.weight"] = torch.zeros(1).expand(shape)
            state[f"classifier.{index}.bias"] = torch.zeros(shape[0])
    else:
        file = tmp_path / "vgg16-00b39a1b.pth"
    torch.save(state, file)
    found = weight_files.find("vgg16", file)
    assert found.preprocessing == weight_files.CAFFE
    with without_numbers():
        network = torchvision_models.vgg16()
    convolutions = convnets.vgg.convolution_paths(network)
    assert weight_files.load_into(network, found, convolutions) == (form == "his keys")


def test_names_of_an_older_transformer_are_understood() -> None:
    options = {"image_size": 32, "patch_size": 16, "num_layers": 1, "num_heads": 2}
    reference = VisionTransformer(**options, hidden_dim=8, mlp_dim=16).eval()
    older = {
        key.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): value
        for key, value in reference.state_dict().items()
    }
    assert "encoder.layers.encoder_layer_0.mlp.linear_2.bias" in older
    with without_numbers():
        network = VisionTransformer(**options, hidden_dim=8, mlp_dim=16).eval()
    found = weight_files.Weights(older, "file", weight_files.CAFFE, 32, {})
    assert weight_files.load_into(network, found, {})
    assert torch.equal(network(_images()), reference(_images()))


class Harmful:
    ran = False

    def __reduce__(self) -> tuple[Callable[..., None], tuple[()]]:
        return (_note, ())


def _note() -> None:
    Harmful.ran = True


FAULTY: dict[str, tuple[Callable[[State, Path], object], str]] = {
    "pickle.pth": (
        lambda s, path: path.write_bytes(pickle.dumps(Harmful(), protocol=2)),
        "never run",
    ),
    "object.pth": (lambda s, path: torch.save(Harmful(), path), "never run"),
    "cut.pth": (lambda s, path: _save_part(torch.save, s, path), "damaged"),
    "cut.safetensors": (lambda s, path: _save_part(save_file, s, path), "damaged"),
    "text.safetensors": (lambda s, path: path.write_text("weights"), "damaged"),
    "list.pth": (lambda s, path: torch.save([1, 2], path), "holds a list, not a state dict"),
    "nothing.pth": (lambda s, path: torch.save({}, path), "it is empty"),
    "odd.pth": (lambda s, path: torch.save(s | {"x": 1}, path), "the entry 'x' is no tensor"),
    "first.pth": (
        lambda s, path: torch.save({"features.0.weight": s["features.0.weight"]}, path),
        r"it lacks features.0.bias, features.3.weight, features.3.bias ... \(\d+ keys\)",
    ),
    "extra.pth": (
        lambda s, path: torch.save(s | {"head.weight": torch.zeros(1)}, path),
        "it has head.weight, which the network does not",
    ),
    "shape.pth": (
        lambda s, path: torch.save(s | {"features.3.weight": torch.zeros(7)}, path),
        r"features.3.weight has the shape \(7,\) where \(128, 64, 3, 3\) is needed \(1 such\)",
    ),
}


def _save_part(save: Callable[[State, Path], object], state: State, path: Path) -> None:
    save(state, path)
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize("file", FAULTY)
def test_files_that_do_not_fit_are_refused_with_the_reason(state, tmp_path, file: str) -> None:
    make, message = FAULTY[file]
    make(state, tmp_path / file)
    with pytest.raises(ValueError, match=message) as raised:
        TorchvisionNetwork("vgg11", weights=tmp_path / file)
    assert str(tmp_path / file) in str(raised.value)
    assert not Harmful.ran


def test_the_weights_of_another_vgg_are_refused(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "vgg11.pth")
    with pytest.raises(ValueError, match="do not fit: it lacks features"):
        TorchvisionNetwork("vgg13", weights=tmp_path / "vgg11.pth")


def test_names_of_weights_and_paths_that_do_not_exist_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no weights 'IMAGENET'; there are IMAGENET1K_V1"):
        TorchvisionNetwork("vgg11", weights="IMAGENET")
    for path in (tmp_path / "none.pth", "none.pth", str(tmp_path / "none"), tmp_path):
        with pytest.raises(FileNotFoundError, match="no file of weights at"):
            TorchvisionNetwork("vgg11", weights=path)


# torchvision's published weights


@pytest.fixture
def cache(monkeypatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


@pytest.fixture(scope="module")
def squeezenet() -> State:
    return torchvision_models.squeezenet1_1().state_dict()


SQUEEZENET_FILE = "squeezenet1_1-b8a52dc0.pth"


def _offline(*_, **__) -> None:
    raise URLError("no route to host")


def test_without_a_network_the_message_says_what_to_do(monkeypatch, cache: Path) -> None:
    monkeypatch.setattr(torch.hub, "download_url_to_file", _offline)
    with pytest.raises(OSError, match="weights of vgg19 could not be loaded") as raised:
        cp.load_model("vgg19", device="cpu")
    message = str(raised.value)
    address = torchvision_models.VGG19_Weights.DEFAULT.url
    place = cache / "vgg19-dcbb9e9d.pth"
    for part in ("no route", address, str(place), "--weights FILE", "weights=None"):
        assert part in message
    assert "random-filters" in message
    assert "damaged" not in message


def test_a_file_in_the_cache_is_used_and_recorded(monkeypatch, cache, squeezenet: State) -> None:
    torch.save(squeezenet, cache / SQUEEZENET_FILE)
    monkeypatch.setattr(torch.hub, "download_url_to_file", _offline)
    digest = "b8a52dc0" + 56 * "1"
    monkeypatch.setattr(weight_files, "sha256", lambda path: digest)
    named = TorchvisionNetwork("squeezenet1_1")
    for key, value in squeezenet.items():
        assert torch.equal(named.network.state_dict()[key], value)
    entry = torchvision_models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    assert named.provenance["weights"] == f"torchvision {entry}"
    assert named.provenance["file_sha256"] == digest
    # The same file by its path is known by its name.
    given = TorchvisionNetwork("squeezenet1_1", weights=cache / SQUEEZENET_FILE)
    assert given.provenance == named.provenance


def test_a_damaged_file_in_the_cache_is_to_be_removed(cache, squeezenet: State) -> None:
    file = cache / SQUEEZENET_FILE
    torch.save(squeezenet, file)  # readable, but not the bytes that its name promises
    with pytest.raises(OSError, match="not with the b8a52dc0 in its name") as raised:
        TorchvisionNetwork("squeezenet1_1")
    assert f"remove the damaged {file} first" in str(raised.value)
    with pytest.raises(ValueError, match="damaged or another file"):
        TorchvisionNetwork("squeezenet1_1", weights=file)
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(OSError, match="could not be loaded"):
        TorchvisionNetwork("squeezenet1_1")


def test_weights_keep_their_own_preprocessing_and_size(monkeypatch) -> None:
    monkeypatch.setattr(torchvision_models.WeightsEnum, "get_state_dict", lambda *_, **__: {})
    sides = set()
    for entry in torchvision_models.ViT_B_16_Weights:
        found = weight_files.find("vit_b_16", entry.name)
        assert found.side == entry.transforms().crop_size[0]
        assert list(found.preprocessing.mean) == entry.transforms().mean
        sides.add(found.side)
    assert sides == {224, 384}
