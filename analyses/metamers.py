"""What does each model keep of a picture, and do other models keep the same?

Metamers of photographs and of a handwritten digit are made from noise, so that a model's layer
responds to them as to the picture, and are judged by every other model (after Feather et al.
2019, 2023):

    python analyses/metamers.py [--quick] [--model vgg19 ...]
"""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import cnnperception as cp
from cnnperception.figures import contact_sheet, interval_dots, similarity_matrix
from cnnperception.models.neocognitron import handwritten_digits
from cnnperception.studies import (
    MORE_MODELS,
    SHEET_DPI,
    Study,
    arguments,
    compared,
    load,
    mean_intervals,
    paragraphs,
    study,
    with_interval,
)
from cnnperception.synthesis import noise_like
from cnnperception.synthesis.setup import digest

SIDE = 96
DIGIT = 13  # a three
PICTURES = ("chelsea", "astronaut", "coins", "coffee", "china", "flower")
SHOWN = ("chelsea", "astronaut", "coins", "digit")  # the digit for the neocognitron's sake
SEEDS = (0, 1)


@dataclasses.dataclass(frozen=True)
class Maker:
    """Layers of a model whose responses a metamer keeps, and by which others are judged."""

    model: str
    layers: str
    side: int = SIDE
    coarsest: int = 32  # the size, in pixels, from which a metamer grows


MAKERS = {
    "V1": Maker("v1", "scale*"),
    "HMAX C1": Maker("hmax", "c1"),
    "HMAX C2": Maker("hmax", "c2"),
    # A reduced digit is no guide to what its second stage will see.
    "Neocognitron UC2": Maker("neocognitron", "uc2", coarsest=SIDE),
    "random filters": Maker("random-filters", "scale4"),
    "VGG pool4, untrained": Maker("objects-vgg:none", "pool4"),
    "VGG pool4, self-supervised": Maker("objects-vgg:self-supervised", "pool4"),
    "VGG pool2, trained": Maker("objects-vgg", "pool2"),
    "VGG pool4, trained": Maker("objects-vgg", "pool4"),
}
PIXELS = {"pixels": Maker("pixels", "pixels")}  # judge, but would only copy the picture


def makers(settings) -> dict[str, Maker]:
    """Return the layers whose metamers are made, and those of models asked for besides."""
    more = {}
    for spec in settings.model or []:
        recommended = load(spec, "cpu").recommended
        layers, side = compared(spec, SIDE)
        more[spec] = Maker(spec, (recommended.get("content") or layers)[-1], side)
    return MAKERS | more


def picture(name: str, side: int) -> Tensor:
    """Return the middle of a built-in picture, or the digit, (1, 3, side, side)."""
    if name == "digit":
        return handwritten_digits(side, side // 12)[0][DIGIT : DIGIT + 1].contiguous()
    return cp.images.middle_square(cp.exemplar(name), side)


def metamer(found: Study, settings, name: str, shown: str, seed: int) -> Tensor:
    """Return a metamer, (1, 3, side, side)."""
    maker = makers(settings)[name]
    evaluations = settings.evaluations or (40 if settings.quick else 400)
    model, image = load(maker.model, settings.device), picture(shown, maker.side)

    def make() -> cp.SynthesisResult:
        print(f"{name}: {shown}, seed {seed}", flush=True)
        return cp.metamer(
            image, model, maker.layers, seed=seed, evaluations=evaluations, coarsest=maker.coarsest
        )

    return found.remember_image(
        "metamer",
        make,
        maker=dataclasses.asdict(maker),
        weights=cp.models.fingerprint(model),
        picture=digest(image),
        seed=seed,
        evaluations=evaluations,
    )


@torch.no_grad()
def distances(
    model: cp.models.VisionModel, judge: Maker, shown: str, seed: int, images: list[Tensor]
) -> list[float]:
    """Return how far the features of images are from a picture's, the mean over layers.

    Euclidean distances relative to that of the noise with which the search for them began.
    """
    original = picture(shown, SIDE)
    noise = noise_like(original, (SIDE, SIDE), seed).clamp(0, 1)
    layers = cp.models.resolve_layers(model, judge.layers)
    wanted, *found = (
        model.features(
            cp.images.resize(one, (judge.side, judge.side)).to(cp.models.device_of(model)), layers
        )
        for one in (original, *images, noise)
    )
    apart = np.array([[float((f[x] - wanted[x]).norm()) for x in layers] for f in found])
    return (apart[:-1] / apart[-1]).mean(axis=1).tolist()


def judged(found: Study, settings, shown: tuple[str, ...], seeds: tuple[int, ...]) -> pd.DataFrame:
    """Return how far each metamer is from its picture, by each judge, relative to noise."""
    made = makers(settings)
    metamers = {
        key: metamer(found, settings, *key) for key in itertools.product(made, shown, seeds)
    }
    rows = []
    for judge, layers in (made | PIXELS).items():
        model = load(layers.model, settings.device)
        for name, seed in itertools.product(shown, seeds):
            others = [metamers[maker, name, seed] for maker in made]
            apart = distances(model, layers, name, seed, others)
            columns = {"judged by": judge, "picture": name, "seed": seed}
            rows += [
                {"made by": maker, **columns, "distance": value}
                for maker, value in zip(made, apart, strict=True)
            ]
    return pd.DataFrame(rows)


def by_whom(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each maker, picture, seed and kind of judge: itself, or other models."""
    models = table[table["judged by"] != "pixels"]
    own = np.where(models["made by"] == models["judged by"], "itself", "the other models")
    keys = ["made by", "judge", "picture", "seed"]
    return models.assign(judge=own).groupby(keys, sort=False)["distance"].mean().reset_index()


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """Return by how much farther a metamer is for each other model than for its own."""
    keys = ["made by", "picture", "seed"]
    own = table[table["made by"] == table["judged by"]].set_index(keys)["distance"]
    others = table[(table["made by"] != table["judged by"]) & (table["judged by"] != "pixels")]
    apart = (
        others["distance"].to_numpy() - own.loc[pd.MultiIndex.from_frame(others[keys])].to_numpy()
    )
    return mean_intervals(
        others.assign(distance=apart), ["made by", "judged by"], "picture", "distance"
    )


def main() -> None:
    settings = arguments(
        __doc__,
        "metamers",
        model=MORE_MODELS,
        evaluations={"type": int, "help": "of each metamer; 400, or 40 with --quick"},
    )
    found = study(
        "metamers",
        "What models keep of pictures",
        "What does each model keep of a picture, and is what is alike to one model alike to "
        "others?",
        settings,
    )
    shown = PICTURES[:3] if settings.quick else PICTURES
    seeds = SEEDS[:1] if settings.quick else SEEDS
    seeds = tuple(settings.seed + seed for seed in seeds)
    table = judged(found, settings, shown, seeds)
    matrix = mean_intervals(table, ["made by", "judged by"], "picture", "distance")
    whose = mean_intervals(by_whom(table), ["made by", "judge"], "picture", "distance")
    found.table("distances", table)
    found.table("matrix", matrix)
    draw(found, settings, table, matrix, whose)
    found.conclude(in_short(table, whose), shows(table, whose), LIMITS)


def draw(
    found: Study, settings, table: pd.DataFrame, matrix: pd.DataFrame, whose: pd.DataFrame
) -> None:
    """Write the figures."""
    first = int(table["seed"].iloc[0])
    drawn, labels = [], []
    for name in SHOWN[: 2 if settings.quick else None]:
        drawn.append(picture(name, SIDE)[0])
        labels.append("original")
        for maker, layers in makers(settings).items():
            drawn.append(metamer(found, settings, maker, name, first)[0])
            model = load(layers.model, settings.device)
            (left,) = distances(model, layers, name, first, [drawn[-1][None]])
            labels.append(f"{maker}: {left:.0%}")
    found.figure(
        "gallery",
        contact_sheet(drawn, labels, columns=len(makers(settings)) + 1),
        "Pictures, and metamers of the layers named below them: what differs, these layers do not "
        "see. The number is how far their responses still are from those to the picture, relative "
        "to the noise that the search began with.",
        dpi=SHEET_DPI,
    )
    order = list(dict.fromkeys(table["judged by"]))
    square = matrix.pivot(index="made by", columns="judged by", values="distance")
    found.figure(
        "judges",
        similarity_matrix(
            square.loc[order[:-1], order], label="distance from the picture, relative to noise"
        ),
        "How far the metamers made by the layers at the left are from the picture in the layers "
        f"below, relative to noise; means over {table['picture'].nunique()} pictures.",
    )
    found.figure(
        "own_and_others",
        interval_dots(
            whose.assign(judge="judged by " + whose["judge"], group="").sort_values(
                "made by", key=lambda names: names.map(order.index), kind="stable"
            ),
            row="made by",
            value="distance",
            group="group",
            panel="judge",
        ),
        "Distance of metamers from the picture, relative to noise, by the layers they were made "
        "for and by the mean of the other models; 95 % intervals over pictures.",
    )


def in_short(table: pd.DataFrame, whose: pd.DataFrame) -> str:
    """Return the answer in a sentence."""
    apart = differences(table)
    ranges = [
        f"{rows['distance'].min():.2f} to {rows['distance'].max():.2f}"
        for _, rows in whose.groupby(whose["judge"] == "itself")
    ]
    return (
        "What looks the same to one model does not to others: of the distance of noise, metamers "
        f"are at {ranges[1]} by the layers they were made for, at {ranges[0]} by other models; a "
        f"judge sees them farther away than their maker in {(apart['lower'] > 0).sum()} of "
        f"{len(apart)} pairs."
    )


def shows(table: pd.DataFrame, whose: pd.DataFrame) -> str:
    """Return what the table shows, with its statistics."""
    apart = differences(table)
    farther = apart[apart["lower"] > 0]
    nearer = apart[apart["upper"] < 0]
    own = whose[whose["judge"] == "itself"].set_index("made by")
    others = whose[whose["judge"] != "itself"].sort_values("distance")
    return paragraphs(
        "Distances are relative to that of noise of the picture's colours; 1 is as far as noise.",
        f"By the layers they were made for, metamers are left at {_listed(own.reset_index())}.",
        f"By the other models on average they are at {_listed(others)}.",
        f"Of {len(apart)} pairs of a maker and another judge, the judge sees the metamers farther "
        f"from the picture than the maker does in {len(farther)}, and nearer in {len(nearer)}"
        f"{_named(nearer)} (95 % intervals of the difference over pictures, beside zero).",
        _between_networks(table),
        f"{table['picture'].nunique()} pictures, {table['seed'].nunique()} seeds of each.",
    )


def _listed(rows: pd.DataFrame) -> str:
    return ", ".join(
        f"{row['made by']} {with_interval(row['distance'], row['lower'], row['upper'])}"
        for _, row in rows.iterrows()
    )


def _named(pairs: pd.DataFrame) -> str:
    """Return makers and judges, where they are few."""
    if not 0 < len(pairs) <= 3:
        return ""
    named = (f"{row['made by']} for {row['judged by']}" for _, row in pairs.iterrows())
    return f", those of {' and of '.join(named)}"


def _between_networks(table: pd.DataFrame) -> str:
    """Return how the trained and the untrained network judge each other's metamers."""
    matrix = mean_intervals(table, ["made by", "judged by"], "picture", "distance").set_index(
        ["made by", "judged by"]
    )
    pair = ("VGG pool4, trained", "VGG pool4, untrained")
    said = []
    for maker, judge in (pair, pair[::-1]):
        row = matrix.loc[maker, judge]
        said.append(
            f"those of {maker} are at "
            f"{with_interval(row['distance'], row['lower'], row['upper'])} for {judge}"
        )
    return f"Of one architecture, trained and untrained: {', '.join(said)}."


LIMITS = (
    "Metamers are as near as the search came: maxima in HMAX and in the networks' pooling have "
    "local minima, so that part of what is left is not what the layers miss. The other judges' "
    "distances depend on which models they are and on the layers' invariance: noise is near the "
    "picture for a layer that tells little apart, which makes relative distances large. Models "
    "judge, not observers. Pictures have 96 pixels."
)


if __name__ == "__main__":
    main()
