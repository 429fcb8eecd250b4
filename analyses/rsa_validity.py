"""Are the tests and intervals of `rsa.evaluate` valid? False positives and coverage, simulated.

Experiments are drawn anew, again and again, from a world in which a model is unrelated to the
data, or two models are equally related, or the similarity is known. What is drawn anew is what the
bootstrap resamples: stimuli, subjects, or both. A valid test at the 5 % level is significant in 5 %
of experiments, and a 95 % interval holds the true value in 95 %.

Worlds. A stimulus has independent random features of three kinds: those of model A, those of model
B, and those of neither. Every subject's patterns are made of features that all subjects share and
of features of its own. Dissimilarities are squared Euclidean, compared by their correlation.

Run `python analyses/rsa_validity.py`; `--quick` for fewer experiments. Worlds are simulated side by
side, a processor each, and what an interrupted run has finished is not simulated again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr
from matplotlib.figure import Figure
from scipy import stats

from cnnperception import figures, rsa, runtime
from cnnperception.figures.canvas import colours, new_figure, styled
from cnnperception.studies import Study

OUTPUT = Path("reports/rsa_validity")
STIMULI, SUBJECTS, FEATURES = 160, 30, 12
SHARES = (0.0, 0.5)
LEVEL = 0.05
# Subjects that stand for all there are.
POPULATION = 30_000
# What is drawn anew in each experiment, by what is resampled.
DRAWN = {
    "stimuli": ("stimuli",),
    "subjects": ("subjects",),
    "dual": ("stimuli", "subjects"),
    "both": ("stimuli", "subjects"),
}


def vectors(patterns: np.ndarray) -> np.ndarray:
    """Return squared distances (pair,) of patterns (stimulus, feature)."""
    return rsa.rdm(patterns, "euclidean").to_numpy()


def experiments(
    bootstrap: str, share: float, count: int, seed: int, size: int = STIMULI
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the RDMs of models A and B, (2, pair), and of the subjects, (subject, pair).

    `share` is how much of the subjects' common features are those of the models, half of each;
    `size` the number of stimuli.
    """
    rng = np.random.default_rng([seed, list(DRAWN).index(bootstrap)])

    def stimuli() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        a, b, neither = rng.normal(size=(3, size, FEATURES))
        return a, b, neither

    def subjects() -> np.ndarray:
        return rng.normal(size=(SUBJECTS, FEATURES, FEATURES)) / np.sqrt(FEATURES)

    fixed_stimuli, fixed_subjects = stimuli(), subjects()
    own_fixed = rng.normal(size=(size, FEATURES))
    surplus = None
    for _ in range(count):
        a, b, neither = stimuli() if "stimuli" in DRAWN[bootstrap] else fixed_stimuli
        # A subject sees features of its own through weights of its own.
        own = rng.normal(size=(size, FEATURES)) if "stimuli" in DRAWN[bootstrap] else own_fixed
        weights = subjects() if "subjects" in DRAWN[bootstrap] else fixed_subjects
        models = np.stack([vectors(a), vectors(b)])
        common = np.sqrt(share / 2) * np.concatenate([a, b], axis=1)
        common = np.concatenate([common, np.sqrt(1 - share) * neither], axis=1)

        def seen(
            weights: np.ndarray, common: np.ndarray = common, own: np.ndarray = own
        ) -> np.ndarray:
            return np.stack([vectors(np.concatenate([common, own @ w], axis=1)) for w in weights])

        data = seen(weights)
        if bootstrap == "subjects":
            if surplus is None:
                many = np.concatenate([seen(subjects()) for _ in range(POPULATION // SUBJECTS)])
                surplus = chance_part(models, many, related=share > 0)
            data = data - surplus
        yield models, data


def chance_part(models: np.ndarray, population: np.ndarray, *, related: bool) -> np.ndarray:
    """Return what, of these stimuli, is by chance like a model, (pair,), to take off every RDM.

    With the same stimuli in every experiment no model is unrelated by itself. Without it the mean
    correlation with the population is zero for both models, or the same.
    """
    centred = models - models.mean(axis=1, keepdims=True)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    surplus = np.zeros(population.shape[1])
    for _ in range(20):
        rest = population - surplus
        rest = rest - rest.mean(axis=1, keepdims=True)
        length = np.linalg.norm(rest, axis=1, keepdims=True)
        similarity = (rest / length @ unit.T).mean(axis=0)
        excess = similarity - (similarity.mean() if related else 0.0)
        surplus = surplus + np.linalg.solve(unit @ unit.T, excess * length.mean()) @ unit
    return surplus


def stacked(values: np.ndarray, letter: str) -> xr.DataArray:
    """Return RDMs as a labelled stack."""
    return rsa.concat({f"{letter}{i}": rsa.condensed(v) for i, v in enumerate(values)})


def remembered(study: Study, world: tuple[str, float]) -> pd.DataFrame:
    """Return the experiments of a world, a resampling and a share, simulated unless they were."""
    torch.set_num_threads(1)  # the problems are small
    (bootstrap, share), settings = world, study.settings
    step = f"{bootstrap}-{share:g}"
    return study.remember(step, partial(simulate, bootstrap, share, **settings), **settings)


def simulate(
    bootstrap: str, share: float, *, count: int, n_boot: int, seed: int, size: int
) -> pd.DataFrame:
    """Return a row an experiment: the p-values, the similarity of model A and its interval."""
    rows = []
    drawn = experiments(bootstrap, share, count, seed, size)
    what = f"{bootstrap}, share {share:g}"
    for number, (models, data) in enumerate(runtime.progress(drawn, what, show=True, total=count)):
        result = rsa.evaluate(
            stacked(models, "m"),
            stacked(data, "s"),
            "corr",
            bootstrap=bootstrap,
            n_boot=n_boot,
            seed=number,
        )
        rows.append(
            {
                "bootstrap": bootstrap,
                "share": share,
                "p_zero": float(result["p_zero"][0]),
                "p_pairs": float(result["p_pairs"][0, 1]),
                "similarity": float(result["similarity"][0]),
                "of_data": float(result["similarity_of_data"][0]),
                "lower": float(result["lower"][0]),
                "upper": float(result["upper"][0]),
            }
        )
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return rates of what should happen in 5 %, with the binomial interval around 5 %."""
    rows = []
    for (bootstrap, share), group in table.groupby(["bootstrap", "share"], sort=False):
        # The true similarity is the mean over experiments.
        truth = group["of_data"].mean()
        missed = (truth < group["lower"]) | (truth > group["upper"])
        rates = {"two equal models differ": group["p_pairs"] < LEVEL, "interval misses": missed}
        if share == 0:
            rates["unrelated model above zero"] = group["p_zero"] < LEVEL
        for name, hits in rates.items():
            low, high = stats.binom.interval(0.95, len(hits), LEVEL)
            rows.append(
                {
                    "bootstrap": bootstrap,
                    "share": share,
                    "what": name,
                    "rate": hits.mean(),
                    "interval_low": low / len(hits),
                    "interval_high": high / len(hits),
                    "experiments": len(hits),
                }
            )
    return pd.DataFrame(rows)


@styled
def draw(table: pd.DataFrame) -> Figure:
    """Draw the rates, with the band in which a valid test's would lie."""
    figure = new_figure(6.4, 2.9)
    ax = figure.add_subplot()
    names = list(dict.fromkeys(table["bootstrap"]))
    kinds = list(dict.fromkeys(zip(table["what"], table["share"], strict=True)))
    for number, ((what, share), colour) in enumerate(zip(kinds, colours(len(kinds)), strict=True)):
        rows = table[(table["what"] == what) & (table["share"] == share)]
        x = [names.index(b) + 0.12 * (number - (len(kinds) - 1) / 2) for b in rows["bootstrap"]]
        related = "related" if share else "unrelated"
        label = what if what.startswith("unrelated") else f"{what} ({related})"
        ax.plot(x, rows["rate"], "o", color=colour, label=label)
    ax.axhspan(
        table["interval_low"].iloc[0],
        table["interval_high"].iloc[0],
        color="0.88",
        linewidth=0,
        zorder=0,
        label="95 % of valid tests",
    )
    ax.axhline(LEVEL, color="0.5", linewidth=0.7, zorder=0)
    ax.set_xticks(range(len(names)), names)
    ax.set(xlabel="bootstrap", ylabel="share of experiments", ylim=(0, None))
    figure.legend(*ax.get_legend_handles_labels(), loc="outside right center")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=1000)
    parser.add_argument("--stimuli", type=int, default=STIMULI, help="of an experiment")
    parser.add_argument("--n-boot", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--bootstrap", choices=list(DRAWN), action="append", help="of these alone; all without"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--quick", action="store_true", help="200 experiments of each kind")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    chosen = parser.parse_args()
    settings = {
        "count": 200 if chosen.quick else chosen.experiments,
        "n_boot": chosen.n_boot,
        "seed": chosen.seed,
        "size": chosen.stimuli,
    }
    study = Study("rsa_validity", "", "", chosen.output, settings)
    worlds = [(bootstrap, share) for bootstrap in chosen.bootstrap or DRAWN for share in SHARES]
    # Not forked: a fork may wait for ever for a lock that a thread of torch's held.
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(chosen.processes, mp_context=spawned) as processes:
        found = list(processes.map(partial(remembered, study), worlds))
    rates = summary(pd.concat(found, ignore_index=True))
    study.table("rates", rates)
    figures.save(draw(rates), chosen.output / "rates")
    print(rates.to_string(index=False))
    inside = rates["rate"].between(rates["interval_low"], rates["interval_high"]).sum()
    print(f"{inside} of {len(rates)} rates lie in the interval in which 95 % of valid ones would")


if __name__ == "__main__":
    main()
