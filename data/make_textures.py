"""Synthesise the textures that the package ships as backgrounds, from the built-in pictures.

Run from the root of the project: python data/make_textures.py (about 5 minutes on 2 cores).
Those that are there already are left alone.
"""

import cnnperception as cp
from cnnperception import images
from cnnperception.objects.backgrounds import SYNTHESISED

SIDE = 192
EVALUATIONS = 250
SEED = 0


def main() -> None:
    """Write one PNG, with its settings inside, for each picture."""
    for name, path in SYNTHESISED.items():
        if path.exists():
            continue
        result = cp.texture(
            cp.exemplar(name, size=256),
            size=SIDE,
            evaluations=EVALUATIONS,
            seed=SEED,
            layers=["scale1", "scale2", "scale3", "scale4"],
            progress=True,
        )
        images.write(path, result.image, result.provenance)
        print(path)


if __name__ == "__main__":
    main()
