"""Finding, checking and reading the weights of torchvision's networks."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..files import sha256
from .network import Preprocessing

# Caffe's networks want BGR pixels in 0-255 less their mean, here for pixels in [0, 1].
CAFFE = Preprocessing(
    mean=(103.939 / 255, 116.779 / 255, 123.68 / 255),
    deviation=(1 / 255, 1 / 255, 1 / 255),
    channels="BGR",
)
GATYS_KEY = re.compile(r"conv\d_\d\.(weight|bias)")
# VGG-16 and VGG-19 converted from Caffe by J. Johnson: with torchvision's keys, or nearly.
JOHNSON_FILE = re.compile(r"vgg1[69]-(d01eb7cb|00b39a1b)")
JOHNSON_KEY = "classifier.1.weight"
# Published files that are older than torchvision's present names: (pattern, replacement).
RENAMED = (
    (re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)"), r"\1\2"),
    (re.compile(r"\.mlp\.linear_1\."), ".mlp.0."),
    (re.compile(r"\.mlp\.linear_2\."), ".mlp.3."),
)
TRAINING_ONLY = ("aux1.", "aux2.", "AuxLogits.")  # auxiliary classifiers never run in evaluation
CLASSIFIER = "classifier."


@dataclass(frozen=True)
class Weights:
    """Weights that were found, and what belongs to them.

    Attributes
    ----------
    state : mapping of str to Tensor
        With torchvision's keys, but for those that `load_into` is told to rename.
    source : str
        Where they are from, for messages.
    preprocessing : Preprocessing
    side : int
        Of the images they were trained on.
    origin : mapping
        For the provenance: file, SHA-256.
    """

    state: Mapping[str, Tensor]
    source: str
    preprocessing: Preprocessing
    side: int
    origin: Mapping[str, Any]


def find(name: str, weights: str | os.PathLike[str]) -> Weights:
    """Return weights of a torchvision network by their name or from a file.

    Parameters
    ----------
    name : str
        Of the network.
    weights : str or path-like
        "DEFAULT" or another name among the network's weights, like "IMAGENET1K_V1"; or the path
        of a .safetensors file or of a torch file without code in it. A file that torchvision
        published is known by its name; one from Caffe by its keys or name.

    Raises
    ------
    ValueError
        For an unknown name, or a file that is damaged or is no state dict.
    FileNotFoundError
    OSError
        When a download fails; the message says what to fetch, where to put it, and what works
        without.
    """
    from torchvision import models

    published = models.get_model_weights(name)
    choice = os.fspath(weights)
    if choice in published.__members__:
        return _downloaded(name, published[choice])
    path = Path(choice).expanduser()
    if not (path.exists() or path.suffix or path.name != choice):
        raise ValueError(
            f"{name} has no weights {choice!r}; there are {', '.join(published.__members__)}, a "
            "path to a file, or None for random ones"
        )
    state, digest = from_file(path), sha256(path)
    for entry in published:
        if path.name == _file_name(entry):
            _check_hash(path, digest)
            return _with_table(state, entry, str(path), digest)
    caffe = _is_gatys(state) or (
        name.startswith("vgg") and (JOHNSON_KEY in state or JOHNSON_FILE.match(path.name))
    )
    return Weights(
        state,
        str(path),
        CAFFE if caffe else preprocessing(published.DEFAULT),
        side(published.DEFAULT),
        {"weights": path.name, "file_sha256": digest},
    )


def _downloaded(name: str, entry: Any) -> Weights:
    file = Path(torch.hub.get_dir()) / "checkpoints" / _file_name(entry)
    try:
        state = entry.get_state_dict(progress=True, check_hash=True, weights_only=True)
        digest = sha256(file) if file.exists() else None
        if digest:  # torch checks it after a download, but not in the cache
            _check_hash(file, digest)
    except Exception as error:
        # Many kinds: no network, no room, a wrong hash, a damaged file in the cache.
        damaged = f" (remove the damaged {file} first)" if file.exists() else ""
        raise OSError(
            f"the weights of {name} could not be loaded: {error}.\n"
            f"Fetch {entry.url} where there is a network, and put it at {file}{damaged}, or give "
            "its path as weights (--weights FILE).\n"
            "Without it: random weights (weights=None, --weights none), or the embedded model "
            "'random-filters', which makes textures and style transfers offline."
        ) from error
    return _with_table(state, entry, entry.url, digest)


def _with_table(
    state: Mapping[str, Tensor], entry: Any, source: str, digest: str | None
) -> Weights:
    """Return weights with what torchvision's table says of them."""
    origin = {"weights": f"torchvision {entry}", "url": entry.url}
    if digest:
        origin["file_sha256"] = digest
    return Weights(state, source, preprocessing(entry), side(entry), origin)


def preprocessing(entry: Any) -> Preprocessing:
    """Return what torchvision's table says of the input of published weights."""
    transforms = entry.transforms()
    return Preprocessing(tuple(transforms.mean), tuple(transforms.std))


def side(entry: Any) -> int:
    """Return the side of the images that published weights take, in pixels."""
    return int(entry.transforms().crop_size[0])


def _file_name(entry: Any) -> str:
    return str(entry.url).rsplit("/", 1)[-1]


def _check_hash(path: Path, digest: str) -> None:
    """Raise ValueError unless the hash is that in the name: vgg19-dcbb9e9d.pth."""
    stated = re.search(r"-([0-9a-f]{8,})\.", path.name)
    if stated and not digest.startswith(stated[1]):
        raise ValueError(
            f"{path} is damaged or another file: its SHA-256 begins with {digest[:8]}, not with "
            f"the {stated[1]} in its name; fetch it again"
        )


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
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a state dict of tensors")
    odd = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if odd or not content:
        what = f"the entry {odd[0]!r} is no tensor" if odd else "it is empty"
        raise ValueError(f"{path} holds no state dict of tensors: {what}")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def _is_gatys(state: Iterable[str]) -> bool:
    """Return whether the keys are those of Gatys' vgg_conv.pth: conv1_1.weight and so on."""
    return all(GATYS_KEY.fullmatch(key) for key in state)


def load_into(network: nn.Module, weights: Weights, convolutions: Mapping[str, str]) -> bool:
    """Put weights into a network.

    Parameters
    ----------
    network : nn.Module
        Its parameters are replaced; they may be on the meta device.
    weights : Weights
    convolutions : mapping of str to str
        Of the VGG family: the path of each convolution by its name, to rename Gatys' keys, and
        the sign that the classifier may be missing. Empty for other networks.

    Returns
    -------
    bool
        Whether the network is whole: False when the classifier of a VGG was missing.

    Raises
    ------
    ValueError
        For missing or unexpected keys, and tensors of another shape; the first few are named.
    """
    state = _with_present_keys(weights.state, convolutions)
    expected = network.state_dict()
    # Batch counters are not needed to run a network, and old files lack them.
    missing = [k for k in expected if k not in state and not k.endswith("num_batches_tracked")]
    left_out = bool(convolutions) and set(missing) == {
        key for key in expected if key.startswith(CLASSIFIER)
    }
    faults = _faults(state, expected, [] if left_out else missing)
    if faults:
        raise ValueError(f"the weights in {weights.source} do not fit: {'; '.join(faults)}")
    cast = {key: value.to(expected[key].dtype) for key, value in state.items()}
    # Some networks read the version of their own format here, which dicts and safetensors lack.
    versioned = type(expected)(cast)
    versioned._metadata = expected._metadata  # type: ignore[attr-defined]
    network.load_state_dict(versioned, strict=False, assign=True)
    return not left_out


def _with_present_keys(
    state: Mapping[str, Tensor], convolutions: Mapping[str, str]
) -> dict[str, Tensor]:
    """Return a state dict under torchvision's present keys, without parts that never run."""
    old_classifier = bool(convolutions) and JOHNSON_KEY in state
    renamed = {}
    for key, value in state.items():
        if key.startswith(TRAINING_ONLY):
            continue
        if convolutions and key.startswith(CLASSIFIER) and value.isnan().all():
            continue  # torchvision's weights for features alone are published so
        layer, _, kind = key.partition(".")
        if layer in convolutions:
            key = f"{convolutions[layer]}.{kind}"
        if old_classifier:
            key = key.replace("classifier.1.", "classifier.0.")
            key = key.replace("classifier.4.", "classifier.3.")
        for pattern, replacement in RENAMED:
            key = pattern.sub(replacement, key)
        renamed[key] = value
    return renamed


def _faults(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], missing: list[str]
) -> list[str]:
    """Return what keeps a state dict from fitting, in words."""
    unexpected = [key for key in state if key not in expected]
    shapes = [k for k in state if k in expected and state[k].shape != expected[k].shape]
    faults = []
    if missing:
        faults.append(f"it lacks {_few(missing)}")
    if unexpected:
        faults.append(f"it has {_few(unexpected)}, which the network does not")
    if shapes:
        first = shapes[0]
        faults.append(
            f"{first} has the shape {tuple(state[first].shape)} where "
            f"{tuple(expected[first].shape)} is needed ({len(shapes)} such)"
        )
    return faults


def _few(keys: list[str]) -> str:
    shown = ", ".join(keys[:3])
    return shown if len(keys) <= 3 else f"{shown} ... ({len(keys)} keys)"
