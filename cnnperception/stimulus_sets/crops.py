"""Crops of the pictures of a set, and trials of an oddity task that show three of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import images, runtime
from ..files import sha256
from .pictures import Plan, adjusted, digest, row_of, target, write_picture

FOLDER = "crops"
# What a crop's row has of its picture's.
OF_THE_PICTURE = ("condition", "kind", "exemplar", "model", "layer_set", "seed")
ALTERNATIVES = 3


def crops_of(plan: Plan, pictures: pd.DataFrame, progress: bool = False) -> pd.DataFrame:
    """Cut the crops that are not there yet; return a table of all.

    Parameters
    ----------
    plan : Plan
    pictures : DataFrame
        The table of the pictures, all of which are there.
    progress : bool

    Returns
    -------
    DataFrame
        A row a crop: file (from the folder of the set), parent and parent_sha256, condition,
        kind, exemplar, model, layer_set and seed of the parent, crop (from 1), top and left in
        pixels, height, width, luminance and contrast as for pictures, sha256.

    Raises
    ------
    ValueError
        When the crops do not fit the pictures, a crop that has no contrast is to be given one,
        or a crop of other settings is there under the same name.
    """
    settings = plan.settings["crops"]
    places = crop_places(plan.settings["size"], settings)
    rows = []
    for picture in runtime.progress(
        pictures.to_dict(orient="records"), "crops", show=progress, total=len(pictures)
    ):
        for number, place in enumerate(places, 1):
            rows.append(_crop(plan, picture, number, place))
    return pd.DataFrame(rows)


def _crop(
    plan: Plan, picture: Mapping[Any, Any], number: int, place: tuple[int, int]
) -> dict[str, Any]:
    """Write a crop unless it is there; return its row."""
    settings, (top, left) = plan.settings["crops"], place
    side = settings["size"]
    file = f"{FOLDER}/{Path(picture['file']).stem}_crop{number}.png"
    path = plan.folder / file
    key = digest({"parent": picture["sha256"], "crop": dict(settings), "place": place})
    row = row_of(path, key)
    if row is None:
        exemplar = plan.exemplars[picture["exemplar"]].image
        targets = [target(settings[name], name, exemplar) for name in ("luminance", "contrast")]
        whole = images.read(plan.folder / picture["file"])
        try:
            shown, measures = adjusted(whole[..., top : top + side, left : left + side], *targets)
        except ValueError as error:
            raise ValueError(f"crop {number} of {picture['file']}: {error}") from error
        row = {
            "file": file,
            "parent": picture["file"],
            "parent_sha256": picture["sha256"],
            **{name: picture[name] for name in OF_THE_PICTURE},
            "crop": number,
            "top": top,
            "left": left,
            "height": side,
            "width": side,
            **measures,
        }
        write_picture(path, shown, {"key": key, "row": row, "settings": dict(settings)})
    return {**row, "sha256": sha256(path)}


def check_crops(settings: Mapping[str, Any], conditions: Collection[str]) -> None:
    """Raise ValueError for crops and trials that cannot be had of a set of such conditions."""
    if settings["crops"] is not None:
        crop_places(settings["size"], settings["crops"])
    if settings["trials"] is not None:
        standard = settings["trials"]["standard"]
        if standard not in conditions or len(conditions) < 2:
            raise ValueError(
                f"trials compare the standard {standard!r} with other conditions; the set has "
                f"{', '.join(sorted(conditions))}: add what is missing, or name another standard"
            )


def crop_places(size: int, settings: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return the (top, left) of the crops of every picture, from the top left on.

    Parameters
    ----------
    size : int
        Side of a picture.
    settings : mapping
        size, per_image, places ("grid": side by side, those that are left out drawn at random;
        "random": anywhere, no two at the same place) and seed.

    Raises
    ------
    ValueError
        When so many do not fit.
    """
    side, count = settings["size"], settings["per_image"]
    if side > size:
        raise ValueError(f"crops of {side} pixels do not fit into pictures of {size}")
    if settings["places"] == "grid":
        starts = np.linspace(0, size - side, size // side).round().astype(int)
        starts = starts if len(starts) > 1 else np.array([(size - side) // 2])
    else:
        starts = np.arange(size - side + 1)
    if count > len(starts) ** 2:
        raise ValueError(
            f"there is room for {len(starts) ** 2} crops of {side} pixels in pictures of {size}, "
            f"and per_image is {count}; lower one of them, or choose places = 'random'"
        )
    chosen = np.random.default_rng(settings["seed"]).choice(len(starts) ** 2, count, replace=False)
    return [
        (int(starts[place // len(starts)]), int(starts[place % len(starts)]))
        for place in sorted(chosen)
    ]


def oddity_trials(crops: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Return the trials of a spatial oddity task with three alternatives (Wallis et al. 2017).

    Two crops of one picture and one of another condition of the same exemplar, from three
    different places. One of the two conditions is the standard; it has the odd crop as often as
    the other. Positions are drawn in blocks of three, so that the odd crop is equally often at
    each: exactly for each pair of pictures when `repeats` is a multiple of 3.

    Parameters
    ----------
    crops : DataFrame
        As `crops_of` gives it.
    settings : mapping
        standard, repeats (trials of each pair of pictures with the odd crop from the one, and as
        many with the odd crop from the other) and seed.

    Returns
    -------
    DataFrame
        A row a trial, in random order: trial (from 1), exemplar, standard and comparison (the
        conditions), odd (the condition that is odd), image1 to image3 (files, from the folder of
        the set), odd_position (1 to 3: the correct answer), same and different (the pictures that
        the crops are from).

    References
    ----------
    Wallis, Funke, Ecker, Gatys, Wichmann & Bethge (2017), Journal of Vision 17(12), 5.
    """
    random = np.random.default_rng(settings["seed"])
    files = {parent: its["file"].to_numpy() for parent, its in crops.groupby("parent", sort=False)}
    planned = [
        (pair, odd)
        for pair in _pairs(crops, settings["standard"])
        for odd in (0, 1)
        for _ in range(settings["repeats"])
    ]
    blocks = [random.permutation(ALTERNATIVES) for _ in range(-(-len(planned) // ALTERNATIVES))]
    positions = np.concatenate(blocks)
    rows = []
    for (pair, odd), position in zip(planned, positions, strict=False):
        same, different = pair[1 - odd], pair[odd]
        places = random.permutation(len(files[same["parent"]]))[:ALTERNATIVES]
        shown = [*files[same["parent"]][places[:2]]]
        shown.insert(int(position), files[different["parent"]][places[2]])
        rows.append(
            {
                "exemplar": same["exemplar"],
                "standard": pair[0]["condition"],
                "comparison": pair[1]["condition"],
                "odd": different["condition"],
                **{f"image{number}": file for number, file in enumerate(shown, 1)},
                "odd_position": int(position) + 1,
                "same": same["parent"],
                "different": different["parent"],
            }
        )
    table = pd.DataFrame(rows).iloc[random.permutation(len(rows))].reset_index(drop=True)
    table.insert(0, "trial", np.arange(1, len(table) + 1))
    return table


def _pairs(
    crops: pd.DataFrame, standard: str
) -> Iterator[tuple[Mapping[Any, Any], Mapping[Any, Any]]]:
    """Yield pairs of pictures of an exemplar, the standard and another condition's.

    Of several pictures of the standard, the first goes with the first of a condition, and so on.
    """
    pictures = crops.drop_duplicates("parent")
    for condition in pictures["condition"].unique():
        if condition == standard:
            continue
        for _, its in pictures.groupby("exemplar", sort=False):
            ours = its[its["condition"] == standard].to_dict(orient="records")
            theirs = its[its["condition"] == condition].to_dict(orient="records")
            for number, other in enumerate(theirs):
                yield ours[number % len(ours)], other
