"""The machine a computation runs on: devices, seeds, versions and progress."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """Return the torch device for a name; "auto" is the fastest one present.

    Parameters
    ----------
    device : str or torch.device
        "auto" (CUDA, else Apple's MPS, else the CPU), or any name torch knows.

    Raises
    ------
    ValueError
        When the name is unknown or the machine has no such device.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"unknown device {device!r}; use 'auto', 'cpu', 'cuda' or 'mps'"
        ) from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for but torch sees no GPU; use device='auto'")
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device 'mps' was asked for but this machine has none; use device='auto'")
    return chosen


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute in the tensors' own precision inside the block: no autocast, no TensorFloat-32.

    For small differences of large numbers, such as distances by way of inner products.
    """
    convolutions: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    allowed = convolutions.fp32_precision
    with torch.autocast(device.type, enabled=False):
        convolutions.fp32_precision = "ieee"
        try:
            yield
        finally:
            convolutions.fp32_precision = allowed


_MMAP_THRESHOLD, _TRIM_THRESHOLD, _MMAP_MAX = -3, -1, -4  # parameters of glibc's mallopt
_LARGEST_THRESHOLD = 32 * 2**20  # of glibc: what its own adaptation ends at
_GUARD = threading.Lock()
_keeping = 0


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Let what is freed inside the block be used again, instead of going back to the system.

    The C library of Linux gives large blocks back at once and takes them anew page by page, each
    of which the system has to clear: in a network of large feature maps that can take as long as
    the arithmetic. What is free at the end is given back. With another C library nothing changes.
    """
    global _keeping
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    tune = getattr(library, "mallopt", None)
    if library is None or tune is None:
        yield
        return
    with _GUARD:
        _keeping += 1
        tune(_MMAP_MAX, 0)
        tune(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        with _GUARD:
            _keeping -= 1
            if not _keeping:
                tune(_MMAP_MAX, 65536)
                tune(_MMAP_THRESHOLD, _LARGEST_THRESHOLD)
                tune(_TRIM_THRESHOLD, 2 * _LARGEST_THRESHOLD)
                library.malloc_trim(0)


def sent(values: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    """Return numbers as a tensor of a tensor's type, on its device.

    Without waiting until the device has done what it was told before.
    """
    return torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True)


def generator(seed: int) -> torch.Generator:
    """Return a CPU random generator for a seed.

    Numbers are drawn on the CPU and then moved, so that a seed means the same on every device.
    """
    return torch.Generator().manual_seed(int(seed))


def versions() -> dict[str, str]:
    """Return the versions of the packages and the platform that shape a result."""
    packages = [
        "cnnperception",
        "torch",
        "torchvision",
        "numpy",
        "pillow",
        "scipy",
        "scikit-learn",
        "xarray",
    ]
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def progress(
    items: Iterable[Item], description: str, *, show: bool, total: int | None = None
) -> Iterator[Item]:
    """Iterate with a progress bar and the time left on standard error, or silently."""
    if not show:
        yield from items
        return
    from tqdm import tqdm

    bar: Any = tqdm(items, desc=description, total=total, dynamic_ncols=True)
    yield from bar


def fast_bfloat16(device: str | torch.device) -> bool:
    """Return whether a device multiplies bfloat16 numbers faster than float32 ones."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Processors without such instructions are slower with bfloat16.
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return kind == "cpu" and bool(supported())
