"""The neocognitron (Fukushima 1980, 2003): a model that grows its features from images."""

from .digits import handwritten_digits as handwritten_digits
from .digits import shifted as shifted
from .model import Neocognitron as Neocognitron
from .views import preferred_patterns as preferred_patterns
