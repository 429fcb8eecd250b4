"""What models see: images that differ and to which layers of a model respond alike.

Metamers of photographs, and of a handwritten digit for the neocognitron, made from two noises
each, with the distance of their features from the original's:

    python analyses/metamer_gallery.py [--quick]
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import cnnperception as cp
from cnnperception.figures import contact_sheet, save
from cnnperception.files import atomic_path
from cnnperception.models.interface import VisionModel
from cnnperception.models.neocognitron import handwritten_digits

SEEDS = (0, 1)
DIGIT = 13  # a three
OUTPUT = Path(__file__).parents[1] / "reports" / "metamers"


@dataclasses.dataclass(frozen=True)
class Page:
    """One figure: the layers of a model, and the pictures whose metamers it shows."""

    name: str
    model: str
    layers: tuple[str, ...]
    pictures: tuple[str, ...]
    side: int = 128
    coarsest: int = 32
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


PAGES = (
    Page("hmax", "hmax", ("c1", "c2"), ("chelsea", "coins", "astronaut")),
    Page(
        "neocognitron", "neocognitron", ("uc1", "uc2"), ("digit", "chelsea"), side=96, coarsest=96
    ),
    Page("random-filters", "random-filters", ("scale1", "scale4"), ("chelsea",)),
    Page("vgg11-untrained", "vgg11", ("pool1", "pool4"), ("chelsea",), options={"weights": None}),
)


def picture(name: str, side: int) -> torch.Tensor:
    """Return a built-in picture or the digit, (1, 3, side, side)."""
    if name == "digit":
        return handwritten_digits(side, side // 12)[0][DIGIT : DIGIT + 1].contiguous()
    whole = cp.exemplar(name)
    height, width = whole.shape[-2:]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    middle = whole[..., top : top + short, left : left + short]
    return cp.images.resize(middle, (side, side))


def made(
    page: Page, model: VisionModel, evaluations: int, side: int
) -> tuple[list[torch.Tensor], list[str], pd.DataFrame]:
    """Return the pictures of a page, their labels, and a row for each layer of each metamer."""
    pictures, labels, rows = [], [], []
    for name in page.pictures:
        image = picture(name, side)
        pictures.append(image[0])
        labels.append(name)
        for layers in page.layers:
            for seed in SEEDS:
                result = cp.metamer(
                    image,
                    model,
                    layers,
                    seed=seed,
                    evaluations=evaluations,
                    coarsest=page.coarsest,
                )
                distances = result.provenance["distances"]
                mean = sum(d["to_start"] for d in distances.values()) / len(distances)
                pixels = (result.images - image).square().mean().sqrt().item()
                pictures.append(result.image)
                labels.append(f"{layers}: {100 * mean:.1f} % left")
                rows += [
                    (page.name, name, layers, seed, layer, d["to_features"], d["to_start"], pixels)
                    for layer, d in distances.items()
                ]
                print(f"{page.name} {name} {layers} seed {seed}: {mean:.4f}", flush=True)
    columns = ["model", "picture", "matched", "seed", "layer", "to_features", "to_start"]
    return pictures, labels, pd.DataFrame(rows, columns=[*columns, "pixels_rms"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="small pictures and few evaluations")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    chosen = parser.parse_args()
    tables = []
    for page in PAGES:
        model = cp.load_model(page.model, **page.options)
        side, evaluations = (64, 60) if chosen.quick else (page.side, 800)
        pictures, labels, table = made(page, model, evaluations, side)
        columns = 1 + len(page.layers) * len(SEEDS)
        save(contact_sheet(pictures, labels, columns), chosen.output / page.name, dpi=200)
        tables.append(table)
    with atomic_path(chosen.output / "distances.csv") as temporary:
        pd.concat(tables).to_csv(temporary, index=False, float_format="%.5f")


if __name__ == "__main__":
    main()
