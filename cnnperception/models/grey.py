"""The luminance channel that models without colour look at."""

from __future__ import annotations

from torch import Tensor

from .. import images as pictures
from .interface import check_images


def luminance(images: Tensor) -> Tensor:
    """Return the luma of RGB images, 0.299 R + 0.587 G + 0.114 B, after checking them.

    It is what "grey" means in the image toolboxes the classical models were built with (ITU-R
    BT.601).

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
        When the shape or type is another, or a pixel is not finite.
    """
    check_images(images)
    grey = pictures.luminance(images if images.dtype.itemsize >= 4 else images.float())
    if not grey.isfinite().all():
        raise ValueError("images hold values that are not finite (NaN or infinity)")
    return grey
