"""How the stages learn: new features where cells are silent, competition, and supervision.

Each rule shows S-cells one input after the other, lets them grow, and yields what happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from .forms import Form
from .stage import SimpleCells

# Places where V is below this share of its maximum in the image show the edge of something
# rather than something: no feature is taken there.
LIVE = 0.3

# Cells no further apart than this compete to be seeds (a 5 x 5 column, all planes).
COMPETITION = 2

# US4 sees the training set until it makes no mistake, but not more often than this.
PASSES = 20


class Presentation(NamedTuple):
    """What one presentation of one input did.

    Attributes
    ----------
    planes : int
        Cell planes afterwards.
    wrong : bool
        Whether a cell of another class, or none, had won (US4 only).
    """

    planes: int
    wrong: bool = False


def add_if_silent(
    cells: SimpleCells, batches: Iterable[Tensor], threshold: float, form: Form, most: int
) -> Iterator[Presentation]:
    """Make a new plane wherever all S-cells are silent though their inputs are not.

    The seed is the place with the most input; it learns in one shot and its plane never changes
    again. Then the next place, until none is left (Fukushima 2013).

    Parameters
    ----------
    cells : SimpleCells
        Those that learn.
    batches : iterable of Tensor
        Inputs, (batch, plane, height, width), in the order in which they are shown.
    threshold : float
        theta while learning.
    form : Form
    most : int
        Planes that are enough.
    """
    for inputs in batches:
        known = len(cells)
        strongest = _strongest(cells, inputs, threshold, form)
        for one, before in zip(inputs.split(1), strongest.split(1), strict=True):
            # The planes that this batch brought have not been asked yet.
            answered = torch.maximum(before, _strongest(cells, one, threshold, form, known))
            _add_where_silent(cells, one, answered, threshold, form, most)
            yield Presentation(len(cells))


def compete_for_seeds(
    cells: SimpleCells, batches: Iterable[Tensor], threshold: float, form: Form, most: int
) -> Iterator[Presentation]:
    """Let the strongest S-cells become seeds, from which their planes learn.

    A cell that answers more than all others in its column, whatever their plane, is a candidate;
    of each plane's candidates the strongest is its seed, and the plane's features grow by what
    the seed sees (Fukushima 1980). Where all cells are silent though their inputs are not, a new
    plane is made (Fukushima 2003).

    Parameters
    ----------
    cells, batches, threshold, form, most
        As for `add_if_silent`.
    """
    for inputs in batches:
        for one in inputs.split(1):
            if len(cells):
                responses = cells(one, threshold, form)
                for feature, row, column in seeds(responses[0], COMPETITION):
                    cells.reinforce(feature, cells.seen_from(one, row, column))
            answered = _strongest(cells, one, threshold, form)
            _add_where_silent(cells, one, answered, threshold, form, most)
            yield Presentation(len(cells))


def seeds(responses: Tensor, reach: int) -> list[tuple[int, int, int]]:
    """Return the seed cells in one image's S-responses: (plane, row, column), one a plane at most.

    Parameters
    ----------
    responses : Tensor, shape (plane, height, width)
    reach : int
        A column holds the cells of all planes up to so many rows and columns away.
    """
    strongest = functional.max_pool2d(
        responses.amax(dim=0)[None], 2 * reach + 1, stride=1, padding=reach
    )
    candidates = responses * ((responses == strongest) & (responses > 0))
    best, places = candidates.flatten(start_dim=1).max(dim=1)
    width = responses.shape[-1]
    return [
        (feature, *divmod(int(places[feature]), width))
        for feature in best.nonzero().flatten().tolist()
    ]


def compete_by_class(
    cells: SimpleCells,
    owners: list[int],
    inputs: Tensor,
    labels: Tensor,
    threshold: float,
    form: Form,
    random: torch.Generator,
) -> Iterator[Presentation]:
    """Let planes that belong to classes compete, and make a new one for each mistake.

    The S-cell that answers most, in any plane at any place, wins. If its plane belongs to the
    class of the input, the plane learns from what the winner sees; if not, or if all are silent,
    a new plane of the right class learns from the place with the most input. The inputs are
    shown again, in a new order, until no mistake is made (Fukushima 2003).

    Parameters
    ----------
    cells : SimpleCells
    owners : list of int
        The class of each plane; grows with them.
    inputs : Tensor, shape (image, plane, height, width)
    labels : Tensor, shape (image,)
        The class of each image.
    threshold : float
    form : Form
    random : torch.Generator
        For the order of presentation.
    """
    for _ in range(PASSES):
        mistakes = 0
        for index in torch.randperm(len(inputs), generator=random).tolist():
            one, label = inputs[index : index + 1], int(labels[index])
            winner = _winner(cells, one, threshold, form)
            wrong = winner is None or owners[winner[0]] != label
            if winner is None or wrong:
                cells.add(cells.seen_from(one, *_peak(cells.v(one))))
                owners.append(label)
            else:
                feature, row, column = winner
                cells.reinforce(feature, cells.seen_from(one, row, column))
            mistakes += wrong
            yield Presentation(len(cells), wrong)
        if not mistakes:
            return


def _add_where_silent(
    cells: SimpleCells, one: Tensor, answered: Tensor, threshold: float, form: Form, most: int
) -> None:
    """Add planes until some cell answers at every live place of one input, or there are `most`."""
    v = cells.v(one)
    live = v > LIVE * v.amax()
    while len(cells) < most:
        silent = live & (answered <= 0)
        if not silent.any():
            return
        place = _peak(v.masked_fill(~silent, -1))
        cells.add(cells.seen_from(one, *place))
        # Only the new plane has something to add to what the others answered.
        new = _strongest(cells, one, threshold, form, len(cells) - 1)
        # Its seed answers however weak the input: rounding must not leave it silent for ever.
        new[0, 0, place[0], place[1]] = new[0, 0, place[0], place[1]].clamp_min(1e-6)
        answered = torch.maximum(answered, new)


def _strongest(
    cells: SimpleCells, inputs: Tensor, threshold: float, form: Form, first: int = 0
) -> Tensor:
    """Return the largest response at each place, (batch, 1, height, width), 0 without planes."""
    if len(cells) == first:
        return torch.zeros_like(inputs[:, :1])
    return cells(inputs, threshold, form, first).amax(dim=1, keepdim=True)


def _winner(
    cells: SimpleCells, one: Tensor, threshold: float, form: Form
) -> tuple[int, int, int] | None:
    """Return plane, row and column of the S-cell that answers most, None where all are silent."""
    if not len(cells):
        return None
    responses = cells(one, threshold, form)[0]
    if not responses.any():
        return None
    feature, place = divmod(int(responses.argmax()), responses[0].numel())
    return feature, *divmod(place, responses.shape[-1])


def _peak(values: Tensor) -> tuple[int, int]:
    """Return row and column of the maximum of (1, 1, height, width)."""
    return divmod(int(values.argmax()), values.shape[-1])
