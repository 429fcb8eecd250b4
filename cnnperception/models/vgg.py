"""The VGG family by the names of the literature, and Gatys' normalisation of it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .network import Network

RECOMMENDED = {
    "texture": ("conv1_1", "pool1", "pool2", "pool3", "pool4"),
    "style": ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
    "content": ("conv4_2",),
    "compare": ("pool1", "pool2", "pool3", "pool4", "pool5", "fc6", "fc7", "fc8"),
}
CLASSIFIER = {"fc6": "classifier.1", "fc7": "classifier.4", "fc8": "classifier.6"}
DEAD = 1e-6  # of the mean activation of a layer: filters below it count as silent
CHUNK = 4  # images at once: every layer of a batch is in memory


def is_vgg(name: str) -> bool:
    """Return whether a network of this name has convolutions called conv1_1 ... conv5_4."""
    return name.startswith("vgg")


def layer_paths(network: nn.Module) -> dict[str, str]:
    """Return the path of each layer: convolutions after their rectification, poolings, fc6-8."""
    read = (nn.ReLU, nn.MaxPool2d, nn.AvgPool2d)
    paths = {name: path for name, path, m in _parts(network) if isinstance(m, read)}
    return paths | CLASSIFIER


def convolution_paths(network: nn.Module) -> dict[str, str]:
    """Return the path of each convolution itself."""
    return {name: path for name, path, m in _parts(network) if isinstance(m, nn.Conv2d)}


def receptive_fields(network: nn.Module) -> dict[str, int]:
    """Return the side of what a unit of each layer sees, in pixels.

    Each convolution of size k adds k - 1 steps of its input, each pooling of 2 adds one and
    doubles the step.
    """
    fields, field, step = {}, 1, 1
    for name, _, module in _parts(network):
        if isinstance(module, nn.Conv2d):
            field += (module.kernel_size[0] - 1) * step
        elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            field, step = field + step, 2 * step
        fields[name] = field
    return fields


def _parts(network: nn.Module) -> Iterator[tuple[str, str, nn.Module]]:
    """Yield (layer, path, module): each convolution and what follows it, each pooling."""
    block, convolution = 1, 0
    for index, module in network.get_submodule("features").named_children():
        path = f"features.{index}"
        if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            yield f"pool{block}", path, module
            block, convolution = block + 1, 0
            continue
        convolution += isinstance(module, nn.Conv2d)
        yield f"conv{block}_{convolution}", path, module


def normalised(model: Network, images: Tensor | Iterable[Tensor]) -> Network:
    """Return a VGG whose filters all have a mean activation of 1 over images and positions.

    Gatys, Ecker & Bethge (2015), section 2: a filter's weights and bias are divided by its mean
    activation m, and the next layer's weights for it multiplied by m. With rectification and
    any pooling the network computes what it did, but for the scale of each channel.

    A filter that is silent on these images (below a millionth of its layer's mean) is left as
    it is.

    Parameters
    ----------
    model : Network
        Of the VGG family.
    images : Tensor (n, 3, height, width), or an iterable of such
        RGB in [0, 1]; any number, and of any size.

    Returns
    -------
    Network
        A copy. Its provenance says how many images were used and how many filters were silent.

    Raises
    ------
    ValueError
        For another network, no images, or activations that are not finite.
    """
    if not is_vgg(model.name):
        raise ValueError(f"only networks of the VGG family can be normalised; got {model.name}")
    means, count = _mean_activations(model, images)
    silent = {layer: mean <= DEAD * mean.mean() for layer, mean in means.items()}
    scales = {layer: mean.masked_fill(silent[layer], 1.0) for layer, mean in means.items()}
    scaled = copy.deepcopy(model)
    _rescale(scaled, scales)
    scaled.provenance["normalised"] = {
        "images": count,
        "silent_filters": sum(int(dead.sum()) for dead in silent.values()),
    }
    return scaled


def _mean_activations(
    model: Network, images: Tensor | Iterable[Tensor]
) -> tuple[dict[str, Tensor], int]:
    """Return the mean of each filter of each convolution, in float64, and the number of images."""
    convolutions = [layer for layer in model.layers if layer.startswith("conv")]
    totals: dict[str, Tensor] = {}
    positions = dict.fromkeys(convolutions, 0)
    count = 0
    for batch in [images] if isinstance(images, Tensor) else images:
        for chunk in batch.split(CHUNK) if len(batch) else ():
            count += len(chunk)
            with torch.no_grad():
                responses = model.features(chunk.to(model.mean.device), convolutions)
            for layer, response in responses.items():
                # Summed in float64 on the CPU: some devices have no float64.
                total = response.mean(dim=(2, 3), dtype=torch.float32).cpu().double().sum(dim=0)
                area = response[0, 0].numel()
                totals[layer] = totals.get(layer, 0) + total * area
                positions[layer] += len(chunk) * area
    if not count:
        raise ValueError("normalising a network needs at least one image")
    means = {layer: totals[layer] / positions[layer] for layer in convolutions}
    for layer, mean in means.items():
        if not mean.isfinite().all():
            raise ValueError(f"layer {layer!r} of {model.name} is not finite on these images")
    return means, count


def _rescale(model: Network, scales: Mapping[str, Tensor]) -> None:
    """Divide each filter by its scale, and multiply it in the weights of the layer after it."""
    before: Tensor | None = None
    for layer, path in convolution_paths(model.network).items():
        convolution: Any = model.network.get_submodule(path)
        after = model.network.get_submodule(_next(path))
        last: Any = after if isinstance(after, nn.BatchNorm2d) else convolution
        scale = scales[layer].to(convolution.weight)
        if before is not None:
            convolution.weight.data *= before[:, None, None]
        last.weight.data /= scale.view(-1, *[1] * (last.weight.ndim - 1))
        last.bias.data /= scale
        before = scale
    if "fc6" in model.layers and before is not None:
        first: Any = model.network.get_submodule("classifier.0")
        first.weight.data *= before.repeat_interleave(first.weight.shape[1] // len(before))


def _next(path: str) -> str:
    parent, _, index = path.rpartition(".")
    return f"{parent}.{int(index) + 1}"
