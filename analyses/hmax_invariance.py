"""What HMAX tolerates: position wholly, size partly, rotation in the plane not at all.

Random polygons are moved, scaled and turned, and every layer's response to them is compared
with its response to the originals:

    python analyses/hmax_invariance.py
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageDraw

import cnnperception as cp
from cnnperception.figures import panel, save, tolerance_curves
from cnnperception.files import atomic_path

OBJECTS, SEED, SIDE = 16, 0, 256
SHIFTS = (0, 2, 4, 8, 16, 32, 60)  # pixels to the right
SCALES = (0.5, 0.66, 0.8, 1.0, 1.25, 1.5, 2.0)
ROTATIONS = (0, 5, 10, 20, 45, 90)  # degrees
LAYERS = {
    "pixels": ("pixels", ["pixels"]),
    "V1": ("v1", ["scale*"]),
    "HMAX C1 band 4": ("hmax", ["c1/band4"]),
    "HMAX C1 band 8": ("hmax", ["c1/band8"]),
    "HMAX C2": ("hmax", ["c2"]),
}
OUTPUT = Path(__file__).parents[1] / "reports" / "hmax_invariance"


def polygons(count: int, seed: int) -> list[np.ndarray]:
    """Return random star-shaped polygons around 0: corners (corner, xy) in pixels."""
    random = np.random.default_rng(seed)
    shapes = []
    for _ in range(count):
        corners = int(random.integers(5, 11))
        angles = 2 * np.pi * (np.arange(corners) + random.uniform(-0.35, 0.35, corners)) / corners
        radii = random.uniform(12, 42, corners)
        shapes.append(radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    return shapes


def draw(
    shapes: list[np.ndarray],
    *,
    shift: float = 0,
    scale: float = 1,
    rotation: float = 0,
) -> torch.Tensor:
    """Draw each polygon, all of one grey: (polygon, 3, SIDE, SIDE) in [0, 1]."""
    fine, angle = 4, np.deg2rad(rotation)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([SIDE / 2 - 30 + shift, SIDE / 2])
    pictures = []
    for outline in shapes:
        canvas = Image.new("L", (SIDE * fine, SIDE * fine), 128)
        corners = (scale * outline @ turn.T + centre) * fine
        ImageDraw.Draw(canvas).polygon([tuple(c) for c in corners], fill=230)
        small = canvas.resize((SIDE, SIDE), Image.Resampling.BOX)
        pictures.append(torch.from_numpy(np.array(small, np.float32) / 255))
    return torch.stack(pictures)[:, None].expand(-1, 3, -1, -1).contiguous()


def transformations() -> list[tuple[str, float, dict[str, float]]]:
    """Return (name, amount, arguments of `draw`) of every transformation."""
    return [
        *(("shift (pixels)", shift, {"shift": shift}) for shift in SHIFTS),
        *(("scale", scale, {"scale": scale}) for scale in SCALES),
        *(("rotation (degrees)", turn, {"rotation": turn}) for turn in ROTATIONS),
    ]


@torch.inference_mode()
def invariance(objects: int = OBJECTS, seed: int = SEED) -> pd.DataFrame:
    """Return how similar the responses to transformed objects are to those to the originals.

    Responses are centred on their mean over the original objects, so that a similarity (cosine)
    of 0 is that of an unrelated object. An object is identified when its transformed response
    is most similar to its own original one.

    Returns
    -------
    DataFrame
        Columns transformation, amount, layer, similarity (mean over objects), identified
        (proportion).
    """
    shapes = polygons(objects, seed)
    models = {name: cp.load_model(name) for name, _ in LAYERS.values()}

    def respond(images: torch.Tensor, layer: str) -> torch.Tensor:
        name, wanted = LAYERS[layer]
        device = next((v.device for v in models[name].state_dict().values()), images.device)
        found = models[name].features(images.to(device), wanted)
        return torch.cat([value.flatten(1) for value in found.values()], dim=1).cpu()

    rows = []
    for layer in LAYERS:
        original = respond(draw(shapes), layer)
        mean = original.mean(dim=0)
        own = torch.nn.functional.normalize(original - mean)
        for name, amount, arguments in transformations():
            changed = torch.nn.functional.normalize(
                respond(draw(shapes, **arguments), layer) - mean
            )
            cosines = changed @ own.T
            identified = (cosines.argmax(dim=1) == torch.arange(objects)).double().mean().item()
            rows.append((name, amount, layer, cosines.diagonal().mean().item(), identified))
    columns = ["transformation", "amount", "layer", "similarity", "identified"]
    return pd.DataFrame(rows, columns=columns)


def main() -> None:
    table = invariance()
    with atomic_path(OUTPUT / "invariance.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.4f")
    save(tolerance_curves(table, chance=1 / OBJECTS), OUTPUT / "invariance.png", dpi=200)
    examples = [("as it is", {}), ("moved 60 pixels", {"shift": 60}), ("half size", {"scale": 0.5})]
    examples += [("double size", {"scale": 2.0}), ("turned 45 degrees", {"rotation": 45.0})]
    shape = polygons(OBJECTS, SEED)[:1]
    pictures = [draw(shape, **arguments)[0] for _, arguments in examples]
    save(panel(pictures, [name for name, _ in examples]), OUTPUT / "stimuli.png", dpi=150)
    for value in ("similarity", "identified"):
        wide = table.pivot(index=["transformation", "amount"], columns="layer", values=value)
        print(f"{value}\n{wide[list(LAYERS)].round(2).to_string()}\n")


if __name__ == "__main__":
    main()
