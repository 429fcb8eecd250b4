"""Images made to match statistics of a model's layers."""

from .controversial import controversial
from .foveated import foveated_metamer
from .metamer import metamer
from .objective import Objective, PixelTerm, Term
from .pyramid import Level, coarse_to_fine
from .result import SynthesisResult
from .run import synthesize
from .solver import State, minimise
from .style import stylize
from .texture import noise_like, texture
from .verdict import judgement, verbatim_copies, verdict
from .watching import Animation, Preview, watchers

__all__ = [
    "Animation",
    "Level",
    "Objective",
    "PixelTerm",
    "Preview",
    "State",
    "SynthesisResult",
    "Term",
    "coarse_to_fine",
    "controversial",
    "foveated_metamer",
    "judgement",
    "metamer",
    "minimise",
    "noise_like",
    "stylize",
    "synthesize",
    "texture",
    "verbatim_copies",
    "verdict",
    "watchers",
]
