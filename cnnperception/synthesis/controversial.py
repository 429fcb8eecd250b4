"""Controversial stimuli: the same to one model, another picture to a second (Golan et al. 2020)."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Sequence
from typing import Unpack

import pandas as pd
import torch
from torch import Tensor

from .. import images as image_files
from ..models.interface import VisionModel, device_of, fingerprint
from . import setup
from .noise import as_far, as_strong, begin_faintly, noises, possible_changes, root_mean_square
from .objective import Objective, PixelTerm, out_of_range
from .pyramid import Level
from .result import SynthesisResult
from .run import Running, synthesize
from .view import View, view

LEAST_RATIO = 2.0  # of the driven model's distance to that of noise
LEAST = 1e-12  # squared distance, lest the slope of its root be infinite


def controversial(
    image: Tensor,
    hold: VisionModel,
    hold_layers: str | Iterable[str],
    drive: VisionModel,
    drive_layers: str | Iterable[str],
    *,
    both: bool = False,
    size: int | tuple[int, int] | None = None,
    tolerance: float = 0.1,
    luminance: bool = False,
    seed: int = 0,
    evaluations: int = 400,
    **running: Unpack[Running],
) -> SynthesisResult:
    """Change an image so that it stays the same to one model and becomes another one to a second.

    The features of one model are held near the image's, while those of the other are driven as
    far away from the image's as they go. Observers, or other models, who see the result side
    with one of the two.

    A layer's distance d is that of the features from the image's, relative to the spread of the
    image's about their mean over units. The loss is

        sum over held layers of (d / tolerance)^2 + mean over driven layers of 1 / (1 + d),

    of the image as it is seen, clipped to [0, 1]. The drive can win 1 at most, and the loss never
    rises from a start that costs the hold 0.01 at most: so no held layer ends farther away than
    1.005 times the tolerance, be the search ever so short. Pixels change the more, the less the
    held model minds. Where the search ends depends on the seed: there are many ways to go away.

    Files hold 8 bits a channel. Rounding moves both models a little; `view` measures what a
    file shows.

    Parameters
    ----------
    image : Tensor, shape (3, height, width) or (1, 3, height, width)
        RGB in [0, 1].
    hold, drive : VisionModel
        On one device.
    hold_layers, drive_layers : str or iterable of str
        Names, groups or patterns, of the one model and of the other.
    both : bool
        Make a second image, with the models in exchanged roles: the two on which they disagree
        most, each in one direction.
    size : int or (int, int), optional
        Longer side, or height and width, to resize the image to; its own when left out.
    tolerance : float
        The largest distance of a held layer. Of 0.1, a hundredth of the variance over units is
        not met.
    luminance : bool
        Change the three channels of a pixel alike. To models without colour a change of hue is
        none, and what another model makes of it tells little else.
    seed : int
        Of the noise it begins with, and of the noise it is compared with.
    evaluations : int
        Of each model.
    **running
        As for `texture`; but images are never seen in tiles, nor in less than float32.

    Returns
    -------
    SynthesisResult
        `images` holds one image, or two with `both`. `provenance["distances"]` has a row for each
        layer of each model and image, which `pandas.DataFrame` turns into a table: image (its
        index), role ("hold" or "drive"), model, layer, distance, and the distance of two images
        with noise, to compare with: of the same root mean square difference in pixels ("noise"),
        and of the same mean distance to the held model ("matched_noise").
        `provenance["rms"]` holds the root mean square differences of the images in pixels.

    Raises
    ------
    ValueError
        For unknown layers, an image too small for a layer, a layer that does not respond or is
        held and driven at once, a tolerance that is not positive, models on different devices, or
        mixed precision.
    FloatingPointError
        For images or features that are not finite.

    References
    ----------
    Golan, Raju & Kriegeskorte (2020), PNAS 117, 29330-29337. Wang & Simoncelli (2008), Journal of
    Vision 8(12):8, who drive one model at a constant distance of the other.

    Examples
    --------
    >>> import cnnperception as cp
    >>> hmax, network = cp.load_model("hmax"), cp.load_model("objects-vgg")
    >>> picture = cp.exemplar("coins", size=64)
    >>> result = cp.controversial(picture, hmax, "c1/band1", network, "pool3", evaluations=40)
    >>> held, driven = (row["distance"] for row in result.provenance["distances"])
    >>> held < 0.11 < driven
    True
    """
    if not 0 < tolerance < float("inf"):
        raise ValueError(f"tolerance must be a positive distance; got {tolerance}")
    if running.get("precision", "auto") == "auto":
        running["precision"] = "float32"
    if running["precision"] == "mixed":
        raise ValueError("a held model would leave its tolerance in bfloat16; use float32")
    source = setup.prepare(image, _placed(hold, drive), "image")
    if size is not None:
        source = image_files.resize(source, size)
    held, driven = view(hold, hold_layers, source), view(drive, drive_layers, source)
    _check_distinct(held, driven)
    # For each image: the model that is held, and the one that is driven.
    sides = [(held, driven), (driven, held)] if both else [(held, driven)]
    metric = possible_changes(source, luminance)
    faint, compared = noises(source, metric, seed)
    begun = [begin_faintly(source, faint, side, tolerance, seed) for side, _ in sides]
    start, ease = (torch.cat(parts) for parts in zip(*begun, strict=True))
    losses = [*disagreement(sides, tolerance), PixelTerm("range", out_of_range)]
    objective = Objective(hold, (), losses, precondition=lambda slope: ease * metric(slope))
    height, width = setup.size_of(None, source)
    provenance = setup.provenance(
        "controversial",
        hold,
        {"image": source},
        drive_model=setup.provenance("controversial", drive, {})["model"],
        hold_layers=held.layers,
        drive_layers=driven.layers,
        both=both,
        tolerance=tolerance,
        luminance=luminance,
        size=[height, width],
        seed=seed,
        schedule=[[height, width, evaluations]],
    )
    levels = [Level((height, width), evaluations)]
    result = synthesize(lambda index: objective, levels, start, provenance, **running)
    table = _compared(source, result.images, sides, compared)
    if result.finished:
        _warn_of_agreement(table)
    rms = root_mean_square(result.images, source)
    achieved = {"distances": table.to_dict(orient="records"), "rms": rms}
    return dataclasses.replace(result, provenance={**result.provenance, **achieved})


def disagreement(sides: Sequence[tuple[View, View]], tolerance: float) -> list[PixelTerm]:
    """Return what holds one model and drives the other, as losses of the pixels.

    Parameters
    ----------
    sides : sequence of (View, View)
        For each image of the batch the model that is held and the one that is driven.
    tolerance : float
        Distance at which a held layer costs 1, as much as the drive can win in all.
    """

    def holding(images: Tensor) -> Tensor:
        squares = _seen([held for held, _ in sides], images)
        return torch.stack([square.sum() / tolerance**2 for square in squares])

    def driving(images: Tensor) -> Tensor:
        squares = _seen([driven for _, driven in sides], images)
        return torch.stack([(1 / (1 + (square + LEAST).sqrt())).mean() for square in squares])

    return [PixelTerm("hold", holding), PixelTerm("drive", driving)]


def _seen(views: Sequence[View], images: Tensor) -> list[Tensor]:
    """Return the squared distances (layer,) of each image, as it will be shown, in its view."""
    # Pixels out of range are clipped in the end, and should not hold or drive until then.
    shown = images.clamp(0, 1)
    return [each.squared(shown[k : k + 1])[0] for k, each in enumerate(views)]


def _placed(hold: VisionModel, drive: VisionModel) -> VisionModel:
    """Return the model whose device images should be on: one without weights takes any."""
    placed = [model for model in (hold, drive) if model.state_dict()]
    if len({device_of(model) for model in placed}) > 1:
        raise ValueError(
            f"{hold.name} is on {device_of(hold)} and {drive.name} on {device_of(drive)}; load "
            "both with the same device"
        )
    return placed[0] if placed else hold


def _check_distinct(held: View, driven: View) -> None:
    """Raise ValueError when a layer should stay and go away at once."""
    common = sorted(set(held.layers) & set(driven.layers))
    if common and fingerprint(held.model) == fingerprint(driven.model):
        raise ValueError(
            f"layer {common[0]!r} of {held.model.name} cannot be held and driven at once; choose "
            "other layers, or another model"
        )


def _compared(
    source: Tensor, images: Tensor, sides: Sequence[tuple[View, View]], noise: Tensor
) -> pd.DataFrame:
    """Return the distances of images, and of noise that is as strong or as far, layer by layer."""
    rows = []
    for number, (image, (held, driven)) in enumerate(zip(images.split(1), sides, strict=True)):
        strong = as_strong(source, noise, root_mean_square(image, source)[0])
        far = as_far(source, noise, held, image)
        for role, seen in (("hold", held), ("drive", driven)):
            distances = [seen.distances(each)[0].tolist() for each in (image, strong, far)]
            rows += [
                (number, role, seen.model.name, *row)
                for row in zip(seen.layers, *distances, strict=True)
            ]
    columns = ["image", "role", "model", "layer", "distance", "noise", "matched_noise"]
    return pd.DataFrame(rows, columns=columns)


def _warn_of_agreement(table: pd.DataFrame) -> None:
    """Warn of images that the driven model finds hardly farther away than noise."""
    driven = table[table["role"] == "drive"].groupby(["image", "model"]).mean(numeric_only=True)
    near = driven[driven["distance"] <= LEAST_RATIO * driven["matched_noise"]]
    for row in near.reset_index().to_dict(orient="records"):
        warnings.warn(
            f"image {row['image']} is hardly farther away to {row['model']} than noise that the "
            "held model finds as near; try more evaluations, a larger tolerance or other layers",
            stacklevel=3,
        )
