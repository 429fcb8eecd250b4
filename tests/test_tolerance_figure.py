"""The figure of tolerance curves shows its table."""

import pandas as pd
import pytest

from cnnperception.figures import tolerance_curves


def _table():
    rows = [
        (name, amount, layer, 1 / (1 + amount), 0.5)
        for name, amounts in (("shift", (0, 2, 8)), ("scale", (0.5, 1, 2)))
        for amount in amounts
        for layer in ("c1", "c2")
    ]
    columns = ["transformation", "amount", "layer", "similarity", "identified"]
    return pd.DataFrame(rows, columns=columns)


def test_each_transformation_has_a_column_and_each_layer_a_line():
    figure = tolerance_curves(_table(), chance=0.1)
    assert len(figure.axes) == 4
    shift, scale = figure.axes[:2]
    lines = [line for line in shift.lines if len(line.get_xdata()) == 3]
    assert [list(line.get_xdata()) for line in lines] == [[0, 2, 8]] * 2
    assert list(lines[0].get_ydata()) == [1, 1 / 3, 1 / 9]
    assert shift.get_xscale() == "linear"
    assert scale.get_xscale() == "log"
    assert [text.get_text() for text in figure.legends[0].texts] == ["c1", "c2"]


def test_a_table_without_what_is_drawn_is_refused():
    with pytest.raises(ValueError, match="identified"):
        tolerance_curves(_table().drop(columns="identified"))
    with pytest.raises(ValueError, match="similarity"):
        tolerance_curves(_table().assign(similarity=float("nan")))
