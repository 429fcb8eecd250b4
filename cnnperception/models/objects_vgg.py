"""A small network of the VGG family, trained on rendered objects: the one that comes along."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..files import sha256
from . import vgg
from .network import Network, Preprocessing
from .tracing import seeded

FOLDER = Path(__file__).parents[1] / "weights"
# What the network was trained to do -> its weights.
EMBEDDED = {
    "supervised": FOLDER / "objects_vgg.safetensors",
    "self-supervised": FOLDER / "objects_vgg_selfsupervised.safetensors",
}
WIDTH = 24  # channels of the first block; each later one has twice as many
BLOCKS = 4
SIDE = 64  # of the images it was trained on
PREPROCESSING = Preprocessing(mean=(0.5, 0.5, 0.5), deviation=(0.25, 0.25, 0.25))
RECOMMENDED = {
    "texture": ("conv1_1", "pool1", "pool2", "pool3"),
    "style": ("conv1_1", "conv2_1", "conv3_1", "conv4_1"),
    "content": ("conv3_2",),
    "compare": ("pool1", "pool2", "pool3", "pool4", "average"),
}


class SmallVGG(nn.Module):
    """Blocks of two 3x3 convolutions and a maximum pooling, an average over positions, a readout.

    Parameters
    ----------
    outputs : int
    width, blocks : int
        Channels of the first block, and the number of blocks.
    """

    def __init__(self, outputs: int, *, width: int = WIDTH, blocks: int = BLOCKS):
        super().__init__()
        parts: list[nn.Module] = []
        channels = 3
        for block in range(blocks):
            for _ in range(2):
                wide = width * 2**block
                parts += [nn.Conv2d(channels, wide, 3, padding=1), nn.ReLU()]
                channels = wide
            parts.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*parts)
        self.average = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(channels, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Return the readout's answers, (batch, outputs), to preprocessed images."""
        answers: Tensor = self.classifier(self.average(self.features(images)))
        return answers


class ObjectsVGG(Network):
    """A VGG of eight convolutions, trained on the package's rendered objects.

    Layers: conv1_1 ... pool4 (convolutions after their rectification), `average` (the mean of
    pool4 over positions) and, when it was trained to name them, `categories` (the answers before
    the softmax).

    Parameters
    ----------
    weights : {"supervised", "self-supervised"}, path-like or None
        Trained to name the category of an object; trained to tell crops of one place of a
        picture from those of others (Chen et al. 2020), without objects or names; a file that
        `save_small_vgg` wrote; None for random weights (He et al. 2015).
    pooling : {"max", "avg"}
    width : int
        Channels of the first block, of random weights.
    seed : int
        Of random weights.

    Attributes
    ----------
    classes : tuple of str
        The categories, in the order of the units of `categories`; empty without them.

    Raises
    ------
    ValueError
        For a file that does not hold such weights.
    OSError
        When there is no such file.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = "supervised",
        *,
        pooling: str = "max",
        width: int = WIDTH,
        seed: int = 0,
    ):
        if isinstance(weights, str) and weights == "DEFAULT":
            weights = "supervised"
        self.classes: tuple[str, ...]
        if weights is None:
            with seeded(seed):
                network = SmallVGG(1, width=width)
                _initialise(network)
            classes: tuple[str, ...] = ()
            origin: dict[str, Any] = {
                "weights": "random",
                "initialisation": "He et al. 2015",
                "seed": seed,
                "width": width,
            }
        else:
            network, classes, origin = _read(EMBEDDED.get(str(weights), Path(weights)))
        paths = {
            name: path
            for name, path in vgg.layer_paths(network).items()
            if "classifier" not in path
        }
        paths["average"] = "average"
        if classes:
            paths["categories"] = "classifier"
        super().__init__(
            "objects-vgg",
            network,
            paths=paths,
            preprocessing=PREPROCESSING,
            trained_side=SIDE,
            image_size=None,
            pooling=pooling,
            provenance=origin,
            recommended=RECOMMENDED,
        )
        self.classes = classes
        self.receptive_fields = vgg.receptive_fields(network)


def save_small_vgg(
    path: str | os.PathLike[str],
    network: SmallVGG,
    classes: tuple[str, ...],
    record: dict[str, Any],
) -> None:
    """Write a trained network, atomically, as safetensors; the record goes along as JSON."""
    from safetensors.torch import save_file

    from ..files import atomic_path

    state = {name: tensor.detach().contiguous() for name, tensor in network.state_dict().items()}
    metadata = {"classes": json.dumps(list(classes)), "record": json.dumps(record)}
    with atomic_path(Path(path)) as temporary:
        save_file(state, temporary, metadata=metadata)


def _read(path: Path) -> tuple[SmallVGG, tuple[str, ...], dict[str, Any]]:
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: there are no such weights; give {', '.join(EMBEDDED)}, or the path of a file"
        )
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
        classes, record = json.loads(metadata["classes"]), json.loads(metadata["record"])
        convolutions = [value for name, value in state.items() if value.ndim == 4]
        width = len(state["features.0.weight"])
        outputs = len(state["classifier.weight"])
        network = SmallVGG(outputs, width=width, blocks=len(convolutions) // 2)
        network.load_state_dict(state)
    except (SafetensorError, KeyError, RuntimeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} does not hold the weights of such a network: {error}") from error
    origin = {"weights": path.name, "sha256": sha256(path), "training": record}
    return network, tuple(classes), origin


def _initialise(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            assert module.bias is not None
            nn.init.zeros_(module.bias)
