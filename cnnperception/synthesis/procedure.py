"""What a synthesis consists of, whatever it makes, and what follows from it at each size."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .. import images as image_files
from ..models.interface import VisionModel, resolve_layers
from ..models.network import Network
from ..models.registry import load_model
from ..models.vgg import normalised
from . import setup
from .approach import approaching
from .measures import spectrum_of
from .objective import PixelTerm, out_of_range
from .optimisers import Optimiser, TorchLBFGS
from .published import BOUNDS, REDRAWN, Loss, Noise, number, spectrum_distance
from .pyramid import Level, coarse_to_fine, with_approach
from .run import Running

PICTURES = Path(__file__).parents[1] / "textures"  # over which a network is normalised


@dataclasses.dataclass(frozen=True)
class NetworkChoice:
    """The model of a paper: how it is loaded, and how it is described.

    Attributes
    ----------
    name : str
        As `load_model` takes it.
    options : mapping
        What it is loaded with.
    described : str
        What the paper had, as `description` says it of a model.
    normalised : {"never", "trained", "substitutes"}
        Give every filter a mean activation of 1: of all trained weights, or only of those that
        stand for Caffe's.
    """

    name: str
    options: Mapping[str, Any]
    described: str
    normalised: str = "never"

    def load(self, *, device: str | torch.device = "auto", **options: Any) -> VisionModel:
        """Load it, with some options in place of its own.

        Raises
        ------
        OSError
            When its weights are not there and cannot be downloaded; the message says what to do.
        """
        chosen = {**self.options, **options}
        try:
            model = load_model(self.name, device=device, **chosen)
        except OSError as error:
            given = ", ".join(f"{key}={value!r}" for key, value in self.options.items())
            raise OSError(
                f"the preset is made with {self.described}.\n{error}\nAny other model may be "
                f"given, too: model=cnnperception.load_model({self.name!r}, {given}, "
                "weights=None), or --weights none, has random weights"
            ) from error
        untrained = chosen.get("weights", "") is None
        kept = self.normalised == "substitutes" and of_caffe(model)
        if self.normalised == "never" or untrained or kept or not isinstance(model, Network):
            return model
        paths = sorted(PICTURES.glob("*.png"))
        return normalised(model, [image_files.read(path) for path in paths])


def of_caffe(model: VisionModel) -> bool:
    """Return whether a network has Caffe's weights, which want grey levels in the order BGR."""
    preprocessing: Mapping[str, Any] = model.provenance.get("preprocessing", {})
    return preprocessing.get("channels") == "BGR"


@dataclasses.dataclass(frozen=True)
class Stages:
    """Sizes worked at one after the other.

    Attributes
    ----------
    parts : tuple of (float, float)
        Sides relative to the last, and shares of the evaluations.
    """

    parts: tuple[tuple[float, float], ...]

    def __str__(self) -> str:
        if len(self.parts) == 1:
            return "the size of the picture alone"
        sides, shares = (
            ", ".join(str(Fraction(part).limit_denominator(99)) for part in column)
            for column in zip(*self.parts, strict=True)
        )
        return f"{sides} of the picture's sides, with {shares} of the evaluations"


def description(model: VisionModel) -> str:
    """Return a model's name and what matters of how it came to be."""
    said = dict(model.provenance)
    if "preprocessing" not in said:
        parts = [f"{key} {shown(said[key])}" for key in said if key not in ("seed", "weights")]
    else:
        kind = "Caffe's" if of_caffe(model) else said.get("weights", "unknown")
        weights = f"{kind} weights"
        parts = [weights, *(["normalised"] if "normalised" in said else [])]
        parts += [f"{said['pooling']} pooling"]
        parts += [f"{said['padding']} padding"] if "padding" in said else []
    return f"{model.name} ({', '.join(parts)})" if parts else model.name


@dataclasses.dataclass(frozen=True)
class Procedure:
    """All settings of a synthesis; those of a name are a preset.

    Attributes
    ----------
    name, task, paper : str
        The task is "texture" or "style".
    notes : tuple of str
        What is not as in the paper or its code, and why.
    network : NetworkChoice, optional
        The embedded random filters when left out.
    layers, style_layers, content_layers : tuple of str, optional
        The model's recommended ones when left out.
    statistic, spectrum, grey, histogram, content_weight, start, evaluations
        As the arguments of `texture` and `stylize`, in whose place they stand.
    pixels : int, optional
        Side of the paper's pictures.
    measured : {"area", "area at most", "shorter side", "square"}
        What that is: the side of a square of their area, to which larger ones alone are reduced
        or all are brought, their shorter side, or the side of a square cut out of the middle.
    loss : Loss
        Of textures and styles.
    content_divisor : str
        As for `Loss`.
    elsewhere : mapping of str to setting
        In place of some settings for networks that are not Caffe's. Their responses are of the
        order of 1, as those of normalised networks, and not of grey levels.
    spectrum_loss : {"bands", "every frequency"}
        What the weight `spectrum` is of.
    fitting_layers : bool
        Leave out the layers that see more than half of a picture.
    range_weight : float
        Of the penalty on pixels outside [0, 1].
    bounds : str, optional
        Of the pixels: one of `published.BOUNDS`.
    stages : Stages, optional
        From coarse to fine as `coarse_to_fine` says when left out.
    approached : bool
        Where a style transfer has no stages: go to its loss as `approach` says, by others.
    noise : Noise, optional
        What is begun with; when left out, noise with the mean and covariance of the colours.
    optimiser : Optimiser, optional
        The engine's own when left out.
    style_size : {"area", "shorter side"}
        In what a painting equals the picture to be made.
    reduction : {"bicubic", "area"}
        How an exemplar is reduced for the coarser sizes.
    multiple : int
        Sides are cropped to multiples of it.
    """

    name: str
    task: str
    paper: str
    notes: tuple[str, ...] = ()
    network: NetworkChoice | None = None
    layers: str | Sequence[str] | None = None
    style_layers: str | Sequence[str] | Sequence[Sequence[str]] | None = None
    content_layers: str | Sequence[str] | None = None
    statistic: str = "whitened-gram"
    spectrum: float = 0.0
    grey: bool = False
    histogram: bool = False
    content_weight: float = 0.05
    start: str = "content"
    evaluations: int = 400
    pixels: int | None = None
    measured: str = "area"
    loss: Loss = Loss()  # noqa: RUF009
    content_divisor: str = "relative"
    elsewhere: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    spectrum_loss: str = "bands"
    fitting_layers: bool = True
    range_weight: float = 10.0
    bounds: str | None = None
    stages: Stages | None = None
    approached: bool = False
    noise: Noise | None = None
    optimiser: Optimiser | None = None
    style_size: str = "area"
    reduction: str = "bicubic"
    multiple: int = 1

    @property
    def published(self) -> bool:
        """Whether the loss and the search are another than the engine's own."""
        return self.stages is not None

    def suited_to(self, model: VisionModel, base: Procedure) -> Procedure:
        """Return it with the settings for a model, where they are those of a base preset."""
        if of_caffe(model):
            return self
        unchanged = [k for k in self.elsewhere if getattr(self, k) == getattr(base, k)]
        return dataclasses.replace(self, **{k: self.elsewhere[k] for k in unchanged})

    def levels(self, size: tuple[int, int]) -> tuple[Level, ...]:
        """Return the sizes worked at, up to that of the picture, and the evaluations of each."""
        if self.approached:
            return approaching(size, self.evaluations)
        if self.stages is None:
            found = coarse_to_fine(size, self.evaluations)
            return with_approach(found) if self.task == "texture" else found
        return tuple(
            Level(
                (max(1, math.floor(size[0] * scale)), max(1, math.floor(size[1] * scale))),
                max(1, round(self.evaluations * share)),
            )
            for scale, share in self.stages.parts
        )

    def limits(self, source: Tensor) -> list[PixelTerm]:
        """Return what is asked of the pixels themselves, for an exemplar of the same size."""
        terms = []
        if self.range_weight:
            terms.append(PixelTerm("range", out_of_range, weight=self.range_weight))
        if self.spectrum:
            of = spectrum_of if self.spectrum_loss == "bands" else spectrum_distance
            terms.append(PixelTerm("spectrum", of(source), weight=self.spectrum))
        return terms

    def pixel_bounds(self, source: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return the lowest and highest values of pixels, (1, 3, 1, 1) each, or None."""
        return None if self.bounds is None else BOUNDS[self.bounds](source)

    def reduced(self, source: Tensor, level: Level, whole: tuple[int, int]) -> Tensor:
        """Return an exemplar as it is at a level of a picture whose size is `whole` at last."""
        size = setup.scaled(source, level.size[0] / whole[0])
        if self.published and source.shape[-2:] == whole:
            size = level.size
        if self.reduction == "area" and level.size[0] < whole[0]:
            return functional.interpolate(source, size, mode="area")
        return image_files.resize(source, size)

    def cropped(self, source: Tensor) -> Tensor:
        """Return a picture whose sides are multiples of `multiple`, without what is beyond."""
        height, width = (side // self.multiple * self.multiple for side in source.shape[-2:])
        return source[..., :height, :width]

    def with_layers(self, **used: Any) -> Procedure:
        """Return it with the layers that were used, where it names some."""
        named = {
            field: layers for field, layers in used.items() if getattr(self, field) is not None
        }
        return dataclasses.replace(self, **named)

    def check(self, size: tuple[int, int], images: int) -> None:
        """Raise ValueError for settings that do not go together, or with so many such pictures."""
        if self.spectrum < 0:
            raise ValueError(f"spectrum must not be negative; got {self.spectrum}")
        if self.approached and (self.published or self.task != "style"):
            raise ValueError(
                "only a style transfer without stages can be approached: approached=False, or "
                "task='style' and stages=None"
            )
        if any(side % self.multiple for side in size):
            raise ValueError(
                f"the sides of a picture of {self.name} are multiples of {self.multiple}; got "
                f"{size[0]} x {size[1]}"
            )
        if self.statistic == REDRAWN and not isinstance(self.optimiser, TorchLBFGS):
            raise ValueError(
                f"statistic={REDRAWN!r} is another loss at every evaluation, which only the search "
                "of the preset 'heitz2021' bears; use 'sliced-wasserstein'"
            )
        if images > 1 and self.published:
            raise ValueError(
                f"{self.name} makes one picture at a time, as published; got {images}. Call it "
                "once for each exemplar and seed"
            )

    def cover(self, painting: Tensor, size: tuple[int, int]) -> float:
        """Return the scale at which a painting is as large as a picture of a size."""
        height, width = painting.shape[-2:]
        if self.style_size == "area":
            return float((size[0] * size[1] / (height * width)) ** 0.5)
        return min(size) / min(height, width)

    def fitting(
        self, model: VisionModel, layers: Sequence[str], picture: Tensor, grid: int = 1
    ) -> tuple[str, ...]:
        """Return the layers that are used with a picture of this size."""
        if self.fitting_layers:
            return setup.layers_that_fit(model, layers, picture, grid)
        return tuple(layers)

    def running(self, running: Running) -> Running:
        """Return how it is run: a published procedure in float32, unless another is asked for."""
        return {"precision": "float32", **running} if self.published else running


def chosen_model(settings: Procedure, model: VisionModel | None) -> VisionModel:
    """Return the model that was given, or the one of the procedure on the fastest device."""
    if model is not None or settings.network is None:
        return setup.default_model(model)
    return settings.network.load()


def layers_of(
    wanted: str | Sequence[str] | None, given: bool, model: VisionModel, purpose: str
) -> tuple[str, ...]:
    """Return the layers to use: of those of a preset, the ones that the model has, if any.

    Parameters
    ----------
    wanted : str or sequence of str, optional
        The model's recommended layers when left out.
    given : bool
        The user named them, so each has to exist.
    model : VisionModel
    purpose : {"texture", "style", "content"}
    """
    if wanted is not None and not given:
        present = [layer for layer in wanted if layer in model.layers]
        wanted = present or None
    return resolve_layers(model, setup.recommended(model, purpose, wanted))


def shown(value: Any) -> str:
    """Return a setting in words."""
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(shown(part) for part in value)
    return str(value)
