"""Training the networks of an ablation, and reading out which pictures they tell."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import runtime
from ..decoding import decode
from ..models.hierarchy import GaborStage, Hierarchy
from ..objects import CATEGORIES, VARIATIONS
from ..training import Course, named, train
from .networks import CNN, HMAX, LONG, MOVED, TENTH, Network, build
from .pictures import SIDE, Pictures, Seen, images

PENALTIES = (1e-2, 1e-1, 1.0)
SHIFT = 4  # pixels, at most
WATCHED = 320  # pictures on each background that a curve is of
AT_ONCE = 160
CURVE = ["step", "loss", "accuracy", "held_out", "seconds"]


class Classifier(nn.Module):
    """A model with a linear readout of its pooled units.

    It takes images (n, 3, 64, 64), or, when the first stage is HMAX's, C1 side by side (n, cells)
    as `Pictures` keeps it.
    """

    def __init__(self, model: Hierarchy, pictures: Pictures):
        super().__init__()
        self.model, self._bands = model, pictures.bands
        with torch.no_grad():
            units = model(torch.zeros(1, 3, SIDE, SIDE)).shape[1]
        normalisation = nn.BatchNorm1d(units, affine=False)
        self.readout = nn.Sequential(normalisation, nn.Linear(units, len(CATEGORIES)))

    def grid(self, inputs: Tensor) -> Tensor:
        """Return the local maxima of the second stage, (n, unit, 4, 4)."""
        bands = self._bands(inputs) if inputs.ndim == 2 else self.model.first(inputs)
        found: Tensor = self.model.second(bands)
        return found

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the answers before the softmax, (n, category)."""
        answers: Tensor = self.readout(self.model.pool(self.grid(inputs)).float())
        return answers

    def inputs(self, seen: Seen) -> Tensor:
        """Return pictures in the form that takes least work, where the classifier is."""
        first = self.model.first
        known = isinstance(first, GaborStage) and first.pooling == "max"
        inputs = torch.from_numpy(seen.cells) if known else images(seen.pixels)
        return inputs.to(next(self.readout.parameters()).device)


def learn(
    network: Network,
    pictures: Pictures,
    rate: float,
    *,
    device: str | torch.device = "cpu",
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> tuple[Classifier, pd.DataFrame]:
    """Return a network, trained if it is one of those that are, and the curve of its training.

    Parameters
    ----------
    network : Network
    pictures : Pictures
    rate : float
        Largest learning rate.
    device, checkpoint, progress
        As `cnnperception.training.train` takes them.

    Returns
    -------
    Classifier, DataFrame
        Columns of the curve: step, loss, accuracy, held_out (of pictures that readouts learn
        from), seconds; no rows of a network that is not trained.
    """
    model = build(network, pictures)
    # A rectified stage begins where a seed puts it, and so must the readout.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(network.seed)
        classifier = Classifier(model, pictures)
    device = runtime.choose_device(device)
    classifier.to(device).to(memory_format=torch.channels_last)
    if not network.trains:
        return classifier.eval(), pd.DataFrame(columns=CURVE)
    if "learnt" not in network.changes:
        model.requires_grad_(False)
    seen, scale = pictures.training, pictures.scale
    distinct = _distinct(network, len(seen.pixels))

    def batch(numbers: range) -> tuple[Tensor, Tensor]:
        chosen = np.array(numbers) % distinct
        inputs = classifier.inputs(seen.some(chosen))
        if network.particular == MOVED:
            inputs = moved(inputs, numbers.start)
        return inputs, torch.from_numpy(chosen % len(CATEGORIES))

    steps = 4 * scale.steps if network.particular in LONG else scale.steps
    curve = train(
        classifier,
        naming,
        batch,
        Course(steps, scale.batch, rate, seed=network.seed),
        evaluate=lambda trained: held_out(trained, pictures),
        device=device,
        checkpoint=checkpoint,
        progress=progress,
    )
    return classifier.eval(), curve


def naming(classifier: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Learn to name the category: batch is what a classifier takes, and labels (n,)."""
    inputs, labels = batch
    return named(classifier(inputs), labels)


def moved(pictures: Tensor, seed: int) -> Tensor:
    """Return pictures moved by up to four pixels at random, half of them mirrored."""
    random = np.random.default_rng(seed)
    padded = functional.pad(pictures, (SHIFT,) * 4, mode="replicate")
    height, width = pictures.shape[2:]
    rows, columns = random.integers(0, 2 * SHIFT + 1, (2, len(pictures)))
    parts = [
        picture[:, row : row + height, column : column + width]
        for picture, row, column in zip(padded, rows, columns, strict=True)
    ]
    mirrored = torch.from_numpy(random.random(len(pictures)) < 0.5)[:, None, None, None]
    shifted = torch.stack(parts)
    return torch.where(mirrored, shifted.flip(3), shifted)


@torch.no_grad()
def held_out(classifier: Any, pictures: Pictures) -> float:
    """Return the share that a classifier names rightly of pictures that readouts learn from."""
    right = []
    for seen, _, held in pictures.readout.values():
        number = min(WATCHED, int((~held).sum()))
        answers = classifier(classifier.inputs(seen.some(slice(number))))
        right.append(answers.argmax(dim=1).cpu().numpy() == np.arange(number) % len(CATEGORIES))
    return float(np.mean(right))


@torch.no_grad()
def read(network: Network, classifier: Classifier, pictures: Pictures) -> pd.DataFrame:
    """Return which of the tested pictures are named rightly, from each layer.

    Returns
    -------
    DataFrame
        A row a picture, background and layer; columns background, layer, right (0 or 1). Layer
        `pooled` is the pooled units, read out anew; `positions` (of HMAX and the CNN alone) the
        local maxima they are pooled from; `own readout` what a trained network itself answers.
    """
    tables = []
    for background, (seen, table, held) in pictures.readout.items():
        starts = range(0, len(held), AT_ONCE)
        parts = [classifier.inputs(seen.some(slice(at, at + AT_ONCE))) for at in starts]
        grid = torch.cat([classifier.grid(part) for part in parts])
        pooled = classifier.model.pool(grid)
        rights = {"pooled": decoded(pooled, table, held, pictures.seed)}
        if network.changes in (HMAX, CNN) and not network.particular:
            rights["positions"] = decoded(grid, table, held, pictures.seed)
        if network.trains:
            named = classifier.readout(pooled).argmax(dim=1).cpu().numpy()[held]
            rights["own readout"] = named == np.arange(len(named)) % len(CATEGORIES)
        tables += [
            pd.DataFrame({"background": background, "layer": layer, "right": right.astype(int)})
            for layer, right in rights.items()
        ]
    return pd.concat(tables, ignore_index=True)


def decoded(units: Any, table: pd.DataFrame, held: np.ndarray, seed: int) -> np.ndarray:
    """Return which of the pictures held out are named rightly by a linear readout of the others.

    Parameters
    ----------
    units : array or Tensor, shape (picture, ...)
    table : DataFrame
        Columns category and object.
    held : bool array, shape (picture,)
    seed : int
    """
    result = decode(
        units,
        table["category"].tolist(),
        groups=table["object"].tolist(),
        test_on=held,
        folds=3,
        penalties=PENALTIES,
        resamples=1,
        seed=seed,
    )
    right: np.ndarray = (result["prediction"] == result["label"]).values
    return right


def _distinct(network: Network, number: int) -> int:
    """Return how many different pictures a network learns from: whole rounds of all levels."""
    if network.particular not in (TENTH, MOVED):
        return number
    rounds = len(CATEGORIES) * len(VARIATIONS)
    return max(1, number // 10 // rounds) * rounds
