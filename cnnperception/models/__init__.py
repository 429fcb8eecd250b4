"""Models by name: convolutional networks, HMAX, Neocognitron, random filters and baselines."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
