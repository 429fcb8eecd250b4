"""What every model offers, and how layers are named, read and measured."""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


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


def resolve_layers(model: VisionModel, layers: str | Iterable[str]) -> tuple[str, ...]:
    """Return the layer names that names, groups and patterns stand for, in the model's order.

    Parameters
    ----------
    model : VisionModel
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
            near = difflib.get_close_matches(name, model.layers, n=1, cutoff=0.5)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(
                f"layer {name!r} is not in {model.name}; "
                f"its layers are {_summary(model.layers)}{hint}"
            )
        chosen.update(found)
    return tuple(name for name in model.layers if name in chosen)


def _matching(name: str, layers: Sequence[str]) -> list[str]:
    if name in layers:
        return [name]
    group = [layer for layer in layers if layer.startswith((f"{name}/", f"{name}."))]
    return group or [layer for layer in layers if fnmatch.fnmatchcase(layer, name)]


def _summary(layers: Sequence[str]) -> str:
    if len(layers) <= 40:
        return ", ".join(layers)
    return f"{', '.join(layers[:12])}, ... {', '.join(layers[-6:])} ({len(layers)} in all)"


def fingerprint(model: VisionModel) -> str:
    """Return a SHA-256 over a model's name, provenance and every weight.

    Two models with the same fingerprint give the same features for the same images.
    """
    digest = hashlib.sha256(model.name.encode())
    digest.update(json.dumps(model.provenance, sort_keys=True, default=str).encode())
    for key, value in sorted(model.state_dict().items()):
        tensor = value.detach().cpu().contiguous()
        digest.update(f"{key}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class _DeepestLayerReached(Exception):
    """Ends a forward pass from inside a hook."""


def read_modules(
    network: nn.Module, inputs: Tensor, modules: Mapping[str, str]
) -> dict[str, Tensor]:
    """Run a network until the outputs of the named modules are known, and return them.

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
    unknown = [path for path in modules.values() if path not in dict(network.named_modules())]
    if unknown:
        raise ValueError(f"the network has no module {unknown[0]!r}")
    outputs, changed = _outputs(network, inputs, set(modules.values()), copied=frozenset())
    if changed:
        # A later operation wrote into what was read: once more, keeping those apart.
        outputs, _ = _outputs(network, inputs, set(modules.values()), copied=frozenset(changed))
    return {name: outputs[path] for name, path in modules.items()}


def _outputs(
    network: nn.Module, inputs: Tensor, paths: set[str], copied: frozenset[str]
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the first output of each module, and the paths of those that changed afterwards."""
    outputs: dict[str, Tensor] = {}
    written: dict[str, int] = {}

    def keep(path: str, module: nn.Module, arguments: Any, output: Any) -> Tensor | None:
        if not isinstance(output, Tensor):
            raise ValueError(
                f"module {path!r} returns {type(output).__name__}, not a tensor; "
                "read one of the modules inside it"
            )
        if path not in outputs:
            outputs[path], written[path] = output, output._version
        if len(outputs) == len(paths):
            raise _DeepestLayerReached
        return output.clone() if path in copied else None

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
    return outputs, [path for path, out in outputs.items() if out._version != written[path]]


def receptive_field(model: VisionModel, layer: str, limit: int = 512) -> int:
    """Return the side, in pixels, of the region that a unit in the middle of a layer sees.

    Measured by the gradient of the middle units with respect to noise images, so it holds for
    any model; with maximum pooling it can come out a little too small.

    Parameters
    ----------
    model : VisionModel
    layer : str
        A layer with positions, (batch, channel, height, width).
    limit : int
        The largest image tried. A layer that sees beyond it gives `limit`.

    Raises
    ------
    ValueError
        When the layer has no positions.
    """
    known = getattr(model, "receptive_fields", {})
    if layer in known:
        return int(known[layer])
    size = 64
    while True:
        extent = _gradient_extent(model, layer, size)
        if extent < size - 8 or size >= limit:
            return min(extent, limit)
        size *= 2


def _gradient_extent(model: VisionModel, layer: str, size: int) -> int:
    device = next((t.device for t in model.state_dict().values()), torch.device("cpu"))
    noise = torch.rand((2, 3, size, size), generator=torch.Generator().manual_seed(0))
    images = noise.to(device).requires_grad_()
    try:
        responses = model.features(images, [layer])[layer]
    except (RuntimeError, ValueError):
        return size  # too small for the layer: try a larger one
    if responses.ndim != 4:
        raise ValueError(
            f"layer {layer!r} of {model.name} has no positions (its shape is "
            f"{tuple(responses.shape)}), so it has no receptive field"
        )
    middle = responses[..., responses.shape[2] // 2, responses.shape[3] // 2]
    (gradient,) = torch.autograd.grad(middle.sum(), images)
    seen = gradient.abs().amax(dim=(0, 1)) > 0
    rows, columns = seen.any(dim=1).nonzero(), seen.any(dim=0).nonzero()
    if not len(rows):
        return size
    return int(max(rows.max() - rows.min(), columns.max() - columns.min())) + 1


@contextlib.contextmanager
def wrap_around(model: VisionModel) -> Iterator[None]:
    """Join opposite image borders inside the block: every padding becomes circular.

    What is synthesised under it tiles the plane without a seam.

    Raises
    ------
    ValueError
        When the model has no convolution whose padding could be changed.
    """
    convolutions = [
        module
        for module in (model.modules() if isinstance(model, nn.Module) else ())
        if isinstance(module, nn.Conv2d) and module.padding not in (0, (0, 0), "valid")
    ]
    if not convolutions:
        raise ValueError(
            f"{model.name} has no padded convolutions, so its images cannot be made to tile; "
            "use tileable=False or a convolutional model"
        )
    modes = [convolution.padding_mode for convolution in convolutions]
    try:
        for convolution in convolutions:
            convolution.padding_mode = "circular"
        yield
    finally:
        for convolution, mode in zip(convolutions, modes, strict=True):
            convolution.padding_mode = mode
