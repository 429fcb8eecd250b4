"""Imprint the prototypes that HMAX comes with from photographs that the dependencies install.

Run from the root of the project: python data/make_hmax_prototypes.py
"""

from torch import Tensor

from cnnperception.images import resize
from cnnperception.models.hmax import HMAX, imprint
from cnnperception.models.hmax.prototypes import EMBEDDED, EMBEDDED_BYPASS
from cnnperception.stimuli import exemplar

# Photographs of objects and scenes whose licences allow it. Close-ups of one texture would give
# many near copies.
PICTURES = ["astronaut", "camera", "chelsea", "china", "coffee", "coins", "flower", "rocket"]
SHORT_SIDE = 256
# In the coarser bands an image of this size has hardly more cells than a large patch.
BANDS = (1, 2, 3, 4)
SEED = 0


def picture(name: str) -> Tensor:
    """Return a photograph, (1, 3, height, width), its shorter side SHORT_SIDE pixels."""
    image = exemplar(name)
    height, width = image.shape[-2:]
    scale = SHORT_SIDE / min(height, width)
    return resize(image, (round(height * scale), round(width * scale)))


def main() -> None:
    """Write the embedded prototypes: S2's, and the bypass route's."""
    model = HMAX(prototypes=None)
    images = [(name, picture(name)) for name in PICTURES]
    imprint(model, images, bands=BANDS, seed=SEED).save(EMBEDDED)
    bypass = imprint(model, images, sizes=(6, 9, 12, 15), count=125, bands=BANDS, seed=SEED)
    bypass.save(EMBEDDED_BYPASS)


if __name__ == "__main__":
    main()
