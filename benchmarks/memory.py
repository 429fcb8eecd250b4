"""Memory of one evaluation, loss and gradient, of a texture objective on a very large image.

    python -m benchmarks.memory [--side 4096] [--memory 3000000000]

Prints the peak of the resident memory of this process, and the time.
"""

import argparse
import resource
import time

import torch

import cnnperception as cp
from cnnperception.synthesis import Objective
from cnnperception.synthesis.measures import MEASURES
from cnnperception.synthesis.memory import tiles_for
from cnnperception.synthesis.objective import match

LAYERS = ["conv1_1", "pool1", "pool2", "pool3", "pool4"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=4096, help="of the image, in pixels")
    parser.add_argument("--memory", type=int, default=2 * 2**30, help="bytes that tiles may use")
    settings = parser.parse_args()
    model = cp.load_model("vgg19", weights=None, pooling="avg", device="cpu")
    side = settings.side
    tiles = tiles_for(model, LAYERS, (side, side), memory=settings.memory)
    terms = match("texture", model, LAYERS, MEASURES["gram"], torch.rand(1, 3, 256, 256))
    image = torch.rand((1, 3, side, side), generator=torch.Generator().manual_seed(0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    began = time.monotonic()
    total, gradient, _ = Objective(model, terms, tiles=tiles)(image)
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    assert torch.isfinite(gradient).all()
    print(f"VGG-19 to pool4, {side} x {side}, {tiles and tiles.side} pixel tiles: ", end="")
    print(f"loss {float(total):.4g}, {seconds:.0f} s, peak {peak:.2f} GiB (before {before:.2f})")


if __name__ == "__main__":
    main()
