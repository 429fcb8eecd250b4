"""Control stimuli: what is left of a picture when its structure is taken away."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import runtime
from ..images import luminance


def phase_randomised(image: Tensor, seed: int = 0) -> Tensor:
    """Return noise with the power spectrum of an image, channel by channel.

    The phases of white noise are added to those of all three channels alike, so that correlations
    between channels stay too (Galerne, Gousseau & Morel 2011).

    Parameters
    ----------
    image : Tensor, shape (1, 3, height, width)
        RGB in [0, 1].
    seed : int

    Returns
    -------
    Tensor, shape (1, 3, height, width)
        With the image's mean and variance; not clipped to [0, 1].
    """
    noise = torch.randn(image.shape[-2:], generator=runtime.generator(seed)).to(image)
    spectrum = torch.fft.fft2(noise)
    phase = spectrum / spectrum.abs().clamp_min(1e-12)
    phase[0, 0] = 1  # the mean has no phase
    return torch.fft.ifft2(torch.fft.fft2(image) * phase).real


def pixel_shuffled(image: Tensor, seed: int = 0) -> Tensor:
    """Return an image with its pixels in random order: its colours and nothing else.

    Parameters
    ----------
    image : Tensor, shape (1, 3, height, width)
    seed : int
    """
    count = image.shape[-2] * image.shape[-1]
    order = torch.randperm(count, generator=runtime.generator(seed)).to(image.device)
    return image.flatten(2)[..., order].view_as(image)


def with_luminance(
    image: Tensor, mean: float | None = None, contrast: float | None = None
) -> tuple[Tensor, float]:
    """Return an image with a given mean luminance and RMS contrast, and how much was clipped.

    Luminance is the luma of pixel values, contrast its standard deviation (Peli 1990). The same
    gain and offset are given to all channels, which keeps hues.

    Parameters
    ----------
    image : Tensor, shape (1, 3, height, width)
    mean, contrast : float, optional
        In [0, 1]; as they are when left out.

    Returns
    -------
    Tensor, shape (1, 3, height, width), in [0, 1], and float
        The share of values that would have been outside.

    Raises
    ------
    ValueError
        For values outside [0, 1], or a contrast asked of an image that has none.
    """
    for name, value in (("mean luminance", mean), ("RMS contrast", contrast)):
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"the {name} must be between 0 and 1; got {value}")
    own = luminance(image)
    spread = float(own.std(correction=0))
    gain = 1.0
    if contrast is not None:
        if spread < 1e-6:
            raise ValueError("a uniform image cannot be given a contrast")
        gain = contrast / spread
    centre = float(own.mean())
    changed = (image - centre) * gain + (centre if mean is None else mean)
    outside = ((changed < -1e-6) | (changed > 1 + 1e-6)).float().mean()
    return changed.clamp(0, 1), float(outside)


BASELINES = {"phase-randomised": phase_randomised, "pixel-shuffled": pixel_shuffled}
