"""What a neocognitron has learnt, to a file and back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...files import atomic_path
from .stage import SimpleCells

FORMAT = "neocognitron 1"


@dataclass(frozen=True, eq=False)
class Learnt:
    """The contents of a file.

    Attributes
    ----------
    stored, summed : list of Tensor
        Of the S-cells of US2, US3 and US4, as in `SimpleCells`.
    owners : Tensor, shape (plane,)
        For each plane of US4 the number of its class.
    classes : Tensor, shape (class,)
        The labels of the classes.
    settings : dict
        The model's options.
    training : dict
        What it was trained on, with which seed.
    """

    stored: list[Tensor]
    summed: list[Tensor]
    owners: Tensor
    classes: Tensor
    settings: dict[str, Any]
    training: dict[str, Any]


def write(
    path: str | os.PathLike[str],
    stages: Sequence[SimpleCells],
    owners: Tensor,
    classes: Tensor,
    settings: Mapping[str, Any],
    training: Mapping[str, Any],
) -> None:
    """Write a safetensors file, atomically; features in half precision, the disc alone."""
    tensors = {"owners": owners, "classes": classes}
    for number, cells in enumerate(stages, start=2):
        tensors[f"us{number}/stored"] = cells.stored[..., cells.window > 0].half()
        tensors[f"us{number}/summed"] = cells.summed
    metadata = {
        "format": FORMAT,
        "settings": json.dumps(settings, sort_keys=True),
        "training": json.dumps(training, sort_keys=True),
    }
    with atomic_path(path) as temporary:
        save_file({k: v.cpu().contiguous() for k, v in tensors.items()}, temporary, metadata)


def read(path: str | os.PathLike[str], windows: Sequence[Tensor]) -> Learnt:
    """Read what `write` wrote.

    Parameters
    ----------
    path : path-like
    windows : sequence of Tensor
        c(nu) of US2, US3 and US4: which cells of a square are in the disc.

    Raises
    ------
    ValueError
        When the file is not a neocognitron's.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file ({error})") from error
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} does not hold a neocognitron; it should be a file that Neocognitron.save wrote"
        )
    return Learnt(
        [
            _onto_square(tensors[f"us{number}/stored"].float(), window > 0)
            for number, window in enumerate(windows, start=2)
        ],
        [tensors[f"us{number}/summed"] for number, _ in enumerate(windows, start=2)],
        tensors["owners"],
        tensors["classes"],
        json.loads(metadata["settings"]),
        json.loads(metadata["training"]),
    )


def _onto_square(cells: Tensor, disc: Tensor) -> Tensor:
    square = torch.zeros(*cells.shape[:-1], *disc.shape)
    square[..., disc] = cells
    return square
