"""bfloat16 arithmetic to nearly the accuracy of float32, for images near one that is known.

A convolution is linear: that of an image is that of another image and that of their difference.
When the first was computed in float32 and only the second is computed in bfloat16, what rounding
adds is relative to the difference, which is small at the end of a search. All else, such as
rectification, pooling and the statistics, is computed in float32 as it is.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from .. import runtime
from .solver import Evaluate

LINEAR_MAPS = (functional.conv2d, functional.linear)
OPERANDS = ("input", "weight", "bias")


class Anchored:
    """An evaluation whose first images are the anchor: those after are seen as differences.

    The first call computes in float32 and keeps what every linear map of the model took in and
    gave. Later ones compute in bfloat16 how much that changes, and the gradient.

    Parameters
    ----------
    evaluate : callable
        As the solver wants it, in bfloat16 by autocast. Where it forbids autocast, as models
        do that subtract large numbers, float32 is used as before.
    """

    def __init__(self, evaluate: Evaluate):
        self.evaluate = evaluate
        self.maps: list[_Map] = []

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss (batch,), its gradient like `images`, and its terms (batch, term)."""
        kind = images.device.type
        mode = _Differences(kind, self.maps) if self.maps else _Recording(kind, self.maps)
        with runtime.full_precision(images.device), mode:
            return self.evaluate(images)


@dataclasses.dataclass(frozen=True)
class _Map:
    """A linear map at the anchor: its weight in bfloat16, what it took in and what it gave."""

    weight: Tensor
    input: Tensor
    output: Tensor


Call = Callable[..., Tensor]


class _LinearMaps(TorchFunctionMode, abc.ABC):
    """Takes the place of linear maps by parameters; all else is left in float32."""

    def __init__(self, device: str, maps: list[_Map]):
        super().__init__()
        self.device, self.maps = device, maps

    @abc.abstractmethod
    def mapped(self, call: Call, image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return what `call(image, weight, bias)` gives."""

    def __torch_function__(
        self,
        function: Any,
        types: Sequence[type],
        arguments: Sequence[Any] = (),
        keywords: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(keywords or {})
        # Nobody minds rounding where autocast is on, and only there.
        if not torch.is_autocast_enabled(self.device):
            return function(*arguments, **given)
        with torch.autocast(self.device, enabled=False):
            if function not in LINEAR_MAPS:
                return function(*arguments, **given)
            named: dict[str, Any] = dict(zip(OPERANDS, arguments[:3], strict=False)) | given
            image, weight, bias = named["input"], named["weight"], named.get("bias")
            # A weight that depends on the images would not make a linear map of them.
            if not isinstance(weight, torch.nn.Parameter) or image.dtype != torch.float32:
                return function(*arguments, **given)
            others = {name: value for name, value in given.items() if name not in OPERANDS}

            def call(image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
                result: Tensor = function(image, weight, bias, *arguments[3:], **others)
                return result

            return self.mapped(call, image, weight, bias)


class _Recording(_LinearMaps):
    def mapped(self, call: Call, image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        output = call(image, weight, bias)
        # Copies, as what follows may change both in place.
        kept = (value.detach().clone() for value in (image, output))
        self.maps.append(_Map(weight.detach().to(torch.bfloat16), *kept))
        return output


class _Differences(_LinearMaps):
    def __init__(self, device: str, maps: list[_Map]):
        super().__init__(device, maps)
        self.following = iter(maps)

    def mapped(self, call: Call, image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        anchor = next(self.following)
        difference = (image - anchor.input).to(torch.bfloat16)
        return anchor.output + call(difference, anchor.weight, None)
