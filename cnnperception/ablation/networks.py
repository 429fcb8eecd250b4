"""The networks of an ablation: what each has of a CNN, and what else is particular about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..models.grey import luminance
from ..models.hierarchy import (
    CHANGES,
    ConvolutionStage,
    GaborStage,
    GaussianUnits,
    Hierarchy,
    LearntGaborStage,
    UnitStage,
    between,
    sample_patches,
)
from ..models.hmax import Prototypes
from ..models.hmax.prototypes import EMBEDDED
from ..models.network import average_pooling
from .pictures import BANDS, Pictures

Alter = Callable[[Hierarchy, Pictures, int], None]

HMAX: frozenset[str] = frozenset()
CNN = frozenset({"learnt", *CHANGES})
OFTEN = 20  # patches for each cluster


@dataclasses.dataclass(frozen=True)
class Network:
    """One network.

    Attributes
    ----------
    changes : frozenset of str
        What it has of a CNN: "learnt" and keys of `cnnperception.models.hierarchy.CHANGES`.
        Without "learnt", units store patches of what the layer below answers to training
        pictures, and convolutions of the first stage are random; with it, all but fixed Gabors is
        trained to name categories.
    particular : str
        A key of `PARTICULARS`, or nothing.
    seed : int
        Of patches and random weights.
    """

    changes: frozenset[str]
    particular: str = ""
    seed: int = 0

    @property
    def trains(self) -> bool:
        """Whether something of it is trained: itself, or its readout."""
        return "learnt" in self.changes or self.particular == ALL_PICTURES


def build(network: Network, pictures: Pictures) -> Hierarchy:
    """Return a network as it is before training, which rectified units begin at random weights.

    Raises
    ------
    ValueError
        For unknown changes or particulars.
    """
    if network.particular and network.particular not in PARTICULARS:
        raise ValueError(f"{network.particular!r} is none of {', '.join(PARTICULARS)}")
    scale = pictures.scale
    model = between(
        network.changes - {"learnt"},
        width=scale.width,
        units=scale.units,
        bands=BANDS,
        seed=network.seed,
    )
    if not {"learnt", "rectified"} <= network.changes:
        model.imprint(pictures.sample(), network.seed)
    if network.particular:
        PARTICULARS[network.particular][1](model, pictures, network.seed)
    return model.eval()


def photographs(model: Hierarchy, pictures: Pictures, seed: int) -> None:
    """Store patches of photographs: some of HMAX's embedded prototypes."""
    random = torch.Generator().manual_seed(seed)
    stored = Prototypes.load(EMBEDDED).patches.values()
    for units, patches in zip(_single_layers(model), stored, strict=True):
        units.store(patches[torch.randperm(len(patches), generator=random)[: len(units.patches)]])


def centres(model: Hierarchy, pictures: Pictures, seed: int) -> None:
    """Store the centres of clusters of many patches."""
    from sklearn.cluster import KMeans

    random = torch.Generator().manual_seed(seed)
    bands = model.first(pictures.sample())
    for units in _single_layers(model):
        count = len(units.patches)
        patches = sample_patches(bands, units.size, OFTEN * count, random)
        found = KMeans(count, n_init=1, random_state=seed).fit(patches.flatten(1).numpy())
        units.store(torch.from_numpy(found.cluster_centers_).float().view_as(units.patches))


def averages_in_c1(model: Hierarchy, pictures: Pictures, seed: int) -> None:
    """Average in C1, and store patches of that."""
    model.first = GaborStage("average", BANDS)
    model.imprint(pictures.sample(), seed)


def learnt_gabors(model: Hierarchy, pictures: Pictures, seed: int) -> None:
    """Learn the filters of S1 too, from Gabors on."""
    model.first = LearntGaborStage(BANDS)


def first_blocks(count: int) -> Alter:
    """Return what leaves a VGG its first blocks alone."""

    def shorten(model: Hierarchy, pictures: Pictures, seed: int) -> None:
        assert isinstance(model.first, ConvolutionStage)
        model.first.blocks = model.first.blocks[: 3 * count]
        (branch,) = model.second.branches
        assert isinstance(branch, nn.ModuleList)
        model.second = UnitStage([branch[: max(0, 3 * (count - 2) - 1)]])

    return shorten


def random_first_stage(model: Hierarchy, pictures: Pictures, seed: int) -> None:
    """Leave the convolutions of the first stage as they are drawn."""
    model.first.requires_grad_(False)


class Grey(nn.Module):
    """Images without their colours."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the luminance three times."""
        return luminance(images).expand(-1, 3, -1, -1)


def without_colour(model: Hierarchy, pictures: Pictures, seed: int) -> None:
    """See pictures in grey."""
    model.first = nn.Sequential(Grey(), model.first)


def local_averages(model: Hierarchy, pictures: Pictures, seed: int) -> None:
    """Average between blocks, where the VGG has local maxima."""
    average_pooling(model, "the VGG")


def unaltered(model: Hierarchy, pictures: Pictures, seed: int) -> None:
    """Change nothing: what is particular is what it learns from."""


ALL_PICTURES = "readout of all training pictures"
TENTH, MOVED = "a tenth of the pictures", "a tenth, mirrored and moved"
LONG = {"learnt four times as long": frozenset({"learnt"}), "trained four times as long": CNN}
# particular -> which network it is of, and how it alters it
PARTICULARS: dict[str, tuple[frozenset[str], Alter]] = {
    "patches of photographs": (HMAX, photographs),
    "centres of clusters": (HMAX, centres),
    "averages in C1": (HMAX, averages_in_c1),
    ALL_PICTURES: (HMAX, unaltered),
    "learnt, S1 too": (frozenset({"learnt"}), learnt_gabors),
    "2 convolutions": (CNN, first_blocks(1)),
    "4 convolutions": (CNN, first_blocks(2)),
    "6 convolutions": (CNN, first_blocks(3)),
    "random first stage": (CNN, random_first_stage),
    "in grey": (CNN, without_colour),
    "local averages": (CNN, local_averages),
    TENTH: (CNN, unaltered),
    MOVED: (CNN, unaltered),
    **{particular: (changes, unaltered) for particular, changes in LONG.items()},
}


def _single_layers(model: Hierarchy) -> list[GaussianUnits]:
    """Return the units of each size of HMAX's S2."""
    found = [module for module in model.second.modules() if isinstance(module, GaussianUnits)]
    assert len(found) == len(model.second.branches)
    return found
