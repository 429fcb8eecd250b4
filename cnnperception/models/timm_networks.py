"""timm's networks by name; timm is installed on wish."""

from __future__ import annotations

import difflib
import functools
import importlib.util
import os
from pathlib import Path
from typing import Any

from torch import nn

from ..files import sha256
from .network import Network, Preprocessing, check_pooling
from .tracing import readable_modules, seeded, stages, without_numbers
from .weights import from_file


class TimmNetwork(Network):
    """A network of timm, called "timm/resnet18.a1_in1k" and the like.

    A layer is the path of a module, in the order in which they finish.

    Parameters
    ----------
    name : str
        As in `timm.list_models`, with or without timm's tag of the weights.
    weights : str, path-like or None
        "DEFAULT" for those that timm downloads (the tag in the name chooses among them), the
        path of a state dict, or None for random ones, as timm draws them.
    pooling : {"max", "avg"}
        "avg" replaces every maximum pooling that is a module.
    seed : int
        Of random weights.

    Attributes
    ----------
    image_size : int or None
        Side of the only images that the network takes; None when it takes any.

    Raises
    ------
    ImportError
        When timm is not installed.
    ValueError
        For an unknown name, weights that do not fit, or a pooling that cannot be had.
    OSError
        When weights cannot be found or downloaded.
    """

    def __init__(
        self,
        name: str,
        *,
        weights: str | os.PathLike[str] | None = "DEFAULT",
        pooling: str = "max",
        seed: int = 0,
    ):
        check_pooling(pooling)
        _check_name(name)
        network, origin = _build(name, weights, seed)
        settings = network.pretrained_cfg
        side, fixed = settings["input_size"][1], bool(settings.get("fixed_input_size"))
        modules = _modules(name, side, fixed)
        super().__init__(
            f"timm/{name}",
            network,
            paths={path: path for path in modules},
            channels_last=frozenset(path for path, last in modules.items() if last),
            preprocessing=Preprocessing(tuple(settings["mean"]), tuple(settings["std"])),
            trained_side=side,
            image_size=side if fixed else None,
            pooling=pooling,
            provenance=origin,
            recommended=stages(list(modules)),
        )


def _check_name(name: str) -> None:
    if importlib.util.find_spec("timm") is None:
        raise ImportError(f"timm/{name} needs timm: pip install 'cnnperception[timm]'")
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"timm has no network called {name!r}{hint}")


def _build(
    name: str, weights: str | os.PathLike[str] | None, seed: int
) -> tuple[Any, dict[str, Any]]:
    """Return a network with its weights, and where they are from."""
    import timm

    if weights is None:
        with seeded(seed):
            network = timm.create_model(name)
        return network, {"weights": "random", "initialisation": "timm's", "seed": seed}
    if os.fspath(weights) == "DEFAULT":
        return _downloaded(name)
    path = Path(weights).expanduser()
    state = from_file(path)
    try:
        with seeded(0):
            network = timm.create_model(
                name, pretrained=True, pretrained_cfg_overlay={"state_dict": state}
            )
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"the weights in {path} do not fit timm/{name}: {error}") from error
    return network, {"weights": path.name, "file_sha256": sha256(path)}


def _downloaded(name: str) -> tuple[Any, dict[str, Any]]:
    import timm

    try:
        with seeded(0):
            network: Any = timm.create_model(name, pretrained=True)
    except Exception as error:  # of many kinds: no network, no such weights, a damaged file
        raise OSError(
            f"the weights of timm/{name} could not be loaded: {error}.\n"
            "Give a file of them as weights (--weights FILE), or use random weights "
            "(weights=None, --weights none), or the embedded model 'random-filters'."
        ) from error
    settings = network.pretrained_cfg
    tag = settings.get("tag") or "default"
    return network, {"weights": f"timm {settings['architecture']}.{tag}"}


@functools.cache
def _modules(name: str, side: int, fixed: bool) -> dict[str, bool]:
    """Return the modules to read, in order, and whether each puts the channels last."""
    try:
        with without_numbers():
            network, larger = _two_sizes(name, side, fixed)
    except NotImplementedError:  # a few networks compute with their parameters as they are built
        with seeded(0):
            network, larger = _two_sizes(name, side, fixed)
    return readable_modules(network, side, larger, 2 * side)


def _two_sizes(name: str, side: int, fixed: bool) -> tuple[nn.Module, nn.Module]:
    import timm

    options: dict[str, Any] = {"img_size": 2 * side} if fixed else {}
    return timm.create_model(name), timm.create_model(name, **options)
