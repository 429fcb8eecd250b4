"""Did it work? Errors relative to a floor and to noise, and a search for verbatim copies."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from .. import images as image_files
from ..models.interface import VisionModel, resolve_layers
from . import setup
from .colour import luminance
from .objective import match
from .texture import noise_like
from .tiling import responses

CONVERGED = 0.1  # of the error of noise
PATCH = 32  # side, in pixels, of what counts as copied when found again
LONGEST = 256  # side, in pixels, of what copies are looked for in
ALIKE = 0.9  # correlation from which a patch counts as found
FLAT = 1e-3  # standard deviation of a patch that shows nothing


def verdict(
    image: Tensor,
    exemplar: Tensor,
    model: VisionModel | None = None,
    *,
    layers: str | Iterable[str] | None = None,
    statistic: str = "gram",
    seed: int = 0,
) -> pd.DataFrame:
    """Return how near a texture came to its exemplar's statistics, between two marks.

    The floor is what the exemplar's own parts have: the mean error of its halves (left, right,
    upper and lower) against the whole. The other mark is white noise with the exemplar's colours,
    which a synthesis begins with.

    Parameters
    ----------
    image, exemplar : Tensor, shape (3, height, width)
        RGB in [0, 1].
    model : VisionModel, optional
        The embedded random filters when left out.
    layers : str or iterable of str, optional
        The model's recommended texture layers when left out; those that see more than half of
        the exemplar are left out.
    statistic : str
        As for `texture`.
    seed : int
        Of the noise.

    Returns
    -------
    DataFrame
        A row for each layer: layer, error (relative, squared), floor and noise (the same of the
        two marks), and converged: whether the error is at most the floor and at most a tenth of
        the noise's. The halves of an exemplar that is not the same all over are far apart, and
        a floor alone would then be too easy.

    Raises
    ------
    ValueError
        As `texture` does.
    """
    model = setup.default_model(model)
    made, source = setup.prepare(image, model, "image"), setup.prepare(exemplar, model, "exemplar")
    chosen = resolve_layers(model, setup.recommended(model, "texture", layers))
    # Halves have to be large enough for the layers.
    half = source[..., : source.shape[-2] // 2, : source.shape[-1] // 2]
    fitting = setup.layers_that_fit(model, chosen, half)
    terms = match("texture", model, fitting, setup.measure(statistic), source)
    noise = noise_like(source, setup.size_of(None, source), seed).clamp(0, 1)
    rows = []
    parts = _halves(source)
    with torch.no_grad():
        seen = [responses(model, picture, fitting) for picture in (made, noise, *parts)]
    for term in terms:
        error, far, *floors = (float(term.loss(features[term.layer])) for features in seen)
        floor = sum(floors) / len(floors)
        row = {"layer": term.layer, "error": error, "floor": floor, "noise": far}
        rows.append({**row, "converged": error <= min(floor, CONVERGED * far)})
    return pd.DataFrame(rows)


def _halves(source: Tensor) -> list[Tensor]:
    height, width = source.shape[-2:]
    return [
        source[..., : height // 2, :],
        source[..., height - height // 2 :, :],
        source[..., : width // 2],
        source[..., width - width // 2 :],
    ]


@dataclasses.dataclass(frozen=True)
class Copies:
    """How much of an image is found again in its exemplar.

    Attributes
    ----------
    share : float
        Of the patches of the image, those that are found almost verbatim.
    baseline : float
        The same for the exemplar's own halves, each looked for in the other: what a regular
        texture has by itself.
    largest : float
        The highest correlation of a patch.
    """

    share: float
    baseline: float
    largest: float

    @property
    def copied(self) -> bool:
        """Whether there is more of the exemplar in it than in the exemplar's other half."""
        return self.share > max(0.25, 2 * self.baseline)


def verbatim_copies(image: Tensor, exemplar: Tensor, patch: int = PATCH) -> Copies:
    """Look for patches of an image in its exemplar, by normalised cross-correlation.

    Luminance alone is compared, each patch less its mean and relative to its contrast, at every
    place of the exemplar; patches that show nothing are passed over.

    Parameters
    ----------
    image, exemplar : Tensor, shape (3, height, width)
        Larger ones are reduced to 256 pixels, the longer side.
    patch : int
        Side of the patches.

    Raises
    ------
    ValueError
        For images smaller than two patches.
    """
    if not large_enough(image, exemplar, patch=patch):
        raise ValueError(
            f"copies are looked for in images of {2 * patch} pixels or more, when the longer side "
            f"is {LONGEST} at most"
        )
    grey = [luminance(_reduced(picture).to(image.device)) for picture in (image, exemplar)]
    found = _best_correlations(grey[0], grey[1], patch)
    middle = grey[1].shape[-1] // 2
    halves = grey[1][..., :middle], grey[1][..., middle:]
    own = _best_correlations(halves[0], halves[1], patch)
    return Copies(
        share=float((found > ALIKE).double().mean()) if len(found) else 0.0,
        baseline=float((own > ALIKE).double().mean()) if len(own) else 0.0,
        largest=float(found.max()) if len(found) else 0.0,
    )


def large_enough(*pictures: Tensor, patch: int = PATCH) -> bool:
    """Return whether pictures, once reduced, are large enough for `verbatim_copies`."""
    return all(min(_reduced(picture).shape[-2:]) >= 2 * patch for picture in pictures)


def _reduced(picture: Tensor) -> Tensor:
    batched = picture[None] if picture.ndim == 3 else picture
    longer = max(batched.shape[-2:])
    return batched if longer <= LONGEST else image_files.resize(batched, LONGEST)


def _best_correlations(image: Tensor, exemplar: Tensor, patch: int) -> Tensor:
    """Return for each patch of the image the highest correlation with any place, (patch,)."""
    patches = functional.unfold(image, patch, stride=patch // 2)[0].T
    patches = patches - patches.mean(dim=1, keepdim=True)
    contrast = patches.norm(dim=1)
    patches = patches[contrast > FLAT * patch]
    if not len(patches):
        return torch.zeros(0)
    kernels = functional.normalize(patches, dim=1).view(-1, 1, patch, patch)
    products = functional.conv2d(exemplar, kernels)[0]
    mean = functional.avg_pool2d(exemplar, patch, stride=1)
    power = functional.avg_pool2d(exemplar.square(), patch, stride=1)
    # Kernels have no mean, so only the places' contrast is left to divide by.
    spread = ((power - mean.square()).clamp(min=FLAT**2) * patch**2).sqrt()[0]
    return (products / spread).flatten(1).max(dim=1).values


def judgement(table: pd.DataFrame, copies: Copies | None = None) -> str:
    """Return a verdict in a sentence."""
    failed = table[~table["converged"]]
    if failed.empty:
        said = "every layer is as near to the exemplar as parts of the exemplar are"
    else:
        parts = [
            f"{row['layer']} ({row['error'] / row['floor']:.1f} times the error of the exemplar's "
            f"halves, {row['error'] / row['noise']:.0%} of that of noise)"
            for row in failed.to_dict(orient="records")
        ]
        said = f"not converged: {', '.join(parts)}"
    if copies is not None and copies.copied:
        said += f"; {copies.share:.0%} of it is found almost verbatim in the exemplar"
    return said
