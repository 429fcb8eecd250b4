"""What every kind of synthesis checks, chooses and records before it starts."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from .. import runtime
from ..models.interface import VisionModel, device_of, fingerprint, receptive_field, wrap_around
from ..models.registry import load_model
from .measures import MEASURES
from .memory import tiles_for
from .objective import Measure
from .pyramid import Level
from .run import Running
from .solver import Precondition, unpreconditioned
from .tiling import Tiles

# Gatys, Ecker & Bethge (2016): shorter side of the pictures, and what conv4_2 of VGG-19 sees.
PAPERS_SIDE, PAPERS_FIELD = 512, 84


def default_model(model: VisionModel | None) -> VisionModel:
    """Return the model, or the embedded random filters on the fastest device."""
    return load_model("random-filters") if model is None else model


def prepare(image: Tensor, model: VisionModel, role: str) -> Tensor:
    """Return an image as (1, 3, height, width) float32 where the model is.

    Raises
    ------
    ValueError
        When it is not one RGB image.
    FloatingPointError
        When a pixel is not finite.
    """
    batched = image[None] if image.ndim == 3 else image
    if batched.ndim != 4 or batched.shape[:2] != (1, 3):
        raise ValueError(
            f"the {role} must be one RGB image of shape (3, height, width) in [0, 1]; "
            f"got {tuple(image.shape)}"
        )
    if not torch.isfinite(batched).all():
        raise FloatingPointError(f"the {role} has pixels that are not finite numbers")
    if batched.min() < -1e-3 or batched.max() > 1 + 1e-3:
        raise ValueError(
            f"the {role} must be in [0, 1]; its values run from {float(batched.min()):.3g} to "
            f"{float(batched.max()):.3g} (divide 8-bit pixels by 255)"
        )
    device = device_of(model)
    return batched.detach().to(device=device, dtype=torch.float32)


def several(given: Tensor | Sequence[Tensor], model: VisionModel, role: str) -> list[Tensor]:
    """Return one image or several, each as `prepare` does.

    Raises
    ------
    ValueError
        When there is none.
    """
    # A batch of images is several too.
    listed = [given] if isinstance(given, Tensor) and given.ndim <= 3 else list(given)
    if not listed:
        raise ValueError(f"there must be at least one {role}")
    return [prepare(image, model, role) for image in listed]


def batches(given: Tensor | Sequence[Tensor], model: VisionModel, role: str) -> list[Tensor]:
    """Return images to be blended, each (batch, 3, height, width) for an image of its own.

    Raises
    ------
    ValueError
        When there is none, or batches of several differ in number.
    """
    listed = [given] if isinstance(given, Tensor) else list(given)
    if not listed:
        raise ValueError(f"there must be at least one {role}")
    found = [
        torch.cat(several(one, model, role)) if one.ndim == 4 else prepare(one, model, role)
        for one in listed
    ]
    counts = {len(batch) for batch in found} - {1}
    if len(counts) > 1:
        raise ValueError(
            f"batches to be blended have the same number of images, or one; got {sorted(counts)}"
        )
    return found


def seeds(given: int | Sequence[int], sources: Sequence[Tensor]) -> list[int]:
    """Return a seed for each image: of each of several sources, or of several images of one.

    Raises
    ------
    ValueError
        When there is none, or another number than that of the sources.
    """
    listed = [int(seed) for seed in given] if isinstance(given, Iterable) else [int(given)]
    count = max(len(batch) for batch in sources)
    if not listed or (count > 1 and len(listed) not in (1, count)):
        raise ValueError(f"{count} exemplar(s) need as many seeds, or one; got {listed}")
    return listed * count if len(listed) == 1 else listed


def shares(weights: Sequence[float] | None, count: int, what: str) -> list[float]:
    """Return weights that sum to 1, alike when none are given.

    Raises
    ------
    ValueError
        For another number of weights, negative ones, or none above 0.
    """
    if weights is None:
        return [1 / count] * count
    if len(weights) != count or min(weights) < 0 or not sum(weights) > 0:
        raise ValueError(
            f"there must be a weight of 0 or more for each of the {count} {what}, and one above 0; "
            f"got {list(weights)}"
        )
    return [weight / sum(weights) for weight in weights]


def named(role: str, pictures: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return pictures by their role, numbered where there are several."""
    if len(pictures) == 1:
        return {role: pictures[0]}
    return {f"{role}{number}": picture for number, picture in enumerate(pictures, 1)}


def recommended(
    model: VisionModel, purpose: str, layers: str | Iterable[str] | None
) -> str | Sequence[str]:
    """Return the layers asked for, or those the model recommends for a purpose.

    Raises
    ------
    ValueError
        When none are given and the model recommends none.
    """
    if layers is not None:
        return layers if isinstance(layers, str) else list(layers)
    suited = model.recommended.get(purpose, ())
    if not suited:
        raise ValueError(
            f"{model.name} does not say which layers suit {purpose}; name some "
            f"(it has {len(model.layers)}: `cnnperception models {model.name}` lists them)"
        )
    return suited


def size_of(size: int | tuple[int, int] | None, source: Tensor) -> tuple[int, int]:
    """Return (height, width) of a result: as given, square for one number, or the source's."""
    if size is None:
        return int(source.shape[-2]), int(source.shape[-1])
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ValueError(f"size must be positive; got {height} x {width}")
    return int(height), int(width)


def final_size(
    size: int | tuple[int, int] | None, schedule: Sequence[Level] | None, source: Tensor
) -> tuple[int, int]:
    """Return (height, width) of a result: that of a schedule's last level, where there is one.

    Raises
    ------
    ValueError
        For a schedule without a level, or whose end is of another size than asked for.
    """
    if schedule is None:
        return size_of(size, source)
    if not schedule:
        raise ValueError("the schedule has no level")
    last = schedule[-1].size
    if size is not None and size_of(size, source) != last:
        raise ValueError(
            f"the schedule ends with {last[0]} x {last[1]} pixels, and size asks for {size}"
        )
    return last


def composition(model: VisionModel, layers: Sequence[str]) -> int | None:
    """Return the shorter side at which a scene suits a model: what its content layers see, times 6.

    Six times is what Gatys, Ecker & Bethge (2016) have: 512 pixels, of which conv4_2 of VGG-19
    sees 84. In a larger picture such layers see too little of the scene to tell it from its detail,
    and a few places are enough to give the whole the style's statistics: most of it stays a
    photograph.

    Parameters
    ----------
    model : VisionModel
    layers : sequence of str
        Content layers, for a model that recommends none.

    Returns
    -------
    int or None
        None where a layer has no positions.
    """
    try:
        fields = [receptive_field(model, x) for x in model.recommended.get("content") or layers]
    except ValueError:
        return None
    return round(PAPERS_SIDE / PAPERS_FIELD * max(fields))


def scaled(image: Tensor, scale: float) -> tuple[int, int]:
    """Return the (height, width) of an image at a scale, at least one pixel."""
    height, width = image.shape[-2:]
    return max(1, round(height * scale)), max(1, round(width * scale))


def provenance(
    task: str, model: VisionModel, sources: dict[str, Tensor], **settings: Any
) -> dict[str, Any]:
    """Return the record of a synthesis: JSON values that would make it again."""
    return {
        "task": task,
        **settings,
        "model": {"name": model.name, **model.provenance, "sha256": fingerprint(model)},
        "sources": {
            role: {"shape": list(image.shape), "sha256": digest(image)}
            for role, image in sources.items()
        },
        "versions": runtime.versions(),
    }


def layers_that_fit(
    model: VisionModel, layers: Sequence[str], image: Tensor, grid: int = 1
) -> tuple[str, ...]:
    """Return the layers that see no more than half the image's shorter side, at least one.

    In a grid, half of a window's side, but never less than a quarter of the image's.

    The statistics of a layer that sees most of an image describe, and would dictate, the
    arrangement of this one picture: a texture would be a copy of its exemplar.
    """
    fields = {layer: receptive_field(model, layer) for layer in layers}
    side = min(image.shape[-2:]) / min(grid, 2)
    fitting = tuple(layer for layer in layers if 2 * fields[layer] <= side)
    return fitting or (min(fields, key=lambda layer: fields[layer]),)


def check_sees_all(model: VisionModel, layers: Sequence[str], image: Tensor, role: str) -> None:
    """Raise ValueError when an image is smaller than what a layer's units see."""
    fields = {layer: receptive_field(model, layer) for layer in layers}
    side = min(image.shape[-2:])
    deepest = max(fields, key=lambda layer: fields[layer])
    if fields[deepest] > side:
        fitting = [layer for layer in layers if fields[layer] <= side]
        advice = f"use only {', '.join(fitting)}, or" if fitting else "use"
        raise ValueError(
            f"the shorter side of the {role} is {side} pixels, but a unit of layer {deepest!r} of "
            f"{model.name} sees {fields[deepest]}; {advice} a larger {role}"
        )


def evenly(model: VisionModel, size: tuple[int, int]) -> Precondition:
    """Prefer no pixel for being copied beyond the border, where a model pads so.

    What a copied pixel does counts several times; a search would change it first, and leave a
    frame of too much contrast.

    Parameters
    ----------
    model : VisionModel
        One that has the method `copies`; for others every pixel costs the same.
    size : (int, int)
        Height and width of the images.
    """
    counted = getattr(model, "copies", None)
    if counted is None:
        return unpreconditioned
    copies: Tensor = counted(size).to(device_of(model))
    return lambda gradient: gradient / copies


def check_tiles(model: VisionModel, layers: Sequence[str], levels: Sequence[Level]) -> None:
    """Raise ValueError when the images of a schedule cannot wrap around in a model's layers."""
    device = device_of(model)
    for level in levels:
        blank = torch.zeros((1, 3, *level.size), device=device)
        try:
            with torch.no_grad(), wrap_around(model):
                features = model.features(blank, layers)
        except RuntimeError as error:
            # Circular padding must not be wider than what it goes around.
            if "wrapping around" not in str(error):
                raise
            raise ValueError(
                f"an image of {level.size[0]} x {level.size[1]} pixels is too small to tile in "
                f"these layers of {model.name}; use a larger size or finer layers"
            ) from error
        for layer, response in features.items():
            if any(
                side % cells for side, cells in zip(level.size, response.shape[2:], strict=True)
            ):
                raise ValueError(
                    f"an image of {level.size[0]} x {level.size[1]} pixels cannot tile: layer "
                    f"{layer!r} of {model.name} does not divide it evenly; use sides that are "
                    "multiples of a higher power of 2"
                )


def tiles(
    model: VisionModel,
    layers: Sequence[str],
    size: tuple[int, int],
    source: Tensor,
    running: Running,
    *,
    batch: int = 1,
    wrap: bool = False,
) -> Tiles | None:
    """Return the tiles in which a result of a size, and its source, are to be seen, or None."""
    larger = max(size, (int(source.shape[-2]), int(source.shape[-1])), key=math.prod)
    memory = running.get("memory")
    return tiles_for(model, layers, larger, batch=batch, wrap=wrap, memory=memory)


def unwrapped(tiles: Tiles | None) -> Tiles | None:
    """Return tiles for a picture whose borders are not joined."""
    return None if tiles is None else dataclasses.replace(tiles, wrap=False)


def measure(name: str) -> Measure:
    """Return the statistic of a name.

    Raises
    ------
    ValueError
        When there is none of that name.
    """
    if name not in MEASURES:
        raise ValueError(f"no statistic is called {name!r}; there are {', '.join(MEASURES)}")
    return MEASURES[name]


def digest(image: Tensor) -> str:
    """Return the SHA-256 of a tensor's values."""
    return hashlib.sha256(image.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
