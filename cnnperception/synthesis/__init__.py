"""Images made to match statistics of a model's layers."""

from .metamer import metamer
from .objective import Objective, PixelTerm, Term
from .pyramid import Level, coarse_to_fine
from .run import SynthesisResult, synthesize
from .solver import State, minimise
from .style import stylize
from .texture import noise_like, texture

__all__ = [
    "Level",
    "Objective",
    "PixelTerm",
    "State",
    "SynthesisResult",
    "Term",
    "coarse_to_fine",
    "metamer",
    "minimise",
    "noise_like",
    "stylize",
    "synthesize",
    "texture",
]
