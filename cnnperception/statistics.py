"""Summary statistics of feature maps: pure functions of (batch, channel, height, width)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def gram(features: Tensor) -> Tensor:
    """Return the Gram matrix of a layer's channels, averaged over positions.

    G = F F^T / M, with F the feature map reshaped to (channel, M = height x width). Dividing by
    the number of positions lets images of different size be compared. Gatys, Ecker & Bethge
    (2015), eq. 1, with the normalisation of their published code.

    Parameters
    ----------
    features : Tensor, shape (batch, channel, height, width)

    Returns
    -------
    Tensor, shape (batch, channel, channel)
        At least float32: half-precision features are summed in float32.

    Raises
    ------
    ValueError
        When `features` has no positions.
    """
    return product_sums(features) / (features.shape[2] * features.shape[3])


def product_sums(features: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return sums over positions of products of channels: `gram` times the positions.

    Parameters
    ----------
    features : Tensor, shape (batch, channel, height, width)
    weights : Tensor, shape (height, width), optional
        How often each position counts; 1 when left out.

    Returns
    -------
    Tensor, shape (batch, channel, channel)
        At least float32. The gradient of features in bfloat16 is computed in bfloat16.
    """
    if features.dtype == torch.float16:
        features = features.float()  # has not the range for what comes back
    products: Tensor = _Products.apply(features, weights)
    return products


def channel_mean(features: Tensor) -> Tensor:
    """Return each channel's mean over positions.

    Parameters
    ----------
    features : Tensor, shape (batch, channel, height, width)

    Returns
    -------
    Tensor, shape (batch, channel)
    """
    return _positions(features).mean(dim=2)


def channel_covariance(features: Tensor) -> Tensor:
    """Return the covariance of the channels over positions (divided by M, not M - 1).

    Together with `channel_mean` it holds what the Gram matrix holds: G = C + m m^T.

    Parameters
    ----------
    features : Tensor, shape (batch, channel, height, width)

    Returns
    -------
    Tensor, shape (batch, channel, channel)
    """
    flat = _positions(features)
    centred = flat - flat.mean(dim=2, keepdim=True)
    return centred @ centred.transpose(1, 2) / flat.shape[2]


def at_least_single(features: Tensor) -> Tensor:
    """Return features in float32 where they were in half precision."""
    return features.to(torch.promote_types(features.dtype, torch.float32))


def flatten(features: Tensor) -> Tensor:
    """Return one vector an image: (batch, ...) to (batch, unit)."""
    return features.flatten(start_dim=1)


def spatial_mean(features: Tensor) -> Tensor:
    """Return (batch, channel): the mean over positions, or the units of a layer without any."""
    return features if features.ndim == 2 else channel_mean(features)


class _Products(torch.autograd.Function):
    """F F^T or, with weights of positions, F W F^T, of features (batch, channel, height, width).

    Autograd would take F for two different matrices: twice the products backwards, and a
    gradient whose order in memory is not that of the features.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(features: Tensor, weights: Tensor | None) -> Tensor:
        flat = _wide(features).flatten(2)
        weighted = flat if weights is None else flat * weights.to(flat).flatten()
        return weighted @ flat.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor | None], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        features, weights = ctx.saved_tensors
        both = (gradients[0] + gradients[0].mT).to(features)
        if features.stride(1) == 1:  # channels innermost
            rows = features.permute(0, 2, 3, 1)
            back = (rows.flatten(1, 2) @ both).view(rows.shape).permute(0, 3, 1, 2)
        else:
            back = (both @ features.flatten(2)).view(features.shape)
        return back if weights is None else back * weights.to(back), None


def _positions(features: Tensor) -> Tensor:
    return _wide(features).flatten(start_dim=2)


def _wide(features: Tensor) -> Tensor:
    if features.ndim != 4:
        raise ValueError(
            "a summary over positions needs features of shape (batch, channel, height, width); "
            f"got {tuple(features.shape)}: this layer has no positions"
        )
    # Sums over thousands of positions lose too much in half precision.
    return at_least_single(features)
