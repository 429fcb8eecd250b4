"""Labels of stimuli and subjects, in any of the forms that users have them in."""

from __future__ import annotations

from typing import Any

import pandas as pd


def listed(labels: Any) -> list[Any]:
    """Return labels in a sequence, array, Series or DataArray as a list of plain values.

    (What a DataArray yields are DataArrays, whose text is no label.)
    """
    return list(labels.to_numpy() if hasattr(labels, "to_numpy") else labels)


def present(labels: Any, what: str) -> list[Any]:
    """Return labels as `listed`.

    Raises
    ------
    ValueError
        When one is missing: None or NaN.
    """
    values = listed(labels)
    missing = [place for place, value in enumerate(values) if value is None or pd.isna(value)]
    if missing:
        raise ValueError(
            f"{what} are missing in {len(missing)} places, the first number {missing[0]}; leave "
            "those out"
        )
    return values
