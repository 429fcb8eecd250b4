"""The two published forms of the cells: 2003 and 1980."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from .equations import c_cells_1980, c_cells_2003, norms, s_cells_1980, s_cells_2003


@dataclass(frozen=True)
class Form:
    """How the cells of a network answer.

    Attributes
    ----------
    gain : float
        q, by which connections grow when a seed cell learns. The response of an S-cell is half
        of its limit where v = 1 / (theta q b), with b for q = 1.
    inhibition : callable
        From `stored` (feature, plane, side, side), `summed` (feature,) and c(nu) to b for q = 1.
    simple : callable
        From e, b v and theta to the responses of S-cells.
    complex : callable
        From pooled S-responses to the responses of C-cells.
    thresholds, learning_thresholds : tuple of float
        theta of US1 ... US4 in recognition and in learning, where nothing else is asked for.
    """

    gain: float
    inhibition: Callable[[Tensor, Tensor, Tensor], Tensor]
    simple: Callable[[Tensor, Tensor, float], Tensor]
    complex: Callable[[Tensor], Tensor]
    thresholds: tuple[float, float, float, float]
    learning_thresholds: tuple[float, float, float, float]


FORMS = {
    "2003": Form(
        gain=100.0,
        inhibition=lambda stored, summed, window: norms(stored, window),
        simple=s_cells_2003,
        complex=c_cells_2003,
        thresholds=(0.55, 0.55, 0.60, 0.30),
        learning_thresholds=(0.55, 0.66, 0.67, 0.30),
    ),
    "1980": Form(
        # q = 16, and some 20 presentations of each pattern, of 1980 in one.
        gain=300.0,
        # Every seed adds half of the v it saw.
        inhibition=lambda stored, summed, window: summed / 2,
        simple=lambda excited, inhibited, theta: s_cells_1980(
            excited, inhibited, theta / (1 - theta)
        ),
        complex=c_cells_1980,
        # What C-cells let through after their mutual inhibition differs more from place to place.
        thresholds=(0.55, 0.40, 0.40, 0.30),
        learning_thresholds=(0.55, 0.50, 0.45, 0.30),
    ),
}
