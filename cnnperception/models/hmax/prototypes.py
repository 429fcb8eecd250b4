"""The stored patches that S2 compares C1 with: what they are, saved and loaded."""

from __future__ import annotations

import io
import itertools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...files import atomic_path

WEIGHTS = Path(__file__).parents[2] / "weights"
EMBEDDED = WEIGHTS / "hmax_prototypes.safetensors"
EMBEDDED_BYPASS = WEIGHTS / "hmax_bypass_prototypes.safetensors"


@dataclass(frozen=True, eq=False)
class Prototypes:
    """Patches of C1 responses, and where each was taken from.

    Attributes
    ----------
    patches : dict of int to Tensor
        For each size in C1 cells, (unit, orientation, size, size) responses in [0, 1].
    record : DataFrame
        One row a unit: `size`, `unit`, and for imprinted ones `image`, `band`, `row`, `column`
        (the patch's first C1 cell).
    provenance : dict
        How they were made: the method, its seed and options.
    afferents : dict of int to Tensor
        For sizes whose units do not have every input: 1 where there is one, else 0, in the
        shape of the patches.

    Raises
    ------
    ValueError
        When there are none, their shapes do not fit, or a value is not finite.
    """

    patches: dict[int, Tensor]
    record: pd.DataFrame
    provenance: dict[str, Any]
    afferents: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.patches:
            raise ValueError("the set of prototypes is empty; it needs at least one size")
        for size, patches in self.patches.items():
            expected = (len(patches), self.orientations, size, size)
            if tuple(patches.shape) != expected or not len(patches):
                raise ValueError(
                    f"prototypes of size {size} must have the shape (unit, orientation, {size}, "
                    f"{size}) with at least one unit and as many orientations as the other sizes; "
                    f"got {tuple(patches.shape)}"
                )
            if not patches.isfinite().all():
                raise ValueError(f"prototypes of size {size} hold values that are not finite")
        for size, afferents in self.afferents.items():
            if size not in self.patches or afferents.shape != self.patches[size].shape:
                raise ValueError(f"the afferents of size {size} do not have its patches' shape")

    @property
    def orientations(self) -> int:
        """The number of orientations the patches were taken with."""
        return int(next(iter(self.patches.values())).shape[1])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file, atomically: half precision, the record in its metadata."""
        tensors = {f"patches/{size}": patch for size, patch in self.patches.items()}
        tensors |= {f"afferents/{size}": mask for size, mask in self.afferents.items()}
        # One entry: with several, their order and so the file's bytes would differ by the run.
        origin = {"provenance": self.provenance, "record": self.record.to_csv(index=False)}
        metadata = {"prototypes": json.dumps(origin, sort_keys=True)}
        with atomic_path(path) as temporary:
            save_file(
                {name: tensor.half().contiguous() for name, tensor in tensors.items()},
                temporary,
                metadata,
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str] = EMBEDDED) -> Prototypes:
        """Read what `save` wrote; without a path, the set that comes with the package.

        Raises
        ------
        ValueError
            When the file is not a safetensors file of prototypes.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(
                f"{path} is not a safetensors file ({error}); .mat files are read by read_patch_set"
            ) from error
        patches, afferents = (
            {
                int(name.rpartition("/")[2]): tensor
                for name, tensor in tensors.items()
                if name.startswith(kind)
            }
            for kind in ("patches/", "afferents/")
        )
        if not patches:
            raise ValueError(f"{path} holds no prototypes; was it written by Prototypes.save?")
        patches = dict(sorted(patches.items()))
        origin = json.loads(metadata.get("prototypes", "{}"))
        record = (
            pd.read_csv(io.StringIO(origin["record"])) if "record" in origin else numbered(patches)
        )
        return cls(patches, record, origin.get("provenance", {}), afferents)


def numbered(patches: Mapping[int, Tensor]) -> pd.DataFrame:
    """Return a record that knows no more than each unit's size and number."""
    rows = [(size, unit) for size in patches for unit in range(len(patches[size]))]
    return pd.DataFrame(rows, columns=["size", "unit"])


def orientation_combinations(orientations: int = 4) -> Prototypes:
    """Return the fixed features of the 1999 model: 2 x 2 cells, one orientation in each.

    A unit has four inputs, one orientation at each of four neighbouring C1 cells, and answers
    most when all of them are 1; there is a unit for every combination, 256 with 4 orientations
    (Riesenhuber & Poggio 1999).
    """
    choices = list(itertools.product(range(orientations), repeat=4))
    inputs = torch.nn.functional.one_hot(torch.tensor(choices), orientations)
    afferents = inputs.transpose(1, 2).reshape(-1, orientations, 2, 2).float()
    return Prototypes(
        {2: afferents.clone()},
        numbered({2: afferents}),
        {"method": "all combinations of orientations"},
        {2: afferents},
    )
