"""What every model offers, and how layers are named, read and measured."""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import functools
import hashlib
import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional


class Layered(Protocol):
    """What has a name and layers: a model, or its stored activations."""

    @property
    def name(self) -> str: ...
    @property
    def layers(self) -> Sequence[str]: ...


@runtime_checkable
class VisionModel(Protocol):
    """A model that can be read out, synthesised from and compared.

    Any `torch.nn.Module` with these members is one; nothing needs to be inherited.

    Attributes
    ----------
    name : str
        The name it is loaded by.
    layers : sequence of str
        The layers that can be read out, from the input upwards. A layer name is a path; its
        first parts name the group it belongs to (`c1` holds `c1/band1` ... `c1/band8`).
    provenance : mapping
        How the model came to be: where its weights are from, seeds, options. Values are JSON.
    recommended : mapping of str to tuple of str
        Layers that suit a purpose: any of "texture", "style", "content". May be empty.
    """

    # Read-only here, so that a plain attribute of a narrower type fits.
    @property
    def name(self) -> str: ...
    @property
    def layers(self) -> Sequence[str]: ...
    @property
    def provenance(self) -> Mapping[str, Any]: ...
    @property
    def recommended(self) -> Mapping[str, tuple[str, ...]]: ...

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the responses of the named layers.

        Parameters
        ----------
        images : Tensor, shape (batch, 3, height, width)
            RGB in [0, 1]. The model does its own preprocessing.
        layers : sequence of str
            Names out of `layers`. Nothing beyond the deepest of them is computed.

        Returns
        -------
        dict of str to Tensor
            For each name, in the order asked for, (batch, channel, height, width) or
            (batch, unit); differentiable with respect to `images`.
        """
        ...

    def state_dict(self) -> Mapping[str, Any]:
        """Return every parameter and buffer, as `torch.nn.Module` does."""
        ...


def check_images(images: Tensor) -> None:
    """Raise ValueError unless `images` is a (batch, 3, height, width) float tensor."""
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            "images must have the shape (batch, 3, height, width), RGB in [0, 1]; "
            f"got {tuple(images.shape)}"
        )
    if not images.is_floating_point():
        raise ValueError(f"images must be floating point in [0, 1]; got {images.dtype}")


def resolve_layers(model: Layered, layers: str | Iterable[str]) -> tuple[str, ...]:
    """Return the layer names that names, groups and patterns stand for, in the model's order.

    Parameters
    ----------
    model : VisionModel, or what else has a name and layers
    layers : str or iterable of str
        Each a layer name (`conv3_1`), a group (`c1`: every layer whose path starts with it) or
        a shell pattern (`features.*`, `c1/band[1-3]`).

    Raises
    ------
    ValueError
        When the list is empty or a name fits no layer; the message names those that exist.
    """
    wanted = [layers] if isinstance(layers, str) else list(layers)
    if not wanted:
        raise ValueError(f"no layers were given; {model.name} has {_summary(model.layers)}")
    chosen: set[str] = set()
    for name in wanted:
        found = _matching(name, model.layers)
        if not found:
            _no_such_layer(model, name)
        chosen.update(found)
    return tuple(name for name in model.layers if name in chosen)


def check_layers(model: Layered, layers: Iterable[str]) -> None:
    """Raise ValueError unless each name is a layer of the model: no groups, no patterns."""
    for name in layers:
        if name not in model.layers:
            _no_such_layer(model, name)


def _no_such_layer(model: Layered, name: str) -> NoReturn:
    near = difflib.get_close_matches(name, model.layers, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ValueError(
        f"layer {name!r} is not in {model.name}; its layers are {_summary(model.layers)}{hint}"
    )


def _matching(name: str, layers: Sequence[str]) -> list[str]:
    if name in layers:
        return [name]
    group = [layer for layer in layers if layer.startswith((f"{name}/", f"{name}."))]
    return group or [layer for layer in layers if fnmatch.fnmatchcase(layer, name)]


def _summary(layers: Sequence[str]) -> str:
    if len(layers) <= 40:
        return ", ".join(layers)
    return f"{', '.join(layers[:12])}, ... {', '.join(layers[-6:])} ({len(layers)} in all)"


def device_of(model: VisionModel) -> torch.device:
    """Return where a model's weights are; the CPU when it has none."""
    return next((t.device for t in model.state_dict().values()), torch.device("cpu"))


def fingerprint(model: VisionModel) -> str:
    """Return a SHA-256 over a model's name, provenance and every weight.

    Two models with the same fingerprint give the same features for the same images.
    """
    digest = hashlib.sha256(model.name.encode())
    digest.update(json.dumps(model.provenance, sort_keys=True, default=str).encode())
    for key, value in sorted(model.state_dict().items()):
        tensor = value.detach().cpu().contiguous()
        digest.update(f"{key}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


class _DeepestLayerReached(Exception):
    """Ends a forward pass from inside a hook."""


def read_modules(
    network: nn.Module, inputs: Tensor, modules: Mapping[str, str]
) -> dict[str, Tensor]:
    """Run a network until the outputs of the named modules are known, and return them.

    Several threads may read the same network at once.

    Parameters
    ----------
    network : nn.Module
        Any network, traceable or not.
    inputs : Tensor
        What the network's `forward` takes (already preprocessed).
    modules : mapping of str to str
        For each name in the result, the path of the module (as in `named_modules`) to read.

    Returns
    -------
    dict of str to Tensor
        In the order of `modules`. A module that runs several times gives its first output.

    Raises
    ------
    ValueError
        When a module does not run in the forward pass or does not return a tensor.
    """
    paths = set(modules.values())
    unknown = sorted(paths - dict(network.named_modules()).keys())
    if unknown:
        raise ValueError(f"the network has no module {unknown[0]!r}")
    # In inference mode torch does not count the writes into a tensor, so each is kept apart.
    copied = paths if torch.is_inference_mode_enabled() else set()
    outputs, changed = _outputs(network, inputs, paths, copied)
    if changed:
        # A later operation wrote into what was read: once more, keeping those apart.
        outputs, _ = _outputs(network, inputs, paths, changed)
    return {name: outputs[path] for name, path in modules.items()}


def _outputs(
    network: nn.Module, inputs: Tensor, paths: set[str], copied: set[str]
) -> tuple[dict[str, Tensor], set[str]]:
    """Return the first output of each module, and the paths of those written into afterwards."""
    outputs: dict[str, Tensor] = {}
    versions: dict[str, int] = {}
    thread = threading.get_ident()

    def keep(path: str, module: nn.Module, arguments: Any, output: Any) -> Tensor | None:
        if threading.get_ident() != thread or path in outputs:
            return None
        if not isinstance(output, Tensor):
            raise ValueError(
                f"module {path!r} returns {type(output).__name__}, not a tensor; "
                "read one of the modules inside it"
            )
        outputs[path] = output
        if len(outputs) == len(paths):
            raise _DeepestLayerReached
        if path in copied:
            return output.clone()
        versions[path] = output._version
        return None

    handles = [
        network.get_submodule(path).register_forward_hook(functools.partial(keep, path))
        for path in paths
    ]
    try:
        with contextlib.suppress(_DeepestLayerReached):
            network(inputs)
    finally:
        for handle in handles:
            handle.remove()
    silent = paths - outputs.keys()
    if silent:
        raise ValueError(f"modules {sorted(silent)} do not run when the network sees an image")
    return outputs, {path for path, seen in versions.items() if outputs[path]._version != seen}


def receptive_field(model: VisionModel, layer: str, limit: int = 512) -> int:
    """Return the side, in pixels, of the region that a unit in the middle of a layer sees.

    What the model states in `receptive_fields` is taken at its word. For any other layer, the
    region where the gradient of the middle units with respect to noise images is not zero, with
    rectification and maximum pooling (where they are modules of torch) replaced by the identity
    and averaging, lest they hide a part of it.

    Parameters
    ----------
    model : VisionModel
    layer : str
        A layer with positions, (batch, channel, height, width).
    limit : int
        The side of the largest image tried. A layer that sees beyond it gives `limit`.

    Raises
    ------
    ValueError
        When the layer has no positions.
    """
    known = getattr(model, "receptive_fields", {})
    if layer in known:
        return int(known[layer])
    only = getattr(model, "image_size", None)  # of a model that takes no other
    size = only or min(64, limit)
    while True:
        first, last = _seen(model, layer, size)
        clipped = first == 0 or last == size - 1  # perhaps: it may see more than there is
        if not clipped or only or size >= limit:
            return limit if clipped and not only else last - first + 1
        size = min(2 * size, limit)


def _seen(model: VisionModel, layer: str, size: int) -> tuple[int, int]:
    """Return the first and last row or column of a square image that the middle units see."""
    device = device_of(model)
    noise = torch.rand((2, 3, size, size), generator=torch.Generator().manual_seed(0))
    images = noise.to(device).requires_grad_()
    try:
        with torch.enable_grad(), _without_selection(model):
            responses = model.features(images, [layer])[layer]
    except (RuntimeError, ValueError):
        return 0, size - 1  # too small for the layer
    if responses.ndim != 4:
        raise ValueError(
            f"layer {layer!r} of {model.name} has no positions (its shape is "
            f"{tuple(responses.shape)}), so it has no receptive field"
        )
    middle = responses[..., responses.shape[2] // 2, responses.shape[3] // 2]
    (gradient,) = torch.autograd.grad(middle.sum(), images)
    seen = gradient.abs().amax(dim=(0, 1)) > 0
    indices = torch.cat([seen.any(dim=1).nonzero(), seen.any(dim=0).nonzero()])
    if not len(indices):
        return 0, size - 1
    return int(indices.min()), int(indices.max())


@contextlib.contextmanager
def _without_selection(model: VisionModel) -> Iterator[None]:
    """Let every input through rectification and maximum pooling inside the block."""

    def identity(module: nn.Module, arguments: tuple[Tensor], output: Tensor) -> Tensor:
        return arguments[0]

    def average(module: nn.MaxPool2d, arguments: tuple[Tensor], output: Tensor) -> Tensor:
        geometry = module.kernel_size, module.stride, module.padding, module.ceil_mode
        return functional.avg_pool2d(arguments[0], *geometry)

    with contextlib.ExitStack() as hooks:
        for module in _modules(model):
            if isinstance(module, nn.ReLU | nn.ReLU6):
                hooks.callback(module.register_forward_hook(identity).remove)
            elif isinstance(module, nn.MaxPool2d) and module.dilation == 1:
                hooks.callback(module.register_forward_hook(average).remove)
        yield


@contextlib.contextmanager
def wrap_around(model: VisionModel) -> Iterator[None]:
    """Join opposite image borders inside the block: every padding becomes circular.

    The padding of convolutions and poolings, that is; what is synthesised under it tiles the
    plane without a seam. The model itself is changed and restored: no other thread should use
    it meanwhile.

    Raises
    ------
    ValueError
        When the model has no convolution whose padding could be changed.
    """
    padded = [m for m in _modules(model) if _padding(m) != (0, 0)]
    convolutions = [m for m in padded if isinstance(m, nn.Conv2d)]
    if not convolutions:
        raise ValueError(
            f"{model.name} has no padded convolutions, so its images cannot be made to tile; "
            "use tileable=False or a convolutional model"
        )
    with contextlib.ExitStack() as restore:
        for module in padded:
            if isinstance(module, nn.Conv2d):
                restore.callback(setattr, module, "padding_mode", module.padding_mode)
                module.padding_mode = "circular"
            elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
                pad = functools.partial(_pad_circularly, _padding(module))
                restore.callback(module.register_forward_pre_hook(pad).remove)
                restore.callback(setattr, module, "padding", module.padding)
                module.padding = 0
        yield


def _padding(module: nn.Module) -> Any:
    """Return the rows and columns that a convolution or pooling adds on each side, or "same"."""
    if not isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        return 0, 0
    padding = module.padding
    if padding == "valid":
        return 0, 0
    return (padding, padding) if isinstance(padding, int) else padding


def _pad_circularly(
    padding: tuple[int, int], module: nn.Module, arguments: tuple[Tensor]
) -> tuple[Tensor]:
    rows, columns = padding
    return (functional.pad(arguments[0], (columns, columns, rows, rows), mode="circular"),)


def _modules(model: VisionModel) -> Iterable[nn.Module]:
    return model.modules() if isinstance(model, nn.Module) else ()
