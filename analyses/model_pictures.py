"""Pictures of what the classical models see with, for the documentation.

python analyses/model_pictures.py
"""

from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

import cnnperception as cp
from cnnperception.figures import contact_sheet, panel, save
from cnnperception.images import resize
from cnnperception.models.baselines.v1 import quadrature_pairs
from cnnperception.models.hmax import draw, locate, pixel_boxes
from cnnperception.models.hmax.filters import gabor_bank
from cnnperception.models.neocognitron.views import preferred_patterns
from cnnperception.objects import BACKGROUNDS, VARIATIONS, ObjectScenes

UNITS = 10  # prototypes shown of each size
PLANES = 16  # patterns shown of each stage
SHORT_SIDE = 256  # of the photographs, as when the prototypes were imprinted
CURVES = Path(__file__).parents[1] / "reports" / "training"
OUTPUT = Path(__file__).parents[1] / "docs" / "models" / "pictures"


def photograph(name: str) -> Tensor:
    """Return a built-in picture (1, 3, height, width), its shorter side SHORT_SIDE pixels."""
    image = cp.exemplar(name)
    scale = SHORT_SIDE / min(image.shape[-2:])
    return resize(image, (round(image.shape[2] * scale), round(image.shape[3] * scale)))


def enlarged(weights: Tensor, side: int = 72) -> Tensor:
    """Return filters (..., height, width), signed, as an RGB picture (3, side, side)."""
    grey = 0.5 + 0.5 * weights / weights.abs().max()
    grey = grey if grey.ndim == 3 else grey.expand(3, -1, -1)
    return functional.interpolate(grey[None].float(), side, mode="nearest")[0]


def hmax_filters() -> list[Tensor]:
    """Return S1's filters of four sizes."""
    return [enlarged(weights) for size in (7, 17, 27, 37) for weights in gabor_bank(size)]


def hmax_prototypes(model: cp.models.HMAX, size: int) -> list[Tensor]:
    """Return the pixels behind some prototypes, what S2 stores, and matches in another picture."""
    assert model.prototypes is not None
    record = model.prototypes.record
    boxes = pixel_boxes(model, record[record["size"] == size].head(UNITS))
    sources = [_cut(photograph(box.image), box) for box in boxes.itertuples()]
    drawn = resize(draw(model.prototypes.patches[size][:UNITS]).expand(-1, 3, -1, -1), (96, 96))
    image = photograph("brick")
    matches = locate(model, image, f"c2/{size}").head(UNITS)
    return sources + list(drawn) + [_cut(image, box) for box in matches.itertuples()]


def _cut(image: Tensor, box: object) -> Tensor:
    top, left, bottom, right = (getattr(box, side) for side in ("top", "left", "bottom", "right"))
    return resize(image[..., max(top, 0) : bottom, max(left, 0) : right], (96, 96))[0]


def neocognitron_patterns() -> list[Tensor]:
    """Return what planes of US1, US2 and US3 have learnt."""
    model = cp.load_model("neocognitron", device="cpu")
    assert isinstance(model, cp.models.Neocognitron)
    pictures = []
    for layer in ("us1", "us2", "us3"):
        patterns = preferred_patterns(model, layer)
        chosen = torch.linspace(0, len(patterns) - 1, PLANES).long()
        pictures += [enlarged(pattern) for pattern in patterns[chosen]]
    return pictures


def v1_energy(image: Tensor) -> list[Tensor]:
    """Return a photograph, then the responses of each scale summed over orientations."""
    found = cp.load_model("v1", device="cpu").features(image, ["*"])
    summed = [energy.sum(dim=1, keepdim=True) for energy in found.values()]
    size = (image.shape[2], image.shape[3])
    return [image[0], *(_bright(energy, size) for energy in summed)]


def gist(image: Tensor) -> list[Tensor]:
    """Return a photograph and its mean energy on the grid."""
    values = cp.load_model("gist", device="cpu").features(image, ["gist"])["gist"]
    cells = values.view(1, -1, 4, 4).mean(dim=1, keepdim=True)
    large = functional.interpolate(cells, image.shape[-2:], mode="nearest")
    return [image[0], _bright(large, (image.shape[2], image.shape[3]))]


def silhouette() -> list[Tensor]:
    """Return a drawn object on grey, and its silhouette."""
    rows, columns = torch.meshgrid(
        torch.linspace(-1, 1, 128), torch.linspace(-1, 1, 128), indexing="ij"
    )
    inside = ((columns / 0.6) ** 2 + (rows / 0.35) ** 2 < 1) | (
        (rows < -0.1) & (rows > -0.8) & (columns.abs() < 0.12)
    )
    shade = 0.35 + 0.3 * (rows - columns + 2) / 4
    colours = torch.stack([shade + 0.25, shade, shade - 0.2])
    image = torch.where(inside, colours, torch.tensor(0.5))[None].clamp(0, 1)
    found = cp.load_model("silhouette", device="cpu").features(image, ["silhouette"])
    return [image[0], found["silhouette"][0].expand(3, -1, -1)]


def lab(image: Tensor) -> list[Tensor]:
    """Return a photograph and its L*, a* and b*, each from its least to its greatest."""
    model = cp.load_model("pixels", device="cpu", space="lab")
    planes = model.features(image, ["pixels"])["pixels"][0]
    low, high = planes.amin(dim=(1, 2), keepdim=True), planes.amax(dim=(1, 2), keepdim=True)
    return [image[0], *(plane.expand(3, -1, -1) for plane in (planes - low) / (high - low))]


def random_filters() -> list[Tensor]:
    """Return some random filters of each size."""
    model = cp.load_model("random-filters", device="cpu")
    weights = model.get_parameter("filters.weight").detach()
    third = len(weights) // 3
    pictures = []
    for number, side in enumerate((3, 5, 7)):
        edge = (7 - side) // 2
        for kernel in weights[number * third : number * third + 12]:
            pictures.append(enlarged(kernel[:, edge : edge + side, edge : edge + side]))
    return pictures


def objects() -> list[Tensor]:
    """Return every category, one at three levels of variation, and the four backgrounds."""
    plain = {"size": 96, "oversampling": 3, "background": "blank"}
    every = ObjectScenes(variation="low", seed=3, **plain).pictures(range(16))
    shown = list(every)
    for variation in VARIATIONS:
        scenes = ObjectScenes(variation=variation, categories=["chair"], seed=1, **plain)
        shown += list(scenes.pictures(range({"low": 4}.get(variation, 6))))
    for background in BACKGROUNDS:
        scenes = ObjectScenes(96, "high", background, oversampling=3, seed=4)
        shown += list(scenes.pictures(range(4)))
    return shown


def training() -> Figure:
    """Return the curves of the embedded network's two trainings."""
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    parts = {"supervised": "named rightly", "self-supervised": "partners found"}
    for (kind, label), ax in zip(parts.items(), figure.subplots(1, 2), strict=True):
        curve = pd.read_csv(CURVES / f"{kind}.csv")
        ax.plot(curve["step"], curve["accuracy"], "o-", label="shown")
        if curve["held_out"].notna().any():
            ax.plot(curve["step"], curve["held_out"], "s-", label="held out")
            ax.legend(frameon=False)
        ax.set(title=kind, xlabel="step", ylabel=f"share {label}", ylim=(0, 1))
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def _bright(values: Tensor, size: tuple[int, int]) -> Tensor:
    return resize((values / values.max()).expand(-1, 3, -1, -1), size)[0].clamp(0, 1)


def _write(figure: Figure, name: str) -> None:
    _, pdf = save(figure, OUTPUT / name, dpi=100)
    pdf.unlink()  # pages show the PNG


@torch.inference_mode()
def main() -> None:
    """Draw all pictures."""
    model = cp.load_model("hmax", device="cpu")
    assert isinstance(model, cp.models.HMAX)
    pairs = [enlarged(weights[0]) for weights in quadrature_pairs(8)]
    coffee = photograph("coffee")
    sheets = {
        "hmax_filters": (hmax_filters(), 4),
        "hmax_prototypes8": (hmax_prototypes(model, 8), UNITS),
        "neocognitron_patterns": (neocognitron_patterns(), PLANES),
        "v1_filters": (pairs, 8),
        "random_filters": (random_filters(), 12),
        "objects": (objects(), 8),
    }
    for name, (pictures, columns) in sheets.items():
        _write(contact_sheet(pictures, columns=columns), name)
    panels = {
        "v1_energy": (v1_energy(coffee), ["image", *(f"scale {n}" for n in range(1, 5))]),
        "gist": (gist(coffee), ["image", "mean energy"]),
        "silhouette": (silhouette(), ["image", "silhouette"]),
        "pixels_lab": (lab(coffee), ["image", "L*", "a*", "b*"]),
    }
    for name, (pictures, titles) in panels.items():
        _write(panel(pictures, titles), name)
    _write(training(), "objects_vgg_training")


if __name__ == "__main__":
    main()
