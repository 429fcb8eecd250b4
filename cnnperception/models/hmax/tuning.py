"""S2 and C2: similarity of C1 patches to stored ones, and the best match anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .cells import window_sums

# Units that a processor's convolutions handle at a time.
LANES = 16


class Winners(NamedTuple):
    """The window that each unit answers most to: its band and its first C1 cell.

    Each of shape (batch, unit), int64. With "same" padding the first cell can be negative.
    """

    band: Tensor
    row: Tensor
    column: Tensor


class TunedUnits(nn.Module):
    """Units tuned to stored patches of one size.

    Parameters
    ----------
    patches : Tensor, shape (unit, orientation, size, size)
    afferents : Tensor of the same shape, or None
        1 where a unit has an input and 0 where it has none; None: everywhere.
    tuning : str
        "gaussian": exp(-d^2 / (2 sigma^2 alpha)); "distance": the Euclidean distance d itself.
    sigma : float
    normalisation : str
        What keeps large patches from being harder to match. "norm": alpha = ||P||^2, each unit
        its own; "area": alpha = (size / 4)^2 (Mutch & Lowe 2008); "none": alpha = 1.
    same : bool
        Whether windows may reach over the border of the C1 map, where it is 0.
    """

    def __init__(
        self,
        patches: Tensor,
        afferents: Tensor | None = None,
        *,
        tuning: str = "gaussian",
        sigma: float = 6**-0.5,
        normalisation: str = "norm",
        same: bool = False,
    ):
        super().__init__()
        self.size = patches.shape[-1]
        self.tuning, self.sigma, self.normalisation, self.same = tuning, sigma, normalisation, same
        masked = patches if afferents is None else patches * afferents
        self.register_buffer("patches", masked.contiguous())
        self.register_buffer("afferents", None if afferents is None else afferents.to(patches))

    def fits(self, maps: Tensor) -> bool:
        """Say whether a C1 map is large enough for one window."""
        return self.same or min(maps.shape[-2:]) >= self.size

    def maps(self, maps: Tensor) -> Tensor:
        """Return S2: every unit's response to every window of a C1 map.

        Parameters
        ----------
        maps : Tensor, shape (batch, orientation, height, width)

        Returns
        -------
        Tensor, shape (batch, unit, height - size + 1, width - size + 1)
            With `same`, (batch, unit, height, width).
        """
        norms = self._norms(maps.dtype)[:, None, None]
        padded = self._padded(maps)
        distance = (norms - self._score(padded, self._filters(padded))).clamp_min(0)
        return self._response(distance, norms)

    def best(self, bands: Mapping[int, Tensor]) -> Tensor:
        """Return C2: every unit's best response over all windows of all bands.

        The best window is searched first, and only its response is computed exactly and with
        gradients: a maximum depends on nothing else.

        Parameters
        ----------
        bands : mapping of int to Tensor
            C1 maps by band, each (batch, orientation, height, width) and large enough.

        Returns
        -------
        Tensor, shape (batch, unit)
        """
        padded = {band: self._padded(maps) for band, maps in bands.items()}
        found = _windows(padded, self._search(padded), self.size)
        difference = found - self._like("patches", found)
        if self.afferents is not None:
            difference = difference * self._like("afferents", found)
        distance = difference.square().sum(dim=(2, 3, 4))
        return self._response(distance, self._norms(found.dtype))

    def winners(self, bands: Mapping[int, Tensor]) -> Winners:
        """Return where every unit's best window lies; arguments as those of `best`."""
        band, row, column = self._search({k: self._padded(maps) for k, maps in bands.items()})
        before = (self.size - 1) // 2 if self.same else 0
        return Winners(band, row - before, column - before)

    @torch.no_grad()
    def _search(self, bands: Mapping[int, Tensor]) -> Winners:
        filters = self._filters(next(iter(bands.values())))
        scores = {band: self._score(maps, filters) for band, maps in bands.items()}
        # A maximum without its place takes a tenth of the time of one with it: only of the band
        # that wins is the place looked up.
        highest = torch.stack([score.flatten(2).amax(dim=2) for score in scores.values()])
        winner = highest.argmax(dim=0)
        row, column = torch.empty_like(winner), torch.empty_like(winner)
        for number, score in enumerate(scores.values()):
            won = winner == number
            index = score[won].flatten(1).argmax(dim=1)
            row[won], column[won] = index // score.shape[-1], index % score.shape[-1]
        return Winners(torch.tensor(list(bands), device=winner.device)[winner], row, column)

    def _filters(self, like: Tensor) -> Tensor:
        """Return the patches, filled up with zeros to a number that convolutions are fast for."""
        patches = self._like("patches", like)
        return functional.pad(patches, (0, 0, 0, 0, 0, 0, 0, -len(patches) % LANES))

    def _score(self, padded: Tensor, filters: Tensor) -> Tensor:
        """Return 2 <X, P> - ||X||^2 for all windows X: what ||P||^2 - d^2 is."""
        matched = functional.conv2d(2 * padded, filters)[:, : len(self.get_buffer("patches"))]
        if self.afferents is None:
            energy = window_sums(padded.square().sum(dim=1, keepdim=True), self.size)
        else:
            energy = functional.conv2d(padded.square(), self._like("afferents", padded))
        # In place: these are the largest maps of the model.
        return matched.sub_(energy)

    def _response(self, distance: Tensor, norms: Tensor) -> Tensor:
        """Return the response to squared distances, given the prototypes' squared norms."""
        if self.tuning == "gaussian":
            area = torch.full_like(norms, (self.size / 4) ** 2)
            alpha = {"norm": norms.clamp_min(1e-6), "area": area, "none": torch.ones_like(norms)}
            return torch.exp(-distance / (2 * self.sigma**2 * alpha[self.normalisation]))
        # The root has no slope at 0; units that match exactly have nowhere better to go.
        exact = distance == 0
        return distance.masked_fill(exact, 1).sqrt().masked_fill(exact, 0)

    def _norms(self, dtype: torch.dtype) -> Tensor:
        return self.get_buffer("patches").to(dtype).square().sum(dim=(1, 2, 3))

    def _padded(self, maps: Tensor) -> Tensor:
        if not self.same:
            return maps
        before, after = (self.size - 1) // 2, self.size // 2
        return functional.pad(maps, (before, after, before, after))

    def _like(self, name: str, other: Tensor) -> Tensor:
        return self.get_buffer(name).to(other.dtype)


def _windows(bands: Mapping[int, Tensor], at: Winners, size: int) -> Tensor:
    """Return the C1 windows at given places: (batch, unit, orientation, size, size)."""
    flat = torch.cat([maps.flatten(1) for maps in bands.values()], dim=1)
    device, orientations = flat.device, next(iter(bands.values())).shape[1]
    starts, heights, widths = {}, {}, {}
    start = 0
    for band, maps in bands.items():
        starts[band], heights[band], widths[band] = start, maps.shape[2], maps.shape[3]
        start += maps[0].numel()

    def look_up(numbers: dict[int, int]) -> Tensor:
        table = [numbers.get(band, 0) for band in range(max(bands) + 1)]
        return torch.tensor(table, device=device)[at.band][..., None, None, None]

    width = look_up(widths)
    first = (
        look_up(starts) + at.row[..., None, None, None] * width + at.column[..., None, None, None]
    )
    plane = torch.arange(orientations, device=device)[:, None, None]
    row, column = torch.arange(size, device=device)[:, None], torch.arange(size, device=device)
    cells = first + plane * look_up(heights) * width + row * width + column
    return flat.gather(1, cells.flatten(1)).view(cells.shape)
