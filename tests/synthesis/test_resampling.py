"""Images keep their frequencies at other sizes, and gain none."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cnnperception.models import RandomFilters
from cnnperception.synthesis import setup
from cnnperception.synthesis.resampling import beyond, interpolated

SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60))


def _noise(height: int, width: int) -> Tensor:
    return torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(0)).double()


@given(lengths=SIZES, sizes=SIZES)
def test_pictures_that_wrap_around_can_begin_anywhere(
    lengths: tuple[int, int], sizes: tuple[int, int]
) -> None:
    image = _noise(*lengths)
    larger = interpolated(image, sizes, wrap=True)
    assert larger.shape[-2:] == sizes
    # A part of the picture that is whole pixels before and after.
    parts = [math.gcd(length, size) for length, size in zip(lengths, sizes, strict=True)]
    before = [length // part for length, part in zip(lengths, parts, strict=True)]
    after = [size // part for size, part in zip(sizes, parts, strict=True)]
    moved = interpolated(image.roll(before, (-2, -1)), sizes, wrap=True)
    torch.testing.assert_close(moved, larger.roll(after, (-2, -1)))


@given(lengths=SIZES, more=st.tuples(st.integers(0, 60), st.integers(0, 60)), flip=st.booleans())
def test_larger_pictures_hold_all_of_the_smaller(
    lengths: tuple[int, int], more: tuple[int, int], flip: bool
) -> None:
    image = _noise(*lengths)
    larger = interpolated(image, (lengths[0] + more[0], lengths[1] + more[1]))
    torch.testing.assert_close(interpolated(larger, lengths), image)
    # A mirrored picture is enlarged as in a mirror.
    torch.testing.assert_close(interpolated(image.flip(-1), larger.shape[-2:]), larger.flip(-1))


@given(lengths=SIZES, more=st.tuples(st.integers(0, 60), st.integers(0, 60)), wrap=st.booleans())
def test_what_a_smaller_size_lacks_is_what_enlarging_it_does_not_give_back(
    lengths: tuple[int, int], more: tuple[int, int], wrap: bool
) -> None:
    sizes = (lengths[0] + more[0], lengths[1] + more[1])
    image = _noise(*sizes)
    lacking = beyond(image, lengths, wrap=wrap)
    torch.testing.assert_close(beyond(lacking, lengths, wrap=wrap), lacking)
    back = torch.zeros((1, 3, *lengths), dtype=image.dtype)
    torch.testing.assert_close(interpolated(lacking, lengths, wrap=wrap), back)
    if sizes == lengths and not wrap:
        torch.testing.assert_close(lacking, torch.zeros_like(lacking))


@pytest.mark.parametrize("wrap", [False, True])
def test_a_smooth_wave_is_interpolated_exactly_and_its_mean_kept(wrap: bool) -> None:
    def wave(count: int) -> Tensor:
        x = (torch.arange(count).double() + 0.5) / count
        return (0.4 + torch.cos((4 if wrap else 3) * math.pi * x)).expand(1, 3, 4, count)

    torch.testing.assert_close(interpolated(wave(20), (4, 47), wrap=wrap), wave(47))
    torch.testing.assert_close(interpolated(wave(20), (4, 9), wrap=wrap), wave(9))
    mean = interpolated(_noise(7, 10), (23, 15), wrap=wrap).mean()
    torch.testing.assert_close(mean, _noise(7, 10).mean())


def test_pixels_of_the_border_count_as_often_as_padding_copies_them() -> None:
    copies = RandomFilters(scales=1).copies((20, 30))
    assert copies.shape == (20, 30)
    assert copies[0, 0] == 16
    assert copies[0, 10] == copies[9, -1] == 4
    assert torch.all(copies[1:-1, 1:-1] == 1)
    deeper = RandomFilters(scales=5).copies((60, 60))[30]
    assert deeper[0] == pytest.approx(4)
    assert torch.all(deeper.diff()[:30] <= 1e-6)
    torch.testing.assert_close(deeper, deeper.flip(0))
    assert deeper[12:-12].sub(1).abs().max() < 1e-5
    gradient = torch.ones(2, 3, 20, 30)
    assert setup.evenly(RandomFilters(scales=1), (20, 30))(gradient)[1, 2, 0, 0] == 1 / 16
