"""Models of RDMs: one that is given, and flexible ones that are fitted to data.

Every flexible model predicts a sum of its candidate RDMs with weights that are not negative; the
kinds differ in which weights they allow. Fitting needs no more than how similar each candidate
is to the data, and the products of candidates with each other and with the data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from scipy import linalg, optimize
from torch import Tensor

from .labels import concat, stack

Products = Callable[[], tuple[Tensor, Tensor]]
Fit = Callable[[Tensor, Products], Tensor]

# Of the mean of the diagonal: lets two candidates be the same.
_RIDGE = 1e-12


@dataclass(frozen=True)
class RDMModel:
    """Candidate RDMs, and the rule by which weights are found for them.

    Attributes
    ----------
    kind : str
        Its name in tables.
    rdms : DataArray, dims (rdm, pair)
    fit : function
        Takes the similarity of each candidate to the data, (sample, k), and a function that
        returns the candidates' products with each other, (sample, k, k), and with the data,
        (sample, k); returns weights (sample, k).
    """

    kind: str
    rdms: xr.DataArray
    fit: Fit

    @property
    def flexible(self) -> bool:
        return self.rdms.sizes["rdm"] > 1


def fixed(rdm: xr.DataArray) -> RDMModel:
    """Return the model that predicts one RDM, (pair,) or (1, pair)."""
    return RDMModel("fixed", _candidates(rdm, fewest=1, most=1), only_weight)


def selected(rdms: xr.DataArray | Mapping[str, xr.DataArray] | Sequence[xr.DataArray]) -> RDMModel:
    """Return the model that predicts the one of its RDMs which is most similar to the data.

    With cross-validation this corrects for having chosen the best layer.

    Parameters
    ----------
    rdms : DataArray (rdm, pair), or mapping or sequence of DataArrays (pair,)
    """
    return RDMModel("selected", _candidates(rdms), select_best)


def weighted(rdms: xr.DataArray | Mapping[str, xr.DataArray] | Sequence[xr.DataArray]) -> RDMModel:
    """Return the model that predicts a sum of its RDMs with non-negative weights.

    The weights maximise the similarity by the method of evaluation where it is a cosine or a
    correlation, plain or whitened (non-negative least squares; Khaligh-Razavi & Kriegeskorte
    2014); for rank methods, the correlation with the mean of the data's ranks.

    Parameters
    ----------
    rdms : DataArray (rdm, pair), or mapping or sequence of DataArrays (pair,)
    """
    return RDMModel("weighted", _candidates(rdms), weigh)


def interpolated(
    rdms: xr.DataArray | Mapping[str, xr.DataArray] | Sequence[xr.DataArray],
) -> RDMModel:
    """Return the model that predicts a mixture of two of its RDMs that are next to each other.

    For candidates along a line, such as one model at increasing strengths of a parameter.

    Parameters
    ----------
    rdms : DataArray (rdm, pair), or mapping or sequence of DataArrays (pair,)
    """
    return RDMModel("interpolated", _candidates(rdms), interpolate)


def _candidates(
    rdms: xr.DataArray | Mapping[str, xr.DataArray] | Sequence[xr.DataArray],
    fewest: int = 2,
    most: int | None = None,
) -> xr.DataArray:
    if not isinstance(rdms, xr.DataArray):
        rdms = concat(rdms)
    rdms = stack(rdms, "0")
    count = rdms.sizes["rdm"]
    if count < fewest or (most is not None and count > most):
        wanted = "one RDM" if most == 1 else f"{fewest} RDMs or more"
        raise ValueError(f"this kind of model is made of {wanted}; got {count}")
    return rdms


# ---- fits: (similarity, products) -> weights ----


def only_weight(similarity: Tensor, products: Products) -> Tensor:
    """Return ones."""
    return torch.ones_like(similarity)


def select_best(similarity: Tensor, products: Products) -> Tensor:
    """Return 1 for the candidate most similar to the data, 0 for the others."""
    best = similarity.argmax(dim=1, keepdim=True)
    return torch.zeros_like(similarity).scatter_(1, best, 1.0)


def weigh(similarity: Tensor, products: Products) -> Tensor:
    """Return non-negative weights w that maximise (w . d) / sqrt(w^T G w), of length 1."""
    return _nonnegative(*products())


def interpolate(similarity: Tensor, products: Products) -> Tensor:
    """Return the weights of the two neighbours whose best mixture is most similar."""
    gram, with_data = products()
    best = torch.full_like(similarity[:, 0], -torch.inf)
    weights = torch.zeros_like(similarity)
    for first in range(similarity.shape[1] - 1):
        both = slice(first, first + 2)
        found = _nonnegative(gram[:, both, both], with_data[:, both])
        length = torch.einsum("sk,skl,sl->s", found, gram[:, both, both], found)
        reached = (found * with_data[:, both]).sum(dim=1) / length.clamp(min=1e-300).sqrt()
        better = reached > best
        best = torch.where(better, reached, best)
        mixture = torch.zeros_like(weights)
        mixture[:, both] = found / found.sum(dim=1, keepdim=True)
        weights = torch.where(better[:, None], mixture, weights)
    return weights


def _nonnegative(gram: Tensor, with_data: Tensor) -> Tensor:
    pairs = zip(gram.cpu().numpy(), with_data.cpu().numpy(), strict=True)
    found = np.stack([_nonnegative_least_squares(g, c) for g, c in pairs])
    return torch.as_tensor(found, dtype=gram.dtype, device=gram.device)


def _nonnegative_least_squares(gram: np.ndarray, cross: np.ndarray) -> np.ndarray:
    # A model that does not vary (a product of zero with itself) can have no weight.
    scale = np.sqrt(gram.diagonal())
    used = scale > 0
    weights = np.zeros(len(cross))
    if used.any():
        unit = gram[np.ix_(used, used)] / np.outer(scale[used], scale[used])
        root = linalg.cholesky(unit + _RIDGE * np.eye(len(unit)))
        target = linalg.solve_triangular(root, cross[used] / scale[used], trans="T")
        weights[used] = optimize.nnls(root, target)[0] / scale[used]
    if not weights.any():
        # Nothing is better than a weight of zero: take the least bad candidate alone.
        score = np.divide(cross, scale, out=np.full(len(cross), -np.inf), where=used)
        weights[score.argmax()] = 1.0
    return weights / np.linalg.norm(weights)
