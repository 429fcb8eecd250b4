"""torchvision's classification networks: weights, preprocessing, layer names, pooling."""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..files import sha256
from . import weights as weight_files
from .interface import check_images, read_modules, resolve_layers

CAFFE_MEAN = (103.939, 116.779, 123.68)  # BGR, of pixels in 0-255
SAME_AS_INPUT = (nn.Dropout, nn.Identity)  # in evaluation mode

_VGG_RECOMMENDED = {
    "texture": ("conv1_1", "pool1", "pool2", "pool3", "pool4"),
    "style": ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
    "content": ("conv4_2",),
    "compare": ("pool1", "pool2", "pool3", "pool4", "pool5", "fc6", "fc7", "fc8"),
}


@functools.cache
def torchvision_names() -> tuple[str, ...]:
    """Return the names of torchvision's classification networks."""
    from torchvision import models

    return tuple(models.list_models(module=models))


class TorchvisionNetwork(nn.Module):
    """A classification network of torchvision.

    In the VGG family the layers have the names of the literature, conv1_1 ... pool5, fc6, fc7,
    fc8; a convolution is read after its rectification, as in the code of Gatys et al. In the
    others a layer is the path of a module, in the order in which they run.

    Parameters
    ----------
    name : str
        As in `torchvision.models.list_models`.
    weights : str, path-like or None
        "DEFAULT" or another name of torchvision's weights (downloaded once); the path of a
        state dict (.safetensors, or a torch file), where Gatys' vgg_conv.pth is recognised by
        its keys and gets its own preprocessing; None for random ones.
    pooling : {"max", "avg"}
        "avg" replaces every maximum pooling, as Gatys et al. do for synthesis.
    seed : int
        Of random weights, drawn as torchvision initialises the network.

    Raises
    ------
    ValueError
        For weights that do not fit, or another kind of pooling.
    OSError
        When weights cannot be downloaded.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        name: str,
        *,
        weights: str | os.PathLike[str] | None = "DEFAULT",
        pooling: str = "max",
        seed: int = 0,
    ):
        super().__init__()
        if pooling not in ("max", "avg"):
            raise ValueError(f"pooling must be 'max' or 'avg'; got {pooling!r}")
        self.name = name
        family = name.startswith("vgg")
        self.network, origin, caffe, whole = _with_weights(name, weights, seed)
        self.paths = _vgg_paths(self.network) if family else _paths_in_order(name)
        if not whole:
            self.paths = {k: v for k, v in self.paths.items() if not v.startswith("classifier.")}
            self.network.classifier = nn.Identity()
        self.layers = tuple(self.paths)
        top = tuple(layer for layer in self.layers if "." not in layer)
        recommended = _VGG_RECOMMENDED if family else {"compare": top}
        self.recommended = {
            purpose: tuple(layer for layer in layers if layer in self.paths)
            for purpose, layers in recommended.items()
        }
        if family:
            self.receptive_fields = _vgg_fields(self.network, self.paths)
        if pooling == "avg":
            _average_pooling(self.network)
        for module in self.network.modules():
            if hasattr(module, "inplace"):
                vars(module)["inplace"] = False  # a layer that was read must stay as it was
        self.flip = caffe
        mean, deviation = _preprocessing(name, caffe)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("deviation", deviation, persistent=False)
        self.provenance: dict[str, Any] = {
            **origin,
            "pooling": pooling,
            "preprocessing": {
                "channels": "BGR" if caffe else "RGB",
                "mean": [round(value, 6) for value in mean.flatten().tolist()],
                "deviation": [round(value, 6) for value in deviation.flatten().tolist()],
            },
        }
        # Convolutions run faster with the channels innermost, on CPU and GPU.
        self.network.to(memory_format=torch.channels_last)
        self.eval().requires_grad_(False)

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the responses of the named layers; see `VisionModel.features`.

        Raises
        ------
        ValueError
            For unknown layers, or images of a size the network cannot take.
        """
        check_images(images)
        resolve_layers(self, layers)
        inputs = images.flip(1) if self.flip else images
        inputs = (inputs - self.mean) / self.deviation
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        try:
            return read_modules(self.network, inputs, {name: self.paths[name] for name in layers})
        except (AssertionError, RuntimeError) as error:
            size = f"{images.shape[2]} x {images.shape[3]}"
            if isinstance(error, AssertionError) or "shape" in str(error) or "size" in str(error):
                raise ValueError(
                    f"{self.name} cannot take images of {size} pixels: {error}; "
                    "it was made for 224 x 224"
                ) from error
            raise


def normalised(model: TorchvisionNetwork, images: Tensor | Iterable[Tensor]) -> TorchvisionNetwork:
    """Return a VGG whose filters all have a mean activation of 1 over images and positions.

    Gatys, Ecker & Bethge (2015), section 2: a filter's weights and bias are divided by its mean
    activation m, and the next layer's weights for it multiplied by m. With rectification and
    any pooling the network computes what it did, but for the scale of each channel.

    Parameters
    ----------
    model : TorchvisionNetwork
        Of the VGG family.
    images : Tensor (n, 3, height, width), or an iterable of such
        RGB in [0, 1]; any number, and of any size.

    Returns
    -------
    TorchvisionNetwork
        A copy; its provenance says how many images were used.

    Raises
    ------
    ValueError
        For another network, or no images.
    """
    if not model.name.startswith("vgg"):
        raise ValueError(f"only networks of the VGG family can be normalised; got {model.name}")
    convolutions = [layer for layer in model.layers if layer.startswith("conv")]
    totals = {layer: torch.zeros(()) for layer in convolutions}
    positions = dict.fromkeys(convolutions, 0)
    count = 0
    for batch in [images] if isinstance(images, Tensor) else images:
        count += len(batch)
        with torch.no_grad():
            responses = model.features(batch, convolutions)
        for layer, response in responses.items():
            totals[layer] = totals[layer].to(response) + response.sum(dim=(0, 2, 3))
            positions[layer] += response[:, 0].numel()
    if not count:
        raise ValueError("normalising a network needs at least one image")
    means = {layer: totals[layer] / positions[layer] for layer in convolutions}
    scaled = copy.deepcopy(model)
    _rescale(scaled, {layer: torch.where(m > 0, m, 1.0) for layer, m in means.items()})
    scaled.provenance["normalised"] = {"images": count}
    return scaled


def _rescale(model: TorchvisionNetwork, means: Mapping[str, Tensor]) -> None:
    modules = dict(model.network.named_modules())
    before: Tensor | None = None
    for layer, mean in means.items():
        index = int(model.paths[layer].split(".")[1])
        last = modules[f"features.{index - 1}"]
        convolution = last if isinstance(last, nn.Conv2d) else modules[f"features.{index - 2}"]
        if before is not None:
            convolution.weight.data *= before[:, None, None]
        shape = (-1, 1, 1, 1) if isinstance(last, nn.Conv2d) else (-1,)
        last.weight.data /= mean.view(shape)
        last.bias.data /= mean
        before = mean
    if "fc6" in model.layers and before is not None:
        first = model.network.get_submodule("classifier.0")
        assert isinstance(first, nn.Linear)
        first.weight.data *= before.repeat_interleave(first.in_features // len(before))


def _with_weights(
    name: str, weights: str | os.PathLike[str] | None, seed: int
) -> tuple[nn.Module, dict[str, Any], bool, bool]:
    """Return the network, its origin, whether it takes Caffe's pixels, and whether it is whole."""
    from torchvision import models

    if weights is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return (
                models.get_model(name, weights=None),
                {"weights": "random", "seed": seed},
                False,
                True,
            )
    optional = "classifier." if name.startswith("vgg") else ""
    network = _skeleton(name)
    if str(weights) in models.get_model_weights(name).__members__ or not _is_path(weights):
        state, origin = weight_files.downloaded(name, str(weights))
        weight_files.load_into(network, state, origin["url"], "")
        return network, origin, False, True
    path = Path(weights)
    state = weight_files.from_file(path)
    origin = {"weights": path.name, "file_sha256": sha256(path)}
    caffe = weight_files.is_caffe_vgg(state)
    if caffe and not optional:
        raise ValueError(f"{path} holds the weights of a VGG network, not of {name}")
    if caffe:
        state = weight_files.rename_caffe_vgg(state, _vgg_convolutions(network))
    whole = weight_files.load_into(network, state, str(path), optional)
    return network, origin, caffe, whole


def _is_path(weights: str | os.PathLike[str]) -> bool:
    text = os.fspath(weights)
    return not isinstance(weights, str) or "/" in text or "." in text or Path(text).exists()


def _skeleton(name: str) -> nn.Module:
    """Return a network without numbers in it, which costs no time or memory."""
    from torchvision import models

    with torch.device("meta"):
        network: nn.Module = models.get_model(name, weights=None)
    return network.eval()


def _preprocessing(name: str, caffe: bool) -> tuple[Tensor, Tensor]:
    """Return what is subtracted from and what divides pixels in [0, 1], each (1, 3, 1, 1)."""
    from torchvision import models

    if caffe:
        mean, deviation = torch.tensor(CAFFE_MEAN) / 255, torch.full((3,), 1 / 255)
    else:
        transforms = models.get_model_weights(name).DEFAULT.transforms()
        mean, deviation = torch.tensor(transforms.mean), torch.tensor(transforms.std)
    return mean.view(1, 3, 1, 1), deviation.view(1, 3, 1, 1)


def _vgg_names(network: nn.Module) -> list[tuple[str, str, nn.Module]]:
    """Return (name, path, module) of each convolution, rectification and pooling of a VGG."""
    named: list[tuple[str, str, nn.Module]] = []
    block, convolution = 1, 0
    features = network.get_submodule("features")
    for index, module in features.named_children():
        path = f"features.{index}"
        if isinstance(module, nn.Conv2d):
            convolution += 1
        name = f"conv{block}_{convolution}"
        if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            name = f"pool{block}"
            block, convolution = block + 1, 0
        named.append((name, path, module))
    return named


def _vgg_paths(network: nn.Module) -> dict[str, str]:
    read = (nn.ReLU, nn.MaxPool2d, nn.AvgPool2d)
    paths = {name: path for name, path, m in _vgg_names(network) if isinstance(m, read)}
    return paths | {"fc6": "classifier.1", "fc7": "classifier.4", "fc8": "classifier.6"}


def _vgg_convolutions(network: nn.Module) -> dict[str, str]:
    return {name: path for name, path, m in _vgg_names(network) if isinstance(m, nn.Conv2d)}


def _vgg_fields(network: nn.Module, paths: Mapping[str, str]) -> dict[str, int]:
    fields, field, step = {}, 1, 1
    for name, path, module in _vgg_names(network):
        if isinstance(module, nn.Conv2d):
            field += (module.kernel_size[0] - 1) * step
        elif isinstance(module, nn.MaxPool2d):
            field += step  # every pooling of the family is 2 x 2
            step *= 2
        if paths.get(name) == path:
            fields[name] = field
    return fields


@functools.cache
def _paths_in_order(name: str) -> dict[str, str]:
    """Return the paths of the modules that give a tensor, in the order in which they finish."""
    network = _skeleton(name)
    finished: dict[str, str] = {}

    def note(path: str, module: nn.Module, arguments: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            finished[path] = path

    for path, module in network.named_modules():
        # torchvision's own StochasticDepth does nothing in evaluation either.
        passes = isinstance(module, SAME_AS_INPUT) or type(module).__name__ == "StochasticDepth"
        if path and not passes:
            module.register_forward_hook(functools.partial(note, path))
    side = 299 if name == "inception_v3" else _made_for(name)
    network(torch.zeros((1, 3, side, side), device="meta"))
    return finished


def _made_for(name: str) -> int:
    from torchvision import models

    return int(models.get_model_weights(name).DEFAULT.transforms().crop_size[0])


def _average_pooling(network: nn.Module) -> None:
    for path, module in list(network.named_modules()):
        if isinstance(module, nn.MaxPool2d):
            parent = network.get_submodule(path.rpartition(".")[0])
            average = nn.AvgPool2d(
                module.kernel_size,
                module.stride,
                module.padding,
                ceil_mode=module.ceil_mode,
                count_include_pad=False,
            )
            setattr(parent, path.rpartition(".")[2], average)
