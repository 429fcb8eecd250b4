"""Networks between HMAX and a small VGG: built, trained and read out on the same pictures."""

from .learning import Classifier, decoded, learn, read
from .networks import ALL_PICTURES, CNN, HMAX, LONG, PARTICULARS, Network, build
from .pictures import BACKGROUNDS, BANDS, Pictures, Scale

__all__ = [
    "ALL_PICTURES",
    "BACKGROUNDS",
    "BANDS",
    "CNN",
    "HMAX",
    "LONG",
    "PARTICULARS",
    "Classifier",
    "Network",
    "Pictures",
    "Scale",
    "build",
    "decoded",
    "learn",
    "read",
]
