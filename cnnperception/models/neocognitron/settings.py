"""The options of a neocognitron, and its training labels, checked where they enter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .forms import FORMS

LEARNING = ("add-if-silent", "seed-competition")


def complete_settings(
    given: Mapping[str, Any], learnt: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return all options as plain values: those given, else as learnt with, else the form's.

    Parameters
    ----------
    given : mapping
        `form`, `learning`, `thresholds`, `learning_thresholds` and `max_planes`; None where
        nothing is asked for.
    learnt : mapping or None
        The options that the weights were learnt with, if there are any.

    Raises
    ------
    ValueError
        For an unknown form or way of learning, a form that is not the weights', thresholds that
        are not four between 0 and 1, or too few planes.
    """
    asked = {name: value for name, value in given.items() if value is not None}
    if learnt is not None and asked.get("form", learnt["form"]) != learnt["form"]:
        raise ValueError(
            f"these weights were learnt with the cells of {learnt['form']}; for form="
            f"{asked['form']!r} start with weights=None and call fit"
        )
    form = asked.get("form", "2003")
    _check_choice("form", form, tuple(FORMS))
    settings = {
        "form": form,
        "learning": "add-if-silent",
        "thresholds": FORMS[form].thresholds,
        "learning_thresholds": FORMS[form].learning_thresholds,
        "max_planes": 1000,
    }
    settings |= {**(learnt or {}), **asked}
    _check_choice("learning", settings["learning"], LEARNING)
    for name in ("thresholds", "learning_thresholds"):
        settings[name] = _four_fractions(name, settings[name])
    if settings["max_planes"] < 1:
        raise ValueError(f"max_planes must be at least 1; got {settings['max_planes']}")
    return settings


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")


def _four_fractions(name: str, thresholds: Sequence[float]) -> list[float]:
    values = [float(value) for value in thresholds]
    if len(values) != 4 or not all(0 < value < 1 for value in values):
        raise ValueError(f"{name} must be four numbers between 0 and 1, one a stage; got {values}")
    return values


def checked_labels(labels: ArrayLike | Tensor, images: int) -> tuple[Tensor, Tensor]:
    """Return the classes that occur, sorted, and for each image the number of its class.

    Raises
    ------
    ValueError
        When the labels are not whole numbers from 0, one an image, of two classes or more.
    """
    values = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    if values.shape != (images,):
        raise ValueError(f"{images} images need as many labels; got the shape {values.shape}")
    if not np.issubdtype(values.dtype, np.integer) or values.min(initial=0) < 0:
        raise ValueError(
            "labels must be whole numbers from 0; number your classes, as with "
            f"np.unique(names, return_inverse=True)[1] (got {values.dtype})"
        )
    classes, targets = np.unique(values, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"labels must hold at least 2 classes; got {len(classes)}")
    return torch.from_numpy(classes.astype(np.int64)), torch.from_numpy(targets)
