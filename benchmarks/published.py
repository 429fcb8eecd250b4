"""The published procedure of texture synthesis and style transfer, restated.

The loss of Gatys, Ecker & Bethge (2015, eq. 5; 2016, eq. 7) at full size, by torch.optim.LBFGS
with its defaults (rate 1, history 100, no line search), 500 evaluations in float32, each computing
the network to its end with the channels outermost in memory, as the published code does.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

import cnnperception as cp
from cnnperception.models import normalised
from cnnperception.models.network import Network
from cnnperception.synthesis.objective import Term, match, plain_gram

TEXTURE_LAYERS = ["conv1_1", "pool1", "pool2", "pool3", "pool4"]
STYLE_LAYERS = ["conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"]
EVALUATIONS = 500
WEIGHT = 1e9  # of each layer in the published code: far above the optimiser's tolerances
FLAT = 0.5  # of the loss at the start: what a flat picture has

Loss = Callable[[Tensor], Tensor]
Curve = list[tuple[float, float]]  # seconds, lowest loss so far


def network(weights: str | None, device: str | torch.device = "cpu") -> Network:
    """Return VGG-19 with average pooling; every filter's mean activation 1 for trained weights.

    Random filters are not normalised one by one: some hardly respond, and would be blown up.
    """
    model = cp.load_model("vgg19", weights=weights, pooling="avg", device=device)
    assert isinstance(model, Network)
    if weights is None:
        return model
    return normalised(model, [cp.exemplar(name, size=224) for name in cp.list_exemplars()])


def published(loss: Loss, starts: Sequence[Tensor]) -> Curve:
    """Return the curve of the published procedure.

    With its defaults the optimiser takes steps without looking where they lead, and now and then
    ends in a flat picture. Then it is run again with the line search that it offers and, where
    that does not help either, from the next start.
    """
    for start in starts:
        for line_search in (None, "strong_wolfe"):
            curve = _published(loss, start, line_search)
            if curve[-1][1] < FLAT * curve[0][1]:
                return curve
    return curve


def _published(loss: Loss, start: Tensor, line_search: str | None) -> Curve:
    # In grey levels, of which an image has 256: a step of rate 1 is meant for those.
    pixels = (255 * start).requires_grad_()
    optimiser = torch.optim.LBFGS(
        [pixels], max_iter=EVALUATIONS, max_eval=EVALUATIONS, line_search_fn=line_search
    )
    curve: Curve = []
    began = time.perf_counter()

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = WEIGHT * loss(pixels / 255)
        value.backward()
        reached = min([value.item() / WEIGHT, *(found for _, found in curve[-1:])])
        curve.append((time.perf_counter() - began, reached))
        return value

    optimiser.step(closure)
    return curve


def texture_terms(model: Network, exemplar: Tensor, layers: list[str]) -> list[Term]:
    """Return the terms of the paper's loss: each layer 1 / (4 N^2) ||G - T||^2.

    G is that of features relative to the layer's mean activation, which normalised weights make 1.
    """
    features = model.features(exemplar, layers)
    terms = match("texture", model, layers, plain_gram, exemplar)
    weights = [
        float(term.size())
        / (4 * term.target.shape[-1] ** 2)
        / float(features[term.layer].mean()) ** 4
        for term in terms
    ]
    return [dataclasses.replace(t, weight=w) for t, w in zip(terms, weights, strict=True)]


def total(model: Network, terms: list[Term]) -> Loss:
    """Return the loss of the terms, as the published code computes it.

    The whole network is run whichever layers count, channels outermost; terms one by one. They
    are summed in float64: the first step changes so large a picture so little that in float32 the
    optimiser can see no change at all and end.
    """
    body = copy.deepcopy(model.network.features).to(memory_format=torch.contiguous_format)
    places = {model.paths[term.layer].removeprefix("features."): term for term in terms}

    def loss(images: Tensor) -> Tensor:
        response = (images - model.mean) / model.deviation
        parts = []
        for place, module in body.named_children():
            response = module(response)
            if place in places:
                term = places[place]
                far = term.distance_to_target(term.statistic(response).double())
                parts.append(term.weight * far[0])
        return torch.stack(parts).sum()

    return loss
