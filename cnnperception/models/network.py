"""An image network from elsewhere as a model of ours: preprocessing, layers, pooling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .interface import check_images, check_layers, read_modules

POOLINGS = ("max", "avg")
ZEROS = "zeros"
PADDINGS = (ZEROS, "reflect", "replicate", "circular")


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects of its input: (pixels in [0, 1] - mean) / deviation.

    Attributes
    ----------
    mean, deviation : tuple of float
        One number a channel, in the order of `channels`.
    channels : {"RGB", "BGR"}
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    channels: str = "RGB"


class Network(nn.Module):
    """A network of another library, frozen, with its preprocessing and the names of its layers.

    The images keep their size: nothing is resized or cropped.

    Parameters
    ----------
    name : str
    network : nn.Module
        Changed in place: frozen, in evaluation mode, channels innermost in memory.
    paths : mapping of str to str
        For each layer, in the order in which they run, the path of its module.
    channels_last : collection of str
        Layers whose modules put the channels last; they are moved to the second axis.
    preprocessing : Preprocessing
    trained_side : int
        Side of the images that the network was trained on.
    image_size : int or None
        Side of the only images that it takes, or None when it takes any.
    pooling : {"max", "avg"}
    provenance : mapping
    recommended : mapping of str to tuple of str

    Raises
    ------
    ValueError
        For another kind of pooling, or a network that has none to replace.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        name: str,
        network: nn.Module,
        *,
        paths: Mapping[str, str],
        channels_last: frozenset[str] = frozenset(),
        preprocessing: Preprocessing,
        trained_side: int,
        image_size: int | None,
        pooling: str,
        provenance: Mapping[str, Any],
        recommended: Mapping[str, tuple[str, ...]],
    ):
        super().__init__()
        check_pooling(pooling)
        self.name = name
        self.network = network
        self.paths = dict(paths)
        self.layers = tuple(paths)
        self.channels_last = channels_last
        self.recommended = dict(recommended)
        self.trained_side, self.image_size = trained_side, image_size
        self.flip = preprocessing.channels == "BGR"
        for part in ("mean", "deviation"):
            values = torch.tensor(getattr(preprocessing, part)).view(1, 3, 1, 1)
            self.register_buffer(part, values, persistent=False)
        self.provenance: dict[str, Any] = {
            **provenance,
            "pooling": pooling,
            "preprocessing": {
                "channels": preprocessing.channels,
                "mean": list(preprocessing.mean),
                "deviation": list(preprocessing.deviation),
            },
        }
        if pooling == "avg":
            average_pooling(network, name)
        for module in network.modules():
            if hasattr(module, "inplace"):
                vars(module)["inplace"] = False  # a layer that was read must stay as it was
        # Convolutions run faster with the channels innermost, on CPU and GPU.
        network.to(memory_format=torch.channels_last)
        self.eval().requires_grad_(False)

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the responses of the named layers; see `VisionModel.features`.

        The tokens of a transformer, the class token first, are positions in one column:
        (batch, channel, token, 1).

        Raises
        ------
        ValueError
            For unknown layers, or images of a size the network cannot take.
        """
        check_images(images)
        check_layers(self, layers)
        self._check_size(images)
        inputs = images.flip(1) if self.flip else images
        inputs = (inputs - self.mean) / self.deviation
        inputs = inputs.to(dtype=self.mean.dtype, memory_format=torch.channels_last)
        paths = {layer: self.paths[layer] for layer in layers}
        try:
            responses = read_modules(self.network, inputs, paths)
        except RuntimeError as error:
            smaller = min(images.shape[2:]) < self.trained_side
            if isinstance(error, torch.OutOfMemoryError) or not smaller:
                raise
            raise ValueError(
                f"images of {_size(images)} pixels are perhaps too small for these layers of "
                f"{self.name}, which was trained on {self.trained_side} x {self.trained_side}: "
                f"{error}"
            ) from error
        return {
            layer: _channels_second(response, layer in self.channels_last)
            for layer, response in responses.items()
        }

    def _check_size(self, images: Tensor) -> None:
        side = self.image_size
        if side is not None and images.shape[2:] != (side, side):
            raise ValueError(
                f"{self.name} takes images of {side} x {side} pixels and no other; these have "
                f"{_size(images)}. Resize them to {side} first"
            )


def check_pooling(pooling: str) -> None:
    """Raise ValueError unless the kind of pooling exists."""
    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be 'max' or 'avg'; got {pooling!r}")


class _TileMeans(torch.autograd.Function):
    """The means of square tiles, whose backward pass is a plain enlargement.

    The general one of torch, for windows that overlap, takes ten times as long on a processor.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(maps: Tensor, side: int) -> Tensor:
        return nn.functional.avg_pool2d(maps, side)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        ctx.side = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        shares = gradients[0] / ctx.side**2
        return nn.functional.interpolate(shares, scale_factor=ctx.side, mode="nearest"), None


class _AveragePooling(nn.AvgPool2d):
    def forward(self, maps: Tensor) -> Tensor:
        side = self.kernel_size
        if not isinstance(side, int) or self.stride != side or self.padding != 0:
            return super().forward(maps)
        if any(length % side for length in maps.shape[-2:]):
            return super().forward(maps)
        means: Tensor = _TileMeans.apply(maps, side)
        return means


def average_pooling(network: nn.Module, name: str) -> None:
    """Replace every maximum pooling by the mean over the same window, as Gatys et al. do.

    Raises
    ------
    ValueError
        When there is none.
    """
    pools = [path for path, module in network.named_modules() if isinstance(module, nn.MaxPool2d)]
    if not pools:
        raise ValueError(f"{name} has no maximum pooling to replace; use pooling='max'")
    for path in pools:
        parent, _, child = path.rpartition(".")
        pool: Any = network.get_submodule(path)
        average = _AveragePooling(
            pool.kernel_size,
            pool.stride,
            pool.padding,
            ceil_mode=pool.ceil_mode,
            count_include_pad=False,
        )
        setattr(network.get_submodule(parent), child, average)


def check_padding(padding: str) -> None:
    """Raise ValueError unless the kind of padding exists."""
    if padding not in PADDINGS:
        raise ValueError(f"padding must be one of {', '.join(PADDINGS)}; got {padding!r}")


def padded(network: nn.Module, padding: str) -> None:
    """Let every convolution see something else than zeros beyond the borders of its input."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and padding != ZEROS:
            module.padding_mode = padding  # type: ignore[assignment]


def _channels_second(response: Tensor, channels_last: bool) -> Tensor:
    if channels_last:
        response = response.movedim(-1, 1)
    return response.unsqueeze(-1) if response.ndim == 3 else response


def _size(images: Tensor) -> str:
    return f"{images.shape[2]} x {images.shape[3]}"
