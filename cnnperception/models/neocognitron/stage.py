"""One stage: S-cells that look for learnt features, and C-cells that blur where they are."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .equations import excitation, gaussian_disc, norms, pool, v_cells
from .forms import Form


class SimpleCells(nn.Module):
    """The S-cells of a stage: planes of cells, each plane sharing one feature over positions.

    Attributes
    ----------
    window : Tensor, shape (side, side)
        c(nu), a Gaussian in a disc.
    stored : Tensor, shape (feature, plane, side, side)
        For each feature the sum of the inputs of its seed cells.
    summed : Tensor, shape (feature,)
        The sum of the v of its seed cells.

    Parameters
    ----------
    radius : float
        Where the receptive field ends, in cells of the layer below.
    spread : float
        Standard deviation of c(nu).
    """

    window: Tensor
    stored: Tensor
    summed: Tensor

    def __init__(self, radius: float, spread: float):
        super().__init__()
        window = gaussian_disc(radius, spread)
        self.register_buffer("window", window)
        self.register_buffer("stored", torch.zeros(0, 0, *window.shape))
        self.register_buffer("summed", torch.zeros(0))

    def __len__(self) -> int:
        return len(self.stored)

    def forward(self, inputs: Tensor, threshold: float, form: Form, first: int = 0) -> Tensor:
        """Return the responses of the planes from number `first` on.

        Parameters
        ----------
        inputs : Tensor, shape (batch, plane, height, width)
            The C-layer below.
        threshold : float
            theta.
        form : Form
        first : int

        Returns
        -------
        Tensor, shape (batch, feature, height, width)
        """
        stored, summed = self.stored[first:], self.summed[first:]
        excited = form.gain * excitation(inputs, stored, self.window)
        strength = form.gain * form.inhibition(stored, summed, self.window)
        inhibited = strength[:, None, None] * self.v(inputs)
        return form.simple(excited, inhibited, threshold)

    def v(self, inputs: Tensor) -> Tensor:
        """Return the V-cells' responses to the inputs, (batch, 1, height, width)."""
        return v_cells(inputs, self.window)

    def seen_from(self, inputs: Tensor, row: int, column: int) -> Tensor:
        """Return what the cell at a position sees of one input, (plane, side, side).

        Parameters
        ----------
        inputs : Tensor, shape (1, plane, height, width)
        row, column : int
        """
        side = self.window.shape[-1]
        padded = functional.pad(inputs[0], (side // 2,) * 4)
        seen = padded[:, row : row + side, column : column + side] * (self.window > 0)
        # As precise as files are, so that a seed that is alone in its plane is not rounded later.
        return seen.half().to(inputs.dtype)

    def round(self) -> None:
        """Keep what was learnt only as precisely as a file does."""
        self.stored = self.stored.half().to(self.stored.dtype)

    def add(self, seen: Tensor) -> None:
        """Make a new plane whose seed cell sees `seen`, (plane, side, side)."""
        self.stored = torch.cat([self.stored.reshape(-1, *seen.shape), seen[None]])
        self.summed = torch.cat([self.summed, norms(seen[None], self.window)])

    def reinforce(self, feature: int, seen: Tensor) -> None:
        """Let a plane learn from a seed cell that sees `seen`, (plane, side, side)."""
        self.stored[feature] += seen
        self.summed[feature] += norms(seen[None], self.window)[0]


class ComplexCells(nn.Module):
    """The C-cells of a stage: blurred, and half as many in each direction.

    Parameters
    ----------
    radius : float
        Where the receptive field ends, in cells of the layer below.
    spread : float
        Standard deviation of a_C(nu).
    """

    window: Tensor

    def __init__(self, radius: float, spread: float):
        super().__init__()
        self.register_buffer("window", gaussian_disc(radius, spread))

    def forward(self, responses: Tensor, form: Form) -> Tensor:
        """Return the responses of C-cells to S-cells, both (batch, plane, height, width)."""
        return form.complex(pool(responses, self.window))
