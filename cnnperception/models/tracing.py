"""What can be read out of a network, found without numbers and without a picture."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

# Modules that return what they are given, in evaluation. torchvision's own among them by name.
SAME_AS_INPUT = ("Dropout", "Identity", "StochasticDepth", "DropPath")
# Names of modules that hold the stages of a network and are none themselves.
CONTAINERS = frozenset({"features", "layers", "encoder", "blocks", "stages", "trunk_output"})
BATCH = 3  # unlike any size of a feature map


@contextlib.contextmanager
def without_numbers() -> Iterator[None]:
    """Give networks that are built inside the block parameters without values or memory.

    Buffers are real: some networks compute them as they are built. Random numbers stay unused,
    and only networks built by this thread are concerned.
    """
    thread = threading.get_ident()

    def emptied(module: nn.Module, name: str, parameter: nn.Parameter | None) -> Any:
        if parameter is None or threading.get_ident() != thread:
            return None
        return nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)

    hook = register_module_parameter_registration_hook(emptied)
    try:
        with seeded(0):  # a few networks draw before they register
            yield
    finally:
        hook.remove()


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let networks built inside the block draw their numbers from a seed.

    The state of torch's global generator is as it was afterwards, and those of GPUs are not
    touched.
    """
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)


def readable_modules(
    network: nn.Module, side: int, larger: nn.Module, larger_side: int
) -> dict[str, bool]:
    """Return which modules give a feature map or units, and which put the channels last.

    Parameters
    ----------
    network : nn.Module
        Moved to torch's meta device, where running it costs nothing.
    side : int
        Of the images it takes.
    larger : nn.Module
        The same network for larger images: the network itself, where it takes images of any
        size. The axes that grow with the images are positions, and the others channels.
    larger_side : int

    Returns
    -------
    dict of str to bool
        The paths of the modules in the order in which they finish, and whether their channels
        are in the last axis. Those are left out which do not run, return no tensor of two to
        four axes with the images along the first, or return what they are given.
    """
    shapes, grown = _output_shapes(network, side), _output_shapes(larger, larger_side)
    found = {}
    for path, shape in shapes.items():
        if not 2 <= len(shape) <= 4 or shape[0] != BATCH:
            continue
        grows = [a != b for a, b in zip(shape, grown[path], strict=True)]
        found[path] = any(grows) and not grows[-1]
    return found


def _output_shapes(network: nn.Module, side: int) -> dict[str, tuple[int, ...]]:
    network.to("meta").eval()
    shapes: dict[str, tuple[int, ...]] = {}

    def note(path: str, module: nn.Module, arguments: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            shapes.setdefault(path, tuple(output.shape))

    for path, module in network.named_modules():
        if path and not type(module).__name__.startswith(SAME_AS_INPUT):
            module.register_forward_hook(functools.partial(note, path))
    with torch.no_grad():
        network(torch.zeros((BATCH, 3, side, side), device="meta"))
    return shapes


def stages(paths: list[str]) -> dict[str, tuple[str, ...]]:
    """Return what to recommend for comparisons: the main stages, where they can be told apart.

    They are neither inside a stage nor hold several.
    """
    found = tuple(path for path in paths if _is_stage(path.split(".")))
    return {"compare": found} if found else {}


def _is_stage(parts: list[str]) -> bool:
    return CONTAINERS.issuperset(parts[:-1]) and parts[-1] not in CONTAINERS
