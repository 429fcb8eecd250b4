"""Linear readouts of patterns: cross-validated decoding and generalisation over variation."""

from .decode import decode, decode_layers
from .scores import d_prime

__all__ = ["d_prime", "decode", "decode_layers"]
