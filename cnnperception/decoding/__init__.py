"""Linear readouts of patterns: cross-validated decoding and generalisation over variation."""

from .attribution import gains, mean_gain
from .decode import decode, decode_layers
from .generalization import generalization
from .learning import learning_curve
from .paired import resampled_accuracies
from .permutation import permutation_test
from .scores import d_prime

__all__ = [
    "d_prime",
    "decode",
    "decode_layers",
    "gains",
    "generalization",
    "learning_curve",
    "mean_gain",
    "permutation_test",
    "resampled_accuracies",
]
