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
    paragraphs,
    study,
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


def main() -> None:
    settings = arguments(
        __doc__,
        "texture_layers",
        model=MORE_MODELS,
        evaluations={"type": int, "help": "of each texture; 200, or 60 with --quick"},
    )
    found = study(
        "texture_layers",
        "Textures by depth of the layers",
        "What do textures gain from deeper layers, and from the training of the network?",
        settings,
    )
    evaluations = settings.evaluations or (60 if settings.quick else 200)
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
                made, unmatched = texture(found, picture, model, layers, evaluations, settings.seed)
                drawn.append(made)
                titles.append(f"{name}, {layers[-1]}")
                judged = cp.verdict(made, picture[0])
                row = {"exemplar": exemplar, "network": name, "deepest": layers[-1]}
                row["parameters"] = parameters(
                    model, layers, picture.to(cp.models.device_of(model))
                )
                row["unmatched"] = unmatched
                row["error"] = (judged["error"] / judged["noise"]).mean()
                row["floor"] = (judged["floor"] / judged["noise"]).mean()
                rows.append(row)
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
    means = errors_of_all(table).sort_values()
    return (
        "By a judge that had no part in them, textures from all layers of a network come nearest "
        f"to the exemplar with the {means.index[0]} one (error {means.iloc[0]:.2g} of noise's) and "
        f"stay farthest with the {means.index[-1]} one ({means.iloc[-1]:.2g})."
    )


def errors_of_all(table: pd.DataFrame) -> pd.Series:
    """Return each network's mean error with the deepest set of layers."""
    return of_all(table).groupby("network", sort=False)["error"].mean()


def of_all(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the deepest set of layers."""
    return table.groupby(["exemplar", "network"], sort=False).tail(1)


def shows(table: pd.DataFrame) -> str:
    """Return what the table shows."""
    means = errors_of_all(table)
    floor = table.groupby("exemplar", sort=False)["floor"].first().mean()
    first = table.groupby(["exemplar", "network"], sort=False).head(1)
    left = of_all(table).groupby("network", sort=False)["unmatched"].max()
    shallow = first.groupby("network", sort=False)["error"].mean()
    return paragraphs(
        "An independent model judges: the mean error of the Gram matrices of random filters, of "
        "which nothing was matched, relative to noise of the exemplar's colours. From the first "
        "layer alone: " + _listed(shallow) + ".",
        f"From all layers to the deepest: {_listed(means)}.",
        f"The exemplar's own halves have {floor:.2g}.",
        "Of what was to be matched in all layers is left, in the worst layer of the worst texture "
        f"and relative to noise: {_listed(left)}.",
        f"Textures of {table['exemplar'].nunique()} exemplars, one of each; the layers' Gram "
        f"matrices hold {table['parameters'].min()} to {table['parameters'].max()} numbers.",
    )


def _listed(values: pd.Series) -> str:
    return ", ".join(f"{name} {value:.2g}" for name, value in values.items())


LIMITS = (
    "Statistics that are harder to reach are matched less well in as many evaluations, so part of "
    "what looks worse was not matched, and part of it is not asked for. The networks are small and "
    "saw pictures of 64 pixels in training; the judge is a model too, not an observer; and "
    "coarse-to-fine synthesis lets shallow layers see far in reduced pictures. One seed for each "
    "texture: differences between networks have no interval."
)


if __name__ == "__main__":
    main()
