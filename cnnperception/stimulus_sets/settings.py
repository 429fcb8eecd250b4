"""The short file that describes a stimulus set: what may be in it, and what it stands for."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import images, stimuli
from ..files import sha256
from ..models import load_model
from ..models.interface import VisionModel
from ..synthesis import colour
from ..synthesis.baselines import BASELINES, pyramid_scales

ORIGINAL = "exemplar"
NEEDS_A_PACKAGE = "portilla-simoncelli"
PLACES = ("grid", "random")
LEVEL = (int, float, str)  # of luminance or contrast
# key: what it may be
KEYS: dict[str, type | tuple[type, ...]] = {
    "exemplars": list,
    "size": int,
    "grey": bool,
    "seeds": list,
    "models": list,
    "baselines": list,
    "statistic": str,
    "evaluations": int,
    "batch": int,
    "luminance": LEVEL,
    "contrast": LEVEL,
    "crops": Mapping,
    "trials": Mapping,
}
CROP_KEYS: dict[str, type | tuple[type, ...]] = {
    "size": int,
    "per_image": int,
    "places": str,
    "seed": int,
    "luminance": LEVEL,
    "contrast": LEVEL,
}
TRIAL_KEYS: dict[str, type | tuple[type, ...]] = {"standard": str, "repeats": int, "seed": int}
MODEL_KEYS = ("name", "layers", "options")
POSITIVE = ("size", "evaluations", "batch", "per_image", "repeats")


@dataclass(frozen=True)
class Exemplar:
    """A picture that others are made from.

    Attributes
    ----------
    file : Path
    sha256 : str
        Of the file.
    image : Tensor, shape (1, 3, size, size)
    """

    file: Path
    sha256: str
    image: Tensor


def read_settings(
    config: str | os.PathLike[str] | Mapping[str, Any],
) -> tuple[dict[str, Any], Path]:
    """Return all settings, checked, and the folder that files are named from.

    Raises
    ------
    ValueError
        For a key or value that is not known.
    FileNotFoundError
        When the file is not there.
    """
    given, beside = _given(config)
    settings: dict[str, Any] = {
        "exemplars": [],
        "size": 256,
        "grey": False,
        "seeds": [0],
        "models": [{"name": "random-filters"}],
        "baselines": [],
        "statistic": "whitened-gram",
        "evaluations": 400,
        "batch": None,
        "luminance": None,
        "contrast": None,
        "crops": None,
        "trials": None,
    }
    settings |= _checked(given, KEYS)
    if not settings["exemplars"]:
        raise ValueError("name one exemplar or more: exemplars = [...]")
    for key in ("exemplars", "baselines"):
        wrong = [name for name in settings[key] if not isinstance(name, str)]
        if wrong:
            raise ValueError(f"{key} are names between quotes; got {wrong[0]!r}")
    for number, entry in enumerate(settings["models"], 1):
        _check_model(entry, f"models, number {number}")
    if NEEDS_A_PACKAGE in settings["baselines"]:
        pyramid_scales(settings["size"], settings["size"])  # told now, not after hours
    if not all(isinstance(seed, int) for seed in settings["seeds"]) or not settings["seeds"]:
        raise ValueError(f"seeds must be whole numbers; got {settings['seeds']}")
    known = (ORIGINAL, *BASELINES)
    for name in settings["baselines"]:
        if name not in known:
            raise ValueError(f"no baseline is called {name!r}; there are {', '.join(known)}")
    if settings["crops"] is not None:
        settings["crops"] = _crop_settings(settings["crops"])
    if settings["trials"] is not None:
        settings["trials"] = _trial_settings(settings["trials"], settings["crops"])
    return settings, beside


def _check_model(entry: Any, where: str) -> None:
    """Raise ValueError unless a model is a table of a name, options and layer sets."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise ValueError(
            f'{where}: a model is a table with a name, like {{ name = "hmax" }}; got {entry!r}'
        )
    unknown = [key for key in entry if key not in MODEL_KEYS]
    if unknown:
        raise ValueError(f"{where}: a model has {', '.join(MODEL_KEYS)}; got {', '.join(unknown)}")
    layers, options = entry.get("layers", {}), entry.get("options", {})
    if not isinstance(options, Mapping):
        raise ValueError(f"{where}: options are a table, like {{ seed = 1 }}; got {options!r}")
    own = [key for key in ("name", "device") if key in options]
    if own:
        raise ValueError(f"{where}: {own[0]} is not one of a model's options; leave it out there")
    if not isinstance(layers, Mapping) or not all(map(_are_layers, layers.values())):
        raise ValueError(
            f'{where}: layers are sets by name, like {{ fine = ["scale1"] }}; got {layers!r}'
        )


def _are_layers(some: Any) -> bool:
    """Return whether these are names of layers: text, or a list of it."""
    names = [some] if isinstance(some, str) else some
    return isinstance(names, Sequence) and all(isinstance(name, str) for name in names)


def _given(config: str | os.PathLike[str] | Mapping[str, Any]) -> tuple[dict[str, Any], Path]:
    if isinstance(config, Mapping):
        return dict(config), Path()
    path = Path(config)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")), path.parent
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not a TOML file: {error}") from error


def _checked(
    given: Mapping[str, Any], keys: Mapping[str, type | tuple[type, ...]], where: str = ""
) -> dict[str, Any]:
    """Return what was given, each key known and its value of the right kind."""
    for name, value in given.items():
        if name not in keys:
            raise ValueError(f"unknown key {where + name!r}; there are {', '.join(keys)}")
        wrong = isinstance(value, bool) and keys[name] is not bool
        wrong |= name in POSITIVE and isinstance(value, int) and value < 1
        if wrong or not isinstance(value, keys[name]):
            raise ValueError(f"{where}{name} must not be {value!r}")
        if keys[name] is LEVEL and isinstance(value, str) and value != ORIGINAL:
            raise ValueError(f"{where}{name} must be a number or {ORIGINAL!r}; got {value!r}")
    return dict(given)


def _crop_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    usual = {"per_image": 4, "places": "grid", "seed": 0, "luminance": None, "contrast": None}
    crops = usual | _checked(given, CROP_KEYS, "crops.")
    if "size" not in crops:
        raise ValueError("crops need a size in pixels: size = ... under [crops]")
    if crops["places"] not in PLACES:
        raise ValueError(f"crops.places must be {' or '.join(PLACES)}; got {crops['places']!r}")
    return crops


def _trial_settings(given: Mapping[str, Any], crops: Mapping[str, Any] | None) -> dict[str, Any]:
    if crops is None or crops["per_image"] < 3:
        raise ValueError(
            "a trial shows crops of three different places: add [crops] with per_image = 3 or more"
        )
    return {"standard": ORIGINAL, "repeats": 3, "seed": 0} | _checked(given, TRIAL_KEYS, "trials.")


# ---- what the settings stand for ----


def find_exemplars(settings: Mapping[str, Any], beside: Path) -> dict[str, Exemplar]:
    """Return exemplars by name: each the middle of a picture, grey if all are to be.

    Raises
    ------
    FileNotFoundError
        When there is none of a name.
    ValueError
        When two have the same name.
    """
    found: dict[str, Exemplar] = {}
    for name, path in _exemplar_files(settings["exemplars"], beside):
        if name in found:
            raise ValueError(f"two exemplars are called {name!r}: rename one")
        image = _square(images.read(path), settings["size"])
        image = colour.grey(image) if settings["grey"] else image
        found[name] = Exemplar(path, sha256(path), image)
    return found


def _exemplar_files(names: list[str], beside: Path) -> Iterator[tuple[str, Path]]:
    for name in names:
        if name in stimuli.list_exemplars():
            yield name, Path(str(stimuli.builtin_exemplars([name]).sources[0]))
            continue
        paths = sorted(beside.glob(name)) if not Path(name).is_absolute() else [Path(name)]
        paths = [path for path in paths if images.is_image(path)]
        if not paths:
            raise FileNotFoundError(
                f"{name!r} is neither a built-in exemplar nor a picture in {beside.resolve()}"
            )
        yield from ((path.stem, path) for path in paths)


def _square(image: Tensor, size: int) -> Tensor:
    """Return the middle of an image, as large as can be, at a size."""
    side = min(image.shape[-2:])
    top, left = ((length - side) // 2 for length in image.shape[-2:])
    return images.resize(image[..., top : top + side, left : left + side], size)


def load_models(settings: Mapping[str, Any], device: str | torch.device) -> dict[str, VisionModel]:
    """Return the models by name.

    Raises
    ------
    ValueError
        For a model that is there twice, or options that do not suit it.
    ImportError
        When a model or a baseline needs a package that is not installed.
    """
    if NEEDS_A_PACKAGE in settings["baselines"]:
        load_model(NEEDS_A_PACKAGE)  # told now, not after hours
    models: dict[str, VisionModel] = {}
    for entry in settings["models"]:
        name = entry["name"]
        if name in models:
            raise ValueError(f"model {name!r} is there twice: put its layer sets together")
        options = entry.get("options", {})
        try:
            models[name] = load_model(name, device=device, **options)
        except TypeError as error:  # of a value that is of another kind
            raise ValueError(f"options of {name}, {options!r}, do not suit it: {error}") from error
    return models
