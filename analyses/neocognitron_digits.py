"""Teach neocognitrons handwritten digits, and test them on digits they have never seen.

    python analyses/neocognitron_digits.py [--seeds 5] [--output FOLDER]

Half of scikit-learn's 1797 digits, drawn anew for each seed, is for learning; the other half is
looked at once, by the finished model, as it is and moved about. Nearest neighbours in pixels,
given the same halves, are there to compare. Writes four tables and two figures.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from cnnperception import figures, runtime
from cnnperception.figures.canvas import DASHES, colours, legend_below, new_figure, styled
from cnnperception.models.neocognitron import (
    Neocognitron,
    handwritten_digits,
    shifted,
)

EXAMPLES = (56, 112, 225, 449, 898)  # training digits
SHIFTS = (0.0, 0.05, 0.10, 0.15, 0.20)  # share of the image's side
TARGET_SHIFT = 0.15
VARIANTS: dict[str, dict[str, Any]] = {
    "2003, add-if-silent": {},
    "2003, seed-competition": {"learning": "seed-competition"},
    "1980, add-if-silent": {"form": "1980"},
    "1980, seed-competition": {"form": "1980", "learning": "seed-competition"},
}
DEFAULT = "2003, add-if-silent"
NEIGHBOUR = "nearest neighbour, pixels"
OUTPUT = Path(__file__).parents[1] / "reports" / "neocognitron_digits"


def halves(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return the numbers of the digits for learning and of those never seen."""
    order = torch.randperm(count, generator=runtime.generator(seed))
    return order[: count // 2], order[count // 2 :]


def moved_about(images: Tensor, share: float, seed: int) -> Tensor:
    """Move each image at random by up to `share` of its side, up or down and left or right."""
    reach = int(share * images.shape[-1])
    places = torch.randint(-reach, reach + 1, (2, len(images)), generator=runtime.generator(seed))
    return shifted(images, *places)


def nearest(stored: Tensor, labels: Tensor, images: Tensor) -> Tensor:
    """Return the labels of the stored images that are nearest in pixels."""
    distances = torch.cdist(images[:, 0].flatten(1), stored[:, 0].flatten(1))
    return labels[distances.argmin(dim=1)]


def share_right(predicted: Tensor, labels: Tensor) -> float:
    """Return the share of predictions that are the labels."""
    return float((predicted == labels).float().mean())


def teach(
    images: Tensor, labels: Tensor, unseen: Tensor, seed: int, **options: Any
) -> tuple[Neocognitron, pd.DataFrame, dict[str, float]]:
    """Return a model taught with images, its learning curves, and what it took."""
    model = Neocognitron(weights=None, **options)
    start = time.perf_counter()
    curves = model.fit(images, labels, seed=seed)
    taught = time.perf_counter()
    model.predict(unseen)
    answered = time.perf_counter()
    measured = {
        **{f"planes_{layer}": len(model.stage(int(layer[-1]))) for layer in ("us2", "us3", "us4")},
        "fit_seconds": taught - start,
        "predict_milliseconds": 1000 * (answered - taught) / len(unseen),
    }
    return model, curves, measured


def one_seed(
    images: Tensor, labels: Tensor, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return results, accuracies by shift and learning curves for one division into halves."""
    learning, unseen = halves(len(images), seed)
    tests = {share: moved_about(images[unseen], share, seed) for share in SHIFTS}
    truth = labels[unseen]
    results, shifts, learnt = [], [], []
    for variant, options in VARIANTS.items():
        for examples in EXAMPLES if variant == DEFAULT else EXAMPLES[-1:]:
            shown = learning[:examples]
            model, curves, measured = teach(
                images[shown], labels[shown], tests[0.0], seed, **options
            )
            known: dict[str, Any] = {"model": variant, "seed": seed, "examples": examples}
            whole = examples == EXAMPLES[-1]
            shares = SHIFTS if whole else (0.0, TARGET_SHIFT)
            right = {share: share_right(model.predict(tests[share]), truth) for share in shares}
            results.append(
                {**known, "accuracy": right[0.0], "accuracy_shifted": right[TARGET_SHIFT]}
                | measured
            )
            if whole:
                shifts += [known | {"shift": s, "accuracy": a} for s, a in right.items()]
                learnt.append(curves.assign(**known))
            print(pd.DataFrame(results[-1:]).to_string(header=len(results) == 1), flush=True)
    for examples in EXAMPLES:
        shown = learning[:examples]
        right = {
            s: share_right(nearest(images[shown], labels[shown], tests[s]), truth) for s in SHIFTS
        }
        known = {"model": NEIGHBOUR, "seed": seed, "examples": examples}
        results.append(known | {"accuracy": right[0.0], "accuracy_shifted": right[TARGET_SHIFT]})
        if examples == EXAMPLES[-1]:
            shifts += [known | {"shift": s, "accuracy": a} for s, a in right.items()]
    return pd.DataFrame(results), pd.DataFrame(shifts), pd.concat(learnt)


def passes(curves: pd.DataFrame) -> pd.DataFrame:
    """Return for each passage of US4 through its training set the mistakes and the planes."""
    us4 = curves[curves["stage"] == "us4"]
    numbered = us4.assign(passage=1 + (us4["presentation"] - 1) // us4["examples"])
    groups = numbered.groupby(["model", "seed", "passage"], as_index=False)
    return groups.agg(mistakes=("wrong", "sum"), planes=("planes", "last"))


@styled
def draw_learning(results: pd.DataFrame, shifts: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """Draw how planes are added, how US4 stops making mistakes, and what is recognised."""
    figure = new_figure(7.2, 5.2)
    growth, mistakes, amount, place = figure.subplots(2, 2).flat
    palette = dict(zip(("us2", "us3", "us4"), ("0.65", "0.4", "0.15"), strict=True))
    lead = curves[curves["model"] == DEFAULT]
    for stage in ("us2", "us3"):
        for seed, rows in lead[lead["stage"] == stage].groupby("seed"):
            label = stage.upper() if seed == 0 else None
            growth.plot(rows["presentation"], rows["planes"], color=palette[stage], label=label)
    growth.set(xlabel="digits shown", ylabel="cell planes", ylim=(0, None))
    growth.legend(frameon=False)
    for _, rows in passes(lead).groupby("seed"):
        mistakes.plot(rows["passage"], rows["mistakes"], color=palette["us4"], marker="o")
    mistakes.set(xlabel="passage of US4 through the digits", ylabel="mistakes, each a new plane")
    mistakes.xaxis.get_major_locator().set_params(integer=True)
    handles = []
    for number, (name, colour) in enumerate(
        zip((*VARIANTS, NEIGHBOUR), colours(len(VARIANTS) + 1), strict=True)
    ):
        style: dict[str, Any] = {
            "color": colour,
            "linestyle": DASHES[number % len(DASHES)],
            "label": name,
        }
        if results[results["model"] == name]["examples"].nunique() > 1:
            _median_and_range(amount, results[results["model"] == name], "examples", style)
        handles.append(_median_and_range(place, shifts[shifts["model"] == name], "shift", style))
    amount.set(xscale="log", xlabel="digits for learning", ylabel="unseen digits recognised")
    amount.set_xticks(EXAMPLES, [str(examples) for examples in EXAMPLES])
    amount.minorticks_off()
    place.set(xlabel="moved by up to (share of the image)", ylim=(0, 1.02))
    place.set_ylabel("unseen digits recognised")
    legend_below(figure, handles)
    return figure


def _median_and_range(ax: Axes, table: pd.DataFrame, x: str, style: dict[str, Any]) -> Line2D:
    found = table.groupby(x)["accuracy"].agg(["median", "min", "max"])
    ax.fill_between(found.index, found["min"], found["max"], color=style["color"], alpha=0.2, lw=0)
    return ax.plot(found.index, found["median"], marker="o", **style)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    settings = parser.parse_args()

    images, labels = handwritten_digits()
    parts = [one_seed(images, labels, seed) for seed in range(settings.seeds)]
    results, shifts, curves = (
        pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True)
    )
    settings.output.mkdir(parents=True, exist_ok=True)
    results.to_csv(settings.output / "results.csv", index=False, float_format="%.4f")
    shifts.to_csv(settings.output / "shifts.csv", index=False, float_format="%.4f")
    # Every 20th presentation tells the curve.
    thinned = curves[(curves["presentation"] % 20 == 1) & (curves["stage"] != "us4")]
    thinned.drop(columns="wrong").to_csv(settings.output / "planes.csv", index=False)
    passes(curves).to_csv(settings.output / "passes.csv", index=False)
    figures.save(draw_learning(results, shifts, curves), settings.output / "learning_curves")
    print(results.groupby(["model", "examples"]).median(numeric_only=True).to_string())


if __name__ == "__main__":
    main()
