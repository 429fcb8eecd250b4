"""What tests of several rooms need."""

import os
import signal
from collections.abc import Callable, Iterator

import pytest
import torch


@pytest.fixture
def press_interrupt() -> Iterator[Callable[[], None]]:
    """Return what presses Ctrl-C, heeded also where it is ignored, as in jobs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def rounding_convolutions():
    """Return the settings of convolutions on a GPU, which allow TensorFloat-32 meanwhile."""
    convolutions = torch.backends.cudnn.conv
    before, convolutions.fp32_precision = convolutions.fp32_precision, "tf32"
    yield convolutions
    convolutions.fp32_precision = before
