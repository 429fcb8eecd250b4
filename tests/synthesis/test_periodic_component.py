"""The periodic component of Moisan (2011): what its Laplacian and the borders have to be."""

import torch
from torch import Tensor

from cnnperception.synthesis.baselines import periodic_component, phase_randomised


def _image(height: int = 20, width: int = 30) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.rand((1, 3, height, width), generator=random, dtype=torch.float64)


def _laplacian(image: Tensor, *, around: bool) -> Tensor:
    """Return the sum of differences to the neighbours, over the borders or within them alone."""
    total = torch.zeros_like(image)
    for dim in (-2, -1):
        steps = image.roll(-1, dim) - image
        if not around:
            steps.select(dim, -1).zero_()
        total += steps - steps.roll(1, dim)
    return total


def test_its_laplacian_over_the_borders_is_the_image_s_within_them() -> None:
    image = _image()
    found = _laplacian(periodic_component(image), around=True)
    torch.testing.assert_close(found, _laplacian(image, around=False), atol=1e-12, rtol=0)
    torch.testing.assert_close(
        periodic_component(image).mean((2, 3)), image.mean((2, 3)), atol=1e-12, rtol=0
    )


def test_a_ramp_loses_the_jump_at_its_border_and_a_wave_that_fits_stays() -> None:
    ramp = torch.linspace(0, 1, 32, dtype=torch.float64).expand(1, 3, 32, 32)
    part = periodic_component(ramp)
    assert (
        (part[..., 0] - part[..., -1]).abs().max()
        < 0.1
        < (ramp[..., 0] - ramp[..., -1]).abs().max()
    )
    angle = 2 * torch.pi * torch.arange(32, dtype=torch.float64) / 32
    wave = (0.5 + 0.4 * (2 * angle).sin()).expand(1, 3, 32, 32)
    # Its jump is that between any two neighbours, and is taken for one: a small change.
    assert (periodic_component(wave) - wave).abs().max() < 0.1


def test_noise_of_it_has_no_more_energy_along_the_axes() -> None:
    # A smooth slope: all energy of its spectrum lies along one axis and comes from the border.
    ramp = torch.linspace(0, 1, 64, dtype=torch.float64).expand(1, 3, 64, 64)
    fine = [
        phase_randomised(picture, seed=1).diff(dim=-1).square().mean()
        for picture in (ramp, periodic_component(ramp))
    ]
    assert fine[1] < 0.1 * fine[0]
