"""A preset with some of its settings replaced, and what is then no longer the preset."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ..models.interface import VisionModel
from .memory import HISTORY
from .presets import DEFAULT, PUBLISHED, named, of_that_size, pictures
from .procedure import Procedure, chosen_model, description, shown

# Fields that are no settings, or told otherwise.
APART = ("name", "task", "paper", "notes", "network", "pixels", "measured", "elsewhere")
OF_STYLE = (
    *("style_layers", "content_layers", "content_weight", "content_divisor", "start"),
    "approached",
)
OF_TEXTURES = ("layers", "spectrum", "spectrum_loss", "grey", "histogram", "reduction")
# What is meant where nothing is said.
USUAL = {
    "noise": "noise with the mean and covariance of the exemplar's colours",
    "optimiser": f"the engine's own L-BFGS ({HISTORY} pairs, backtracking)",
    "stages": "from coarse to fine",
}
# Settings that say nothing when they have these values.
IDLE = {
    "spectrum": 0.0,
    "grey": False,
    "histogram": False,
    "fitting_layers": False,
    "range_weight": 0.0,
    "multiple": 1,
    "reduction": "bicubic",
    "spectrum_loss": "bands",
    "approached": False,
}


def settled(task: str, preset: str | Procedure, **given: Any) -> Procedure:
    """Return a preset with what was given in place of its own.

    Parameters
    ----------
    task : {"texture", "style"}
    preset : str or Procedure
        A name, or a preset some of whose fields were replaced.
    **given
        Fields; None stands for not given.

    Raises
    ------
    ValueError
        For an unknown preset, or one of another task, and for no evaluations.
    """
    evaluations = given.get("evaluations")
    if evaluations is not None and evaluations < 1:
        raise ValueError(f"evaluations must be 1 or more; got {evaluations}")
    name = preset if isinstance(preset, str) else preset.name
    base = named(name, task) if isinstance(preset, str) else preset
    if base.task != task:
        named(name, task)  # raises
    return dataclasses.replace(base, **{k: v for k, v in given.items() if v is not None})


def suited(settings: Procedure, model: VisionModel | None) -> tuple[VisionModel, Procedure]:
    """Return the model, the given one or the preset's, and the settings that go with it."""
    chosen = chosen_model(settings, model)
    return chosen, settings.suited_to(chosen, _base(settings))


def _base(settings: Procedure) -> Procedure:
    """Return the preset that settings have the name of, or themselves."""
    known = settings.name in (DEFAULT, *PUBLISHED)
    return named(settings.name, settings.task) if known else settings


def record(
    settings: Procedure,
    model: VisionModel,
    size: tuple[int, int],
    **others: tuple[Any, Any],
) -> dict[str, Any]:
    """Return what provenance says of a preset: its name, and each difference from it in words.

    Settings of another name are told by their differences from the default.

    Parameters
    ----------
    settings : Procedure
        What is run.
    model : VisionModel
    size : (int, int)
        Height and width of the picture to be made.
    **others : (value, usual)
        Settings that no preset has, and what they usually are.
    """
    base = _base(settings)
    if base is settings:
        base = named(DEFAULT, settings.task)
    pairs = {field: (getattr(settings, field), getattr(base, field)) for field in _settings()}
    if base.network is not None:
        pairs["model"] = (description(model), base.network.described)
    if not of_that_size(base, size):
        pairs["pixels"] = (f"{size[0]} x {size[1]}", pictures(base))
    differences = [
        f"{name} {_said(name, value)} instead of {_said(name, usual)}"
        for name, (value, usual) in {**pairs, **others}.items()
        if _plain(value) != _plain(usual)
    ]
    return {"name": settings.name, "differences": differences}


def summary(preset: Mapping[str, Any]) -> str:
    """Return a record of a preset in one line."""
    differences = ", ".join(preset["differences"])
    return f"{preset['name']} {f'with {differences}' if differences else 'with nothing changed'}"


def numbers(preset: Procedure) -> dict[str, str]:
    """Return the settings of a preset in words: those that its task has, and that count."""
    said = {"model": preset.network.described if preset.network else "random-filters"}
    if preset.pixels is not None:
        said["pixels"] = pictures(preset)
    other_task = (*OF_STYLE, "style_size") if preset.task == "texture" else OF_TEXTURES
    for field in _settings():
        value = getattr(preset, field)
        told = field in USUAL if value is None else value != IDLE.get(field)
        if told and field not in other_task:
            said[field] = _said(field, value)
    return said


def _settings() -> list[str]:
    return [f.name for f in dataclasses.fields(Procedure) if f.name not in APART]


def _said(field: str, value: Any) -> str:
    return USUAL.get(field, "the model's own") if value is None else shown(value)


def _plain(value: Any) -> Any:
    """Return a value in which lists and tuples are alike."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_plain(part) for part in value)
    return value
