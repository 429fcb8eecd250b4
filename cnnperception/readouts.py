"""What is kept of a layer: applied as the features come out, so that no more is ever stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .statistics import gram, spatial_mean

# By how much a projection may change squared distances, as a share, at most.
DISTORTION = 0.1
LARGEST_PCA = 1000
# Stimuli that principal components are fitted on, at most.
FITTED_STIMULI = 512


@dataclass(frozen=True)
class Readout:
    """A function of a layer's features, and what it is.

    Attributes
    ----------
    apply : function
        (batch, ...) features -> (batch, ...) what is kept.
    settings : mapping
        For the provenance.
    """

    apply: Callable[[Tensor], Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Layer:
    """What a readout can be fitted to.

    Attributes
    ----------
    features : function
        Returns the layer's features of some of the stimuli, evenly chosen: as many as asked for,
        or all where there are fewer.
    stimuli : int
        Of the whole extraction.
    seed : int
    """

    features: Callable[[int], Tensor]
    stimuli: int
    seed: int


def gram_units(features: Tensor) -> Tensor:
    """Return the upper triangle of each Gram matrix: texture statistics as units.

    Parameters
    ----------
    features : Tensor, shape (batch, channel, height, width)

    Returns
    -------
    Tensor, shape (batch, channel (channel + 1) / 2)
    """
    matrices = gram(features)
    rows, columns = torch.triu_indices(*matrices.shape[1:], device=matrices.device)
    return matrices[:, rows, columns]


def projection(layer: Layer) -> Readout:
    """Return a sparse random projection that keeps distances between the stimuli.

    As many components as keep every squared distance within `DISTORTION` (Johnson & Lindenstrauss
    1984; Dasgupta & Gupta 2003), their weights -1, 0 or 1, scaled, one in sqrt(units) not zero (Li
    et al. 2006). A layer with no more units than that is kept as it is.
    """
    from sklearn.random_projection import SparseRandomProjection, johnson_lindenstrauss_min_dim

    units = layer.features(1).flatten(1).shape[1]
    components = int(johnson_lindenstrauss_min_dim(max(layer.stimuli, 2), eps=DISTORTION))
    known = {"distortion": DISTORTION, "units": units, "components": min(components, units)}
    if components >= units:
        return Readout(_flat, {**known, "distortion": 0.0})
    chosen = SparseRandomProjection(components, random_state=layer.seed)
    weights = chosen.fit(np.zeros((1, units), dtype=np.float32)).components_.astype(np.float32)

    def apply(features: Tensor) -> Tensor:
        flat = features.flatten(1).float().cpu().numpy()
        return torch.from_numpy(np.ascontiguousarray((weights @ flat.T).T))

    return Readout(apply, {**known, "density": float(chosen.density_)})


def principal_components(layer: Layer) -> Readout:
    """Return the scores on principal components, fitted to features of some of the stimuli.

    Of at most `FITTED_STIMULI` stimuli, as many components as they determine, at most
    `LARGEST_PCA`. Exact for the geometry of the stimuli it was fitted to.
    """
    features = layer.features(FITTED_STIMULI).flatten(1).double()
    if len(features) < 2:
        raise ValueError("principal components need two stimuli or more")
    mean = features.mean(dim=0)
    centred = features - mean
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    known = torch.flip(torch.nonzero(values > 1e-10 * values[-1])[:, 0], [0])[:LARGEST_PCA]
    axes = (vectors[:, known] / values[known].sqrt()).T @ centred
    # Of the two directions of an axis the one whose largest weight is positive.
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    axes = (axes * largest.sign()).float()
    mean = mean.float()

    def apply(features: Tensor) -> Tensor:
        return (features.flatten(1).float() - mean) @ axes.T

    share = (values[known].sum() / values.clamp(min=0).sum()).item()
    settings = {"components": len(known), "fitted_stimuli": len(features), "variance": share}
    return Readout(apply, settings)


def _flat(features: Tensor) -> Tensor:
    return features.flatten(1)


READOUTS: dict[str, Callable[[Layer], Readout]] = {
    "full": lambda layer: Readout(lambda features: features),
    "mean": lambda layer: Readout(spatial_mean),
    "gram": lambda layer: Readout(gram_units),
    "projection": projection,
    "pca": principal_components,
}


def check(name: str) -> None:
    """Raise ValueError when no readout is of this name."""
    if name not in READOUTS:
        raise ValueError(f"no readout is called {name!r}; there are {', '.join(READOUTS)}")
