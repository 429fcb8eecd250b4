"""The whole of a running synthesis in one file, so that it can stop and go on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..files import atomic_path
from .solver import State

# (level, (height, width), names of the terms, losses (batch, term)) of one evaluation; the losses
# stay on the device until they are looked at, as fetching them would wait for it each time
Losses = tuple[int, tuple[int, int], tuple[str, ...], Tensor]


@dataclasses.dataclass
class Checkpoint:
    """Where a synthesis is: the stage, the search within it, and the losses until now.

    `anchor` holds the images, differences from which the search sees, where it does.
    """

    level: int
    state: State | None
    images: Tensor
    losses: list[Losses]
    anchor: Tensor | None = None


def save_checkpoint(path: Path, checkpoint: Checkpoint, provenance: dict[str, Any]) -> None:
    """Write a checkpoint atomically, with the identity of the synthesis it belongs to."""
    tensors = {"images": checkpoint.images}
    if checkpoint.anchor is not None:
        # Often the images themselves, and a file takes no tensor twice.
        tensors["anchor"] = checkpoint.anchor.clone()
    evaluations = 0
    if checkpoint.state is not None:
        fields = dataclasses.asdict(checkpoint.state)
        evaluations = fields.pop("evaluations")
        tensors |= {f"state.{name}": tensor for name, tensor in fields.items()}
    for index, (_, _, _, terms) in enumerate(checkpoint.losses):
        tensors[f"losses.{index}"] = terms
    described = [(level, size, names) for level, size, names, _ in checkpoint.losses]
    metadata = {
        "identity": _identity(provenance),
        "level": str(checkpoint.level),
        "evaluations": str(evaluations),
        "losses": json.dumps(described),
    }
    with atomic_path(path) as temporary:
        save_file(
            {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary, metadata
        )


def load_checkpoint(path: Path, provenance: dict[str, Any], device: torch.device) -> Checkpoint:
    """Read a checkpoint back.

    Raises
    ------
    ValueError
        When the file is not a checkpoint, or belongs to a synthesis with other settings.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            # A copy lies in memory as what a search makes itself: sums of numbers that lie
            # otherwise, as in a file, may be rounded otherwise.
            tensors = {key: file.get_tensor(key).to(device, copy=True) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is not a checkpoint of a synthesis; remove it") from error
    if metadata.get("identity") != _identity(provenance):
        raise ValueError(
            f"{path} belongs to a synthesis with other settings, images or weights; remove it to "
            "start anew, or give the settings it was started with"
        )
    fields = {
        name.removeprefix("state."): tensor
        for name, tensor in tensors.items()
        if name.startswith("state.")
    }
    state = State(**fields, evaluations=int(metadata["evaluations"])) if fields else None
    losses: list[Losses] = [
        (level, (size[0], size[1]), tuple(names), tensors[f"losses.{index}"].cpu())
        for index, (level, size, names) in enumerate(json.loads(metadata["losses"]))
    ]
    anchor = tensors.get("anchor")
    return Checkpoint(int(metadata["level"]), state, tensors["images"], losses, anchor)


def _identity(provenance: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(provenance, sort_keys=True, default=str).encode()).hexdigest()
