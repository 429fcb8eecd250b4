"""How fast the hierarchical models are: `python -m benchmarks.hierarchical`.

HMAX is timed against the way the public PyTorch port of the maxlab code computes it, restated
here: one direct convolution a filter size, the local norm by a convolution with ones in as many
channels as orientations, S2 by a convolution with one group an orientation and a sum over the
groups, all maps kept. Both have the same parameters and their results are compared first.

Ours and the peer take turns, and the fastest of several turns counts. The last column relates
the arithmetic of the direct way, done in our time, to the rate of a large matrix product on the
same machine; the Fourier transforms need less arithmetic, so it can exceed what we execute.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from cnnperception import runtime
from cnnperception.models import HMAX, Neocognitron
from cnnperception.models.neocognitron.digits import handwritten_digits

SIDE = 250
TURNS = 5


class Peer:
    """The restated peer: `c1` gives the maps of every band, `c2` the smallest distances."""

    def __init__(self, model: HMAX, device: torch.device):
        bank = model.variant.bank
        self.bands = [
            [bank(size, 4).float()[:, None].to(device) for size in sizes]
            for sizes in model.bands.values()
        ]
        self.ones = [[torch.ones_like(filters) for filters in band] for band in self.bands]
        assert model.prototypes is not None
        self.patches = [patches.to(device) for patches in model.prototypes.patches.values()]
        self.grouped = [p.transpose(0, 1).flatten(0, 1)[:, None] for p in self.patches]

    def c1(self, grey: Tensor) -> list[Tensor]:
        """Return C1 of all bands with the maxlab borders."""
        maps = []
        for index, (filters, ones) in enumerate(zip(self.bands, self.ones, strict=True)):
            simple = torch.stack(
                [self._simple(grey, f, o) for f, o in zip(filters, ones, strict=True)]
            )
            step = index + 4
            pooled = functional.max_pool2d(simple.amax(dim=0), 2 * step, step, step)
            pooled = pooled.roll((-1, -1), dims=(2, 3))
            pooled[..., -1, :] = 0
            pooled[..., -1] = 0
            maps.append(pooled)
        return maps

    def c2(self, grey: Tensor) -> list[Tensor]:
        """Return the smallest distance of each prototype, by size."""
        maps = self.c1(grey)
        return [
            torch.stack([self._distances(band, p, g).amin(dim=(2, 3)) for band in maps]).amin(dim=0)
            for p, g in zip(self.patches, self.grouped, strict=True)
        ]

    @staticmethod
    def _simple(grey: Tensor, filters: Tensor, ones: Tensor) -> Tensor:
        size = filters.shape[-1]
        response = functional.conv2d(grey, filters, padding=size // 2).abs()
        norm = functional.conv2d(grey.square(), ones, padding=size // 2).sqrt()
        norm[norm == 0] = 1
        response /= norm
        before, after = (size + 1) // 2, (size - 1) // 2
        response[..., :before, :] = 0
        response[..., :before] = 0
        response[..., -after:, :] = 0
        response[..., -after:] = 0
        return response

    @staticmethod
    def _distances(maps: Tensor, patches: Tensor, grouped: Tensor) -> Tensor:
        count, orientations, size, _ = patches.shape
        before, after = (size - 1) // 2, size // 2
        padded = functional.pad(maps, (before, after, before, after))
        matched = functional.conv2d(padded, grouped, groups=orientations)
        matched = matched.unflatten(1, (orientations, count)).sum(dim=1)
        window = patches.new_ones(1, 1, size, size)
        energy = functional.conv2d(padded.square().sum(dim=1, keepdim=True), window)
        norms = patches.square().sum(dim=(1, 2, 3))[:, None, None]
        return (energy - 2 * matched + norms).clamp_min(0).sqrt()


def seconds(actions: list[Callable[[], object]], device: torch.device) -> list[float]:
    """Return the fastest of several turns of each action, the actions taking turns."""
    fastest = [float("inf")] * len(actions)
    for turn in range(TURNS + 1):
        for index, action in enumerate(actions):
            _wait(device)
            start = time.perf_counter()
            action()
            _wait(device)
            if turn:  # the first is a warm-up
                fastest[index] = min(fastest[index], time.perf_counter() - start)
    return fastest


def direct_operations(model: HMAX) -> float:
    """Return the floating-point operations of S1 and S2 by direct convolution, for one image."""
    filters = sum(size**2 for sizes in model.bands.values() for size in sizes)
    operations = 2.0 * SIDE**2 * 4 * filters
    assert model.prototypes is not None
    for size, patches in model.prototypes.patches.items():
        for step in model.variant.steps:
            cells = SIDE // step + 1 if model.variant.same else -(-SIDE // step) - size + 1
            operations += 2.0 * cells**2 * len(patches) * 4 * size**2
    return operations


def compare_hmax(device: torch.device) -> None:
    """Print HMAX's rows."""
    matrix = torch.rand(2048, 2048, device=device)
    (product,) = seconds([partial(torch.matmul, matrix, matrix)], device)
    rate = 2 * 2048**3 / product
    print(f"matrix product: {rate / 1e9:.0f} GFLOP/s")
    faithful = HMAX(variant="maxlab").to(device)
    peer = Peer(faithful, device)
    for batch in (1, 16):
        images = torch.rand(batch, 3, SIDE, SIDE, generator=runtime.generator(0)).to(device)
        grey = images.mean(dim=1, keepdim=True)
        images = grey.expand(-1, 3, -1, -1).contiguous()
        ours = faithful.features(images, ["c2"])
        for mine, theirs in zip(ours.values(), peer.c2(grey), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)
        for what, model, layer in (
            ("maxlab C1", faithful, "c1"),
            ("maxlab C2", faithful, "c2"),
            ("serre2007 C2", HMAX().to(device), "c2"),
        ):
            theirs = peer.c1 if layer == "c1" else peer.c2
            mine, other = seconds(
                [partial(model.features, images, [layer]), partial(theirs, grey)], device
            )
            share = direct_operations(model) * batch / mine / rate if layer == "c2" else None
            _row(f"HMAX {what}, batch {batch}", mine / batch, other / batch, share)


def time_neocognitron(device: torch.device) -> None:
    """Print Neocognitron's rows: learning from half of scikit-learn's digits, and answering."""
    images, labels = handwritten_digits()
    order = torch.randperm(len(images), generator=runtime.generator(0))
    images, labels = images[order], labels[order]
    model = Neocognitron(weights=None).to(device)
    half = len(images) // 2
    start = time.perf_counter()
    model.fit(images[:half].to(device), labels[:half])
    _wait(device)
    _row(f"Neocognitron learning, {half} digits", time.perf_counter() - start, None, None)
    for batch in (1, 16):
        some = images[half : half + batch].to(device)
        (answer,) = seconds([partial(model.predict, some)], device)
        _row(f"Neocognitron answering, batch {batch}", answer / batch, None, None)


def _row(what: str, ours: float, peer: float | None, share: float | None) -> None:
    cells = [
        f"{ours:.4f}",
        f"{peer:.4f}" if peer else "",
        f"{peer / ours:.1f}" if peer else "",
        f"{share:.0%}" if share else "",
    ]
    print(f"{what:36s}" + "".join(f"{cell:>10s}" for cell in cells), flush=True)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


@torch.inference_mode()
def main() -> None:
    """Print a table: what, ours and the peer's seconds an image, their ratio, share of GEMM."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = runtime.choose_device(options.device)
    print(f"{device}, {options.threads} threads, images of {SIDE} x {SIDE} pixels")
    print(f"{'what':36s}" + "".join(f"{t:>10s}" for t in ("ours", "peer", "ratio", "of GEMM")))
    compare_hmax(device)
    time_neocognitron(device)


if __name__ == "__main__":
    main()
