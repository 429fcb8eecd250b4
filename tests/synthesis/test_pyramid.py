import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnperception.synthesis import coarse_to_fine


@given(height=st.integers(1, 3000), width=st.integers(1, 3000), evaluations=st.integers(1, 2000))
def test_levels_grow_to_the_full_size(height: int, width: int, evaluations: int) -> None:
    levels = coarse_to_fine((height, width), evaluations)
    assert levels[-1].size == (height, width)
    sides = [level.size[0] for level in levels]
    assert sides == sorted(sides)
    assert all(level.evaluations >= 1 for level in levels)
    assert len(levels) == 1 or min(levels[0].size) >= 63


def test_most_evaluations_are_spent_where_they_are_cheap() -> None:
    levels = coarse_to_fine((512, 512), 400)
    assert [level.size[0] for level in levels] == [64, 128, 256, 512]
    counts = [level.evaluations for level in levels]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == pytest.approx(400, abs=2)


def test_smaller_steps_in_size_share_the_evaluations_alike() -> None:
    octaves = coarse_to_fine((256, 128), 400, smallest=32)
    quarters = coarse_to_fine((256, 128), 400, smallest=32, factor=2**0.25)
    assert [level.size for level in quarters[::4]] == [level.size for level in octaves]
    ratios = [b.evaluations / a.evaluations for a, b in zip(quarters, quarters[4:], strict=False)]
    assert ratios == pytest.approx([2 / 3] * 5, abs=0.03)
    assert sum(level.evaluations for level in quarters) == pytest.approx(400, abs=5)
