"""The whole path on built-in pictures: textures, a style transfer, and models compared."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from . import figures, images, recipes, runtime
from .models import VisionModel, load_model
from .report import Picture, Section, Table, write_report
from .stimuli import StimulusSet, exemplar
from .synthesis import SynthesisResult, stylize, texture

TEXTURES = {"gravel": 192, "brick": 192}
CONTENT, PAINTING = "chelsea", "ihc"
CROPPED = {
    "brick": "texture",
    "grass": "texture",
    "gravel": "texture",
    "hubble_deep_field": "scene",
    "ihc": "texture",
    "retina": "object",
    "coffee": "object",
    "chelsea": "object",
    "china": "scene",
    "flower": "object",
}
CROPS, CROP = 4, 128


def run_demo(
    output: str | os.PathLike[str],
    *,
    device: str | torch.device = "auto",
    seed: int = 0,
    progress: bool = False,
) -> Path:
    """Run the whole path and write pictures, figures, activations and a report.

    Parameters
    ----------
    output : path-like
        Folder to write into.
    device : str or torch.device
    seed : int
    progress : bool

    Returns
    -------
    Path
        Of the report.
    """
    folder = Path(output)
    began = time.perf_counter()
    model = load_model("random-filters", device=device)
    sections = [_texture_section(model, folder, seed, progress)]
    sections.append(_style_section(model, folder, seed, progress))
    _overview(folder)
    stimuli = crops(seed)
    network = load_model("vgg11", weights=None, seed=seed, device=device)
    rdms = []
    for compared in (load_model("hmax", device=device), network, model):
        store = folder / "activations" / f"{compared.name}.zarr"
        layers = [f"pool{i}" for i in range(1, 6)] if compared is network else None
        rdms.append(
            recipes.layer_rdms(compared, stimuli, layers=layers, store=store, progress=progress)
        )
    compared_sections, drawn, _ = recipes.comparison_sections(rdms, stimuli)
    for name, figure in drawn.items():
        figures.save(figure, folder / name)
    sections += compared_sections
    settings = {
        "seed": seed,
        "device": str(runtime.choose_device(device)),
        "seconds": round(time.perf_counter() - began),
    }
    return write_report(folder / "report.html", "cnnperception: the whole path", sections, settings)


def crops(seed: int = 0) -> StimulusSet:
    """Return square crops of built-in pictures: a small set with structure to be found.

    Parameters
    ----------
    seed : int
        Of the places where the pictures are cut.

    Returns
    -------
    StimulusSet
        The table's columns are stimulus_id, category (the picture's name) and kind.
    """
    random = np.random.default_rng(seed)
    pictures, rows = [], []
    for name, kind in CROPPED.items():
        picture = exemplar(name, size=384)[0]
        for number in range(CROPS):
            top = int(random.integers(picture.shape[1] - CROP + 1))
            left = int(random.integers(picture.shape[2] - CROP + 1))
            cut = picture[:, top : top + CROP, left : left + CROP]
            pictures.append(cut.permute(1, 2, 0).numpy())
            rows.append((f"{name}_{number}", name, kind))
    table = pd.DataFrame(rows, columns=["stimulus_id", "category", "kind"])
    return StimulusSet.from_arrays(np.stack(pictures), ids=list(table["stimulus_id"]), table=table)


def _texture_section(model: VisionModel, folder: Path, seed: int, progress: bool) -> Section:
    pictures, rows = [], []
    for name, side in TEXTURES.items():
        source = images.middle_square(exemplar(name), side)
        result = texture(source, model=model, size=side, seed=seed, progress=progress)
        _keep(result, folder / f"texture_{name}.png")
        drawn = figures.panel([source[0], result.image.cpu()], [name, "synthesised"])
        figures.save(drawn, folder / f"texture_{name}_panel")
        curves = figures.loss_curves(result.losses)
        figures.save(curves, folder / f"texture_{name}_losses")
        pictures += [
            Picture(drawn, f"{name}: the photograph and a texture made from its statistics"),
            Picture(curves, f"{name}: loss of each layer"),
        ]
        rows += [(name, term, loss) for term, loss in result.final_losses().items()]
    table = pd.DataFrame(rows, columns=["exemplar", "term", "relative loss"])
    return Section(
        "Textures",
        "Noise is changed until the Gram matrices of a network's layers equal those of a "
        "photograph (Gatys, Ecker & Bethge 2015). The network here has random filters only: no "
        "weights were trained.",
        pictures,
        [Table(table, "What is left of the difference, relative to the photograph")],
    )


def _style_section(model: VisionModel, folder: Path, seed: int, progress: bool) -> Section:
    content, painting = exemplar(CONTENT, size=320), exemplar(PAINTING, size=320)
    result = stylize(
        content,
        painting,
        model=model,
        content_weight=0.02,
        seed=seed,
        evaluations=200,
        progress=progress,
    )
    _keep(result, folder / "style.png")
    shown: list[tuple[str, Tensor]] = [
        (CONTENT, content[0]),
        (PAINTING, painting[0]),
        ("in its style", result.image.cpu()),
    ]
    drawn: Figure = figures.panel([i for _, i in shown], [t for t, _ in shown], same_scale=False)
    figures.save(drawn, folder / "style_panel")
    return Section(
        "Style transfer",
        "The features of the photograph are kept while the Gram matrices become those of the "
        "other picture (Gatys, Ecker & Bethge 2016), here too with random filters.",
        [Picture(drawn, "Photograph, style and the photograph in that style")],
    )


def _overview(folder: Path) -> None:
    """Draw what was made in one row, from the files."""
    shown = [
        ("brick", images.middle_square(exemplar("brick"), TEXTURES["brick"])),
        ("made from noise", images.read(folder / "texture_brick.png")),
        (CONTENT, exemplar(CONTENT, size=320)),
        (PAINTING, exemplar(PAINTING, size=320)),
        ("one as the other", images.read(folder / "style.png")),
    ]
    drawn = figures.panel([i[0] for _, i in shown], [t for t, _ in shown], same_scale=False)
    figures.save(drawn, folder / "overview", dpi=150)


def _keep(result: SynthesisResult, path: Path) -> None:
    if not result.finished:
        raise KeyboardInterrupt
    images.write(path, result.image, result.provenance)
