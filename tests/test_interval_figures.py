"""Figures of values with intervals draw what the table holds."""

import numpy as np
import pandas as pd
import pytest

from cnnperception.figures import interval_curves, interval_dots


def _curves() -> pd.DataFrame:
    rows = [
        {"panel": panel, "layer": layer, "curve": curve, "value": value, "lower": 0.0, "upper": 1.0}
        for panel, layers in (("a", "pqr"), ("b", "st"), ("c", "pq"))
        for place, layer in enumerate(layers)
        for curve, value in (("one", 0.1 * place), ("two", 0.5))
    ]
    return pd.DataFrame(rows)


def test_panels_fill_rows_and_each_names_its_own_places() -> None:
    figure = interval_curves(
        _curves(), x="layer", y="value", curve="curve", panel="panel", columns=2
    )
    assert [ax.get_title() for ax in figure.axes] == ["a", "b", "c"]
    names = [[text.get_text() for text in ax.get_xticklabels()] for ax in figure.axes]
    assert names == [["p", "q", "r"], ["s", "t"], ["p", "q"]]
    tops = [ax.get_subplotspec().rowspan.start for ax in figure.axes]
    assert tops == [0, 0, 1]
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 3]
    np.testing.assert_allclose(lines[0].get_ydata(), [0, 0.1, 0.2])
    # Curves stand a little apart, about the place.
    np.testing.assert_allclose(
        (np.array(lines[0].get_xdata()) + lines[1].get_xdata()) / 2, [0, 1, 2], atol=1e-12
    )


def test_without_columns_all_panels_are_in_one_row() -> None:
    figure = interval_curves(_curves(), x="layer", y="value", curve="curve", panel="panel")
    assert {ax.get_subplotspec().rowspan.start for ax in figure.axes} == {0}


def _dots() -> pd.DataFrame:
    rows = [
        ("net", "low", "shift", 0.2, 0.1, 0.3, False),
        ("net", "high", "shift", 0.5, 0.4, 0.5, True),
        ("eye", "low", "shift", np.nan, np.nan, np.nan, False),
        ("net", "low", "turn", 20.0, 10.0, 30.0, False),
    ]
    columns = ["model", "layer", "variable", "width", "lower", "upper", "beyond"]
    return pd.DataFrame(rows, columns=columns)


def test_dots_stand_in_rows_and_open_ones_lie_beyond() -> None:
    figure = interval_dots(_dots(), row="layer", value="width", group="model", panel="variable")
    shift, turn = figure.axes
    assert [text.get_text() for text in shift.get_yticklabels()] == ["low", "high", "low"]
    assert shift.get_xlabel() == "shift"
    drawn = {line.get_marker(): list(line.get_xdata()) for line in shift.lines}
    assert drawn == {"o": [0.2], ">": [0.5]}
    assert turn.get_xlim()[1] > 20
    # The first row is on top.
    assert shift.get_ylim()[0] > shift.get_ylim()[1]


def test_columns_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one panel"):
        interval_curves(_curves(), x="layer", y="value", curve="curve", panel="panel", columns=0)
    with pytest.raises(ValueError, match="at least one panel"):
        interval_dots(
            _dots(), row="layer", value="width", group="model", panel="variable", columns=0
        )
