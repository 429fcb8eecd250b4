"""torchvision's classification networks by name."""

from __future__ import annotations

import functools
import os
from typing import Any

from torch import nn

from . import vgg
from . import weights as weight_files
from .network import ZEROS, Network, check_padding, check_pooling, padded
from .tracing import readable_modules, seeded, stages, without_numbers

# Networks with auxiliary classifiers, whose published weights expect pixels in [-1, 1]: they
# convert what is normalised as for every other network. Their initialisation is asked for by
# name, since torchvision announces that it will change.
INCEPTIONS = ("googlenet", "inception_v3")
POOLS_BY_FUNCTION = ("inception_v3",)


@functools.cache
def torchvision_names() -> tuple[str, ...]:
    """Return the names of torchvision's classification networks."""
    from torchvision import models

    return tuple(models.list_models(module=models))


class TorchvisionNetwork(Network):
    """A classification network of torchvision.

    In the VGG family the layers have the names of the literature, conv1_1 ... pool5, fc6, fc7,
    fc8; convolutions and fc6 and fc7 are read after their rectification, as in the code of
    Gatys et al. In the others a layer is the path of a module, in the order in which they
    finish.

    Parameters
    ----------
    name : str
        As in `torchvision.models.list_models`.
    weights : str, path-like or None
        "DEFAULT" or another name of torchvision's weights (downloaded once); the path of a
        state dict (.safetensors, or a torch file); None for random ones, as torchvision draws
        them (He et al. 2015, in the VGG family). A file may hold the convolutions of a VGG
        alone. Gatys' vgg_conv.pth and J. Johnson's conversions from Caffe are recognised and
        get Caffe's preprocessing.
    pooling : {"max", "avg"}
        "avg" replaces every maximum pooling, as Gatys et al. do for synthesis.
    padding : {"zeros", "reflect", "replicate", "circular"}
        What convolutions see beyond the borders of their input.
    seed : int
        Of random weights.

    Attributes
    ----------
    image_size : int or None
        Side of the only images that the network takes; None when it takes any.
    receptive_fields : dict of str to int
        For the VGG family: the side of what a unit of each convolution and pooling sees.

    Raises
    ------
    ValueError
        For weights that do not fit, or a pooling that cannot be had.
    OSError
        When weights cannot be found or downloaded.
    """

    def __init__(
        self,
        name: str,
        *,
        weights: str | os.PathLike[str] | None = "DEFAULT",
        pooling: str = "max",
        padding: str = "zeros",
        seed: int = 0,
    ):
        check_pooling(pooling)
        check_padding(padding)
        if pooling == "avg" and name in POOLS_BY_FUNCTION:
            raise ValueError(f"{name} pools inside its blocks, out of reach; use pooling='max'")
        network, found, whole = _build(name, weights, seed)
        padded(network, padding)
        if vgg.is_vgg(name):
            paths, channels_last = vgg.layer_paths(network), frozenset[str]()
            if not whole:
                paths = {k: v for k, v in paths.items() if k not in vgg.CLASSIFIER}
                network.classifier = nn.Identity()
            recommended = {
                purpose: tuple(layer for layer in layers if layer in paths)
                for purpose, layers in vgg.RECOMMENDED.items()
            }
            fields = vgg.receptive_fields(network)
        else:
            modules = _modules(name, found.side)
            paths = {path: path for path in modules}
            channels_last = frozenset(path for path, last in modules.items() if last)
            recommended, fields = stages(list(paths)), {}
        super().__init__(
            name,
            network,
            paths=paths,
            channels_last=channels_last,
            preprocessing=found.preprocessing,
            trained_side=found.side,
            image_size=found.side if _size_options(name, found.side) else None,
            pooling=pooling,
            provenance=found.origin,
            recommended=recommended,
        )
        self.receptive_fields = fields
        if padding != ZEROS:
            self.provenance["padding"] = padding


def _build(
    name: str, weights: str | os.PathLike[str] | None, seed: int
) -> tuple[nn.Module, weight_files.Weights, bool]:
    """Return a network with its weights, where they are from, and whether they are complete."""
    from torchvision import models

    if weights is not None:
        found = weight_files.find(name, weights)
        with without_numbers():
            network = _untrained(name, found.side)
        convolutions = vgg.convolution_paths(network) if vgg.is_vgg(name) else {}
        return network, found, weight_files.load_into(network, found, convolutions)
    default = models.get_model_weights(name).DEFAULT
    drawn = weight_files.Weights(
        {},
        "random",
        weight_files.preprocessing(default),
        weight_files.side(default),
        {"weights": "random", "initialisation": "torchvision's", "seed": seed},
    )
    with seeded(seed):
        return _untrained(name, drawn.side), drawn, True


def _untrained(name: str, side: int) -> nn.Module:
    from torchvision import models

    options: dict[str, Any] = _size_options(name, side)
    if name in INCEPTIONS:
        options = {"aux_logits": False, "transform_input": True, "init_weights": True}
    network: nn.Module = models.get_model(name, weights=None, **options)
    return network


def _size_options(name: str, side: int) -> dict[str, Any]:
    """Return the option that sets the size of images, where a network is built for one size."""
    if name.startswith("vit_"):
        return {"image_size": side}
    return {"input_size": (side, side)} if name.startswith("maxvit_") else {}


@functools.cache
def _modules(name: str, side: int) -> dict[str, bool]:
    """Return the modules to read, in order, and whether each puts the channels last."""
    with without_numbers():
        network, larger = _untrained(name, side), _untrained(name, 2 * side)
    return readable_modules(network, side, larger, 2 * side)
