"""What is taken from an exemplar is taken from the pixels, and the exemplars, that count."""

import pytest
import torch
from torch import Tensor

import cnnperception as cp
from cnnperception.models import RandomFilters

MODEL = RandomFilters(scales=2, channels=8)


def _noise(low: float, high: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand((3, 48, 48), generator=generator)


DARK, LIGHT = _noise(0.1, 0.2, 0), _noise(0.6, 0.9, 1)


def _made(exemplar, **options) -> Tensor:
    options = {"model": MODEL, "evaluations": 3, "size": 40, "progress": False} | options
    return cp.texture(exemplar, **options).images


def test_histograms_are_those_of_the_mask() -> None:
    both = torch.cat([DARK, LIGHT], dim=2)
    mask = torch.zeros(48, 96)
    mask[:, :48] = 1
    found = _made(both, mask=mask, histogram=True, size=48)
    torch.testing.assert_close(
        found.flatten(2).sort(dim=2).values[0], DARK.flatten(1).sort(dim=1).values
    )


def test_histograms_of_a_blend_have_the_weighted_quantiles() -> None:
    options = {"histogram": True, "size": 48}
    alone = _made([DARK, LIGHT], weights=[0, 1], **options).flatten(2).sort(dim=2).values[0]
    torch.testing.assert_close(alone, LIGHT.flatten(1).sort(dim=1).values)
    half = _made([DARK, LIGHT], weights=[1, 1], **options).flatten(2).sort(dim=2).values[0]
    between = (DARK.flatten(1).sort(dim=1).values + LIGHT.flatten(1).sort(dim=1).values) / 2
    torch.testing.assert_close(half, between)


def test_a_blend_begins_with_noise_like_what_it_has_most_of() -> None:
    few = {"schedule": [cp.synthesis.Level((40, 40), 1)], "size": 40}
    torch.testing.assert_close(
        _made([LIGHT, DARK], weights=[0, 1], **few), _made([DARK], weights=[1], **few)
    )


def test_a_mask_begins_with_noise_like_the_part_that_counts() -> None:
    both = torch.cat([DARK, LIGHT], dim=2)
    mask = (torch.arange(96) < 48).float().expand(48, 96)
    few = {"schedule": [cp.synthesis.Level((40, 40), 1)], "size": 40}
    assert _made(both, mask=mask, **few).mean() < 0.25
    assert _made(both, **few).mean() > 0.4


@pytest.mark.parametrize("options", [{"mask": torch.ones(48, 48)}, {"weights": [0, 1]}])
def test_a_spectrum_is_that_of_one_whole_exemplar(options: dict[str, object]) -> None:
    exemplar = DARK if "mask" in options else [LIGHT, DARK]
    with pytest.raises(ValueError, match="no mask and no blend"):
        _made(exemplar, spectrum=1.0, **options)
