"""Objects in controlled variation of position, size, rotation, light and background."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from .. import images, stimuli
from ..files import atomic_path
from ..stimuli import StimulusSet
from .backgrounds import BACKGROUNDS, GREY, background
from .parts import FORMS, Part, rotation
from .rendering import Scenes, draw
from .shapes import CATEGORIES, MOST_PARTS, exemplar_parts

RADIUS = 0.65  # of an object, in halves of the image's side, before its size varies
VIEW = (20.0, -35.0, 0.0)  # degrees about x, y and z: from above, and three quarters
DISTRACTORS = 3  # parts of no object, behind the object, in clutter
WAVES = 4
SLICE = 32  # scenes drawn at once: more do not fit the processor's caches


@dataclasses.dataclass(frozen=True)
class Variation:
    """How far objects vary, evenly, about the middle, their own size and the standard view.

    The three levels follow Majaj, Hong, Solomon & DiCarlo (2015): none; half of the highest;
    and rotation by up to 90 degrees about every axis, with sizes from 1/1.6 to 1.6.

    Attributes
    ----------
    position : float
        Largest shift, in halves of the image's side.
    size : float
        Largest factor of the size.
    rotation : float
        Largest angle about each axis, in degrees.
    light : float
        Largest angle of the light from its standard direction, in degrees.
    """

    position: float
    size: float
    rotation: float
    light: float


@dataclasses.dataclass(frozen=True)
class Displacement:
    """A step away from the standard view, the same in every picture; variation is about it.

    Attributes
    ----------
    position : (float, float)
        Shift to the right and up, in halves of the image's side.
    size : float
        Factor of the size.
    rotation : (float, float, float)
        Degrees about x (to the right), y (up) and z (to the viewer).
    """

    position: tuple[float, float] = (0.0, 0.0)
    size: float = 1.0
    rotation: tuple[float, float, float] = (0.0, 0.0, 0.0)


VARIATIONS = {
    "low": Variation(position=0.0, size=1.0, rotation=0.0, light=0.0),
    "medium": Variation(position=0.2, size=1.3, rotation=45.0, light=30.0),
    "high": Variation(position=0.4, size=1.6, rotation=90.0, light=60.0),
}


@dataclasses.dataclass(frozen=True)
class ObjectScenes:
    """An endless, numbered series of pictures of objects: the same number, the same picture.

    Attributes
    ----------
    size : int
        Side of the pictures, in pixels.
    variation : Variation or {"low", "medium", "high"}
    background : {"blank", "noise", "texture", "clutter"} or sequence of such
        Uniform; coloured 1/f noise; crops of texture photographs; crops of photographs with
        parts of no object scattered in front of them. Of several, each picture draws one.
    categories : sequence of str
        Take turns from picture to picture.
    exemplars : sequence of int
        Each picture draws one; keep those to be tested on apart from those trained on.
    seed : int
        Another seed, another series.
    oversampling : int
        Samples a pixel along each side: 1 is quick, 3 makes smooth outlines.
    displacement : Displacement
        With another one, the same number is the same object in the same colours, displaced.
    background_contrast : float
        Of what lies behind the object, relative to its own, in [0, 1]: 0 is uniform grey.

    Examples
    --------
    >>> from cnnperception.objects import ObjectScenes
    >>> scenes = ObjectScenes(size=64, variation="medium", seed=1)
    >>> scenes.pictures(range(4)).shape
    torch.Size([4, 3, 64, 64])
    >>> scenes.table(range(2))["category"].tolist()
    ['airplane', 'bird']
    """

    size: int = 96
    variation: Variation | str = "high"
    background: str | Sequence[str] = "clutter"
    categories: Sequence[str] = CATEGORIES
    exemplars: Sequence[int] = tuple(range(64))
    seed: int = 0
    oversampling: int = 1
    displacement: Displacement = Displacement()
    background_contrast: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.variation, str) and self.variation not in VARIATIONS:
            raise ValueError(f"variation must be one of {list(VARIATIONS)}; got {self.variation!r}")
        if not self._backgrounds:
            raise ValueError("there must be at least one background")
        for kind in self._backgrounds:
            if kind not in BACKGROUNDS:
                raise ValueError(f"no background is called {kind!r}: {list(BACKGROUNDS)}")
        if self.size < 8 or self.oversampling < 1 or self.seed < 0:
            raise ValueError("size must be 8 or more, oversampling 1 or more, seed 0 or more")
        if not self.displacement.size > 0 or not 0 <= self.background_contrast <= 1:
            raise ValueError(
                "a displacement's size must be a factor above 0, and background_contrast from 0 "
                f"to 1; got {self.displacement.size} and {self.background_contrast}"
            )
        if not self.categories or not len(self.exemplars):
            raise ValueError("there must be at least one category and one exemplar")
        for category in self.categories:
            exemplar_parts(category, min(self.exemplars))

    @property
    def _backgrounds(self) -> tuple[str, ...]:
        one = isinstance(self.background, str)
        return (self.background,) if one else tuple(self.background)  # type: ignore[return-value]

    @property
    def _range(self) -> Variation:
        return VARIATIONS[self.variation] if isinstance(self.variation, str) else self.variation

    def table(self, numbers: Iterable[int]) -> pd.DataFrame:
        """Return what each picture shows: a row a number.

        Columns: stimulus_id, category, object (category and exemplar), exemplar, background,
        variation, x, y (halves of the side, to the right and up), scale, turn_x, turn_y, turn_z
        (degrees), light_x, light_y, light_z, background_contrast, number, seed.
        """
        return pd.DataFrame([self._describe(number, self._random(number)) for number in numbers])

    def labels(self, numbers: Iterable[int]) -> Tensor:
        """Return the index of each picture's category, int64."""
        return torch.tensor([number % len(self.categories) for number in numbers])

    def pictures(self, numbers: Iterable[int]) -> Tensor:
        """Return pictures, float32 (n, 3, size, size), RGB in [0, 1]."""
        listed = list(numbers)
        slices = [listed[start : start + SLICE] for start in range(0, len(listed), SLICE)]
        if not slices:
            return torch.empty((0, 3, self.size, self.size))
        return torch.cat([self._draw(some) for some in slices])

    def stimuli(self, numbers: Iterable[int]) -> StimulusSet:
        """Return pictures, with 8 bits a channel, and their table as a stimulus set in memory."""
        listed = list(numbers)
        drawn = (255 * self.pictures(listed)).round().byte().permute(0, 2, 3, 1).numpy()
        table = self.table(listed)
        return StimulusSet.from_arrays(drawn, table["stimulus_id"].tolist(), table)

    def write(self, folder: str | os.PathLike[str], number: int) -> StimulusSet:
        """Write the first pictures as PNG with their table, and return them as a stimulus set.

        Files that are there already are left alone, so that an interrupted call goes on.
        """
        root = Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        table = self.table(range(number))
        table.insert(1, "file", [f"{name}.png" for name in table["stimulus_id"]])
        for place, file in enumerate(table["file"]):
            if not (root / file).exists():
                images.write(
                    root / file,
                    self.pictures([place])[0],
                    {str(key): value for key, value in table.iloc[place].items()},
                )
        with atomic_path(root / stimuli.TABLE_FILE) as path:
            table.to_csv(path, index=False)
        return StimulusSet.from_folder(root)

    def _random(self, number: int) -> np.random.Generator:
        if number < 0:
            raise ValueError(f"pictures are numbered from 0 on; got {number}")
        return np.random.default_rng([self.seed, number])

    def _describe(self, number: int, random: np.random.Generator) -> dict[str, object]:
        vary, step = self._range, self.displacement
        category = self.categories[number % len(self.categories)]
        exemplar = int(self.exemplars[int(random.integers(len(self.exemplars)))])
        kind = self._backgrounds[int(random.integers(len(self._backgrounds)))]
        x, y = np.add(step.position, random.uniform(-vary.position, vary.position, 2))
        scale = RADIUS * step.size * vary.size ** random.uniform(-1, 1)
        turn = np.add(VIEW, step.rotation) + random.uniform(-vary.rotation, vary.rotation, 3)
        lean = np.radians(random.uniform(-vary.light, vary.light, 2))
        light = np.array([0.4, 0.6, 0.7]) + np.array([np.sin(lean[0]), np.sin(lean[1]), 0])
        light /= np.linalg.norm(light)
        return {
            "stimulus_id": f"{category}-{number:07d}",
            "category": category,
            "object": f"{category}-{exemplar}",
            "exemplar": exemplar,
            "background": kind,
            "variation": self.variation if isinstance(self.variation, str) else "custom",
            **dict(zip(("x", "y", "scale"), (float(v) for v in (x, y, scale)), strict=True)),
            **dict(zip(("turn_x", "turn_y", "turn_z"), map(float, turn), strict=True)),
            **dict(zip(("light_x", "light_y", "light_z"), map(float, light), strict=True)),
            "background_contrast": self.background_contrast,
            "number": number,
            "seed": self.seed,
        }

    def _draw(self, numbers: Sequence[int]) -> Tensor:
        side = self.size * self.oversampling
        scenes, behind = [], []
        for number in numbers:
            random = self._random(number)
            shown = self._describe(number, random)
            scenes.append(_scene(shown, random))
            behind.append(background(str(shown["background"]), side, random))
        tensors = {
            name: torch.from_numpy(np.stack([scene[name] for scene in scenes])).float()
            for name in scenes[0]
        }
        drawn = self._in_front(Scenes(**tensors), torch.stack(behind))
        if self.oversampling == 1:
            return drawn
        return functional.avg_pool2d(drawn, self.oversampling)

    def _in_front(self, scenes: Scenes, behind: Tensor) -> Tensor:
        """Return scenes in front of backgrounds, of which also scattered parts are part."""
        if self.background_contrast == 1:
            return draw(scenes, behind)  # in one go, which is quicker and the same
        whole = draw(scenes.some(slice(MOST_PARTS, None)), behind)
        faded = GREY + self.background_contrast * (whole - GREY)
        return draw(scenes.some(slice(MOST_PARTS)), faded)


def _scene(shown: dict[str, object], random: np.random.Generator) -> dict[str, np.ndarray]:
    """Return one row of each array of `Scenes`."""
    parts = _exemplar_arrays(str(shown["category"]), int(str(shown["exemplar"])))
    turn = rotation([float(str(shown[f"turn_{axis}"])) for axis in "xyz"])
    scale, origin = float(str(shown["scale"])), np.array([shown["x"], shown["y"], 0.0], float)
    palette = random.uniform(0.05, 0.95, (3, 3))
    to_object = turn.T / scale
    scene = {name: values.copy() for name, values in parts.items() if name != "tone"}
    scene["matrix"] = parts["matrix"] @ to_object
    scene["offset"] = parts["offset"] - scene["matrix"] @ origin
    tone = parts["tone"]
    scene["colours"] = np.stack([palette[tone], palette[tone + 1]], axis=1)
    if shown["background"] == "clutter":
        scattered = _scattered(random)
        scene = {name: np.concatenate([scene[name], scattered[name]]) for name in scene}
    else:
        empty = _empty(DISTRACTORS)
        scene = {name: np.concatenate([scene[name], empty[name]]) for name in scene}
    frequency = random.normal(size=(WAVES, 3)) * random.uniform(1, 9)
    amplitude = random.uniform(-4, 4, (WAVES, 1)) * (random.random((WAVES, 1)) < 0.6)
    phase = random.uniform(0, 2 * np.pi, (WAVES, 1))
    scene["waves"] = np.concatenate([frequency, phase, amplitude], axis=1)
    scene["to_object"], scene["origin"] = to_object, origin
    scene["light"] = np.array([shown[f"light_{axis}"] for axis in "xyz"], float)
    scene["ambient"] = np.asarray(random.uniform(0.3, 0.5))
    return scene


@functools.lru_cache(maxsize=4096)
def _exemplar_arrays(category: str, exemplar: int) -> dict[str, np.ndarray]:
    parts = exemplar_parts(category, exemplar)
    arrays = _arrays(parts)
    empty = _empty(MOST_PARTS - len(parts))
    empty["tone"] = np.zeros(MOST_PARTS - len(parts), int)
    arrays["tone"] = np.array([part.tone for part in parts])
    return {name: np.concatenate([arrays[name], empty[name]]) for name in arrays if name in empty}


def _arrays(parts: Sequence[Part]) -> dict[str, np.ndarray]:
    matrix = np.stack([part.to_own_coordinates() for part in parts])
    centre = np.array([part.centre for part in parts], float)
    forms = [FORMS[part.form] for part in parts]
    return {
        "matrix": matrix,
        "offset": -np.einsum("pij,pj->pi", matrix, centre),
        "square": np.array([form[0] for form in forms], float),
        "slope": np.array([form[1] for form in forms], float),
        "size": np.array([form[2] for form in forms], float),
        "lower": np.array([form[3] for form in forms], float),
        "upper": np.array([form[4] for form in forms], float),
    }


def _empty(count: int) -> dict[str, np.ndarray]:
    return {
        "matrix": np.tile(np.eye(3), (count, 1, 1)),
        "offset": np.zeros((count, 3)),
        "square": np.ones(count),
        "slope": np.zeros(count),
        "size": -np.ones(count),
        "lower": -np.ones((count, 3)),
        "upper": np.ones((count, 3)),
        "colours": np.zeros((count, 2, 3)),
    }


def _scattered(random: np.random.Generator) -> dict[str, np.ndarray]:
    """Return parts of no object, behind every object, at any place of the picture."""
    parts = [
        Part(
            str(random.choice(list(FORMS))),
            (*random.uniform(-1, 1, 2), -4.0),
            tuple(random.uniform(0.06, 0.3, 3)),
            turn=tuple(random.uniform(-180, 180, 3)),
        )
        for _ in range(DISTRACTORS)
    ]
    return {**_arrays(parts), "colours": random.uniform(0.05, 0.95, (DISTRACTORS, 2, 3))}
