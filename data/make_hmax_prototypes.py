"""Imprint the prototypes that HMAX comes with from the photographs of scikit-image and -learn.

Run from the root of the project: python data/make_hmax_prototypes.py
"""

from pathlib import Path

import numpy as np
import skimage
import sklearn.datasets
import torch
from PIL import Image
from torch import Tensor

from cnnperception.models.hmax import HMAX, imprint
from cnnperception.models.hmax.prototypes import EMBEDDED, EMBEDDED_BYPASS

# Photographs of objects and scenes whose licences allow it. Close-ups of one texture would give
# many near copies.
PICTURES = [
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "china.jpg",
    "coffee.png",
    "coins.png",
    "flower.jpg",
    "rocket.jpg",
]
SHORT_SIDE = 256
# In the coarser bands an image of this size has hardly more cells than a large patch.
BANDS = (1, 2, 3, 4)
SEED = 0


def read(name: str) -> Tensor:
    """Return a picture as (3, height, width) in [0, 1], its shorter side SHORT_SIDE pixels."""
    folders = [
        Path(skimage.__file__).parent / "data",
        Path(sklearn.datasets.__file__).parent / "images",
    ]
    path = next(folder / name for folder in folders if (folder / name).exists())
    with Image.open(path) as picture:
        scale = SHORT_SIDE / min(picture.size)
        size = (round(picture.width * scale), round(picture.height * scale))
        rgb = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(rgb, np.float32) / 255).permute(2, 0, 1)


def main() -> None:
    """Write the embedded prototypes: S2's, and the bypass route's."""
    model = HMAX(prototypes=None)
    images = [(Path(name).stem, read(name)) for name in PICTURES]
    options = {"bands": BANDS, "seed": SEED}
    imprint(model, images, **options).save(EMBEDDED)
    imprint(model, images, sizes=(6, 9, 12, 15), count=125, **options).save(EMBEDDED_BYPASS)


if __name__ == "__main__":
    main()
