"""Whole stimulus sets from a short file: a grid of textures and their controls, and a table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from .. import figures, images, runtime
from ..files import atomic_path, remove_leftovers, sha256
from .crops import FOLDER, check_crops, crops_of, oddity_trials
from .grid import Item, batches_of, check_files, items_of
from .pictures import Plan, checkpoint_of, make, row_of
from .settings import find_exemplars, load_models, read_settings

TABLE, CROP_TABLE, TRIAL_TABLE, SHEET = "stimuli.csv", "crops.csv", "trials.csv", "contact_sheet"
WIDEST = 12  # pictures in a row of the contact sheet
THUMBNAIL = 256  # pixels of a picture in it
# Columns of the table that come first, and last; the losses of layers lie between.
FIRST = [
    *("file", "condition", "kind", "exemplar", "exemplar_sha256"),
    *("model", "model_options", "model_sha256", "layer_set", "layers", "statistic", "seed"),
    *("height", "width", "grey", "evaluations", "batch", "precision", "converged", "loss"),
]
LAST = [
    *("target_luminance", "target_contrast", "mean_luminance", "rms_contrast"),
    *("clipped", "largest_clip", "version", "sha256"),
]
PIXELS = 2**20  # of a batch on a GPU: 16 pictures of 256 x 256


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
        pictures in pixels. grey: luminance alone. seeds. models: tables with name, options
        (arguments of the model) and layers, a table of layer sets: name to list of layers; the
        model's own texture layers when left out. baselines: "exemplar", "phase-randomised",
        "pixel-shuffled", "portilla-simoncelli" (grey, as its statistics are). statistic and
        evaluations, as for `texture`. luminance and contrast: a number for all pictures,
        "exemplar" for that of each one's exemplar, or left out. batch: textures of a model and
        layer set that are made at once; when left out 1 on a processor, where more are not
        faster and a texture comes out to the bit as from `texture`, and about a million pixels
        on a GPU.

        crops: a table with size in pixels, per_image, places ("grid" or "random"), seed, and
        luminance and contrast of each crop. trials: a table with standard (a condition:
        "exemplar"), repeats and seed, for an oddity task; see `oddity_trials`.
    output : path-like
        Folder for the pictures (PNG), `stimuli.csv` and `contact_sheet.png`; `crops/`,
        `crops.csv` and `trials.csv` where they are asked for.
    device : str or torch.device
    progress : bool

    Returns
    -------
    DataFrame
        A row a picture: file, condition, kind, exemplar, exemplar_sha256 (of its file), model,
        model_options, model_sha256, layer_set, layers, statistic, seed, height, width, grey;
        of what is synthesised evaluations (as done), batch, precision, converged (as `verdict`
        says of textures, before luminance and contrast are changed), loss (the mean over layers)
        and loss_LAYER; target_luminance and target_contrast, mean_luminance and rms_contrast as
        written, clipped (the share of values) and largest_clip (how far the farthest value was
        outside [0, 1]); version of this package, and sha256 of the file.

    Raises
    ------
    ValueError
        For a key or value that is not known, two pictures that would have the same file, or a
        folder that holds pictures made with other settings or changed since under the same
        names, or tables of crops or trials that this set does not have.
    FileNotFoundError
        For an exemplar that is not there.
    ImportError
        For the baseline "portilla-simoncelli" without plenoptic.
    KeyboardInterrupt
        When interrupted; what is made so far stays, and the same call goes on.
    """
    settings, beside = read_settings(config)
    folder = Path(output)
    _check_tables(folder, settings)
    folder.mkdir(parents=True, exist_ok=True)
    exemplars = find_exemplars(settings, beside)
    plan = Plan(settings, exemplars, load_models(settings, device), folder)
    items = list(items_of(settings, list(exemplars), plan.models))
    if not items:
        raise ValueError("there is nothing to make: name a model or a baseline")
    check_files(items)
    check_crops(settings, {item.condition for item in items})
    batches = batches_of(items, settings["batch"] or _usual_batch(settings["size"], device))
    rows = {item.file: row_of(folder / item.file, plan.key(item)) for item in items}
    for batch in runtime.progress(batches, "stimuli", show=progress):
        missing = [item for item in batch if rows[item.file] is None]
        if missing:
            rows |= make(plan, batch, missing)
    table = _table(folder, rows)
    _write(table, folder / TABLE)
    names = list(rows)
    if settings["crops"] is not None:
        crops = crops_of(plan, table, progress)
        _write(crops, folder / CROP_TABLE)
        names += crops["file"].tolist()
        if settings["trials"] is not None:
            _write(oddity_trials(crops, settings["trials"]), folder / TRIAL_TABLE)
    # A row an exemplar, where that is not too wide.
    each = len(items) // len(exemplars)
    _draw(table, folder, settings["size"], each if 3 <= each <= WIDEST else None)
    _tidy(folder, names, batches, plan)
    return table


def _check_tables(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raise ValueError for tables of an earlier run that this set has no more.

    They would be of other pictures than the rest, and may hold what somebody added: not removed.
    """
    for key, name in (("crops", CROP_TABLE), ("trials", TRIAL_TABLE)):
        if settings[key] is None and (folder / name).exists():
            raise ValueError(
                f"{folder / name} is there, and this set has no {key}: add [{key}] again, move "
                "the table away, or give another folder"
            )


def _usual_batch(size: int, device: str | torch.device) -> int:
    on_gpu = runtime.choose_device(device).type == "cuda"
    return max(1, PIXELS // size**2) if on_gpu else 1


def _table(folder: Path, rows: Mapping[str, Mapping[str, Any] | None]) -> pd.DataFrame:
    table = pd.DataFrame([row for row in rows.values() if row is not None])
    table["sha256"] = [sha256(folder / file) for file in table["file"]]
    losses = [name for name in table.columns if str(name).startswith("loss_")]
    return table.reindex(columns=[*FIRST, *losses, *LAST])


def _write(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def _draw(table: pd.DataFrame, folder: Path, size: int, columns: int | None) -> None:
    side = min(size, THUMBNAIL)
    pictures = [images.read(folder / file, side)[0] for file in table["file"]]
    labels = [Path(file).stem for file in table["file"]]
    figures.save(figures.contact_sheet(pictures, labels, columns), folder / SHEET)


def _tidy(
    folder: Path, files: Sequence[str], batches: Sequence[Sequence[Item]], plan: Plan
) -> None:
    """Remove what runs that were killed left behind: nothing of it is needed any more."""
    checkpoints = [checkpoint_of(plan, batch).name for batch in batches]
    tables = [TABLE, CROP_TABLE, TRIAL_TABLE, f"{SHEET}.png", f"{SHEET}.pdf"]
    names = [*files, *(f"{file}.json" for file in files), *checkpoints, *tables]
    remove_leftovers(folder, set(names))
    if (folder / FOLDER).exists():
        remove_leftovers(folder / FOLDER, {Path(name).name for name in names})
    for path in folder.glob("*.checkpoint"):
        # Also of batches of another size.
        if path.name.rsplit(".", 2)[0] in files:
            path.unlink()
