"""Whole stimulus sets from a short file: a grid of textures and their controls, and a table."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from . import figures, images, runtime, stimuli
from .files import atomic_path, sha256
from .models import load_model
from .models.interface import VisionModel, fingerprint, resolve_layers
from .synthesis import texture
from .synthesis.baselines import BASELINES, with_luminance

TABLE, SHEET = "stimuli.csv", "contact_sheet"
ORIGINAL = "exemplar"
WIDEST = 12  # pictures in a row of the contact sheet
# key: what it may be
KEYS: dict[str, type | tuple[type, ...]] = {
    "exemplars": list,
    "size": int,
    "seeds": list,
    "models": list,
    "baselines": list,
    "statistic": str,
    "evaluations": int,
    "luminance": (int, float, str),
    "contrast": (int, float, str),
}
MODEL_KEYS = ("name", "layers", "options")


@dataclass(frozen=True)
class Item:
    """One picture of a set: everything that decides what it looks like.

    Attributes
    ----------
    file : str
    kind : str
        "texture", "exemplar" or the name of a baseline.
    exemplar : str
    model, layer_set : str
        Empty unless it is a texture.
    layers : tuple of str
    seed : int
    """

    file: str
    kind: str
    exemplar: str
    model: str
    layer_set: str
    layers: tuple[str, ...]
    seed: int


def make_stimulus_set(
    config: str | os.PathLike[str] | Mapping[str, Any],
    output: str | os.PathLike[str],
    *,
    device: str | torch.device = "auto",
    progress: bool = False,
) -> pd.DataFrame:
    """Make every picture of a grid that is not there yet, a table of all, and a contact sheet.

    Pictures are written whole or not at all, each with its settings inside; a run that was killed
    goes on where it stopped.

    Parameters
    ----------
    config : path-like of a TOML file, or mapping
        exemplars: built-in names, or files and patterns beside the TOML file. size: side of all
        pictures in pixels. seeds. models: tables with name, options (arguments of the model) and
        layers, a table of layer sets: name to list of layers; the model's own texture layers when
        left out. baselines: "exemplar", "phase-randomised", "pixel-shuffled". statistic and
        evaluations, as for `texture`. luminance and contrast: a number for all pictures,
        "exemplar" for that of each one's exemplar, or left out.
    output : path-like
        Folder for the pictures (PNG), `stimuli.csv` and `contact_sheet.png`.
    device : str or torch.device
    progress : bool

    Returns
    -------
    DataFrame
        A row a picture: file, kind, exemplar, model, layer_set, layers, seed, height, width,
        mean_luminance and rms_contrast as written, clipped (the share of values), loss (the mean
        over layers) and loss_LAYER of textures, sha256 of the file.

    Raises
    ------
    ValueError
        For a key or value that is not known, or a folder that holds pictures made with other
        settings under the same names.
    FileNotFoundError
        For an exemplar that is not there.
    KeyboardInterrupt
        When interrupted; what is made so far stays, and the same call goes on.
    """
    settings, beside = _read(config)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    sources = _exemplars(settings, beside)
    models = {name: load_model(name, device=device, **o) for name, o in _models(settings)}
    items = list(_items(settings, list(sources), models))
    rows = []
    for item in runtime.progress(items, "stimuli", show=progress):
        model = models.get(item.model)
        key = _key(item, settings, sources[item.exemplar], model)
        path = folder / item.file
        row = _made(path, key)
        if row is None:
            row = _make(item, settings, sources[item.exemplar], model, path, key)
        rows.append({**row, "sha256": sha256(path)})
    table = pd.DataFrame(rows)
    with atomic_path(folder / TABLE) as temporary:
        table.to_csv(temporary, index=False)
    pictures = [images.read(folder / file)[0] for file in table["file"]]
    labels = [Path(file).stem for file in table["file"]]
    # A row an exemplar, where that is not too wide.
    each = len(items) // len(sources)
    columns = each if 3 <= each <= WIDEST else None
    figures.save(figures.contact_sheet(pictures, labels, columns), folder / SHEET)
    return table


def _make(
    item: Item,
    settings: Mapping[str, Any],
    source: Tensor,
    model: VisionModel | None,
    path: Path,
    key: str,
) -> dict[str, Any]:
    """Make and write one picture; return its row but for the hash."""
    losses: dict[str, float] = {}
    if item.kind == ORIGINAL:
        picture = source
    elif item.kind in BASELINES:
        picture = BASELINES[item.kind](source, item.seed)
    else:
        result = texture(
            source,
            model=model,
            layers=item.layers,
            statistic=settings["statistic"],
            seed=item.seed,
            evaluations=settings["evaluations"],
            checkpoint=path.with_name(f"{path.name}.checkpoint"),
        )
        if not result.finished:
            raise KeyboardInterrupt
        picture = result.images
        found = result.final_losses()
        by_layer = {
            str(name).removeprefix("texture/"): float(value)
            for name, value in found.items()
            if str(name).startswith("texture/")
        }
        losses = {"loss": sum(by_layer.values()) / len(by_layer)}
        losses |= {f"loss_{layer}": value for layer, value in by_layer.items()}
    wanted = [_target(settings, name, source) for name in ("luminance", "contrast")]
    picture, clipped = with_luminance(picture.cpu(), *wanted)
    shown = images.luminance((picture * 255).round() / 255)  # as written
    row = {
        **asdict(item),
        "layers": " ".join(item.layers),
        "height": picture.shape[-2],
        "width": picture.shape[-1],
        "mean_luminance": round(float(shown.mean()), 6),
        "rms_contrast": round(float(shown.std(correction=0)), 6),
        "clipped": round(clipped, 6),
        **losses,
    }
    provenance = {
        "key": key,
        "row": row,
        "settings": dict(settings),
        "versions": runtime.versions(),
    }
    if model is not None:
        provenance["model"] = {**model.provenance, "sha256": fingerprint(model)}
    images.write(path, picture, provenance)
    return row


def _target(settings: Mapping[str, Any], name: str, source: Tensor) -> float | None:
    value = settings[name]
    if value != ORIGINAL:
        return None if value is None else float(value)
    of_source = images.luminance(source)
    found = of_source.mean() if name == "luminance" else of_source.std(correction=0)
    return float(found)


def _made(path: Path, key: str) -> dict[str, Any] | None:
    """Return the row of a picture that is there, None where there is none.

    Raises
    ------
    ValueError
        When it was made with other settings, or is something else.
    """
    if not path.exists():
        return None
    provenance = images.read_provenance(path)
    if provenance.get("key") != key:
        raise ValueError(
            f"{path} is there, and made with other settings: give another folder, or delete it"
        )
    row: dict[str, Any] = provenance["row"]
    return row


def _key(item: Item, settings: Mapping[str, Any], source: Tensor, model: VisionModel | None) -> str:
    """Return a hash of all that the picture depends on."""
    pixels = hashlib.sha256(source.cpu().numpy().tobytes()).hexdigest()
    names = ("size", "statistic", "evaluations", "luminance", "contrast")
    content = {
        "item": asdict(item),
        "settings": {name: settings[name] for name in names},
        "exemplar": pixels,
        "model": None if model is None else fingerprint(model),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


# ---- the file ----


def _read(config: str | os.PathLike[str] | Mapping[str, Any]) -> tuple[dict[str, Any], Path]:
    """Return all settings, checked, and the folder that files are named from."""
    if isinstance(config, Mapping):
        given, beside = dict(config), Path()
    else:
        path = Path(config)
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
        try:
            given = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path} is not a TOML file: {error}") from error
        beside = path.parent
    for name, value in given.items():
        if name not in KEYS:
            raise ValueError(f"unknown key {name!r}; there are {', '.join(KEYS)}")
        if not isinstance(value, KEYS[name]) or isinstance(value, bool):
            raise ValueError(f"{name} must not be {value!r}")
    settings: dict[str, Any] = {
        "exemplars": [],
        "size": 256,
        "seeds": [0],
        "models": [{"name": "random-filters"}],
        "baselines": [],
        "statistic": "whitened-gram",
        "evaluations": 400,
        "luminance": None,
        "contrast": None,
    }
    settings |= given
    if not settings["exemplars"]:
        raise ValueError("name one exemplar or more: exemplars = [...]")
    if not all(isinstance(seed, int) for seed in settings["seeds"]) or not settings["seeds"]:
        raise ValueError(f"seeds must be whole numbers; got {settings['seeds']}")
    known = (ORIGINAL, *BASELINES)
    for name in settings["baselines"]:
        if name not in known:
            raise ValueError(f"no baseline is called {name!r}; there are {', '.join(known)}")
    for name in ("luminance", "contrast"):
        if isinstance(settings[name], str) and settings[name] != ORIGINAL:
            raise ValueError(f"{name} must be a number or {ORIGINAL!r}; got {settings[name]!r}")
    return settings, beside


def _exemplars(settings: Mapping[str, Any], beside: Path) -> dict[str, Tensor]:
    """Return exemplars (1, 3, size, size) by name."""
    size = settings["size"]
    found: dict[str, Tensor] = {}
    for name in settings["exemplars"]:
        if name in stimuli.list_exemplars():
            found[name] = _square(stimuli.exemplar(name), size)
            continue
        paths = sorted(beside.glob(name)) if not Path(name).is_absolute() else [Path(name)]
        paths = [path for path in paths if images.is_image(path)]
        if not paths:
            raise FileNotFoundError(
                f"{name!r} is neither a built-in exemplar nor a picture in {beside.resolve()}"
            )
        for path in paths:
            if path.stem in found:
                raise ValueError(f"two exemplars are called {path.stem!r}: rename one")
            found[path.stem] = _square(images.read(path), size)
    return found


def _square(image: Tensor, size: int) -> Tensor:
    """Return the middle of an image, as large as can be, at a size."""
    side = min(image.shape[-2:])
    top, left = ((length - side) // 2 for length in image.shape[-2:])
    return images.resize(image[..., top : top + side, left : left + side], size)


def _models(settings: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    names = []
    for model in settings["models"]:
        unknown = [key for key in model if key not in MODEL_KEYS]
        if "name" not in model or unknown:
            raise ValueError(f"a model has {', '.join(MODEL_KEYS)}; got {', '.join(model)}")
        if model["name"] in names:
            raise ValueError(f"model {model['name']!r} is there twice: put its layer sets together")
        names.append(model["name"])
        yield model["name"], dict(model.get("options", {}))


def _items(
    settings: Mapping[str, Any], exemplars: Sequence[str], models: Mapping[str, VisionModel]
) -> Iterator[Item]:
    for exemplar in exemplars:
        for kind in settings["baselines"]:
            seeds = [0] if kind == ORIGINAL else settings["seeds"]
            for seed in seeds:
                parts = [exemplar, kind] + ([] if kind == ORIGINAL else [str(seed)])
                yield Item(_file(parts), kind, exemplar, "", "", (), seed)
        for entry in settings["models"]:
            name = entry["name"]
            own = models[name].recommended.get("texture", ())
            sets = entry.get("layers", {"default": list(own)})
            for (layer_set, layers), seed in itertools.product(sets.items(), settings["seeds"]):
                resolved = tuple(resolve_layers(models[name], layers))
                file = _file([exemplar, name, layer_set, str(seed)])
                yield Item(file, "texture", exemplar, name, layer_set, resolved, seed)


def _file(parts: Sequence[str]) -> str:
    return "_".join(part.replace("/", "-").replace(":", "-") for part in parts) + ".png"
