"""The cells of the neocognitron as equations: contrast, V, S and C."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# Under every root, so that its gradient stays finite where all inputs are silent.
EPSILON = 1e-8

# What sums of pixels in [0, 1] are known to, in float32.
ROUNDING = 1e-7

# Half-saturation of the 1980 C-cells.
ALPHA = 0.5


def gaussian_disc(radius: float, spread: float) -> Tensor:
    """Return Gaussian weights inside a circle, which sum to 1.

    The c(nu) of the V-cells and the a_C(nu) of the C-cells: they fall off with the distance
    |nu| from the centre and end where the receptive field does.

    Parameters
    ----------
    radius : float
        Of the receptive field, in cells.
    spread : float
        Standard deviation of the Gaussian, in cells.

    Returns
    -------
    Tensor, shape (side, side)
        side = 2 floor(radius) + 1.
    """
    reach = int(radius)
    steps = torch.arange(-reach, reach + 1, dtype=torch.float64)
    squares = steps[:, None] ** 2 + steps[None, :] ** 2
    weights = torch.exp(-squares / (2 * spread**2)) * (squares <= radius**2)
    return (weights / weights.sum()).float()


def centre_surround(radius: float, centre: float, surround: float) -> Tensor:
    """Return the weights a_G of the contrast-extracting cells, which sum to 0.

    A Gaussian minus a wider one, (side, side), scaled so that the positive part sums to 1.
    """
    weights = gaussian_disc(radius, centre) - gaussian_disc(radius, surround)
    return weights / weights.clamp_min(0).sum()


def contrast_cells(image: Tensor, weights: Tensor) -> Tensor:
    """Return the responses of the on- and off-centre cells U_G.

    u_G(n, k) = phi[(-1)^(k + 1) sum_nu a_G(nu) u_0(n + nu)], phi(x) = max(x, 0), k = 1, 2
    (Fukushima 2003). Beyond its border the image goes on with its last pixels, so that the
    border itself is no contour.

    Parameters
    ----------
    image : Tensor, shape (batch, 1, height, width)
    weights : Tensor, shape (side, side)
        They sum to 0.

    Returns
    -------
    Tensor, shape (batch, 2, height, width)
        The on-centre plane, then the off-centre plane.
    """
    padded = functional.pad(image, (weights.shape[-1] // 2,) * 4, mode="replicate")
    signed = functional.conv2d(padded, weights[None, None])
    # A uniform image leaves no more than rounding, which the next stage would take for contrast.
    return (torch.cat([signed, -signed], dim=1) - ROUNDING).relu()


def root(values: Tensor) -> Tensor:
    """Return sqrt(x + epsilon) - sqrt(epsilon), a square root with a finite slope at 0.

    Silence stays exactly 0; elsewhere it is the square root to within 1e-4.
    """
    return values / ((values + EPSILON).sqrt() + EPSILON**0.5)


def v_cells(inputs: Tensor, window: Tensor) -> Tensor:
    """Return the responses of the inhibitory V-cells, the root mean square of their inputs.

    v(n) = sqrt(sum_kappa sum_nu c(nu) u_C(n + nu, kappa)^2): the norm, under the weights c, of
    what an S-cell at the same place sees (Fukushima 1980, 1988, 2003).

    Parameters
    ----------
    inputs : Tensor, shape (batch, plane, height, width)
    window : Tensor, shape (side, side)
        c(nu).

    Returns
    -------
    Tensor, shape (batch, 1, height, width)
    """
    energy = inputs.square().sum(dim=1, keepdim=True)
    pooled = functional.conv2d(energy, window[None, None], padding="same")
    return root(pooled)


def excitation(inputs: Tensor, stored: Tensor, window: Tensor) -> Tensor:
    """Return what S-cells sum, sum_kappa sum_nu a(nu, kappa) u_C(n + nu, kappa), a = c x stored.

    Parameters
    ----------
    inputs : Tensor, shape (batch, plane, height, width)
    stored : Tensor, shape (feature, plane, side, side)
        What each feature has learnt from: the sum of the inputs of its seed cells.
    window : Tensor, shape (side, side)
        c(nu).

    Returns
    -------
    Tensor, shape (batch, feature, height, width)
    """
    return functional.conv2d(inputs, stored * window, padding="same")


def norms(stored: Tensor, window: Tensor) -> Tensor:
    """Return b = sqrt(sum a^2 / c) = ||stored||_c, the inhibition of 2003, one a feature.

    With it an S-cell compares directions alone: e / (b v) is the cosine, under the weights c,
    between what the cell sees and what it has learnt.
    """
    return (stored.square() * window).sum(dim=(1, 2, 3)).sqrt()


def s_cells_2003(excited: Tensor, inhibited: Tensor, threshold: float) -> Tensor:
    """Return theta / (1 - theta) phi[(1 + e) / (1 + theta b v) - 1] (Fukushima 2003).

    For strong connections (e, b v >> 1) it tends to phi(s - theta) / (1 - theta), where s is
    the cosine similarity of input and feature: 1 for the feature itself, 0 below the threshold.

    Parameters
    ----------
    excited : Tensor, shape (batch, feature, height, width)
        e.
    inhibited : Tensor, the same shape
        b v.
    threshold : float
        theta, between 0 and 1.
    """
    inhibition = threshold * inhibited
    # (1 + e) / (1 + i) - 1, without losing the digits of small e and i beside the 1.
    shunted = (excited - inhibition) / (1 + inhibition)
    return threshold / (1 - threshold) * shunted.relu()


def s_cells_1980(excited: Tensor, inhibited: Tensor, selectivity: float) -> Tensor:
    """Return r phi[(1 + e) / (1 + 2 r / (1 + r) b v) - 1] (Fukushima 1980, eq. 2).

    Its b grows by half of what the e of the same seed grows, hence the 2. With theta = r / (1 + r)
    it is the equation of 2003; the connections of 1980 are weaker.
    """
    inhibition = 2 * selectivity / (1 + selectivity) * inhibited
    return selectivity * ((excited - inhibition) / (1 + inhibition)).relu()


def pool(responses: Tensor, weights: Tensor, thinning: int = 2) -> Tensor:
    """Return sum_nu a_C(nu) u_S(n + nu, k) at every `thinning`-th position, plane by plane.

    Parameters
    ----------
    responses : Tensor, shape (batch, plane, height, width)
    weights : Tensor, shape (side, side)
    thinning : int
        2 halves the number of rows and columns, rounding up.
    """
    planes, side = responses.shape[1], weights.shape[-1]
    each = weights.expand(planes, 1, side, side)
    return functional.conv2d(responses, each, stride=thinning, padding=side // 2, groups=planes)


def c_cells_2003(pooled: Tensor) -> Tensor:
    """Return sqrt(phi[sum a_C u_S]) (Fukushima 2003), from pooled S-responses."""
    return root(pooled.relu())


def c_cells_1980(pooled: Tensor) -> Tensor:
    """Return psi[(1 + p) / (1 + v_S) - 1] (Fukushima 1980), from pooled S-responses p.

    v_S is the mean of p over the planes, psi(x) = phi(x) / (alpha + phi(x)), alpha = 0.5.
    """
    shared = pooled.mean(dim=1, keepdim=True)
    excess = ((pooled - shared) / (1 + shared)).relu()
    return excess / (ALPHA + excess)


def best_of_class(responses: Tensor, owners: Tensor, classes: int) -> Tensor:
    """Return UC4: for each class the largest response of its planes, at any place.

    Parameters
    ----------
    responses : Tensor, shape (batch, plane, height, width)
        Of US4.
    owners : Tensor of int64, shape (plane,)
        The number of the class that each plane belongs to; every class has a plane.
    classes : int
        Their number.

    Returns
    -------
    Tensor, shape (batch, class)
    """
    best = responses.amax(dim=(2, 3))
    return torch.stack([best[:, owners == k].amax(dim=1) for k in range(classes)], dim=1)
