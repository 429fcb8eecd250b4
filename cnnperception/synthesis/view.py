"""How far images are from a picture in the view of a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..models.interface import VisionModel, resolve_layers
from .objective import Term, centred, match


@dataclasses.dataclass(frozen=True)
class View:
    """A picture as some layers of a model see it: what distances are measured from.

    Attributes
    ----------
    model : VisionModel
    terms : sequence of Term
        One a layer.
    """

    model: VisionModel
    terms: Sequence[Term]

    @property
    def layers(self) -> list[str]:
        """The layers, in the order of the distances."""
        return [term.layer for term in self.terms]

    def squared(self, images: Tensor) -> Tensor:
        """Return the squared distances of images from the picture, shape (batch, layer).

        ||F - T||^2 / ||T - mean T||^2 for the features F of an image and T of the picture, the
        mean being over the units of the layer. 2 is what unrelated features of the same mean
        and variance have.
        """
        features = self.model.features(images, self.layers)
        return torch.stack([term.loss(features[term.layer]) for term in self.terms], dim=1)

    def slopes(self, image: Tensor, random: torch.Generator) -> Tensor:
        """Return the sum over units of their squared slopes at each pixel, (1, 1, height, width).

        The units as in `squared`, relative to their spread. An estimate: the squared slope of a
        sum of all units with random weights of variance 1, which is right on average.
        """
        image = image.detach().requires_grad_()
        with torch.enable_grad():
            features = self.model.features(image, self.layers)
            total = image.new_zeros(())
            for term in self.terms:
                response = term.statistic(features[term.layer]) / term.size().sqrt()
                weights = torch.randn(response.shape, generator=random).to(response)
                total = total + (weights * response).sum()
            (slope,) = torch.autograd.grad(total, image)
        return slope.square().sum(dim=1, keepdim=True)

    @torch.no_grad()
    def distances(self, images: Tensor) -> Tensor:
        """Return the distances of images from the picture, shape (batch, layer)."""
        return self.squared(images).sqrt()


def view(model: VisionModel, layers: str | Iterable[str], picture: Tensor) -> View:
    """Return a picture, (1, 3, height, width), as layers of a model see it.

    Raises
    ------
    ValueError
        For unknown layers, a picture too small for a layer, or a layer that does not respond.
    FloatingPointError
        For features that are not finite.
    """
    chosen = resolve_layers(model, layers if isinstance(layers, str) else list(layers))
    return View(model, match("original", model, chosen, centred, picture))
