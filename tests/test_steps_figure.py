"""The figure of a path draws the steps of its table."""

import pandas as pd
import pytest

from cnnperception.figures import waterfall


def _table() -> pd.DataFrame:
    rows = [
        (panel, step, value, value - 0.02, value + 0.03)
        for panel, values in (("plain", (0.2, 0.5, 0.4)), ("clutter", (0.1, 0.1, 0.3)))
        for step, value in zip(("start", "one", "two"), values, strict=True)
    ]
    return pd.DataFrame(rows, columns=["panel", "step", "share", "lower", "upper"])


def test_each_bar_goes_from_the_value_before_to_the_value_reached() -> None:
    figure = waterfall(_table(), row="step", value="share", panel="panel", reference=1 / 16)
    plain, clutter = figure.axes
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in plain.patches]
    assert bars == [pytest.approx(ends) for ends in ((0.2, 0.2), (0.2, 0.5), (0.5, 0.4))]
    assert plain.patches[1].get_facecolor() != plain.patches[2].get_facecolor()
    assert plain.get_title() == "plain"
    assert [label.get_text() for label in plain.get_yticklabels()] == ["start", "one", "two"]
    assert [label.get_text() for label in clutter.get_yticklabels()] == [""] * 3 or not [
        label for label in clutter.get_yticklabels() if label.get_text()
    ]
    ends = clutter.collections[-1].get_segments()
    assert [tuple(segment[:, 0]) for segment in ends] == [
        pytest.approx(pair) for pair in ((0.08, 0.13), (0.08, 0.13), (0.28, 0.33))
    ]


def test_single_values_are_dots_in_their_rows() -> None:
    points = pd.DataFrame({"panel": ["plain"] * 2, "step": ["one", "two"], "share": [0.45, 0.41]})
    figure = waterfall(_table(), row="step", value="share", panel="panel", points=points)
    (dots,) = [line for line in figure.axes[0].lines if line.get_marker() == "."]
    assert list(dots.get_xdata()) == [0.45, 0.41]
    assert list(dots.get_ydata()) == [1, 2]
    assert "one seed" in [text.get_text() for text in figure.legends[0].texts]


def test_tables_without_what_is_drawn_are_refused() -> None:
    with pytest.raises(ValueError, match="upper"):
        waterfall(_table().drop(columns="upper"), row="step", value="share", panel="panel")
    with pytest.raises(ValueError, match="share"):
        waterfall(_table().assign(share=float("nan")), row="step", value="share", panel="panel")
