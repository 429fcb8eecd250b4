"""Draw parts as a camera far away sees them: for each pixel the nearest, shaded and textured.

All rays are parallel to z. Where a ray meets a convex part is an interval, the cut of those of
its quadric and its planes, in closed form; the nearest end of any is what is seen.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from torch.nn import functional

PARALLEL = 1e-6  # a ray along a surface is taken to meet it at a very small angle
SPECULAR, SHININESS = 0.25, 24
BLOCK = 16  # pixels along each side of the blocks in which a part is looked for
QUADRIC = 3  # the surface of a part that is none of its planes


@dataclasses.dataclass(frozen=True)
class Scenes:
    """A batch of scenes; n scenes, p parts each (those of negative `size` are empty).

    Attributes
    ----------
    matrix, offset : Tensor, shape (n, p, 3, 3) and (n, p, 3)
        Own coordinates of a part = matrix @ (x, y, z) + offset, with the image from -1 to 1.
    square, slope, size : Tensor, shape (n, p)
        Of the quadric x^2 + y^2 + square z^2 + slope z <= size.
    lower, upper : Tensor, shape (n, p, 3)
        Planes that cut it, in own coordinates.
    colours : Tensor, shape (n, p, 2, 3)
        The two colours, RGB in [0, 1], between which the pattern changes.
    waves : Tensor, shape (n, w, 5)
        The pattern: frequency in x, y, z of the object, phase and amplitude of each wave.
    to_object : Tensor, shape (n, 3, 3)
        From image to object coordinates about `origin`, for the pattern.
    origin : Tensor, shape (n, 3)
    light : Tensor, shape (n, 3)
        Unit vector towards the light; z points to the viewer.
    ambient : Tensor, shape (n,)
        Share of the light that comes from everywhere.
    """

    matrix: Tensor
    offset: Tensor
    square: Tensor
    slope: Tensor
    size: Tensor
    lower: Tensor
    upper: Tensor
    colours: Tensor
    waves: Tensor
    to_object: Tensor
    origin: Tensor
    light: Tensor
    ambient: Tensor

    def some(self, parts: slice) -> Scenes:
        """Return the scenes with some of their parts alone."""
        own = ("matrix", "offset", "square", "slope", "size", "lower", "upper", "colours")
        return dataclasses.replace(self, **{name: getattr(self, name)[:, parts] for name in own})


def draw(scenes: Scenes, backgrounds: Tensor) -> Tensor:
    """Return scenes in front of backgrounds.

    Parameters
    ----------
    scenes : Scenes
    backgrounds : Tensor, shape (n, 3, side, side)
        RGB in [0, 1].

    Returns
    -------
    Tensor, like `backgrounds`
        One sample a pixel; draw larger and reduce for smooth outlines.
    """
    side = backgrounds.shape[-1]
    scene, part, face, row, column, depth = _seen(scenes, side)
    step = 2 / side
    point = torch.stack([(column + 0.5) * step - 1, 1 - (row + 0.5) * step, depth], dim=1)
    normal = _normals(scenes, scene, part, face, point)
    pixels = backgrounds.permute(0, 2, 3, 1).contiguous()
    pixels[scene, row, column] = _shaded(scenes, scene, part, point, normal)
    return pixels.permute(0, 3, 1, 2).contiguous()


def _seen(scenes: Scenes, side: int) -> tuple[Tensor, ...]:
    """Return, for each pixel that shows a part: scene, part, surface, row, column and z."""
    scene, part, down, across = _blocks(scenes, side)
    depth, face = _meet(scenes, scene, part, down * BLOCK, across * BLOCK, side)
    blocks = -(-side // BLOCK)
    block = (scene * blocks + down) * blocks + across
    nearest = torch.full((len(scenes.size) * blocks**2, BLOCK**2), -torch.inf, device=depth.device)
    nearest.scatter_reduce_(0, block[:, None].expand_as(depth), depth, "amax")
    pair, place = ((depth == nearest[block]) & (depth > -torch.inf)).nonzero(as_tuple=True)
    row, column = down[pair] * BLOCK + place // BLOCK, across[pair] * BLOCK + place % BLOCK
    inside = (row < side) & (column < side)
    pair, place, row, column = pair[inside], place[inside], row[inside], column[inside]
    return scene[pair], part[pair], face[pair, place], row, column, depth[pair, place]


def _blocks(scenes: Scenes, side: int) -> tuple[Tensor, ...]:
    """Return scene, part, block row and block column wherever a part may be seen in a block."""
    inverse = torch.linalg.inv(scenes.matrix)
    centre = -(inverse @ scenes.offset[..., None])[..., 0]
    reach = inverse.abs().sum(dim=3)  # every part lies within [-1, 1] of its own coordinates
    edges = torch.arange(-(-side // BLOCK), device=centre.device) * (2 * BLOCK / side)
    left, right = edges - 1, edges - 1 + 2 * BLOCK / side
    middle, half = centre[..., None], reach[..., None]
    columns = (middle[:, :, 0] + half[:, :, 0] > left) & (middle[:, :, 0] - half[:, :, 0] < right)
    rows = (half[:, :, 1] - middle[:, :, 1] > left) & (-half[:, :, 1] - middle[:, :, 1] < right)
    there = (scenes.size > 0)[..., None, None] & rows[..., :, None] & columns[..., None, :]
    return there.nonzero(as_tuple=True)


def _meet(
    scenes: Scenes, scene: Tensor, part: Tensor, top: Tensor, left: Tensor, side: int
) -> tuple[Tensor, Tensor]:
    """Return z where rays meet a part, and on which surface, each (pair, pixel of the block)."""
    within = torch.arange(BLOCK, device=top.device) + 0.5
    x = (left[:, None] + within) * (2 / side) - 1
    y = 1 - (top[:, None] + within) * (2 / side)
    # Own coordinates grow evenly along columns, rows and rays: own[i] + z ray[i].
    matrix = scenes.matrix[scene, part]
    columns = matrix[:, :, 0, None] * x[:, None] + scenes.offset[scene, part][..., None]
    rows = matrix[:, :, 1, None] * y[:, None]
    own = [columns[:, i, None, :] + rows[:, i, :, None] for i in range(3)]
    ray = [_spread(matrix[:, i, 2]) for i in range(3)]
    square, slope, size = (
        _spread(v[scene, part]) for v in (scenes.square, scenes.slope, scenes.size)
    )
    a = (ray[0].square() + ray[1].square() + square * ray[2].square()).clamp(min=PARALLEL)
    b = ray[0] * own[0] + ray[1] * own[1] + (square * ray[2]) * own[2] + slope * ray[2] / 2
    c = own[0].square() + own[1].square() + (square * own[2] + slope) * own[2] - size
    root = (b.square() - a * c).sqrt()  # not a number where the ray misses
    near, far = (root - b) / a, (-root - b) / a
    face = torch.full(near.shape, QUADRIC, dtype=torch.int8, device=near.device)
    planes = [scenes.upper[scene, part], scenes.lower[scene, part]]
    for axis in range(3):
        steep = torch.where(ray[axis].abs() < PARALLEL, PARALLEL, ray[axis])
        ends = [(_spread(plane[:, axis]) - own[axis]) / steep for plane in planes]
        nearer = torch.maximum(*ends)
        face = torch.where(nearer < near, axis, face)
        near = torch.minimum(near, nearer)
        far = torch.maximum(far, torch.minimum(*ends))
    return torch.where(near >= far, near, -torch.inf).flatten(1), face.flatten(1)


def _normals(scenes: Scenes, scene: Tensor, part: Tensor, face: Tensor, point: Tensor) -> Tensor:
    """Return the outward unit normals, (pixel, 3), in image coordinates."""
    matrix = scenes.matrix[scene, part]
    own = torch.einsum("nij,nj->ni", matrix, point) + scenes.offset[scene, part]
    own[:, 2] = scenes.square[scene, part] * own[:, 2] + scenes.slope[scene, part] / 2
    # Of a plane that is seen, the side towards the viewer is outside.
    sides = torch.eye(3).to(own)[face.clamp(max=2).long()] * matrix[:, :, 2].sign()
    gradient = torch.where((face == QUADRIC)[:, None], own, sides)
    return functional.normalize(torch.einsum("nij,ni->nj", matrix, gradient), dim=1)


def _shaded(scenes: Scenes, scene: Tensor, part: Tensor, point: Tensor, normal: Tensor) -> Tensor:
    """Return colours (pixel, 3): the pattern under diffuse and specular light (Blinn 1977)."""
    inside = torch.einsum("nij,nj->ni", scenes.to_object[scene], point - scenes.origin[scene])
    waves = scenes.waves[scene]
    phase = torch.einsum("nwj,nj->nw", waves[..., :3], inside) + waves[..., 3]
    mixture = torch.sigmoid((waves[..., 4] * phase.sin()).sum(dim=1, keepdim=True))
    colours = scenes.colours[scene, part]
    albedo = colours[:, 0] + mixture * (colours[:, 1] - colours[:, 0])
    light, ambient = scenes.light[scene], scenes.ambient[scene][:, None]
    diffuse = (normal * light).sum(dim=1, keepdim=True).clamp(min=0)
    halfway = functional.normalize(light + light.new_tensor([0.0, 0.0, 1.0]), dim=1)
    glint = (normal * halfway).sum(dim=1, keepdim=True).clamp(min=0) ** SHININESS
    return (albedo * (ambient + (1 - ambient) * diffuse) + SPECULAR * glint).clamp(0, 1)


def _spread(values: Tensor) -> Tensor:
    return values[..., None, None]
