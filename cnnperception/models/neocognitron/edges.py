"""What the first stage is taught: straight edges of 16 orientations."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .equations import contrast_cells

ORIENTATIONS = 16


def edge_image(angle: float, side: int) -> Tensor:
    """Return an ideal straight edge through the middle pixel, (1, 1, side, side) in [0, 1].

    Parameters
    ----------
    angle : float
        Where the bright half lies, in radians anticlockwise from the right.
    side : int
        In pixels, odd.
    """
    steps = torch.arange(side, dtype=torch.float64) - side // 2
    distance = math.cos(angle) * steps[None, :] - math.sin(angle) * steps[:, None]
    # The pixels that the edge crosses are grey: it is as sharp as the grid allows.
    return (distance + 0.5).clamp(0, 1)[None, None].float()


def edge_features(contrast: Tensor, window: Tensor) -> Tensor:
    """Return what U_G shows S-cells that sit on straight edges.

    The seed cells of the supervised learning of 2003: each of 16 planes is taught with one edge,
    22.5 degrees on from the last, so that both polarities of 8 orientations occur.

    Parameters
    ----------
    contrast : Tensor, shape (side, side)
        The weights of the contrast-extracting cells.
    window : Tensor, shape (side, side)
        c(nu) of the S-cells.

    Returns
    -------
    Tensor, shape (16, 2, side, side)
    """
    reach = window.shape[-1] // 2
    middle = reach + contrast.shape[-1]  # the border of the image is out of sight
    angles = [2 * math.pi * k / ORIENTATIONS for k in range(ORIENTATIONS)]
    images = torch.cat([edge_image(angle, 2 * middle + 1) for angle in angles])
    seen = contrast_cells(images, contrast)
    centre = slice(middle - reach, middle + reach + 1)
    return seen[:, :, centre, centre] * (window > 0)
