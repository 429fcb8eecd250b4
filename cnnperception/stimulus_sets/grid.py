"""The pictures of a set: each exemplar with every control, model, layer set and seed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..models.interface import VisionModel, resolve_layers
from .settings import ORIGINAL

TEXTURE = "texture"


@dataclass(frozen=True)
class Item:
    """One picture of a set: everything that decides what it looks like.

    Attributes
    ----------
    file : str
    condition : str
        What it is, whatever its exemplar and seed: the kind, or MODEL/LAYER_SET of a texture.
    kind : str
        "texture", "exemplar" or the name of a baseline.
    exemplar : str
    model, layer_set : str
        Empty unless it is a texture.
    layers : tuple of str
    seed : int
    """

    file: str
    condition: str
    kind: str
    exemplar: str
    model: str
    layer_set: str
    layers: tuple[str, ...]
    seed: int


def items_of(
    settings: Mapping[str, Any], exemplars: Sequence[str], models: Mapping[str, VisionModel]
) -> Iterator[Item]:
    """Yield the pictures, exemplar by exemplar."""
    for exemplar in exemplars:
        for kind in settings["baselines"]:
            seeds = [0] if kind == ORIGINAL else settings["seeds"]
            for seed in seeds:
                parts = [exemplar, kind] + ([] if kind == ORIGINAL else [str(seed)])
                yield Item(_file(parts), kind, kind, exemplar, "", "", (), seed)
        for entry in settings["models"]:
            name = entry["name"]
            own = models[name].recommended.get("texture", ())
            sets = entry.get("layers", {"default": list(own)})
            for (layer_set, layers), seed in itertools.product(sets.items(), settings["seeds"]):
                resolved = tuple(resolve_layers(models[name], layers))
                file = _file([exemplar, name, layer_set, str(seed)])
                condition = f"{name}/{layer_set}"
                yield Item(file, condition, TEXTURE, exemplar, name, layer_set, resolved, seed)


def _file(parts: Sequence[str]) -> str:
    return "_".join(part.replace("/", "-").replace(":", "-") for part in parts) + ".png"


def check_files(items: Sequence[Item]) -> None:
    """Raise ValueError when two pictures would have the same file."""
    found: dict[str, Item] = {}
    for item in items:
        other = found.setdefault(item.file, item)
        if other is not item:
            raise ValueError(
                f"{_told(other)} and {_told(item)} would both be {item.file}: give the layer "
                "sets or exemplars other names, and each seed and baseline once"
            )


def _told(item: Item) -> str:
    return f"{item.condition!r} of exemplar {item.exemplar!r}, seed {item.seed},"


def batches_of(items: Sequence[Item], size: int) -> list[list[Item]]:
    """Return the pictures in groups that are made together.

    Textures of the same model and layers, up to `size` of them; others one by one. The groups are
    the same whatever pictures are there already, so that an interrupted set ends up as one made
    at a stretch.
    """
    alike: dict[tuple[str, ...], list[Item]] = {}
    for item in items:
        key = (item.model, item.layer_set) if item.kind == TEXTURE else (item.file,)
        alike.setdefault(key, []).append(item)
    return [
        group[start : start + size]
        for group in alike.values()
        for start in range(0, len(group), size)
    ]
