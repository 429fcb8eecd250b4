"""The handwritten digits that come with scikit-learn, as large as the neocognitron needs them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def handwritten_digits(size: int = 65, scale: int = 5) -> tuple[Tensor, Tensor]:
    """Return 1797 handwritten digits in the middle of black images, and which they are.

    The originals (Alpaydin & Kaynak 1998) are bitmaps of 32 x 32 pixels, of which 8 x 8 block
    sums are left. Here they are enlarged by bicubic interpolation, and their contrast is doubled
    about the middle grey: half covered blocks lie on the edge of a stroke, so that it becomes
    again an edge, about 2 pixels wide, where the bitmap had one.

    Parameters
    ----------
    size : int
        Side of the images in pixels; at least 10 x `scale`.
    scale : int
        Pixels a block: the digits are 8 x `scale` pixels high.

    Returns
    -------
    images : Tensor, shape (1797, 3, size, size)
        RGB in [0, 1], white on black.
    labels : Tensor of int64, shape (1797,)
        0 ... 9.

    Raises
    ------
    ValueError
        When the digits do not fit.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    # A block of black around the digit: strokes that touch its border end there.
    blocks = functional.pad(torch.from_numpy(digits.images).float() / 16, (1, 1, 1, 1))
    margin = size - blocks.shape[-1] * scale
    if margin < 0:
        raise ValueError(
            f"digits of 10 x {scale} pixels do not fit into {size}; use a smaller scale"
        )
    strokes = functional.interpolate(blocks[:, None], scale_factor=scale, mode="bicubic")
    strokes = (2 * strokes - 0.5).clamp(0, 1)
    before = margin // 2
    images = functional.pad(strokes, (before, margin - before, before, margin - before))
    return images.expand(-1, 3, -1, -1), torch.from_numpy(digits.target)


def shifted(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return images moved down by rows and right by columns, one a piece; black moves in.

    Parameters
    ----------
    images : Tensor, shape (batch, channel, height, width)
    rows, columns : Tensor of int64, shape (batch,)
    """
    reach = int(max(rows.abs().max(), columns.abs().max()))
    padded = functional.pad(images, (reach,) * 4)
    height, width = images.shape[-2:]
    moved = [
        one[:, reach - down : reach - down + height, reach - right : reach - right + width]
        for one, down, right in zip(padded, rows.tolist(), columns.tolist(), strict=True)
    ]
    return torch.stack(moved)
