"""Rendered objects of sixteen categories under controlled variation: made, never downloaded."""

from .backgrounds import BACKGROUNDS
from .parts import Part
from .scenes import VARIATIONS, Displacement, ObjectScenes, Variation
from .shapes import CATEGORIES, exemplar_parts

__all__ = [
    "BACKGROUNDS",
    "CATEGORIES",
    "VARIATIONS",
    "Displacement",
    "ObjectScenes",
    "Part",
    "Variation",
    "exemplar_parts",
]
