"""What a synthesis makes, in its course and at its end, and whether it came near its targets."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from torch import Tensor

from ..models.interface import VisionModel
from .checkpoint import Losses

LOSS_COLUMNS = ("evaluation", "level", "height", "width", "image", "term", "loss")
FAILED = 0.5  # relative loss at which a statistic counts as not matched at all


@dataclasses.dataclass(frozen=True)
class Moment:
    """A synthesis in its course, as whoever watches sees it.

    Attributes
    ----------
    level, levels : int
        Index of the level of the schedule, and how many there are.
    evaluation, evaluations : int
        Of the model, done and planned, over all levels.
    names : tuple of str
        The terms.
    images : Tensor, shape (batch, 3, height, width)
        The best so far; a little out of [0, 1] it may be.
    terms : Tensor, shape (batch, term)
        Their losses.
    """

    level: int
    levels: int
    evaluation: int
    evaluations: int
    names: tuple[str, ...]
    images: Tensor
    terms: Tensor


@dataclasses.dataclass(frozen=True)
class SynthesisResult:
    """What a synthesis made.

    Attributes
    ----------
    images : Tensor, shape (batch, 3, height, width), float32
        RGB in [0, 1].
    losses : DataFrame
        Columns evaluation, level, height, width, image (index in the batch), term, loss: the
        relative loss of each term at each evaluation, of the best image until then.
    provenance : dict
        Every setting, the seeds, versions and the hash of the model: JSON values only.
    finished : bool
        False when the synthesis was interrupted; `images` are the best until then.
    """

    images: Tensor
    losses: pd.DataFrame
    provenance: dict[str, Any]
    finished: bool = True

    @property
    def image(self) -> Tensor:
        """The first image, shape (3, height, width)."""
        return self.images[0]

    def final_losses(self, image: int = 0) -> pd.Series:
        """Return the loss of each term of an image of the batch at the end, by term."""
        its = self.losses[self.losses["image"] == image]
        return its[its["evaluation"] == its["evaluation"].max()].set_index("term")["loss"]

    def each(self) -> list[SynthesisResult]:
        """Return a result for each image of the batch, with its own losses and seed.

        Where there are several, `provenance["batch"]` says where among them it was made.
        """
        if len(self.images) == 1:
            return [self]
        results = []
        seeds = self.provenance.get("seed")
        for place, image in enumerate(self.images.split(1)):
            record = {**self.provenance, "batch": {"images": len(self.images), "place": place}}
            if isinstance(seeds, list):
                record |= {"seed": seeds[place], "batch": {**record["batch"], "seeds": seeds}}
            its = self.losses[self.losses["image"] == place].assign(image=0)
            results.append(
                SynthesisResult(image, its.reset_index(drop=True), record, self.finished)
            )
        return results


def loss_table(losses: Sequence[Losses]) -> pd.DataFrame:
    """Return the losses of each evaluation as the table of a result."""
    rows = [
        (evaluation, level, *size, image, term, loss)
        for evaluation, (level, size, names, terms) in enumerate(losses)
        for image, its in enumerate(terms.tolist())
        for term, loss in zip(names, its, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(LOSS_COLUMNS))


def warn_of_failure(result: SynthesisResult) -> None:
    """Warn when a statistic was not matched; 1 is what an image without the statistic has."""
    last = result.losses[result.losses["evaluation"] == result.losses["evaluation"].max()]
    statistics = last[last["term"].str.startswith(("texture", "style"))]
    failed = sorted(set(statistics.loc[statistics["loss"] > FAILED, "term"]))
    if failed:
        warnings.warn(
            f"the image did not come near the statistics of {', '.join(failed)} (relative loss "
            f"above {FAILED}); try more evaluations, another seed or statistic='gram'",
            stacklevel=3,
        )


def warn_of_distances(model: VisionModel, what: str, distances: Mapping[str, Any]) -> None:
    """Warn of layers whose distance "to_start" says that most of the way is left.

    `what` tells of what the distances are: "features".
    """
    failed = [layer for layer, distance in distances.items() if distance["to_start"] > FAILED]
    if failed:
        warnings.warn(
            f"the image did not come near the {what} of {', '.join(failed)} of {model.name}: "
            f"they are still more than {FAILED} of the start's distance away; try more "
            "evaluations or another seed",
            stacklevel=3,
        )
