"""Prototypes in the Matlab files of the maxlab code, such as `universal_patch_set.mat`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from ...files import atomic_path, sha256
from .prototypes import Prototypes, numbered


def read_patch_set(path: str | os.PathLike[str]) -> Prototypes:
    """Read a Matlab file with the variables `patches` and `patchSizes`.

    `patches` is a 1 x n cell of matrices (height x width x orientations, count), each column a
    patch in Matlab's order; `patchSizes` is (4, n): height, width, orientations, count.

    Parameters
    ----------
    path : path-like
        A .mat file of version 7 or older.

    Raises
    ------
    FileNotFoundError
    ValueError
        When it is another kind of file, has other variables, or shapes that contradict each
        other.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        content = loadmat(path)
    except (MatReadError, ValueError, NotImplementedError, TypeError) as error:
        raise ValueError(f"{path} is not a Matlab file of version 7 or older ({error})") from error
    missing = {"patches", "patchSizes"} - set(content)
    if missing:
        found = sorted(name for name in content if not name.startswith("__"))
        raise ValueError(
            f"{path} has no variable {' and no '.join(sorted(missing))}; a patch set has "
            f"'patches' and 'patchSizes', this file has {', '.join(found) or 'none'}"
        )
    cells, sizes = content["patches"].ravel(), np.atleast_2d(content["patchSizes"])
    if content["patches"].dtype != object or sizes.shape != (4, len(cells)):
        raise ValueError(
            f"{path}: patchSizes must be 4 rows (height, width, orientations, count) by one "
            f"column a cell of patches; got {sizes.shape} for {len(cells)} cells"
        )
    patches = {}
    for cell, (height, width, orientations, count) in zip(cells, sizes.T.astype(int), strict=True):
        if height != width or cell.shape != (height * width * orientations, count):
            raise ValueError(
                f"{path}: patches of {height} x {width} x {orientations}, {count} of them, do not "
                f"fit a cell of shape {cell.shape}"
            )
        shaped = cell.reshape((height, width, orientations, count), order="F")
        ordered = np.ascontiguousarray(shaped.transpose(3, 2, 0, 1), np.float32)
        patches[int(height)] = torch.from_numpy(ordered)
    provenance = {"method": "read from a Matlab file", "sha256": sha256(path)}
    return Prototypes(patches, numbered(patches), provenance)


def write_patch_set(prototypes: Prototypes, path: str | os.PathLike[str]) -> None:
    """Write prototypes as a Matlab file that the maxlab code and `read_patch_set` read.

    The record of where they come from is not part of that format and is left out.

    Raises
    ------
    ValueError
        When units have only some of their inputs: the format cannot say so.
    """
    from scipy.io import savemat

    if prototypes.afferents:
        raise ValueError("units with only some of their inputs cannot be written to a .mat file")
    cells = np.empty((1, len(prototypes.patches)), object)
    sizes = []
    for index, (size, patches) in enumerate(prototypes.patches.items()):
        # (unit, orientation, row, column) -> (row, column, orientation, unit), column-major
        shaped = patches.double().numpy().transpose(2, 3, 1, 0)
        cells[0, index] = shaped.reshape((-1, len(patches)), order="F")
        sizes.append([size, size, patches.shape[1], len(patches)])
    with atomic_path(path) as temporary:
        savemat(
            temporary,
            {"patches": cells, "patchSizes": np.array(sizes, float).T},
            appendmat=False,
        )
