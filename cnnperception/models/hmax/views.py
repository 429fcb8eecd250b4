"""View-tuned units: the stage above C2 that recognises stored views of objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..interface import VisionModel, resolve_layers


class ViewTuned(nn.Module):
    """A model with view-tuned units on top: layer `s4`, (batch, view).

    Each unit answers exp(-||c - v||^2 / (2 sigma^2)) where v is the response of the layers below
    to its own view and c the response to the image, over the inputs that its view drives most
    (Riesenhuber & Poggio 1999).

    Parameters
    ----------
    model : VisionModel
        Usually HMAX. Its layers remain readable.
    views : Tensor, shape (view, 3, height, width)
        One image a unit, RGB in [0, 1].
    layers : sequence of str
        The units' inputs.
    afferents : int or None
        How many inputs a unit has: those with the strongest responses to its view. None: all.
    sigma : float
        Tuning width, for responses between 0 and 1.

    Raises
    ------
    ValueError
        When there is no view, a layer is unknown, or there are fewer inputs than `afferents`.
    """

    def __init__(
        self,
        model: VisionModel,
        views: Tensor,
        *,
        layers: Sequence[str] = ("c2",),
        afferents: int | None = 40,
        sigma: float = 0.1,
    ):
        super().__init__()
        if not len(views):
            raise ValueError("no views were given; each view-tuned unit stores one")
        if not sigma > 0:
            raise ValueError(f"sigma must be positive; got {sigma}")
        self.name = f"{model.name}-views"
        self.below = model
        self.inputs = resolve_layers(model, layers)
        self.sigma = sigma
        self.layers: Sequence[str] = (*model.layers, "s4")
        self.provenance: Mapping[str, Any] = {
            "below": dict(model.provenance),
            "inputs": list(self.inputs),
            "afferents": afferents,
            "sigma": sigma,
            "views": len(views),
        }
        self.recommended: Mapping[str, tuple[str, ...]] = model.recommended
        with torch.no_grad():
            stored = self._read(model.features(views, self.inputs))
        if afferents is not None and afferents > stored.shape[1]:
            raise ValueError(
                f"a unit cannot have {afferents} inputs: the layers {', '.join(self.inputs)} have "
                f"{stored.shape[1]} units"
            )
        strongest = stored.argsort(dim=1, descending=True)[:, :afferents]
        self.register_buffer("inputs_of_unit", strongest)
        self.register_buffer("views", stored.gather(1, strongest))

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the responses of the named layers, those of the model below among them."""
        names = resolve_layers(self, layers)
        needed = [
            *(name for name in names if name != "s4"),
            *(self.inputs if "s4" in names else ()),
        ]
        found = self.below.features(images, list(dict.fromkeys(needed)))
        if "s4" in names:
            responses = self._read(found)[:, self.get_buffer("inputs_of_unit")]
            distance = (responses - self.get_buffer("views")).square().sum(dim=2)
            found["s4"] = torch.exp(-distance / (2 * self.sigma**2))
        return {name: found[name] for name in names}

    def _read(self, found: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([found[name].flatten(1) for name in self.inputs], dim=1)
