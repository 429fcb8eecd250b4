"""The names models are loaded by."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
from torch import nn

from .. import runtime
from .interface import VisionModel


def _random_filters(**options: Any) -> nn.Module:
    from .random_filters import RandomFilters

    return RandomFilters(**options)


def _random_multiscale(**options: Any) -> nn.Module:
    from .random_multiscale import RandomMultiscale

    return RandomMultiscale(**options)


def _hmax(**options: Any) -> nn.Module:
    from .hmax import HMAX

    return HMAX(**options)


def _neocognitron(**options: Any) -> nn.Module:
    from .neocognitron import Neocognitron

    return Neocognitron(**options)


def _pixels(**options: Any) -> nn.Module:
    from .baselines import Pixels

    return Pixels(**options)


def _v1(**options: Any) -> nn.Module:
    from .baselines import V1

    return V1(**options)


def _gist(**options: Any) -> nn.Module:
    from .baselines import Gist

    return Gist(**options)


def _silhouette(**options: Any) -> nn.Module:
    from .baselines import Silhouette

    return Silhouette(**options)


def _portilla_simoncelli(**options: Any) -> nn.Module:
    from .baselines import PortillaSimoncelli

    return PortillaSimoncelli(**options)


def _objects_vgg(**options: Any) -> nn.Module:
    from .objects_vgg import ObjectsVGG

    return ObjectsVGG(**options)


# name: (what it is, how it is built from keyword options)
EMBEDDED: dict[str, tuple[str, Callable[..., nn.Module]]] = {
    "random-filters": (
        "multi-scale random filters; the embedded default for synthesis (Ustyuzhaninov 2017)",
        _random_filters,
    ),
    "random-multiscale": (
        "one layer of random filters of 3 to 55 pixels, as published (Ustyuzhaninov 2017)",
        _random_multiscale,
    ),
    "hmax": ("S1, C1, S2, C2 of HMAX (Serre et al. 2007)", _hmax),
    "neocognitron": ("S- and C-cells that grew on digits (Fukushima 2003)", _neocognitron),
    "objects-vgg": ("a small VGG trained on rendered objects", _objects_vgg),
    "v1": ("Gabor energy with divisive normalisation (Heeger 1992)", _v1),
    "gist": ("oriented energy on a coarse grid (Oliva & Torralba 2001)", _gist),
    "silhouette": ("figure and ground of an object on a uniform background", _silhouette),
    "pixels": ("the image itself", _pixels),
    "portilla-simoncelli": (
        "texture statistics (Portilla & Simoncelli 2000); needs plenoptic",
        _portilla_simoncelli,
    ),
}


# Those of the embedded that take weights and a kind of pooling, as torchvision's do.
NETWORKS = ("objects-vgg",)


def list_models() -> pd.DataFrame:
    """Return every model that `load_model` knows: a table with columns name and description."""
    from .convnets import torchvision_names

    rows = [(name, description) for name, (description, _) in EMBEDDED.items()]
    rows += [(name, "torchvision classification network") for name in torchvision_names()]
    return pd.DataFrame(rows, columns=["name", "description"])


def load_model(
    name: str,
    *,
    device: str | torch.device = "auto",
    **options: Any,
) -> VisionModel:
    """Load a model, frozen and ready to be read out on a device.

    Parameters
    ----------
    name : str
        A name from `list_models`, or "timm/" and the name of a network of timm.
    device : str or torch.device
        "auto" takes CUDA, then MPS, then the CPU.
    **options
        What the model takes. torchvision's and timm's networks: `weights` ("DEFAULT", a path to
        a state dict, or None for random ones), `pooling` ("max" or "avg"), `seed`, and
        torchvision's `padding`. The embedded models: the keyword arguments of their classes in
        `cnnperception.models`.

    Returns
    -------
    VisionModel
        In evaluation mode; no parameter requires a gradient.

    Raises
    ------
    ValueError
        For an unknown name (the message offers the nearest), option or device, or weights that
        do not fit.
    OSError
        When weights cannot be found or downloaded; the message says what to do.
    ImportError
        When the model needs a package that is not installed.

    Examples
    --------
    >>> import cnnperception as cp
    >>> cp.load_model("random-filters", device="cpu").layers[:2]
    ('scale1', 'scale2')
    """
    chosen = runtime.choose_device(device)
    model = _build(name, options)
    model.to(chosen).eval().requires_grad_(False)
    assert isinstance(model, VisionModel)
    return model


def _build(name: str, options: dict[str, Any]) -> nn.Module:
    factory = _factory(name)
    try:
        return factory(**options)
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        raise ValueError(f"{name} takes no such option: {error}") from error


def _factory(name: str) -> Callable[..., nn.Module]:
    if name in EMBEDDED:
        return EMBEDDED[name][1]
    if name.startswith("timm/"):
        from .timm_networks import TimmNetwork

        return functools.partial(TimmNetwork, name.removeprefix("timm/"))
    from .convnets import TorchvisionNetwork, torchvision_names

    known = torchvision_names()
    if name in known:
        return functools.partial(TorchvisionNetwork, name)
    near = difflib.get_close_matches(name, [*EMBEDDED, *known], n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise ValueError(f"no model is called {name!r}{hint} `cnnperception models` lists all of them")
