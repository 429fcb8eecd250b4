"""Synthesise stimuli from vision models and compare what the models represent."""

import lazy_loader as _lazy

__version__ = "0.1.0"

# Names load on first use: `cnnperception --help` should not wait for torch.
__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
