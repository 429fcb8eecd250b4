"""What the features look like in pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from .model import Neocognitron


def preferred_patterns(model: Neocognitron, layer: str) -> Tensor:
    """Return the pattern that each plane of an S-layer has learnt, carried back to the image.

    What the seed cells saw is put back through the stages below with the same connections
    turned round (transposed convolutions), leaving out thresholds and blur: a sum of
    contrast-extracting fields, light minus dark. US4 sees too much, too often, for such a sum
    to be readable.

    Parameters
    ----------
    model : Neocognitron
    layer : str
        `us1`, `us2` or `us3`.

    Returns
    -------
    Tensor, shape (plane, height, width)
        Each scaled to a largest magnitude of 1; 0 is grey.

    Raises
    ------
    ValueError
        For another layer, or one that has not learnt anything yet.
    """
    if layer not in ("us1", "us2", "us3"):
        raise ValueError(f"only features of us1, us2 and us3 can be shown; got {layer!r}")
    # The on-centre field, and the off-centre one, which is its negative.
    patterns = torch.stack([model.contrast, -model.contrast])
    for number in range(1, int(layer[-1]) + 1):
        cells = model.stage(number)
        if not len(cells):
            raise ValueError(f"{layer!r} of this neocognitron has not learnt anything yet")
        # Neighbouring inputs of stage l are 2^(l - 1) pixels apart.
        put_back = functional.conv_transpose2d(
            cells.stored * cells.window, patterns[:, None], stride=2 ** (number - 1)
        )[:, 0]
        patterns = put_back / put_back.abs().amax(dim=(1, 2), keepdim=True)
    return patterns
