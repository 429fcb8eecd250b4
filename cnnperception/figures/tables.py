"""Checks of what is to be drawn: dissimilarity matrices, categories and columns of tables."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from ..labels import listed

Categories = Mapping[Hashable, Hashable] | pd.Series | xr.DataArray | Sequence[Hashable]


def stimulus_count(pairs: int) -> int:
    """Return n where n (n - 1) / 2 = pairs."""
    count = round((1 + np.sqrt(1 + 8 * pairs)) / 2)
    if pairs < 1 or count * (count - 1) // 2 != pairs:
        raise ValueError(
            f"a dissimilarity matrix of n stimuli has n (n - 1) / 2 pairs; {pairs} is no such "
            "number: give the upper triangle without the diagonal, row by row"
        )
    return count


def square(condensed: np.ndarray) -> np.ndarray:
    """Return the symmetric matrix of an upper triangle, with NaN on the diagonal.

    The diagonal is no measurement, so nothing should be read from its colour.
    """
    count = stimulus_count(condensed.size)
    matrix = np.full((count, count), np.nan)
    rows, columns = np.triu_indices(count, 1)
    matrix[rows, columns] = matrix[columns, rows] = condensed
    return matrix


def as_rdms(rdms: xr.DataArray) -> xr.DataArray:
    """Return RDMs as (rdm, pair) float64, checked.

    Raises
    ------
    TypeError, ValueError
        When they are no DataArray, have other dimensions, no values, or infinite ones; when the
        number of pairs fits no matrix, or the stimuli named for the pairs are in another order
        than the upper triangle's, row by row.
    """
    if not isinstance(rdms, xr.DataArray):
        raise TypeError(
            f"RDMs must be an xarray DataArray with dims ('rdm', 'pair'), not {type(rdms).__name__}"
        )
    if set(rdms.dims) not in ({"pair"}, {"rdm", "pair"}):
        raise ValueError(f"RDMs have dims ('rdm', 'pair') or ('pair',); got {rdms.dims}")
    if rdms.size == 0:
        raise ValueError(f"there is no RDM to draw: the array has shape {rdms.shape}")
    if "rdm" not in rdms.dims:
        name = str(rdms["rdm"].item()) if "rdm" in rdms.coords else str(rdms.name or "")
        rdms = rdms.drop_vars("rdm", errors="ignore").expand_dims(rdm=[name])
    table = rdms.transpose("rdm", "pair").astype(float)
    stimulus_ids(table)
    for name, values in zip(rdm_names(table), table.values, strict=True):
        if np.isinf(values).any() or np.isnan(values).all():
            raise ValueError(f"RDM {name!r} has infinite dissimilarities or none at all")
    return table


def rdm_names(rdms: xr.DataArray) -> list[str]:
    """Return the name of each RDM, or nothing where they have none."""
    if "rdm" not in rdms.coords:
        return [""] * rdms.sizes["rdm"]
    return [str(name) for name in rdms["rdm"].values]


def stimulus_ids(rdms: xr.DataArray) -> list[Hashable]:
    """Return the stimuli of RDMs in their order, or 0, 1, 2 ... where they have no names."""
    count = stimulus_count(rdms.sizes["pair"])
    if "stimulus_a" not in rdms.coords or "stimulus_b" not in rdms.coords:
        return list(range(count))
    first, second = rdms["stimulus_a"].values, rdms["stimulus_b"].values
    names = np.array([*first[:1].tolist(), *second[: count - 1].tolist()], dtype=object)
    rows, columns = np.triu_indices(count, 1)
    if (names[rows] != first).any() or (names[columns] != second).any():
        raise ValueError(
            "the pairs are not in the order of an upper triangle, row by row: stimulus_a should "
            "stay while stimulus_b runs through the stimuli that follow it"
        )
    return list(names)


def category_list(categories: Categories, stimuli: Sequence[Hashable]) -> list[Hashable]:
    """Return the category of each stimulus: of a mapping or Series by id, of others in order.

    A Series whose index only numbers its rows, as a column of a table, is taken in order too.
    """
    if isinstance(categories, pd.Series) and not _numbers_rows(categories.index, stimuli):
        categories = categories.to_dict()
    if isinstance(categories, Mapping):
        lost = [name for name in stimuli if name not in categories]
        if lost:
            raise ValueError(f"{len(lost)} stimuli have no category, {lost[0]!r} among them")
        return [categories[name] for name in stimuli]
    values = listed(categories)
    check_count(values, len(stimuli), "categories")
    return values


def _numbers_rows(index: pd.Index, stimuli: Sequence[Hashable]) -> bool:
    return isinstance(index, pd.RangeIndex) and not set(stimuli) <= set(index)


def positions(order: Sequence[Hashable] | None, stimuli: Sequence[Hashable]) -> np.ndarray:
    """Return the index of each stimulus in the order wanted."""
    if order is None:
        return np.arange(len(stimuli))
    index = {name: place for place, name in enumerate(stimuli)}
    unknown = [name for name in order if name not in index]
    if unknown or len(order) != len(index) or len(set(order)) != len(index):
        wrong = f"; {unknown[0]!r} is none of them" if unknown else ""
        raise ValueError(f"order must name each of the {len(index)} stimuli once{wrong}")
    return np.array([index[name] for name in order])


def check_count(things: Sequence[object], count: int, what: str, *, of: str = "stimuli") -> None:
    """Raise when there is not one thing for each of the stimuli or pictures."""
    if len(things) != count:
        raise ValueError(f"there are {len(things)} {what} for {count} {of}")


def check_columns(table: pd.DataFrame, needed: Sequence[str]) -> None:
    """Raise when a table lacks rows or one of the columns."""
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise ValueError(
            f"the table has no column {', '.join(map(repr, missing))}; it needs "
            f"{', '.join(needed)} and has {', '.join(map(str, table.columns)) or 'none'}"
        )
    if table.empty:
        raise ValueError("the table has no rows: there is nothing to draw")


def check_finite(table: pd.DataFrame, column: str, names: Sequence[str]) -> None:
    """Raise, naming the first row at fault, when a column holds NaN or infinity."""
    bad = table[~np.isfinite(table[column].to_numpy(dtype=float))]
    if len(bad):
        where = ", ".join(f"{name} {bad.iloc[0][name]}" for name in names)
        raise ValueError(
            f"{len(bad)} values of {column!r} are not finite numbers, the first at {where}"
        )
