"""Teach the neocognitron that comes with the package: 40 handwritten digits of each class.

Run from the root of the project: python data/make_neocognitron_weights.py
"""

import torch

from cnnperception.models.neocognitron import Neocognitron, handwritten_digits
from cnnperception.models.neocognitron.model import EMBEDDED

EXAMPLES = 40  # of each class
SEED = 0


def main() -> None:
    """Write the embedded weights, and print how the digits that were left out are recognised."""
    images, labels = handwritten_digits()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(SEED))
    shown = torch.cat([order[labels[order] == digit][:EXAMPLES] for digit in range(10)])
    unseen = torch.ones(len(images), dtype=torch.bool)
    unseen[shown] = False
    model = Neocognitron(weights=None)
    model.fit(images[shown], labels[shown], progress=True, seed=SEED)
    model.save(EMBEDDED)
    right = (model.predict(images[unseen]) == labels[unseen]).float().mean()
    print(
        f"{int(unseen.sum())} unseen digits: {right:.1%} right; planes {model.provenance['planes']}"
    )


if __name__ == "__main__":
    main()
