import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnperception.synthesis.pooling_windows import (
    at_positions,
    log_polar_windows,
    polar_coordinates,
    raised_cosine,
    wedge_count,
)

SCALINGS = st.floats(0.15, 1.5)


@given(scaling=SCALINGS, fovea=st.floats(2, 30), y=st.floats(0, 40), x=st.floats(0, 60))
@settings(max_examples=25, deadline=None)
def test_fovea_and_windows_sum_to_one_at_every_pixel(scaling, fovea, y, x):
    windows = log_polar_windows((40, 60), (y, x), scaling=scaling, fovea=fovea)
    total = windows.fovea + sum(
        windows.of_ring(ring).sum(dim=0) for ring in range(len(windows.rings))
    )
    torch.testing.assert_close(total, torch.ones(40, 60, dtype=torch.float64))
    assert windows.rings.min() >= 0
    assert windows.wedges.min() >= 0
    assert windows.fovea.min() >= -1e-12


def test_periphery_alone_sums_to_one_outside_the_fovea():
    windows = log_polar_windows((96, 96), (48, 48), scaling=0.5, fovea=10)
    eccentricity, _ = polar_coordinates((96, 96), (48, 48))
    outside = eccentricity > 10 * math.exp(0.25 * 0.5)
    periphery = sum(windows.of_ring(ring).sum(dim=0) for ring in range(len(windows.rings)))
    torch.testing.assert_close(periphery[outside], torch.ones_like(periphery[outside]))
    assert (windows.fovea[eccentricity < 10 * math.exp(-0.25 * 0.5)] == 1).all()


def _widths(windows, ring, size, fixation):
    """Width of a ring's first window at half height, radial and around, read off the pixels."""
    eccentricity, angle = polar_coordinates(size, fixation)
    # The first wedge points to the right: along the row of the fixation.
    along = windows.rings[ring][int(fixation[0])] >= 0.5
    distances = eccentricity[int(fixation[0])][along & (angle[int(fixation[0])].abs() < 0.1)]
    middle = float(windows.eccentricities[ring])
    column = int(fixation[1] + middle)
    across = (windows.wedges[0][:, column] >= 0.5).sum()
    return float(distances.max() - distances.min() + 1), float(across), middle


@pytest.mark.parametrize("scaling", [0.3, 0.5, 0.8])
def test_radial_width_is_the_scaling_times_the_eccentricity_and_twice_the_other(scaling):
    size, fixation = (600, 1200), (300.5, 4.5)
    windows = log_polar_windows(size, fixation, scaling=scaling, fovea=50)
    inside = [r for r, e in enumerate(windows.eccentricities) if 100 < e < 700]
    assert len(inside) >= 2
    for ring in inside:
        radial, around, middle = _widths(windows, ring, size, fixation)
        # Each width is read off to within two pixels.
        assert radial == pytest.approx(scaling * middle, abs=2.5)
        expected = 2 * math.pi * middle / wedge_count(scaling)
        assert around == pytest.approx(expected, rel=0.03, abs=2.5)
        assert scaling * middle / expected == pytest.approx(2, rel=0.05)


def test_profile_is_the_published_one():
    def published(x, t=0.5):
        """Freeman & Simoncelli 2011, online methods."""
        if -(1 + t) / 2 < x <= (t - 1) / 2:
            return math.cos(math.pi / 2 * (x - (t - 1) / 2) / t) ** 2
        if (t - 1) / 2 < x <= (1 - t) / 2:
            return 1.0
        if (1 - t) / 2 < x <= (1 + t) / 2:
            return 1 - math.cos(math.pi / 2 * (x - (1 + t) / 2) / t) ** 2
        return 0.0

    positions = torch.linspace(-1.2, 1.2, 241, dtype=torch.float64)
    expected = torch.tensor([published(float(x)) for x in positions], dtype=torch.float64)
    torch.testing.assert_close(raised_cosine(positions), expected, atol=1e-12, rtol=0)


def test_windows_are_zero_but_for_a_small_part_of_the_image():
    windows = log_polar_windows((128, 128), (64, 64), scaling=0.5, fovea=8)
    for ring in range(len(windows.rings)):
        assert (windows.of_ring(ring) > 0).double().mean(dim=(1, 2)).max() < 0.1


@given(scale=st.sampled_from([2, 4]), scaling=SCALINGS)
@settings(max_examples=10, deadline=None)
def test_windows_of_a_reduced_image_are_the_reduced_windows(scale, scaling):
    large = log_polar_windows((128, 128), (64, 40), scaling=scaling, fovea=24)
    small = log_polar_windows(
        (128 // scale, 128 // scale), (64 / scale, 40 / scale), scaling=scaling, fovea=24 / scale
    )
    reduced = at_positions(large.fovea[None], (128 // scale, 128 // scale))[0]
    assert (reduced - small.fovea).abs().mean() < 0.01
    assert len(large.wedges) == len(small.wedges)
