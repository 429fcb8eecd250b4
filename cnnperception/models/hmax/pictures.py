"""Where units look, in pixels, and what their prototypes look like."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from .filters import gabor_bank
from .model import HMAX
from .tuning import TunedUnits

STAMP = 7


def pixel_boxes(model: HMAX, places: pd.DataFrame) -> pd.DataFrame:
    """Return the pixels behind patches of C1 cells.

    Parameters
    ----------
    model : HMAX
    places : DataFrame
        Columns `band`, `row`, `column` (first C1 cell) and `size` (cells); the record of
        imprinted prototypes is one.

    Returns
    -------
    DataFrame
        `places` with the columns `top`, `left`, `bottom`, `right`: all pixels that the patch
        depends on, the last ones not included. They can reach over the image's border, where
        C1 sees nothing.
    """
    steps = dict(zip(model.bands, model.variant.steps, strict=True))
    pools = dict(zip(model.bands, model.variant.pools, strict=True))
    step, pool = places["band"].map(steps), places["band"].map(pools)
    half = places["band"].map({band: max(sizes) // 2 for band, sizes in model.bands.items()})
    boxes = places.copy()
    for axis, first, last in (("row", "top", "bottom"), ("column", "left", "right")):
        boxes[first] = places[axis] * step - half
        boxes[last] = (places[axis] + places["size"] - 1) * step + pool + half
    return boxes


@torch.no_grad()
def locate(model: HMAX, images: Tensor, layer: str) -> pd.DataFrame:
    """Return where in each image each C2 unit finds its best match.

    Parameters
    ----------
    model : HMAX
    images : Tensor, shape (batch, 3, height, width)
        RGB in [0, 1].
    layer : str
        A C2 layer, such as `c2/8`.

    Returns
    -------
    DataFrame
        One row an image and unit: `image` (its number), `unit`, `size`, `response`, `band`,
        `row`, `column`, and the pixels `top`, `left`, `bottom`, `right` (see `pixel_boxes`).

    Raises
    ------
    ValueError
        When the layer is none of C2, or the images are too small for it.
    """
    units = dict(model.units.items()).get(f"s{layer[1:]}")
    if not isinstance(units, TunedUnits):
        known = ", ".join(name for name in model.layers if name.startswith("c2"))
        raise ValueError(f"layer {layer!r} is none of C2; this model has {known or 'none'}")
    responses = model.features(images, [layer])[layer]
    within = [f"c1/band{band}" for band in model.bands_within(*images.shape[-2:])]
    maps = {
        int(name.removeprefix("c1/band")): value
        for name, value in model.features(images, within).items()
    }
    found = units.winners({band: value for band, value in maps.items() if units.fits(value)})
    batch, count = responses.shape
    columns = {
        "image": torch.arange(batch).repeat_interleave(count),
        "unit": torch.arange(count).repeat(batch),
        "size": torch.full((batch * count,), units.size),
        "response": responses.flatten().cpu(),
        **{name: value.flatten().cpu() for name, value in found._asdict().items()},
    }
    return pixel_boxes(model, pd.DataFrame({k: v.numpy() for k, v in columns.items()}))


def draw(patches: Tensor) -> Tensor:
    """Return pictures of prototypes: in each cell, bars as dark as the responses they stand for.

    Parameters
    ----------
    patches : Tensor, shape (unit, orientation, size, size)
        Responses in [0, 1].

    Returns
    -------
    Tensor, shape (unit, 1, 7 size, 7 size)
        In [0, 1], white where nothing responds.
    """
    bars = gabor_bank(STAMP, patches.shape[1]).clamp_min(0).to(patches)
    bars = bars / bars.amax()
    stamped = torch.einsum("uoyx,oab->uyaxb", patches, bars).flatten(3).flatten(1, 2)
    strongest = stamped.amax(dim=(1, 2), keepdim=True).clamp_min(1e-6)
    return 1 - (stamped / strongest)[:, None]
