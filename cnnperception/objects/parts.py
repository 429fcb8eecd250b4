"""Convex parts that objects are built of, each a quadric cut by planes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

FAR = 1e3
# form: what holds within a part, in its own coordinates x, y, z of [-1, 1]:
# x^2 + y^2 + square z^2 + slope z <= size, and lower <= (x, y, z) <= upper
FORMS: dict[str, tuple[float, float, float, tuple[float, ...], tuple[float, ...]]] = {
    "ball": (1, 0, 1, (-FAR, -FAR, -FAR), (FAR, FAR, FAR)),
    "bowl": (1, 0, 1, (-FAR, -FAR, -FAR), (FAR, FAR, 0)),
    "rod": (0, 0, 1, (-FAR, -FAR, -1), (FAR, FAR, 1)),
    "dome": (0, 0.5, 0.5, (-FAR, -FAR, -1), (FAR, FAR, 1)),
    "cup": (0, -0.35, 0.65, (-FAR, -FAR, -1), (FAR, FAR, 1)),
    "box": (0, 0, FAR, (-1, -1, -1), (1, 1, 1)),
}
# Which of an object's axes are a part's x, y and z, by the axis that its z lies along.
AXES = {"x": (1, 2, 0), "y": (2, 0, 1), "z": (0, 1, 2)}


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of an object; y points up, and the object looks along x.

    Attributes
    ----------
    form : {"ball", "bowl", "rod", "dome", "cup", "box"}
        A dome narrows to a point along its axis, a cup widens, a bowl is the lower half ball.
    centre : (x, y, z)
    half : (x, y, z)
        Half its extent along each of the object's axes, before it is turned.
    axis : {"x", "y", "z"}
        Along which a rod, dome, cup or bowl lies.
    turn : (x, y, z)
        Degrees by which it is then turned about each axis through its centre, x first.
    tone : {0, 1}
        Which of the object's two colours is its own.
    """

    form: str
    centre: Sequence[float]
    half: Sequence[float]
    axis: str = "y"
    turn: Sequence[float] = (0.0, 0.0, 0.0)
    tone: int = 0

    def to_own_coordinates(self) -> np.ndarray:
        """Return the (3, 3) matrix from object coordinates about the centre to the part's own."""
        order = list(AXES[self.axis])
        scaled = np.eye(3)[order] / np.asarray(self.half, float)[order][:, None]
        return np.asarray(scaled @ rotation(self.turn).T)

    def corners(self) -> np.ndarray:
        """Return the (8, 3) corners of the box around it, in object coordinates."""
        signs = np.stack(np.meshgrid(*[[-1, 1]] * 3), axis=-1).reshape(8, 3)
        return signs * np.asarray(self.half) @ rotation(self.turn).T + np.asarray(self.centre)


def rotation(degrees: Sequence[float]) -> np.ndarray:
    """Return the (3, 3) matrix that turns about x, then y, then z."""
    turned = np.eye(3)
    for axis, angle in enumerate(np.radians(np.asarray(degrees, float))):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        about = np.eye(3)
        about[first, first] = about[second, second] = np.cos(angle)
        about[first, second], about[second, first] = -np.sin(angle), np.sin(angle)
        turned = about @ turned
    return turned


def normalised(parts: Sequence[Part]) -> list[Part]:
    """Return the parts moved and scaled together into the sphere of radius 1 about the origin."""
    corners = np.concatenate([part.corners() for part in parts])
    middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
    radius = np.linalg.norm(corners - middle, axis=1).max()
    return [
        dataclasses.replace(
            part,
            centre=tuple((np.asarray(part.centre) - middle) / radius),
            half=tuple(np.asarray(part.half) / radius),
        )
        for part in parts
    ]
