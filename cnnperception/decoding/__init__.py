"""Linear readouts of patterns: cross-validated decoding and generalisation over variation."""

from .decode import decode, decode_layers
from .generalization import generalization
from .learning import learning_curve
from .permutation import permutation_test
from .scores import d_prime

__all__ = [
    "d_prime",
    "decode",
    "decode_layers",
    "generalization",
    "learning_curve",
    "permutation_test",
]
