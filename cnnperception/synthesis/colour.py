"""Colour, handled before and after a synthesis: pure functions of images in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

from ..statistics import channel_covariance, channel_mean

# Luminance and the two chrominances of the NTSC standard (YIQ), as Gatys et al. (2017) use.
TO_YIQ = (
    (0.299, 0.587, 0.114),
    (0.595716, -0.274453, -0.321263),
    (0.211456, -0.522591, 0.311135),
)
LEAST_VARIANCE = 1e-6  # of a colour in which an image does not vary


def luminance(images: Tensor) -> Tensor:
    """Return the luminance Y of images (batch, 3, height, width) as (batch, 1, height, width)."""
    weights = images.new_tensor(TO_YIQ[0])
    return torch.einsum("c,bchw->bhw", weights, images)[:, None]


def grey(images: Tensor) -> Tensor:
    """Return images whose three channels are their luminance."""
    return luminance(images).expand(-1, 3, -1, -1).contiguous()


def match_luminance(source: Tensor, target: Tensor) -> Tensor:
    """Return the source's luminance, grey, with the mean and deviation of the target's.

    Gatys, Ecker, Bethge, Hertzmann & Shechtman (2017), eq. 10: what a style is given before it is
    transferred to luminance alone. Not clipped.
    """
    here, there = luminance(source), luminance(target)
    scale = there.std() / here.std().clamp(min=LEAST_VARIANCE**0.5)
    changed: Tensor = (here - here.mean()) * scale + there.mean()
    return changed.expand(-1, 3, -1, -1).contiguous()


def with_luminance(images: Tensor, brightness: Tensor) -> Tensor:
    """Return images with another luminance (batch, 1, height, width) and their own chrominance."""
    return (images + (brightness - luminance(images))).clamp(0, 1)


def match_colours(source: Tensor, target: Tensor) -> Tensor:
    """Return the source with the mean and covariance of the target's colours.

    x -> A (x - m_source) + m_target with A = C_target^(1/2) C_source^(-1/2), symmetric roots, so
    that colours change as little as they can (Gatys et al. 2017, section 5.1). A colour in which
    the source does not vary stays without variation. Not clipped.

    Parameters
    ----------
    source, target : Tensor, shape (1, 3, height, width)
    """
    roots = [_root(channel_covariance(image)[0], power) for image, power in _powers(source, target)]
    matrix = roots[1] @ roots[0]
    moved = source - channel_mean(source)[..., None, None]
    turned = torch.einsum("ij,bjhw->bihw", matrix, moved)
    return turned + channel_mean(target)[..., None, None]


def _powers(source: Tensor, target: Tensor) -> list[tuple[Tensor, float]]:
    return [(source, -0.5), (target, 0.5)]


def _root(covariance: Tensor, power: float) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance.double())
    powers = torch.where(values > LEAST_VARIANCE, values.clamp(min=LEAST_VARIANCE) ** power, 0.0)
    return ((vectors * powers) @ vectors.T).to(covariance)


def match_histograms(images: Tensor, target: Tensor) -> Tensor:
    """Return images whose channels hold the same values as the target's, in the images' order.

    Parameters
    ----------
    images : Tensor, shape (batch, 3, height, width)
    target : Tensor, shape (1, 3, height, width)
        Of any size.

    Returns
    -------
    Tensor, like `images`
        For images of the target's size exactly its values.
    """
    flat = images.flatten(2)
    wanted = target.flatten(2).sort(dim=2).values
    ranks = flat.argsort(dim=2, stable=True).argsort(dim=2)
    place = (ranks.double() + 0.5) * wanted.shape[2] / flat.shape[2] - 0.5
    place = place.clamp(0, wanted.shape[2] - 1)
    below = place.floor().long()
    above = (below + 1).clamp(max=wanted.shape[2] - 1)
    values = wanted.expand(len(flat), -1, -1)
    share = (place - below).to(flat)
    mixed = values.gather(2, below) * (1 - share) + values.gather(2, above) * share
    return mixed.view_as(images)
