"""Whether two RDMs are related at all, by permuting the labels of stimuli."""

from __future__ import annotations

import numpy as np
import xarray as xr

from .. import runtime
from .comparison import compare
from .labels import select, square, stimulus_ids

# Dissimilarities of permuted RDMs to hold at a time.
_VALUES = 2**22


def permutation_test(
    rdm_a: xr.DataArray,
    rdm_b: xr.DataArray,
    method: str = "spearman",
    *,
    n_permutations: int = 10_000,
    seed: int = 0,
    progress: bool = False,
) -> xr.Dataset:
    """Test whether two RDMs are related, by permuting the labels of the stimuli of one.

    Parameters
    ----------
    rdm_a, rdm_b : DataArray, dims (pair,)
        Aligned by stimulus id; without NaN.
    method : str
        As for `compare`; larger must mean more alike.
    n_permutations : int
    seed : int
    progress : bool

    Returns
    -------
    Dataset
        similarity; p, one-sided, (#(permuted >= observed) + 1) / (N + 1); and null
        (permutation,), the similarities with permuted labels. Settings and seed are attributes.

    Raises
    ------
    ValueError
        For several RDMs, missing pairs, RDMs that do not vary, fewer than one permutation, or a
        distance as the method.

    Notes
    -----
    It tests that these stimuli are represented alike (Mantel 1967; Kriegeskorte et al. 2008), not
    that the relation generalises to other stimuli or subjects: for that, see `evaluate`.
    """
    if method == "bures_metric":
        raise ValueError("'bures_metric' is a distance: test with 'bures'")
    if n_permutations < 1:
        raise ValueError(f"n_permutations must be 1 or more; got {n_permutations}")
    for rdm in (rdm_a, rdm_b):
        if rdm.size != rdm.sizes["pair"]:
            raise ValueError(f"it tests one RDM with one other; got the shape {rdm.shape}")
    ids = stimulus_ids(rdm_a)
    if set(ids) != set(stimulus_ids(rdm_b)):
        raise ValueError("the RDMs are of different stimuli")
    a, b = square(rdm_a.squeeze()), select(rdm_b, ids).to_numpy().reshape(1, -1)
    if np.isnan(a).any() or np.isnan(b).any():
        raise ValueError("permuting labels needs every pair of stimuli: some are NaN")
    i, j = np.triu_indices(len(ids), 1)
    observed = float(compare(a[i, j][None], b, method)[0, 0])
    if np.isnan(observed):
        raise ValueError(f"the RDMs have no similarity by {method!r}: one of them does not vary")
    rng = np.random.default_rng(seed)
    size = max(1, _VALUES // len(i))
    parts = []
    starts = range(0, n_permutations, size)
    for start in runtime.progress(starts, "permutations", show=progress):
        count = min(size, n_permutations - start)
        orders = rng.permuted(np.tile(np.arange(len(ids)), (count, 1)), axis=1)
        parts.append(compare(a[orders[:, i], orders[:, j]], b, method)[:, 0])
    null = np.concatenate(parts)
    # Another order of the same sum may differ in its last digits.
    reached = null >= observed - 1e-12 * max(1.0, abs(observed))
    return xr.Dataset(
        {
            "similarity": observed,
            "p": (int(reached.sum()) + 1) / (n_permutations + 1),
            "null": ("permutation", null),
        },
        attrs={"method": method, "n_permutations": n_permutations, "seed": seed},
    )
