"""Control stimuli: what is left of a picture when its structure is taken away."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Unpack

import torch
from torch import Tensor

from .. import runtime
from ..images import luminance
from ..models.registry import load_model
from .presets import PS2000
from .result import SynthesisResult
from .run import Running
from .texture import texture

NEIGHBOURHOOD, FEWEST_SCALES, MOST_SCALES = 7, 2, 4  # 7 and 4: Portilla & Simoncelli (2000)
ROUNDING = 1e-6  # of values that count as inside [0, 1]


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


def periodic_component(image: Tensor) -> Tensor:
    """Return an image without the jumps between its opposite borders (Moisan 2011).

    The discrete Fourier transform takes opposite borders for neighbours, and their jumps for
    horizontal and vertical structure at all frequencies, which noise of the image's spectrum then
    has everywhere. Given to `phase_randomised`, the periodic component makes noise without it. It
    is the image less a smooth one, whose Laplacian is what the jumps are to that of the image.

    Parameters
    ----------
    image : Tensor, shape (1, 3, height, width)

    Returns
    -------
    Tensor, shape (1, 3, height, width)
        With the image's mean; an image that tiles without a seam comes back as it is.
    """
    jumps = torch.zeros_like(image)
    across, along = image[..., 0, :] - image[..., -1, :], image[..., 0] - image[..., -1]
    jumps[..., 0, :] -= across
    jumps[..., -1, :] += across
    jumps[..., 0] -= along
    jumps[..., -1] += along
    kind = {"dtype": image.dtype, "device": image.device}
    turns = [2 * (2 * torch.pi * torch.fft.fftfreq(n, **kind)).cos() for n in image.shape[-2:]]
    laplacian = turns[0][:, None] + turns[1] - 4
    laplacian[0, 0] = 1  # the mean stays in the periodic part
    smooth = torch.fft.fft2(jumps) / laplacian
    smooth[..., 0, 0] = 0
    return image - torch.fft.ifft2(smooth).real


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


def portilla_simoncelli(
    image: Tensor, seed: int = 0, *, evaluations: int = 400, **running: Unpack[Running]
) -> SynthesisResult:
    """Return noise given the texture statistics of Portilla & Simoncelli (2000).

    The preset `ps2000` of `texture`, in grey as the statistics are, for images of any size: its
    pyramid has four scales, or as many as the image is large enough for.

    Parameters
    ----------
    image : Tensor, shape (1, 3, height, width)
        RGB in [0, 1]; its luminance is matched.
    seed : int
        Of the noise.
    evaluations : int
        Of the statistics.
    **running
        As for `texture`.

    Raises
    ------
    ImportError
        When plenoptic, which computes the statistics, is not installed.
    ValueError
        For an image that is smaller than a pyramid of two scales needs.
    """
    height, width = image.shape[-2:]
    scales = pyramid_scales(height, width)
    # A larger picture is made where a pyramid does not divide the sides, and its middle taken.
    step = PS2000.multiple
    size = (-(-height // step) * step, -(-width // step) * step)
    model = load_model("portilla-simoncelli", scales=scales, neighbourhood=NEIGHBOURHOOD)
    result = texture(
        image, preset=PS2000, model=model, size=size, seed=seed, evaluations=evaluations, **running
    )
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    cut = result.images[..., top : top + height, left : left + width]
    return dataclasses.replace(result, images=cut)


def pyramid_scales(height: int, width: int) -> int:
    """Return how many scales the pyramid of an image has in `portilla_simoncelli`.

    Raises
    ------
    ValueError
        For an image that is too small for two: one scale has none to be correlated with.
    """
    step = PS2000.multiple
    seen = min(height, width) // step * step
    fitting = [s for s in range(FEWEST_SCALES, MOST_SCALES + 1) if NEIGHBOURHOOD * 2**s <= seen]
    if not fitting:
        needed = -(-NEIGHBOURHOOD * 2**FEWEST_SCALES // step) * step
        raise ValueError(
            f"an image of {height} x {width} pixels is too small for the statistics of Portilla & "
            f"Simoncelli, whose two scales need {needed} along each side"
        )
    return fitting[-1]


def _portilla_simoncelli_picture(image: Tensor, seed: int = 0) -> Tensor:
    return portilla_simoncelli(image, seed).images


def relit(image: Tensor, mean: float | None = None, contrast: float | None = None) -> Tensor:
    """Return an image with a given mean luminance and RMS contrast, not clipped to [0, 1].

    Luminance is the luma of pixel values, contrast its standard deviation (Peli 1990). The same
    gain and offset are given to all channels, which keeps hues.

    Parameters
    ----------
    image : Tensor, shape (1, 3, height, width)
    mean, contrast : float, optional
        In [0, 1]; as they are when left out.

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
    return (image - centre) * gain + (centre if mean is None else mean)


def with_luminance(
    image: Tensor, mean: float | None = None, contrast: float | None = None
) -> tuple[Tensor, float]:
    """Return an image as `relit` does, in [0, 1], and the share of its values that was clipped."""
    changed = relit(image, mean, contrast)
    outside = (beyond(changed) > ROUNDING).float().mean()
    return changed.clamp(0, 1), float(outside)


def beyond(image: Tensor) -> Tensor:
    """Return how far each value of an image is outside [0, 1]."""
    return (image - image.clamp(0, 1)).abs()


BASELINES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "phase-randomised": phase_randomised,
    "pixel-shuffled": pixel_shuffled,
    "portilla-simoncelli": _portilla_simoncelli_picture,
}
