"""What do textures gain from deeper layers, and from training?

Textures are synthesised from the first layer alone, then from more and deeper ones (after Gatys,
Ecker & Bethge 2015, figure 2), with the same network trained, self-supervised and untrained:

    python analyses/texture_layers.py [--quick] [--model vgg19 ...]
"""

import dataclasses

import pandas as pd
from torch import Tensor

import cnnperception as cp
from cnnperception.studies import (
    MORE_MODELS,
    SHEET_DPI,
    Study,
    arguments,
    load,
    mean_intervals,
    paragraphs,
    study,
    with_interval,
)
from cnnperception.synthesis.setup import digest

MODELS = {
    "trained": "objects-vgg",
    "self-supervised": "objects-vgg:self-supervised",
    "untrained": "objects-vgg:none",
}
EXEMPLARS = ("brick", "gravel", "ihc")
SIDE = 160


def sets(model: cp.models.VisionModel) -> list[tuple[str, ...]]:
    """Return the recommended texture layers, one more at a time."""
    layers = model.recommended["texture"]
    return [layers[: count + 1] for count in range(len(layers))]


def parameters(model: cp.models.VisionModel, layers: tuple[str, ...], image: Tensor) -> int:
    """Return how many numbers the layers' Gram matrices hold, each pair of channels once."""
    widths = [features.shape[1] for features in model.features(image, layers).values()]
    return sum(width * (width + 1) // 2 for width in widths)


def texture(
    found: Study,
    exemplar: Tensor,
    model: cp.models.VisionModel,
    layers: tuple[str, ...],
    evaluations: int,
    seed: int,
) -> tuple[Tensor, float]:
    """Return a texture, (3, height, width), and the largest relative loss of a layer left in it."""
    depends = {
        "exemplar": digest(exemplar),
        "weights": cp.models.fingerprint(model),
        "layers": layers,
        "evaluations": evaluations,
        "seed": seed,
    }

    def make() -> cp.SynthesisResult:
        result = cp.texture(
            exemplar,
            model=model,
            layers=layers,
            statistic="mean-covariance",
            evaluations=evaluations,
            seed=seed,
            progress=True,
        )
        left = {"largest_loss": float(result.final_losses().max())}
        return dataclasses.replace(result, provenance={**result.provenance, **left})

    made = found.remember_image("texture", make, **depends)
    kept = cp.images.read_provenance(found.kept("texture", ".png", **depends))
    return made[0], kept["largest_loss"]


def judged(made: Tensor, exemplar: Tensor) -> dict[str, float]:
    """Return the mean error of a texture, and that of the exemplar's halves, relative to noise."""
    verdict = cp.verdict(made, exemplar[0])
    return {of: (verdict[of] / verdict["noise"]).mean() for of in ("error", "floor")}


def main() -> None:
    settings = arguments(
        __doc__,
        "texture_layers",
        model=MORE_MODELS,
        evaluations={"type": int, "help": "of each texture; 200, or 60 with --quick"},
        textures={"type": int, "help": "of each exemplar and set of layers; 5, or 2 with --quick"},
    )
    found = study(
        "texture_layers",
        "Textures by depth of the layers",
        "What do textures gain from deeper layers, and from the training of the network?",
        settings,
    )
    evaluations = settings.evaluations or (60 if settings.quick else 200)
    number = settings.textures or (2 if settings.quick else 5)
    seeds = range(settings.seed, settings.seed + number)
    exemplars = EXEMPLARS[:1] if settings.quick else EXEMPLARS
    named = MODELS | {spec: spec for spec in settings.model or []}
    loaded = {name: load(spec, settings.device) for name, spec in named.items()}
    rows = []
    for exemplar in exemplars:
        picture = cp.images.resize(cp.exemplar(exemplar), (SIDE, SIDE))
        drawn, titles = [], []
        for name, model in loaded.items():
            drawn.append(picture[0])
            titles.append(exemplar)
            for layers in sets(model):
                made = [texture(found, picture, model, layers, evaluations, s) for s in seeds]
                drawn.append(made[0][0])
                titles.append(f"{name}, {layers[-1]}")
                shared = {
                    "exemplar": exemplar,
                    "network": name,
                    "deepest": layers[-1],
                    "parameters": parameters(model, layers, picture.to(cp.models.device_of(model))),
                }
                for seed, (image, unmatched) in zip(seeds, made, strict=True):
                    row = {"seed": seed, "unmatched": unmatched, **judged(image, picture)}
                    rows.append(shared | row)
        found.figure(
            exemplar,
            cp.figures.contact_sheet(drawn, titles, columns=len(drawn) // len(named)),
            f"The exemplar, {exemplar}, and textures that match the means and covariances of the "
            "layers up to the one named.",
            dpi=SHEET_DPI,
        )
    table = pd.DataFrame(rows)
    found.table("textures", table)
    found.conclude(in_short(table), shows(table), LIMITS)


def in_short(table: pd.DataFrame) -> str:
    """Return the answer in a sentence."""
    errors = errors_of(table, "last")
    order = errors.groupby("network")["error"].mean().sort_values()
    best = order.index[0]
    farther = beyond(errors, best)
    nearest = [name for name in order.index if name not in set(farther["network"])]
    found = " and ".join(f"the {name} one ({order[name]:.2g})" for name in nearest)
    alike = ", which the seeds do not tell apart," if len(nearest) > 1 else ""
    text = (
        "By a judge that had no part in them, textures from all layers of a network come nearest "
        f"to the exemplar, relative to noise, with {found}{alike}"
    )
    if farther.empty:
        return text.rstrip(",") + ": none stays farther."
    last = order.index[-1]
    return f"{text} and stay farthest with the {last} one ({order[last]:.2g})."


def beyond(errors: pd.DataFrame, best: str) -> pd.DataFrame:
    """Return the networks whose error exceeds the best one's by more than seeds would explain.

    Columns network, difference, lower, upper: the mean over exemplars, with an interval over seeds.
    """
    wide = errors.pivot_table(index="seed", columns="network", values="error")
    more = wide.sub(wide[best], axis=0).drop(columns=best)
    long = more.melt(ignore_index=False, value_name="difference").reset_index()
    found = mean_intervals(long, ["network"], "seed", "difference")
    return found[found["lower"] > 0]


def errors_of(table: pd.DataFrame, which: str) -> pd.DataFrame:
    """Return the rows of each network's "first" or "last" set of layers."""
    sets = table.groupby(["exemplar", "network"], sort=False)["deepest"]
    return table[table["deepest"] == sets.transform(which)]


def shows(table: pd.DataFrame) -> str:
    """Return what the table shows."""
    shallow, deepest = (errors_of(table, which) for which in ("first", "last"))
    floor = table.groupby("exemplar", sort=False)["floor"].first().mean()
    left = deepest.groupby("network", sort=False)["unmatched"].max()
    exemplars = ", ".join(table["exemplar"].unique())
    return paragraphs(
        "An independent model judges: the mean error of the Gram matrices of random filters, of "
        "which nothing was matched, relative to noise of the exemplar's colours. From the first "
        "layer alone: " + _with_intervals(shallow) + ".",
        f"From all layers to the deepest: {_with_intervals(deepest)}.",
        f"The exemplar's own halves have {floor:.2g}.",
        "Of what was to be matched in all layers is left, in the worst layer of the worst texture "
        f"and relative to noise: {_listed(left)}.",
        f"{table['seed'].nunique()} textures of each exemplar, {exemplars}; intervals "
        "(95 %) are over these seeds of means over the exemplars. The layers' Gram "
        f"matrices hold {table['parameters'].min()} to {table['parameters'].max()} numbers.",
    )


def _with_intervals(table: pd.DataFrame) -> str:
    found = mean_intervals(table, ["network"], "seed", "error")
    return ", ".join(
        f"{row.network} {with_interval(row.error, row.lower, row.upper, '.2g')}"
        for row in found.itertuples()
    )


def _listed(values: pd.Series) -> str:
    return ", ".join(f"{name} {value:.2g}" for name, value in values.items())


LIMITS = (
    "Statistics that are harder to reach are matched less well in as many evaluations, so part of "
    "what looks worse was not matched, and part of it is not asked for. The networks are small and "
    "saw pictures of 64 pixels in training; the judge is a model too, not an observer; and "
    "coarse-to-fine synthesis lets shallow layers see far in reduced pictures. The exemplars are "
    "three, chosen: intervals do not speak of others."
)


if __name__ == "__main__":
    main()
