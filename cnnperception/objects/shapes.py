"""Sixteen categories of objects: how an exemplar of each is put together.

Every function draws the proportions, and which optional parts there are, from the generator it
is given: exemplars of a category share a plan and differ in shape. Objects look along x, y is up.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .parts import Part, normalised

Draw = Callable[[float, float], float]
Chance = Callable[[float], bool]


def _airplane(draw: Draw, chance: Chance) -> list[Part]:
    length, radius, span = draw(0.9, 1.1), draw(0.1, 0.18), draw(0.7, 1.1)
    sweep, chord = draw(0, 30), draw(0.12, 0.25)
    parts = [Part("ball", (0, 0, 0), (length, radius, radius))]
    for side in (-1, 1):
        turn = (0, side * sweep, 0)
        centre = (-0.1, 0, side * (span / 2 + radius / 2))
        parts.append(Part("box", centre, (chord, 0.03, span / 2), turn=turn, tone=1))
        parts.append(Part("box", (-0.85 * length, 0.05, side * 0.18), (0.1, 0.02, 0.2), tone=1))
        if chance(0.6):
            parts.append(Part("rod", (0.05, -0.1, side * span / 2), (0.14, 0.06, 0.06), "x"))
    fin = draw(0.15, 0.28)
    return [*parts, Part("box", (-0.85 * length, fin, 0), (0.12, fin, 0.025), tone=1)]


def _bird(draw: Draw, chance: Chance) -> list[Part]:
    body, head, neck = draw(0.25, 0.38), draw(0.14, 0.22), draw(0.0, 0.35)
    tilt, leg = draw(0, 35), draw(0.15, 0.5)
    top = (0.42, 0.25 + neck, 0)
    parts = [
        Part("ball", (0, 0, 0), (0.5, body, body * 0.85), turn=(0, 0, tilt)),
        Part("ball", top, (head, head, head)),
        Part("dome", (top[0] + head + 0.1, top[1], 0), (draw(0.1, 0.22), 0.06, 0.06), "x", tone=1),
        Part("box", (-0.6, -0.15, 0), (draw(0.18, 0.35), 0.03, 0.13), turn=(0, 0, tilt)),
    ]
    if neck > 0.1:
        parts.append(Part("rod", (0.36, 0.15 + neck / 2, 0), (0.09, 0.1 + neck / 2, 0.09)))
    for side in (-1, 1):
        turn = (0, 0, tilt)
        parts.append(Part("ball", (-0.1, 0.05, side * body * 0.8), (0.38, 0.18, 0.07), "y", turn))
        foot = (0.02, -body - leg / 2, side * 0.12)
        parts.append(Part("rod", foot, (0.03, leg / 2 + 0.05, 0.03), tone=1))
    return parts


def _boat(draw: Draw, chance: Chance) -> list[Part]:
    depth, width = draw(0.25, 0.4), draw(0.2, 0.35)
    parts = [Part("bowl", (0, 0, 0), (1.0, depth, width))]
    if chance(0.6):
        mast, sail = draw(0.6, 0.9), draw(0.3, 0.5)
        parts.append(Part("rod", (0.1, mast, 0), (0.035, mast, 0.035), tone=1))
        turn = (0, draw(-25, 25), 0)
        centre = (0.1 - sail, mast * 1.1, 0)
        parts.append(Part("box", centre, (sail * 0.9, mast * 0.6, 0.025), turn=turn, tone=1))
    else:
        cabin = draw(0.25, 0.45)
        parts.append(Part("box", (-0.1, 0.15, 0), (cabin, 0.17, width * 0.6), tone=1))
        parts.append(Part("rod", (-0.1, 0.5, 0), (0.08, 0.25, 0.08)))
        if chance(0.5):
            parts.append(Part("rod", (0.15, 0.45, 0), (0.08, 0.2, 0.08)))
    return parts


def _bottle(draw: Draw, chance: Chance) -> list[Part]:
    body, neck, width, tall = draw(0.4, 0.65), draw(0.2, 0.4), draw(0.2, 0.38), draw(0.07, 0.13)
    form = "box" if chance(0.3) else "rod"
    shoulder = body + 0.9 * width
    return [
        Part(form, (0, 0, 0), (width, body, width)),
        Part("ball", (0, body, 0), (width, width, width)),
        Part("rod", (0, shoulder + neck / 2, 0), (tall, neck, tall)),
        Part("rod", (0, shoulder + 1.5 * neck, 0), (tall * 1.3, 0.07, tall * 1.3), tone=1),
        Part(form, (0, draw(-0.15, 0.15), 0), (width * 1.02, body * 0.4, width * 1.02), tone=1),
    ]


def _car(draw: Draw, chance: Chance) -> list[Part]:
    height, width, cabin = draw(0.16, 0.28), draw(0.36, 0.46), draw(0.35, 0.6)
    wheel, back = draw(0.17, 0.25), draw(-0.35, 0.05)
    above = height + draw(0.12, 0.22)
    parts = [Part("box", (0, 0, 0), (1.0, height, width))]
    if chance(0.5):
        parts.append(Part("ball", (back, height, 0), (cabin * 1.25, above, width * 0.9), tone=1))
    else:
        parts.append(Part("box", (back, above, 0), (cabin, above - height + 0.05, width * 0.88)))
    for end in (-0.58, 0.58):
        for side in (-1, 1):
            centre = (end, -height, side * width)
            parts.append(Part("rod", centre, (wheel, wheel, 0.08), "z", tone=1))
    return parts


def _chair(draw: Draw, chance: Chance) -> list[Part]:
    width, leg, back, thick = draw(0.38, 0.5), draw(0.3, 0.5), draw(0.4, 0.7), draw(0.04, 0.09)
    seat = "rod" if chance(0.3) else "box"
    parts = [
        Part(seat, (0, 0, 0), (width, thick, width)),
        Part(
            "box", (-width, back, 0), (0.05, back, width * 0.95), turn=(0, 0, draw(0, 15)), tone=1
        ),
    ]
    if chance(0.25):
        parts.append(Part("rod", (0, -leg, 0), (0.07, leg, 0.07)))
        return [*parts, Part("rod", (0, -2 * leg, 0), (width, 0.04, width))]
    for x in (-0.85, 0.85):
        for z in (-0.85, 0.85):
            parts.append(Part("box", (x * width, -leg, z * width), (0.045, leg, 0.045)))
    if chance(0.4):
        for z in (-0.9, 0.9):
            centre = (0, back * 0.6, z * width)
            parts.append(Part("box", centre, (width * 0.9, 0.04, 0.05), tone=1))
    return parts


def _fish(draw: Draw, chance: Chance) -> list[Part]:
    deep, thick, tail = draw(0.22, 0.5), draw(0.1, 0.2), draw(0.18, 0.35)
    parts = [Part("ball", (0, 0, 0), (0.75, deep, thick))]
    for side in (-1, 1):
        parts.append(
            Part(
                "ball", (-0.9, side * tail * 0.6, 0), (0.28, 0.1, 0.03), "y", (0, 0, -side * 35), 1
            )
        )
        fin = (0.2, -0.1, side * thick)
        parts.append(Part("ball", fin, (0.2, 0.07, 0.03), "y", (side * 30, 0, 25), 1))
    top = (draw(-0.2, 0.1), deep, 0)
    parts.append(Part("ball", top, (draw(0.2, 0.4), draw(0.08, 0.2), 0.03), tone=1))
    if chance(0.5):
        parts.append(Part("ball", (-0.2, -deep, 0), (0.2, 0.1, 0.03), tone=1))
    return parts


def _flower(draw: Draw, chance: Chance) -> list[Part]:
    count, long, wide = int(draw(5, 8.99)), draw(0.25, 0.4), draw(0.1, 0.18)
    open_, heart = draw(15, 60), draw(0.1, 0.2)
    parts = [
        Part("rod", (0, -0.6, 0), (0.035, 0.6, 0.035), tone=1),
        Part("ball", (0, 0.03, 0), (heart, heart * 0.8, heart), tone=1),
    ]
    for number in range(count):
        around = 360 * number / count
        direction = np.radians(around)
        away = (heart + long * 0.8) * np.cos(np.radians(open_ / 2))
        centre = (away * np.cos(direction), 0.15 * open_ / 60, -away * np.sin(direction))
        parts.append(Part("ball", centre, (long, 0.04, wide), "y", (0, around, 0)))
    for side in (-1, 1):
        centre = (side * 0.22, draw(-0.9, -0.5), 0)
        parts.append(Part("ball", centre, (0.24, 0.03, 0.09), "y", (0, 0, side * 30), 1))
    return parts


def _house(draw: Draw, chance: Chance) -> list[Part]:
    length, height, width = draw(0.5, 0.9), draw(0.3, 0.6), draw(0.4, 0.6)
    slope = draw(25, 50)
    roof = width / np.cos(np.radians(slope)) * 0.58
    parts = [Part("box", (0, 0, 0), (length, height, width))]
    for side in (-1, 1):
        rise = height + roof * np.sin(np.radians(slope)) * 0.85
        centre = (0.0, rise, side * width * 0.52)
        half = (length * 1.08, 0.04, roof)
        parts.append(Part("box", centre, half, turn=(side * slope, 0, 0), tone=1))
    parts.append(Part("box", (length, -height * 0.45, 0), (0.03, height * 0.55, 0.14), tone=1))
    parts.append(Part("box", (0, -height * 0.1, width), (0.15, 0.15, 0.03), tone=1))
    if chance(0.6):
        centre = (-length * 0.5, height + roof * 0.7, width * 0.3)
        parts.append(Part("box", centre, (0.08, 0.28, 0.08)))
    return parts


def _insect(draw: Draw, chance: Chance) -> list[Part]:
    head, chest, tail = draw(0.12, 0.2), draw(0.16, 0.26), draw(0.25, 0.42)
    parts = [
        Part("ball", (chest + head * 0.8, 0.03, 0), (head, head, head), tone=1),
        Part("ball", (0, 0, 0), (chest, chest * 0.85, chest * 0.9)),
        Part("ball", (-chest - tail * 0.8, 0, 0), (tail, tail * 0.7, tail * 0.7)),
    ]
    reach = draw(0.25, 0.4)
    for x, swing in ((-0.12, 30), (0.0, 0), (0.12, -30)):
        for side in (-1, 1):
            centre = (x * 2, -0.12, side * (chest + reach * 0.6))
            turn = (side * 30, side * swing, 0)
            parts.append(Part("rod", centre, (0.03, 0.03, reach), "z", turn, 1))
    if chance(0.5):
        for side in (-1, 1):
            centre = (-0.25, chest, side * 0.28)
            parts.append(
                Part("ball", centre, (0.4, 0.02, 0.16), "y", (side * -15, side * 30, 0), 1)
            )
    return parts


def _lamp(draw: Draw, chance: Chance) -> list[Part]:
    tall, shade, wide = draw(0.4, 0.8), draw(0.2, 0.35), draw(0.3, 0.5)
    form = "dome" if chance(0.5) else "rod"
    return [
        Part("rod", (0, -tall, 0), (draw(0.2, 0.35), 0.05, draw(0.2, 0.35))),
        Part("rod", (0, 0, 0), (0.04, tall, 0.04)),
        Part("ball", (0, -tall * draw(0.2, 0.8), 0), (0.1, draw(0.1, 0.2), 0.1)),
        Part(form, (0, tall + shade * 0.6, 0), (wide, shade, wide), tone=1),
    ]


def _mug(draw: Draw, chance: Chance) -> list[Part]:
    tall, wide, grip = draw(0.35, 0.6), draw(0.3, 0.45), draw(0.14, 0.24)
    form = "cup" if chance(0.5) else "rod"
    far = wide + 2 * grip
    parts = [
        Part(form, (0, 0, 0), (wide, tall, wide)),
        Part("rod", (0, tall, 0), (wide * 1.04, 0.05, wide * 1.04), tone=1),
        Part("box", (far, 0, 0), (0.05, tall * 0.5, 0.06)),
    ]
    for y in (-0.45, 0.45):
        parts.append(Part("box", (wide + grip * 0.8, y * tall, 0), (grip * 1.2, 0.05, 0.06)))
    return parts


def _mushroom(draw: Draw, chance: Chance) -> list[Part]:
    tall, stem, cap, high = draw(0.3, 0.6), draw(0.1, 0.2), draw(0.35, 0.6), draw(0.15, 0.4)
    form = "dome" if chance(0.4) else "ball"
    parts = [
        Part("rod", (0, 0, 0), (stem, tall, stem)),
        Part(form, (0, tall + high * 0.5, 0), (cap, high, cap), tone=1),
        Part("rod", (0, tall * 0.4, 0), (stem * 1.5, 0.03, stem * 1.5)),
    ]
    if chance(0.4):
        x, small = draw(0.3, 0.45), draw(0.4, 0.6)
        parts.append(
            Part("rod", (x, -tall * (1 - small), 0.1), (stem * small, tall * small, stem * small))
        )
        top = tall * (2 * small - 1) + high * small * 0.5
        parts.append(Part(form, (x, top, 0.1), (cap * small, high * small, cap * small), tone=1))
    return parts


def _person(draw: Draw, chance: Chance) -> list[Part]:
    chest, leg, head = draw(0.16, 0.24), draw(0.3, 0.4), draw(0.11, 0.15)
    parts = [
        Part("ball", (0, 0.15, 0), (0.14, 0.36, chest * 1.1), tone=1),
        Part("ball", (0.02, 0.5 + head, 0), (head, head * 1.2, head)),
    ]
    for side in (-1, 1):
        arm, step = draw(10, 120), side * draw(0, 25)
        bend = np.radians(arm)
        centre = (0, 0.32 - 0.25 * np.cos(bend), side * (chest + 0.22 * np.sin(bend)))
        parts.append(Part("ball", centre, (0.06, 0.27, 0.06), "y", (-side * arm, 0, 0)))
        foot = (np.sin(np.radians(step)) * leg, -0.1 - leg, side * 0.1)
        parts.append(Part("ball", foot, (0.08, leg * 1.1, 0.08), "y", (0, 0, step), 1))
    if chance(0.4):
        parts.append(Part("rod", (0.02, 0.55 + 2 * head, 0), (0.18, 0.03, 0.18), tone=1))
        parts.append(Part("rod", (0.02, 0.6 + 2 * head, 0), (0.1, 0.09, 0.1), tone=1))
    return parts


def _quadruped(draw: Draw, chance: Chance) -> list[Part]:
    thick, leg, neck, head = draw(0.2, 0.34), draw(0.2, 0.42), draw(0.05, 0.4), draw(0.13, 0.2)
    top = (0.62 + neck * 0.3, 0.15 + neck, 0)
    parts = [
        Part("ball", (0, 0, 0), (0.65, thick, thick * 0.85)),
        Part("ball", top, (head * 1.1, head, head * 0.85)),
        Part("ball", (top[0] + head, top[1] - 0.05, 0), (draw(0.1, 0.24), 0.08, 0.08), tone=1),
        Part("rod", (0.52, 0.1 + neck / 2, 0), (0.1, 0.1 + neck * 0.6, 0.1), "y", (0, 0, -20)),
        Part("rod", (-0.7, 0.1, 0), (0.035, draw(0.12, 0.3), 0.035), "y", (0, 0, draw(10, 70)), 1),
    ]
    for x in (-0.42, 0.42):
        for side in (-1, 1):
            centre = (x, -thick * 0.6 - leg, side * thick * 0.5)
            parts.append(Part("rod", centre, (0.07, leg, 0.07)))
    for side in (-1, 1):
        ear = (top[0] - 0.05, top[1] + head, side * head * 0.6)
        parts.append(Part("dome", ear, (0.05, draw(0.06, 0.2), 0.04), tone=1))
    return parts


def _tree(draw: Draw, chance: Chance) -> list[Part]:
    trunk, thick = draw(0.3, 0.6), draw(0.06, 0.13)
    parts = [Part("rod", (0, -trunk, 0), (thick, trunk, thick))]
    if chance(0.5):
        layers, wide = int(draw(2, 4.99)), draw(0.35, 0.55)
        for number in range(layers):
            small = wide * (1 - 0.22 * number)
            centre = (0.0, 0.15 + 0.32 * number, 0.0)
            parts.append(Part("dome", centre, (small, 0.34, small), tone=1))
        return parts
    for _ in range(int(draw(3, 6.99))):
        centre = (draw(-0.35, 0.35), draw(0.1, 0.65), draw(-0.35, 0.35))
        size = draw(0.25, 0.42)
        parts.append(Part("ball", centre, (size, size * 0.9, size), tone=1))
    return parts


SHAPES: dict[str, Callable[[Draw, Chance], list[Part]]] = {
    "airplane": _airplane,
    "bird": _bird,
    "boat": _boat,
    "bottle": _bottle,
    "car": _car,
    "chair": _chair,
    "fish": _fish,
    "flower": _flower,
    "house": _house,
    "insect": _insect,
    "lamp": _lamp,
    "mug": _mug,
    "mushroom": _mushroom,
    "person": _person,
    "quadruped": _quadruped,
    "tree": _tree,
}
CATEGORIES = tuple(SHAPES)
MOST_PARTS = 14


def exemplar_parts(category: str, exemplar: int) -> list[Part]:
    """Return the parts of one exemplar, within the sphere of radius 1 about the origin.

    Parameters
    ----------
    category : str
        One of `CATEGORIES`.
    exemplar : int
        Any number from 0 on: the same number is the same object, everywhere.

    Raises
    ------
    ValueError
        For an unknown category or a negative number.
    """
    if category not in SHAPES:
        raise ValueError(f"no category is called {category!r}; there are {', '.join(CATEGORIES)}")
    if exemplar < 0:
        raise ValueError(f"exemplars are numbered from 0 on; got {exemplar}")
    random = np.random.default_rng([CATEGORIES.index(category), exemplar])
    parts = SHAPES[category](
        lambda low, high: float(random.uniform(low, high)),
        lambda probability: bool(random.random() < probability),
    )
    return normalised(parts)
