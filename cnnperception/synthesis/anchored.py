"""bfloat16 arithmetic to nearly the accuracy of float32, for images near one that is known.

A convolution is linear: that of an image is that of another image and that of their difference.
When the first was computed in float32 and only the second is computed in bfloat16, what rounding
adds is relative to the difference, which is small at the end of a search. All else, such as
rectification, pooling and the statistics, is computed in float32 as it is.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
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
        if self.maps:
            mapped = functools.partial(_by_difference, iter(self.maps))
        else:
            mapped = functools.partial(_recorded, self.maps)
        with runtime.full_precision(images.device), _LinearMaps(images.device.type, mapped):
            return self.evaluate(images)


@dataclasses.dataclass(frozen=True)
class _Map:
    """A linear map at the anchor: its weight in bfloat16, what it took in and what it gave."""

    weight: Tensor
    input: Tensor
    output: Tensor


# A linear map (image, weight, bias) -> result, and what is to be seen as such a map's result.
Call = Callable[[Tensor, Tensor, Tensor | None], Tensor]
Mapped = Callable[[Call, Tensor, Tensor, Tensor | None], Tensor]


def _recorded(
    maps: list[_Map], call: Call, image: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    output = call(image, weight, bias)
    # Copies, as what follows may change both in place.
    kept = (value.detach().clone() for value in (image, output))
    maps.append(_Map(weight.detach().to(torch.bfloat16), *kept))
    return output


def _by_difference(
    following: Iterator[_Map], call: Call, image: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    anchor = next(following)
    difference = (image - anchor.input).to(torch.bfloat16)
    return anchor.output + call(difference, anchor.weight, None)


class _LinearMaps(TorchFunctionMode):
    """Puts something in the place of linear maps by parameters; all else is left in float32."""

    def __init__(self, device: str, mapped: Mapped):
        super().__init__()
        self.device, self.mapped = device, mapped

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
