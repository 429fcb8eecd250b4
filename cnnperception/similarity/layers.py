"""Every layer compared with every layer, in one pass over their activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from .. import runtime
from . import kernels, measures
from .patterns import matched

Prepare = Callable[[np.ndarray], np.ndarray]
Compare = Callable[[np.ndarray, np.ndarray], float]


def _angle(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    return float(np.arccos(measures.shape_cosine_of(k, l)))


def _residual(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    return float(np.sqrt(max(0.0, 2 - 2 * measures.shape_cosine_of(k, l))))


def _mean_canonical(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    return float(np.clip(np.linalg.svd(k.T @ l, compute_uv=False), 0, 1).mean())


# What is done to each kernel once, and to each pair of what that leaves.
MEASURES: dict[str, tuple[Prepare, Compare]] = {
    "cka": (kernels.u_centred, kernels.alignment_of_centred),
    "biased_cka": (np.asarray, kernels.biased_alignment),
    "procrustes": (np.asarray, _residual),
    "angular_shape_distance": (np.asarray, _angle),
    "cca": (kernels.basis, _mean_canonical),
    "svcca": (partial(kernels.basis, share=0.99), _mean_canonical),
    "distance_correlation": (
        lambda kernel: kernels.u_centred(kernels.distances(kernel)),
        kernels.alignment_of_centred,
    ),
    "knn_overlap": (np.asarray, measures.overlap_of_neighbours),
}


def similarity_matrix(
    activations: xr.DataTree | Mapping[str, Any],
    others: xr.DataTree | Mapping[str, Any] | None = None,
    *,
    measure: str = "cka",
    progress: bool = False,
) -> xr.DataArray:
    """Return how alike every layer is to every other layer.

    Each layer is read once, a block of units at a time: what is held is a kernel (stimulus,
    stimulus) a layer.

    Parameters
    ----------
    activations : DataTree as `extract` returns, or mapping of str to patterns
        Patterns are (stimulus, unit ...).
    others : the same, optional
        Layers of another model for the same stimuli; `activations` itself when left out.
    measure : str
        A key of `MEASURES`, each as the function of that name.
    progress : bool

    Returns
    -------
    DataArray, dims (layer, other_layer)

    Raises
    ------
    ValueError
        For an unknown measure, or layers of different stimuli.
    """
    if measure not in MEASURES:
        raise ValueError(f"no measure is called {measure!r}; there are {', '.join(MEASURES)}")
    prepare, compare = MEASURES[measure]
    rows = _layers(activations)
    columns = rows if others is None else _layers(others)
    first = next(iter(rows.values()))
    total = len(rows) + (0 if others is None else len(columns))
    bar = runtime.progress(range(total), "layers", show=progress, total=total)

    def prepared(layers: Mapping[str, Any]) -> list[np.ndarray]:
        found = []
        for name, patterns in layers.items():
            next(bar)
            aligned = matched(first, patterns)[1]
            found.append(prepare(kernels.linear_kernel(aligned, f"the activations of {name!r}")))
        return found

    of_rows = prepared(rows)
    of_columns = of_rows if others is None else prepared(columns)
    values = np.empty((len(rows), len(columns)))
    for i, one in enumerate(of_rows):
        for j, other in enumerate(of_columns):
            known = others is None and j < i
            values[i, j] = values[j, i] if known else compare(one, other)
    return xr.DataArray(
        values,
        dims=("layer", "other_layer"),
        coords={"layer": list(rows), "other_layer": list(columns)},
        attrs={"measure": measure},
    )


def _layers(activations: xr.DataTree | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(activations, xr.DataTree):
        layers: dict[str, Any] = {
            node.path.strip("/"): node["activations"] for node in activations.leaves
        }
    else:
        layers = dict(activations)
    if not layers:
        raise ValueError("there are no layers to compare")
    return layers
