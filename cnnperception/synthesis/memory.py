"""How much memory a synthesis takes, and how to make do with what there is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .. import runtime
from ..models.interface import VisionModel, device_of
from .tiling import Tiles, fitting_tiles

HISTORY = 40  # pairs that L-BFGS keeps where there is room
FEWEST_PAIRS = 4
PROBE = 128  # side of the image on which memory is measured
SMALL = 640 * 640  # pixels of which every machine has the memory
WORKSPACE = 2.0  # memory at the peak, relative to what is kept for the backward pass
ANCHOR = 2.0  # memory that an anchor takes besides, relative to the same
SHARE = 0.6  # of the free memory that is used
OUT_OF_MEMORY = ("not enough memory", "DefaultCPUAllocator", "can't allocate memory")


def free_bytes(device: torch.device) -> int:
    """Return the memory that is free on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def _budget(memory: int | None, device: torch.device) -> float:
    """Return the bytes that may be used: those given, or most of what is free."""
    if memory is not None and memory <= 0:
        raise ValueError(f"memory is a number of bytes above 0; got {memory}")
    return memory if memory is not None else SHARE * free_bytes(device)


def bytes_per_pixel(model: VisionModel, layers: Sequence[str]) -> float:
    """Return what an evaluation with its gradient keeps in memory for each pixel of an image.

    Measured on a small image: the tensors that torch saves for the backward pass.
    """
    weights = {value.data_ptr() for value in model.state_dict().values()}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if tensor.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    # Noise, as some models refuse an image without contrast.
    noise = torch.rand((1, 3, PROBE, PROBE), generator=runtime.generator(0))
    image = noise.to(device_of(model)).requires_grad_()
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        features = model.features(image, layers)
    kept = sum(saved.values()) + sum(f.numel() * f.element_size() for f in features.values())
    return kept / PROBE**2


def tiles_for(
    model: VisionModel,
    layers: Sequence[str],
    size: tuple[int, int],
    *,
    batch: int = 1,
    wrap: bool = False,
    memory: int | None = None,
) -> Tiles | None:
    """Return the tiles in which an image has to be seen, or None where it fits in one piece.

    Parameters
    ----------
    model : VisionModel
    layers : sequence of str
    size : (int, int)
        Height and width of the image.
    batch : int
        Images at once.
    wrap : bool
        Opposite borders are joined.
    memory : int, optional
        Bytes that may be used; most of what is free when left out.

    Raises
    ------
    ValueError
        When it does not fit and the layers cannot be seen in tiles.
    MemoryError
        When not even the smallest tile fits.
    """
    pixels = size[0] * size[1] * batch
    if memory is None and pixels <= SMALL:
        return None
    layers = list(dict.fromkeys(layers))
    budget = _budget(memory, device_of(model))
    cost = bytes_per_pixel(model, layers) * WORKSPACE
    if pixels * cost <= budget:
        return None
    smallest = fitting_tiles(model, layers, 1, wrap=wrap)
    room = int(math.sqrt(budget / (cost * batch))) - 2 * smallest.halo
    if room < smallest.side:
        needed = (smallest.side + 2 * smallest.halo) ** 2 * cost * batch
        raise MemoryError(
            f"the smallest tile of these layers of {model.name} takes about "
            f"{needed / 2**20:.0f} MiB, and {budget / 2**20:.0f} MiB may be used; use layers that "
            "see less of the image, fewer images at once, or more memory"
        )
    multiple = smallest.side
    return Tiles(room // multiple * multiple, smallest.halo, smallest.strides, wrap)


def has_room_for_anchor(
    model: VisionModel, layers: Sequence[str], images: Tensor, memory: int | None = None
) -> bool:
    """Return whether what layers answer to images can be kept besides an evaluation.

    Parameters
    ----------
    model : VisionModel
    layers : sequence of str
    images : Tensor, shape (batch, 3, height, width)
    memory : int, optional
        Bytes that may be used; most of what is free when left out.
    """
    pixels = images.numel() // 3
    if not layers or (memory is None and pixels <= SMALL):
        return True
    needed = pixels * bytes_per_pixel(model, layers) * (WORKSPACE + ANCHOR)
    return needed <= _budget(memory, images.device)


def history_for(start: Tensor, memory: int | None = None) -> int:
    """Return how many pairs L-BFGS can keep of images: `HISTORY`, or fewer of large ones."""
    pair = 2 * start.numel() * start.element_size()
    return max(FEWEST_PAIRS, min(HISTORY, int(_budget(memory, start.device) / 2 / pair)))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory was not enough."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(t in str(error) for t in OUT_OF_MEMORY)
