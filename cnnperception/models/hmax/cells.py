"""S1 and C1: filter responses relative to the local contrast, and their local maximum."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn import functional

Bank = Callable[[int, int], Tensor]

# Windows with less energy are black. One pixel that is 1/255 above black has 1.5e-5.
BLACK = 1e-10


class SimpleCells:
    """S1 of a batch of images, computed for one filter size at a time.

    |<w, patch>| / ||patch||, between 0 and 1, and 0 where the patch is black (Serre et al. 2007,
    section 2.1). Positions where the filter is not wholly inside the image are 0.

    The filters are applied in the frequency domain, where large ones cost no more than small
    ones; the image is transformed once for all of them.

    Parameters
    ----------
    grey : Tensor, shape (batch, 1, height, width)
    bank : callable
        From a size and a number of orientations to filters (orientation, size, size).
    orientations : int
    excess : int
        Further rows at the top and columns at the left set to 0 (see `Variant.excess`).
    """

    def __init__(self, grey: Tensor, bank: Bank, orientations: int, excess: int = 0):
        self._bank, self._orientations, self._excess = bank, orientations, excess
        self._height, self._width = grey.shape[-2:]
        self._shape = (next_fast_len(self._height, True), next_fast_len(self._width, True))
        # The filters have no mean, so the image's own only costs digits.
        mean = grey.mean(dim=(2, 3), keepdim=True).detach()
        self._spectrum = torch.fft.rfft2(grey - mean, s=self._shape)
        self._squares = grey.square()

    def __call__(self, size: int) -> Tensor:
        """Return the responses of the filters of a size, (batch, orientation, height, width)."""
        filters = self._transformed(size)
        # The transform is circular, but where the filter is wholly inside nothing wraps around.
        matched = torch.fft.irfft2(self._spectrum * filters, s=self._shape)
        start = self._excess
        rows, columns = self._height - size + 1, self._width - size + 1
        matched = matched[..., start:rows, start:columns].abs()
        energy = window_sums(self._squares, size)[..., start:, start:]
        black = energy <= BLACK
        gain = energy.masked_fill(black, 1).rsqrt().masked_fill(black, 0)
        half = size // 2
        return functional.pad(matched * gain, (half + start, half, half + start, half))

    def _transformed(self, size: int) -> Tensor:
        """Return the filters of a size in the frequency domain."""
        return _spectrum(
            self._bank,
            size,
            self._orientations,
            self._shape,
            self._spectrum.dtype,
            self._squares.device,
        )


@functools.lru_cache(maxsize=32)
def _spectrum(
    bank: Bank,
    size: int,
    orientations: int,
    shape: tuple[int, int],
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    # A tensor made in inference mode could not take part in a later gradient.
    with torch.inference_mode(False), torch.no_grad():
        filters = torch.fft.rfft2(bank(size, orientations), s=shape).conj().resolve_conj()
        return filters.to(dtype).to(device)


def window_sums(maps: Tensor, size: int) -> Tensor:
    """Return the sums over all size x size windows that lie inside the maps.

    Parameters
    ----------
    maps : Tensor, shape (..., height, width)
    size : int

    Returns
    -------
    Tensor, shape (..., height - size + 1, width - size + 1)
    """
    return _neighbour_sums(_neighbour_sums(maps, size, -1), size, -2)


def _neighbour_sums(values: Tensor, size: int, dim: int) -> Tensor:
    # Sums of 1, 2, 4, ... neighbours make up any width in log2(size) additions. Unlike an
    # integral image nothing large is subtracted, so dark regions keep their precision.
    length = values.shape[dim] - size + 1
    total, start, width = torch.zeros_like(values.narrow(dim, 0, length)), 0, 1
    while True:
        if size & width:
            total = total + values.narrow(dim, start, length)
            start += width
        if 2 * width > size:
            return total
        count = values.shape[dim] - width
        values = values.narrow(dim, 0, count) + values.narrow(dim, width, count)
        width *= 2


def complex_cells(simple: Sequence[Tensor], pool: int, step: int, extra: int = 0) -> Tensor:
    """Return C1: the maximum over a band's filter sizes and over windows of pool x pool pixels.

    Windows start at the top left pixel and follow each other by `step`; the last ones end at
    the image's edge (Serre et al. 2007, section 2.2).

    Parameters
    ----------
    simple : sequence of Tensor, each of shape (batch, orientation, height, width)
    pool, step : int
        In pixels.
    extra : int
        1 starts a further window at the image's edge when its side is a multiple of `step`; it
        sees nothing and is 0 (see `Variant.extra`).

    Returns
    -------
    Tensor, shape (batch, orientation, ceil(height / step), ceil(width / step))
    """
    strongest = functools.reduce(torch.maximum, simple)
    missing = []
    for side in (strongest.shape[-1], strongest.shape[-2]):
        count = side // step + 1 if extra else -(-side // step)
        missing += [0, max(0, (count - 1) * step + pool - side)]
    strongest = functional.pad(strongest, missing)
    if pool == 2 * step:
        # Neighbouring windows share half of their pixels: look at each block of pixels once.
        return functional.max_pool2d(functional.max_pool2d(strongest, step), 2, 1)
    return functional.max_pool2d(strongest, pool, step)
