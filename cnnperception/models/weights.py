"""Finding, checking and reading the weights of networks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..files import sha256

CAFFE_KEY = re.compile(r"conv(\d)_(\d)\.(weight|bias)")


def downloaded(name: str, choice: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return torchvision's weights of a network, from its cache or the network, and their origin.

    Parameters
    ----------
    name : str
        Of the network.
    choice : str
        "DEFAULT" or another name among the network's weights, like "IMAGENET1K_V1".

    Raises
    ------
    ValueError
        For an unknown choice.
    OSError
        When the file cannot be had; the message says what to fetch, where to put it, and what
        works without.
    """
    from torchvision import models

    available = models.get_model_weights(name)
    if choice not in available.__members__:
        raise ValueError(
            f"{name} has no weights {choice!r}; there are {', '.join(available.__members__)}, a "
            "path to a file, or None for random ones"
        )
    chosen = available[choice]
    file = Path(torch.hub.get_dir()) / "checkpoints" / chosen.url.rsplit("/", 1)[-1]
    try:
        state = chosen.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except Exception as error:
        # Many kinds: no network, no room, a wrong hash, a damaged file in the cache.
        damaged = f" (or remove the damaged {file})" if file.exists() else ""
        raise OSError(
            f"the weights of {name} could not be loaded: {error}.\n"
            f"Fetch {chosen.url} where there is a network, and put it at {file}{damaged}, or give "
            "its path as weights (--weights FILE).\n"
            "Without it: random weights (weights=None, --weights none), or the embedded model "
            "'random-filters', which makes textures and style transfers offline."
        ) from error
    origin = {"weights": f"torchvision {chosen}", "url": chosen.url}
    if file.exists():
        origin["file_sha256"] = sha256(file)
    return dict(state), origin


def from_file(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a .safetensors file, or in a torch file without code in it.

    A dict nested under `state_dict` or `model` is taken out, and a leading `module.` removed.

    Raises
    ------
    FileNotFoundError
    ValueError
        When the file is damaged, is no state dict, or would have to run code to be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of weights at {path}")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged or no safetensors file: {error}") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as weights alone: it is damaged, or holds pickled code, which "
            "is never run. Save a state dict: torch.save(network.state_dict(), path)"
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f"{path} holds {type(content).__name__}, not a state dict of tensors")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def is_caffe_vgg(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of Gatys' vgg_conv.pth: conv1_1.weight and so on."""
    return bool(state) and all(CAFFE_KEY.fullmatch(key) for key in state)


def rename_caffe_vgg(state: Mapping[str, Tensor], paths: Mapping[str, str]) -> dict[str, Tensor]:
    """Return Gatys' keys as torchvision's.

    Parameters
    ----------
    state : mapping
        Keys like conv1_1.weight.
    paths : mapping of str to str
        Module path of each convolution, by its name in the literature.

    Raises
    ------
    ValueError
        For a convolution that the network does not have.
    """
    renamed = {}
    for key, value in state.items():
        layer, kind = key.split(".")
        if layer not in paths:
            raise ValueError(f"the file has {key!r}, which this network lacks; is it vgg19's?")
        renamed[f"{paths[layer]}.{kind}"] = value
    return renamed


def load_into(network: nn.Module, state: Mapping[str, Tensor], source: str, optional: str) -> bool:
    """Put a state dict into a network and return whether the optional part was there too.

    Parameters
    ----------
    network : nn.Module
    state : mapping of str to Tensor
    source : str
        Named in errors.
    optional : str
        Prefix of keys that may be missing, all together: "classifier." of VGG. May be empty.

    Raises
    ------
    ValueError
        For missing or unexpected keys, and tensors of another shape; the first few are named.
    """
    expected = network.state_dict()
    # Batch counters are not needed to run a network, and old files lack them.
    missing = [k for k in expected if k not in state and not k.endswith("num_batches_tracked")]
    extra = [key for key in state if key not in expected]
    shapes = [k for k in state if k in expected and state[k].shape != expected[k].shape]
    left_out = bool(optional) and {k for k in expected if k.startswith(optional)} == set(missing)
    faults = []
    if missing and not left_out:
        faults.append(f"it lacks {_few(missing)}")
    if extra:
        faults.append(f"it has {_few(extra)}, which the network does not")
    if shapes:
        first = shapes[0]
        faults.append(
            f"{first} has the shape {tuple(state[first].shape)} where "
            f"{tuple(expected[first].shape)} is needed ({len(shapes)} such)"
        )
    if faults:
        raise ValueError(f"the weights in {source} do not fit: {'; '.join(faults)}")
    network.load_state_dict(dict(state), strict=False, assign=True)
    return not left_out


def _few(keys: list[str]) -> str:
    shown = ", ".join(keys[:3])
    return shown if len(keys) <= 3 else f"{shown} ... ({len(keys)} keys)"
