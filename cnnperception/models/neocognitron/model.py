"""The model: from grey images through four stages of S- and C-cells to classes."""

from __future__ import annotations

import copy
import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from ... import runtime
from ..grey import luminance
from ..interface import check_images, resolve_layers
from . import storage
from .edges import edge_features
from .equations import best_of_class, centre_surround, contrast_cells
from .forms import FORMS, Form
from .learning import Presentation, add_if_silent, compete_by_class, compete_for_seeds
from .settings import checked_labels, complete_settings
from .stage import ComplexCells, SimpleCells

EMBEDDED = Path(__file__).parents[2] / "weights" / "neocognitron.safetensors"

# Radius, centre and surround of the contrast-extracting cells, in pixels.
CONTRAST = (5.0, 1.0, 2.0)
# Radius and spread of the receptive fields of US1 ... US4 and of UC1 ... UC3, in cells.
SIMPLE_FIELDS = ((3.4, 2.0), (3.4, 2.0), (3.4, 2.0), (4.4, 2.5))
COMPLEX_FIELDS = ((3.4, 1.8), (3.4, 1.8), (3.4, 1.8))

RULES = {"add-if-silent": add_if_silent, "seed-competition": compete_for_seeds}
# The network of 1980 has no stage that is taught classes: US4 is 2003's in either form.
HIGHEST_FORM = replace(FORMS["2003"], gain=1e4)
SMALLEST = 32
REJECTED = -1
BATCH = 16


class Neocognitron(nn.Module):
    """Planes of S-cells that look for learnt features, each followed by C-cells that blur.

    A layer of contrast-extracting cells (`ug`), then four stages `us1 uc1` ... `us4 uc4`. US1
    knows straight edges of 16 orientations; US2 and US3 grow features from images alone, US4
    from images and their classes (`fit`). UC4 has one unit a class, the best answer of its
    planes at any place, (batch, class); all other layers are (batch, plane, height, width), and
    each of UC1, UC2, UC3 has half the rows and columns of the layer before.

    Parameters
    ----------
    weights : "DEFAULT", path or None
        What US2 to US4 have learnt. "DEFAULT": handwritten digits, as they come with the
        package; None: nothing yet, so that only `ug`, `us1` and `uc1` can be read out until
        `fit` is called; a path: what `save` wrote.
    form : "2003", "1980" or None
        The equations of the S- and C-cells.
    learning : "add-if-silent", "seed-competition" or None
        How `fit` grows US2 and US3: a plane for each place where all cells are silent, once and
        for all (Fukushima 2013), or seed cells whose planes go on learning (Fukushima 2003).
    thresholds : sequence of 4 float or None
        theta of the S-cells of US1 ... US4 in recognition, between 0 and 1.
    learning_thresholds : sequence of 4 float or None
        theta of a stage while it learns; higher ones grow more planes. The first is not used:
        the edges are given.
    max_planes : int or None
        Most planes that US2 and US3 may grow each; `fit` warns when they are reached.

    Options that are None are those the weights were learnt with. Without weights they are form
    "2003", learning "add-if-silent", 1000 planes, thresholds (0.55, 0.55, 0.60, 0.30) and
    learning thresholds (0.55, 0.66, 0.67, 0.30), in the form of 1980 (0.55, 0.40, 0.40, 0.30) and
    (0.55, 0.50, 0.45, 0.30).

    Raises
    ------
    ValueError
        For an unknown option, one out of range or not of the weights' form, or a file that is not
        of this model.

    References
    ----------
    Fukushima (1980), Biological Cybernetics 36, 193. Fukushima (2003), Neurocomputing 51, 161.
    Fukushima (2013), Neural Networks 37, 103.

    Examples
    --------
    >>> import torch
    >>> Neocognitron().features(torch.rand(2, 3, 64, 80), ["uc2"])["uc2"].shape[2:]
    torch.Size([16, 20])
    """

    simple: nn.ModuleList
    contrast: Tensor
    owners: Tensor
    classes: Tensor

    def __init__(
        self,
        *,
        weights: str | os.PathLike[str] | None = "DEFAULT",
        form: str | None = None,
        learning: str | None = None,
        thresholds: Sequence[float] | None = None,
        learning_thresholds: Sequence[float] | None = None,
        max_planes: int | None = None,
    ):
        super().__init__()
        self.name = "neocognitron"
        stages = range(1, len(SIMPLE_FIELDS) + 1)
        self.layers: Sequence[str] = ("ug", *(f"u{kind}{n}" for n in stages for kind in "sc"))
        self.recommended: Mapping[str, tuple[str, ...]] = {
            "texture": ("us1", "uc1", "us2", "uc2"),
            "style": ("us1", "uc1", "us2", "uc2"),
            "content": ("uc2",),
        }
        self.register_buffer("contrast", centre_surround(*CONTRAST))
        self.register_buffer("owners", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("classes", torch.zeros(0, dtype=torch.int64))
        self.complex = nn.ModuleList(ComplexCells(*field) for field in COMPLEX_FIELDS)
        self._forget()
        given = {
            "form": form,
            "learning": learning,
            "thresholds": thresholds,
            "learning_thresholds": learning_thresholds,
            "max_planes": max_planes,
        }
        learnt = None if weights is None else self._install(weights)
        self.settings = complete_settings(given, learnt)

    @property
    def provenance(self) -> Mapping[str, Any]:
        """The options, how many planes there are, and what they were learnt from."""
        return {
            "weights": "learnt as `training` says" if self.training_record else "edges alone",
            **self.settings,
            "planes": {f"us{n}": len(self.stage(n)) for n in (1, 2, 3, 4)},
            "training": self.training_record,
        }

    @property
    def receptive_fields(self) -> dict[str, int]:
        """The side in pixels of what one unit of a layer sees, for the layers with positions."""
        fields = {"ug": 1 + 2 * int(CONTRAST[0])}
        field, step = fields["ug"], 1
        for number, (radius, _) in enumerate(SIMPLE_FIELDS, start=1):
            field += 2 * int(radius) * step
            fields[f"us{number}"] = field
            if number <= len(COMPLEX_FIELDS):
                field += 2 * int(COMPLEX_FIELDS[number - 1][0]) * step
                fields[f"uc{number}"] = field
                step *= 2
        return fields

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the responses of the named layers.

        Parameters
        ----------
        images : Tensor, shape (batch, 3, height, width)
            RGB in [0, 1], at least 32 pixels high and wide; the model sees their luminance.
        layers : sequence of str
            Names out of `layers`. Nothing beyond the deepest of them is computed.

        Returns
        -------
        dict of str to Tensor
            (batch, plane, height, width), for UC4 (batch, class); at least float32.

        Raises
        ------
        ValueError
            When the images are too small, not (batch, 3, height, width) or not finite, or a
            layer has not learnt anything yet.
        """
        # An empty list and unknown names are refused here; patterns are spelled out in place.
        resolve_layers(self, layers)
        names = [name for layer in layers for name in resolve_layers(self, layer)]
        computed = self.layers[: 1 + max(self.layers.index(name) for name in names)]
        self._check_learnt(computed[-1])
        check_images(images)
        _check_size(images)
        with runtime.full_precision(images.device):
            responses = zip(computed, self._responses(luminance(images)), strict=False)
            found = {name: response for name, response in responses if name in names}
        return {name: found[name] for name in names}

    @torch.no_grad()
    def fit(
        self, images: Tensor, labels: ArrayLike | Tensor, *, progress: bool = False, seed: int = 0
    ) -> pd.DataFrame:
        """Learn US2 and US3 from images, and US4 from images and their classes.

        One stage after the other; what was learnt before is forgotten, but only when all went
        well.

        Parameters
        ----------
        images : Tensor, shape (image, 3, height, width)
            RGB in [0, 1], at least 32 pixels high and wide.
        labels : array-like of int, shape (image,)
            The classes, not negative.
        progress : bool
            Show a bar for each stage.
        seed : int
            For the orders in which the images are shown.

        Returns
        -------
        DataFrame
            The learning curves, one row a presentation of an image: `stage`, `presentation`
            (from 1), `planes` (of the stage, afterwards) and `wrong` (US4: whether a plane of
            another class had won, or none).

        Raises
        ------
        ValueError
            When images and labels do not fit, or there is only one class.
        """
        check_images(images)
        _check_size(images)
        classes, targets = checked_labels(labels, len(images))
        random = runtime.generator(seed)
        order = torch.randperm(len(images), generator=random)
        pupil = copy.deepcopy(self)
        pupil._forget()
        pupil.classes = classes.to(self.contrast.device)
        curves = [pupil._learn_features(number, images[order], progress) for number in (2, 3)]
        curves.append(pupil._learn_classes(images, targets, random, progress))
        self.simple, self.owners, self.classes = pupil.simple, pupil.owners, pupil.classes
        self.training_record = {
            "images": len(images),
            "size": list(images.shape[2:]),
            "sha256": _digest(images, targets),
            "seed": seed,
            "torch": torch.__version__,
        }
        return pd.concat(curves, ignore_index=True)

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Return the class of each image: that of the UC4 cell which answers most.

        Returns
        -------
        Tensor of int64, shape (batch,)
            On the CPU; -1 where all cells are silent: such an image is rejected.
        """
        answers = torch.cat(list(self._batches(images, "uc4")))
        best, winners = answers.max(dim=1)
        return self.classes[winners].where(best > 0, REJECTED).cpu()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what was learnt, and the options, to a safetensors file.

        Raises
        ------
        ValueError
            When nothing has been learnt yet.
        """
        self._check_learnt("uc4")
        learners = [self.stage(number) for number in (2, 3, 4)]
        storage.write(
            path, learners, self.owners, self.classes, self.settings, self.training_record
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Neocognitron:
        """Return the model that `save` wrote: Neocognitron(weights=path)."""
        return cls(weights=path)

    def _responses(self, grey: Tensor) -> Iterator[Tensor]:
        """Yield the layers' responses, from the input upwards, each computed when asked for."""
        thresholds = self.settings["thresholds"]
        current = contrast_cells(grey, self.contrast)
        yield current
        for simple, complex_, threshold in zip(self.simple, self.complex, thresholds, strict=False):
            responses = simple(current, threshold, self._form())
            yield responses
            current = complex_(responses, self._form())
            yield current
        responses = self.simple[-1](current, thresholds[-1], HIGHEST_FORM)
        yield responses
        yield best_of_class(responses, self.owners, len(self.classes))

    def _learn_features(self, number: int, images: Tensor, progress: bool) -> pd.DataFrame:
        """Let US2 or US3 learn, and return its learning curve."""
        cells, most = self.stage(number), self.settings["max_planes"]
        rule = RULES[self.settings["learning"]]
        threshold = self.settings["learning_thresholds"][number - 1]
        inputs = self._batches(images, f"uc{number - 1}")
        curve = _curve(f"us{number}", rule(cells, inputs, threshold, self._form(), most), progress)
        if not len(cells):
            raise ValueError("nothing can be learnt from images without any contrast")
        if len(cells) >= most:
            warnings.warn(
                f"us{number} has grown as many planes as max_planes={most} allows and leaves "
                "places silent; lower its learning threshold, or raise max_planes",
                stacklevel=4,
            )
        cells.round()
        return curve

    def _learn_classes(
        self, images: Tensor, targets: Tensor, random: torch.Generator, progress: bool
    ) -> pd.DataFrame:
        """Let US4 learn, and return its learning curve."""
        cells, threshold = self.stage(4), self.settings["learning_thresholds"][3]
        inputs = torch.cat(list(self._batches(images, "uc3")))
        owners: list[int] = []
        learn = compete_by_class(cells, owners, inputs, targets, threshold, HIGHEST_FORM, random)
        curve = _curve("us4", learn, progress)
        cells.round()
        self.owners = torch.tensor(owners, device=self.contrast.device)
        return curve

    def _batches(self, images: Tensor, layer: str) -> Iterator[Tensor]:
        for batch in images.split(BATCH):
            yield self.features(batch.to(self.contrast.device), [layer])[layer]

    def stage(self, number: int) -> SimpleCells:
        """Return the S-cells of a stage, 1 ... 4, with all they have learnt."""
        cells = self.simple[number - 1]
        assert isinstance(cells, SimpleCells)
        return cells

    def _form(self) -> Form:
        return FORMS[self.settings["form"]]

    def _forget(self) -> None:
        """Leave nothing but the edges of US1."""
        edge_cells, *others = [SimpleCells(*field) for field in SIMPLE_FIELDS]
        for seen in edge_features(self.contrast.cpu(), edge_cells.window):
            edge_cells.add(seen)
        self.simple = nn.ModuleList([edge_cells, *others]).to(self.contrast.device)
        self.owners = torch.zeros_like(self.owners[:0])
        self.classes = torch.zeros_like(self.classes[:0])
        self.training_record = {}

    def _install(self, weights: str | os.PathLike[str]) -> dict[str, Any]:
        """Take over what a file says was learnt, and return the options it was learnt with."""
        learners = [self.stage(number) for number in (2, 3, 4)]
        path = EMBEDDED if weights == "DEFAULT" else weights
        learnt = storage.read(path, [cells.window for cells in learners])
        for cells, stored, summed in zip(learners, learnt.stored, learnt.summed, strict=True):
            cells.stored, cells.summed = stored, summed
        self.owners, self.classes = learnt.owners, learnt.classes
        self.training_record = learnt.training
        return learnt.settings

    def _check_learnt(self, layer: str) -> None:
        below = self.layers[: self.layers.index(layer) + 1]
        if any(f"us{number}" in below and not len(self.stage(number)) for number in (2, 3, 4)):
            raise ValueError(
                f"{layer!r} of this neocognitron has not learnt anything yet: call "
                "fit(images, labels), or load what was learnt with weights='DEFAULT' or "
                "weights=path; ug, us1 and uc1 need no learning"
            )


def _curve(stage: str, learn: Iterable[Presentation], progress: bool) -> pd.DataFrame:
    """Let a stage learn, and return its learning curve."""
    rows = list(runtime.progress(learn, f"{stage}, images shown", show=progress))
    curve = pd.DataFrame(rows, columns=list(Presentation._fields))
    curve.insert(0, "presentation", np.arange(1, len(rows) + 1))
    curve.insert(0, "stage", stage)
    return curve


def _check_size(images: Tensor) -> None:
    height, width = images.shape[-2:]
    if min(height, width) < SMALLEST:
        raise ValueError(
            f"images of {height} x {width} pixels are too small for neocognitron; it needs at "
            f"least {SMALLEST} x {SMALLEST}"
        )


def _digest(images: Tensor, targets: Tensor) -> str:
    """Return a SHA-256 over the pixels, rounded to 8 bits, and the classes."""
    pixels = (images.detach().cpu() * 255).round().clamp(0, 255).byte()
    digest = hashlib.sha256(pixels.contiguous().numpy().tobytes())
    digest.update(targets.numpy().tobytes())
    return digest.hexdigest()
