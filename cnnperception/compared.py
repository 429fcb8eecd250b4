"""What is compared: models and stored activations, told apart by name, with layers and stimuli."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from .models.interface import Layered, VisionModel, resolve_layers
from .stimuli import StimulusSet
from .stored_activations import open_store


@dataclass(frozen=True)
class Stored:
    """Activations of a model in a store of `extract`.

    Attributes
    ----------
    path : Path
    activations : DataTree
    """

    path: Path
    activations: xr.DataTree

    @classmethod
    def opened(cls, path: Path) -> Stored:
        """Open a store; as `open_store`."""
        return cls(path, open_store(path))

    @property
    def name(self) -> str:
        """The name of the model."""
        return model_name(self.activations)

    @property
    def layers(self) -> list[str]:
        """The layers that are stored, from the input upwards."""
        return [node.path.strip("/") for node in self.activations.leaves]

    @property
    def stimuli(self) -> list[str]:
        """The ids of the stimuli, in order."""
        first = next(iter(self.activations.leaves))
        return [str(name) for name in first["stimulus"].to_numpy()]


def model_name(activations: xr.DataTree) -> str:
    """Return the name of the model whose activations these are."""
    return str(json.loads(activations.attrs["provenance"])["model"]["name"])


# ---- names ----


def distinct(candidates: Sequence[Sequence[str]]) -> list[str]:
    """Return a name for each thing, no two the same.

    Parameters
    ----------
    candidates : sequence of sequence of str
        The names that each thing can have, the preferred one first. Things of the same name take
        their next one; those that run out of names are numbered: x, x (2), x (3).
    """
    chosen = [names[0] for names in candidates]
    for level in range(1, max(map(len, candidates), default=0)):
        count = Counter(chosen)
        chosen = [
            names[level] if count[name] > 1 and level < len(names) else name
            for name, names in zip(chosen, candidates, strict=True)
        ]
    found: list[str] = []
    for name in chosen:
        number, numbered = 1, name
        while numbered in found or (number > 1 and numbered in chosen):
            number += 1
            numbered = f"{name} ({number})"
        found.append(numbered)
    return found


def names_of(models: Sequence[VisionModel], stores: Sequence[Stored]) -> list[str]:
    """Return a name for each of the models, then the stores, no two the same.

    A store whose model's name is another's too is told apart by the name of its file: "hmax (b)".
    """
    named = [(model.name,) for model in models]
    return distinct([*named, *(_store_names(store) for store in stores)])


def _store_names(store: Stored) -> tuple[str, str, str]:
    path = store.path.absolute()
    return (
        store.name,
        f"{store.name} ({path.stem})",
        f"{store.name} ({path.parent.name}/{path.stem})",
    )


def file_names(names: Sequence[str]) -> list[str]:
    """Return names that files can have, no two the same: no blanks, slashes or brackets."""
    plain = [re.sub(r"[^\w.+-]+", "_", name.replace("/", "-")).strip("_") for name in names]
    return distinct([(name,) for name in plain])


# ---- layers and stimuli ----


def layers_of(
    one: Layered, layers: str | Iterable[str] | None, compared: Sequence[Layered]
) -> list[str] | None:
    """Return the layers of a model or store that names and patterns stand for; None when all.

    A store that has none of them was made with the layers that it is to be compared by: all.

    Parameters
    ----------
    one : VisionModel or Stored
    layers : str or iterable of str, optional
        Names, groups or patterns.
    compared : sequence of VisionModel or Stored
        All of them: a name needs to be one of theirs only.

    Raises
    ------
    ValueError
        For a name that is in none of those compared, or when none of the names is in this model.
    """
    if layers is None:
        return None
    wanted = [layers] if isinstance(layers, str) else list(layers)
    owned = [name for name in wanted if _has(one, name)]
    for name in wanted:
        if not any(_has(other, name) for other in compared):
            resolve_layers(one, name)  # raises, with the layers that there are
    if wanted and not owned and isinstance(one, Stored):
        return None
    if wanted and not owned:
        raise ValueError(f"none of the layers {', '.join(wanted)} is in {one.name}")
    return list(resolve_layers(one, owned))


def _has(one: Layered, name: str) -> bool:
    try:
        return bool(resolve_layers(one, name))
    except ValueError:
        return False


def check_stimuli(store: Stored, stimuli: StimulusSet) -> None:
    """Raise ValueError, with their ids, when a store is of stimuli that are not in the set."""
    present = set(stimuli.ids)
    lost = [name for name in store.stimuli if name not in present]
    if lost:
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
        raise ValueError(
            f"{store.path} holds stimuli that are not among those given: "
            f"{', '.join(map(repr, lost[:3]))}{more}; give the pictures it was extracted from"
        )


def in_order(stimuli: StimulusSet, ids: Sequence[str]) -> StimulusSet:
    """Return the stimuli of these ids, in their order."""
    place = {name: index for index, name in enumerate(stimuli.ids)}
    return stimuli[[place[name] for name in ids]]
