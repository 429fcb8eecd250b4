"""The luminance channel that models without colour look at."""

from __future__ import annotations

from torch import Tensor

from .interface import check_images

# ITU-R BT.601: what "grey" means in the image toolboxes the classical models were built with.
RED, GREEN, BLUE = 0.299, 0.587, 0.114


def luminance(images: Tensor) -> Tensor:
    """Return the luma of RGB images, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).

    Parameters
    ----------
    images : Tensor, shape (batch, 3, height, width)
        RGB in [0, 1].

    Returns
    -------
    Tensor, shape (batch, 1, height, width)
        At least float32.

    Raises
    ------
    ValueError
        When the shape or type is another, or a pixel is not a number.
    """
    check_images(images)
    images = images if images.dtype.itemsize >= 4 else images.float()
    grey = RED * images[:, 0:1] + GREEN * images[:, 1:2] + BLUE * images[:, 2:3]
    if not grey.isfinite().all():
        raise ValueError("images hold values that are not finite (NaN or infinity)")
    return grey
