"""What tests of several rooms need."""

import pytest
import torch


@pytest.fixture
def rounding_convolutions():
    """Return the settings of convolutions on a GPU, which allow TensorFloat-32 meanwhile."""
    convolutions = torch.backends.cudnn.conv
    before, convolutions.fp32_precision = convolutions.fp32_precision, "tf32"
    yield convolutions
    convolutions.fp32_precision = before
