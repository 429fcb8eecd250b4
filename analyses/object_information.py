"""What do Gram matrices know about objects?

The category of objects that vary in position, size and rotation is read out linearly from the
Gram matrices of each layer of a network, and from two things to compare with: the layer's
features as they are, and their means over positions (after Gatys, Ecker & Bethge 2015, figure 5):

    python analyses/object_information.py [--quick] [--model vgg19 ...]
"""

import functools
import itertools

import numpy as np
import pandas as pd
import torch

import cnnperception as cp
from cnnperception.decoding.scores import intervals
from cnnperception.figures import interval_curves
from cnnperception.objects import CATEGORIES, ObjectScenes
from cnnperception.studies import (
    MORE_MODELS,
    Study,
    arguments,
    compared,
    load,
    paragraphs,
    study,
    with_interval,
)

POOLS = {layer: [layer] for layer in ("conv1_1", "pool1", "pool2", "pool3", "pool4")}
# what it is called: (model, its layers and what each is made of, side of the images it is shown)
MODELS = {
    "VGG, trained": ("objects-vgg", POOLS, 64),
    "VGG, self-supervised": ("objects-vgg:self-supervised", POOLS, 64),
    "VGG, untrained": ("objects-vgg:none", POOLS, 64),
    "random filters": ("random-filters", {f"scale{n}": [f"scale{n}"] for n in range(1, 6)}, 64),
    "HMAX": ("hmax", {"c1": ["c1"], "c2": ["c2"]}, 128),
}
QUICK = ("VGG, trained", "VGG, untrained", "HMAX")
# A large layer's features by way of a random projection, which keeps its geometry.
READ = {"Gram matrix": "gram", "features": "projection", "spatial means": "mean"}
BACKGROUNDS = {"blank": "on a uniform background", "clutter": "in clutter"}
VARIATION = "medium"
SIDE = 128  # of the pictures, before they are resized for a model
# Exemplars that no network was trained on: a readout learns from some and is tested on others.
LEARNT, TESTED = range(2000, 2040), range(3000, 3040)
READOUT = "ridge"
CHANCE = 1 / len(CATEGORIES)
RESAMPLES = 1000


@functools.lru_cache(maxsize=1)
def pictures(background: str, images: int, seed: int) -> tuple[cp.StimulusSet, np.ndarray]:
    """Return pictures, two thirds to learn from, and which are held out to test on."""
    held = np.arange(images) >= 2 * images // 3
    parts = [
        ObjectScenes(
            SIDE, VARIATION, background, exemplars=exemplars, seed=10 * seed + series
        ).stimuli(range(number))
        for exemplars, number, series in ((LEARNT, (~held).sum(), 0), (TESTED, held.sum(), 1))
    ]
    table = pd.concat([part.table for part in parts], ignore_index=True)
    arrays = [array for part in parts for array in part.sources]
    return cp.StimulusSet.from_arrays(arrays, table=table.drop(columns="stimulus_id")), held


def patterns(
    spec: str, layers: dict[str, list[str]], side: int, stimuli: cp.StimulusSet, read: str, device
) -> dict[str, np.ndarray]:
    """Return (stimulus, unit) of each layer as it is read; those without positions only whole."""
    model = load(spec, device)
    names = {label: cp.models.resolve_layers(model, parts) for label, parts in layers.items()}
    if read != "projection":
        names = {label: parts for label, parts in names.items() if in_space(model, parts, side)}
    if not names:
        return {}
    every = list(itertools.chain(*names.values()))
    tree = cp.extract(model, stimuli, every, size=side, readout=read, progress=True)
    return {
        label: np.concatenate([flat(tree[part]["activations"].values) for part in parts], axis=1)
        for label, parts in names.items()
    }


def in_space(model: cp.models.VisionModel, layers: tuple[str, ...], side: int) -> bool:
    """Return whether all the layers have positions, of which there are statistics."""
    noise = torch.rand((1, 3, side, side), generator=torch.Generator().manual_seed(0))
    found = model.features(noise.to(cp.models.device_of(model)), layers)
    return all(features.ndim == 4 for features in found.values())


def flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1)


def named(found: dict[str, np.ndarray], table: pd.DataFrame, held, seed: int) -> pd.DataFrame:
    """Return which category each picture held out is taken for, a row a layer and picture."""
    if not found:
        return pd.DataFrame(columns=["layer", "units", "object", "category", "taken_for"])
    result = cp.decoding.decode_layers(
        found,
        table["category"].tolist(),
        readout=READOUT,
        groups=table["object"].tolist(),
        test_on=held,
        folds=3,
        resamples=1,
        seed=seed,
        progress=True,
    )
    tested = table.loc[held, ["object", "category"]]
    return pd.concat(
        [
            tested.assign(
                layer=layer,
                units=found[layer].shape[1],
                taken_for=result["prediction"].sel(layer=layer).values,
            )
            for layer in found
        ],
        ignore_index=True,
    )


def models(settings) -> dict[str, tuple[str, dict[str, list[str]], int]]:
    """Return the models of the script, and those that were asked for besides."""
    own = {name: MODELS[name] for name in QUICK} if settings.quick else MODELS
    more = {}
    for spec in settings.model or []:
        layers, side = compared(spec, SIDE)
        more[spec] = (spec, {layer: [layer] for layer in layers}, side)
    return own | more


def images(settings) -> int:
    """Return the number of pictures on each background."""
    return settings.images or (480 if settings.quick else 1600)


def measure(found: Study, settings) -> pd.DataFrame:
    """Return which category each picture held out is taken for, by every layer and reading."""
    shown = models(settings)
    weights = {spec: cp.models.fingerprint(load(spec, "cpu")) for spec, _, _ in shown.values()}

    def step(background: str, name: str, read: str) -> pd.DataFrame:
        spec, layers, side = shown[name]
        stimuli, held = pictures(background, images(settings), settings.seed)
        units = patterns(spec, layers, side, stimuli, READ[read], settings.device)
        return named(units, stimuli.table, held, settings.seed)

    rows = [
        found.remember(
            "named",
            functools.partial(step, background, name, read),
            model=shown[name],
            weights=weights[shown[name][0]],
            read=READ[read],
            readout=READOUT,
            variation=VARIATION,
            background=background,
            images=images(settings),
            seed=settings.seed,
        ).assign(background=BACKGROUNDS[background], model=name, read=read)
        for background, name, read in itertools.product(BACKGROUNDS, shown, READ)
    ]
    table = pd.concat([part for part in rows if len(part)], ignore_index=True)
    return table.assign(correct=table["taken_for"] == table["category"])


def accuracies(answers: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the accuracy of each layer and reading, with its 95 % interval over objects."""
    keys, rows = ["background", "model", "layer"], []
    # The features, which every layer has, give the order.
    whole = answers.loc[answers["read"] == "features", keys].drop_duplicates()
    for place in whole.itertuples(index=False):
        here = answers[(answers[keys] == list(place)).all(axis=1)]
        for read, part in here.groupby("read", sort=False):
            lower, upper = over_objects(part, part["correct"], seed)
            row = {**place._asdict(), "read": read, "accuracy": part["correct"].mean()}
            row |= {"lower": lower, "upper": upper, "units": part["units"].iloc[0]}
            rows.append({**row, "tested": len(part), "objects": part["object"].nunique()})
    return pd.DataFrame(rows)


def over_objects(part: pd.DataFrame, values: pd.Series, seed: int) -> np.ndarray:
    """Return the 95 % interval of the mean of one value a picture, objects being resampled."""
    codes, groups = (pd.factorize(part[name])[0] for name in ("category", "object"))
    return intervals(codes, values.to_numpy(float), groups, RESAMPLES, seed)[0]


def difference(
    answers: pd.DataFrame, chosen: dict[str, str], other: dict[str, str], seed: int
) -> str:
    """Return how much more often one reading is right about the same pictures, in percent points.

    `other` says in what the reading to compare with differs from the chosen one.
    """
    one, two = (
        answers[(answers[list(keys)] == list(keys.values())).all(axis=1)]
        for keys in (chosen, chosen | other)
    )
    gain = one["correct"].to_numpy(float) - two["correct"].to_numpy(float)
    lower, upper = over_objects(one, pd.Series(gain), seed)
    return with_interval(100 * gain.mean(), 100 * lower, 100 * upper, "+.1f")


def main() -> None:
    settings = arguments(
        __doc__,
        "object_information",
        model=MORE_MODELS,
        images={"type": int, "help": "pictures on each background; 1600, or 480 with --quick"},
    )
    found = study(
        "object_information",
        "What Gram matrices know about objects",
        "Gram matrices describe textures, and leave out where things are. Can the category of an "
        "object be read from them, and from which layers?",
        settings,
    )
    answers = measure(found, settings)
    table = accuracies(answers, settings.seed)
    found.table("accuracy", table)
    for background, place in BACKGROUNDS.items():
        part = table[table["background"] == place]
        found.figure(
            f"accuracy_{background}",
            interval_curves(
                part,
                x="layer",
                y="accuracy",
                curve="read",
                panel="model",
                reference=CHANCE,
                percent=True,
                columns=3,
            ),
            f"Share of {part['tested'].iloc[0]} pictures of {part['objects'].iloc[0]} new objects, "
            f"{place}, whose category, one of {len(CATEGORIES)}, is named rightly, by layer; 95 % "
            "intervals over objects.",
        )
    told = shows(answers, table, images(settings), settings.seed)
    found.conclude(in_short(table), told, LIMITS)


def in_short(table: pd.DataFrame) -> str:
    """Return the answer in a sentence or two."""
    rows = table.set_index(["background", "model", "read", "layer"])["accuracy"]
    shallow, *_, deep = POOLS
    said = []
    for place in dict.fromkeys(table["background"]):
        trained = rows[place, "VGG, trained"]
        first, last = (trained["Gram matrix", layer] for layer in (shallow, deep))
        untrained = rows[place, "VGG, untrained", "Gram matrix", deep]
        said.append(
            f"{place}, it names {first:.0%} of new objects at {shallow} of the trained network and "
            f"{last:.0%} at {deep} ({trained['features', deep]:.0%} from the features themselves), "
            f"{untrained:.0%} at {deep} of the untrained one"
        )
    return (
        "A readout of Gram matrices is not told where anything is; "
        f"{'; '.join(said)}; chance is {CHANCE:.0%}."
    )


def shows(answers: pd.DataFrame, table: pd.DataFrame, images: int, seed: int) -> str:
    """Return what the tables show, with their statistics."""
    first = table.iloc[0]
    return paragraphs(
        f"Chance is {CHANCE:.1%}.",
        *(told(answers, table, place, seed) for place in dict.fromkeys(table["background"])),
        f"A {READOUT} readout learnt from {images - first['tested']} pictures at {VARIATION} "
        f"variation, of at most {len(LEARNT)} exemplars a category, and was tested on "
        f"{first['tested']} of others.",
    )


def told(answers: pd.DataFrame, table: pd.DataFrame, place: str, seed: int) -> str:
    """Return what Gram matrices tell on one background."""
    here, part = (rows[rows["background"] == place] for rows in (answers, table))
    grams = [
        f"{model}: {', '.join(map(_accuracy, rows.itertuples()))}"
        for model, rows in part[part["read"] == "Gram matrix"].groupby("model", sort=False)
    ]
    whole = part[part["read"] == "features"].groupby("model", sort=False).tail(1)
    trained = {"model": "VGG, trained", "read": "Gram matrix"}
    gains = {
        read: ", ".join(
            f"{layer} {difference(here, {**trained, 'layer': layer}, {'read': read}, seed)}"
            for layer in POOLS
        )
        for read in ("features", "spatial means")
    }
    deepest = {**trained, "layer": "pool4"}
    gain = difference(here, deepest, {"model": "VGG, untrained"}, seed)
    return paragraphs(
        f"Objects {place} are named from Gram matrices as follows. {'. '.join(grams)}.",
        "From the features of the deepest layers: "
        + ", ".join(f"{row.model} {_accuracy(row)}" for row in whole.itertuples())
        + ".",
        "The trained network's Gram matrices name more than its features by, in percent points, "
        f"{gains['features']}; more than its spatial means by {gains['spatial means']}; those of "
        f"pool4 more than the untrained network's by {gain}.",
    )


def _accuracy(row) -> str:
    return f"{row.layer} {with_interval(row.accuracy, row.lower, row.upper, '.1%')}"


LIMITS = (
    "The trained network was trained to name such objects (other exemplars) and the "
    "self-supervised one saw the photographs of the clutter. Readings differ in the number of "
    "units, which the table holds, and a Gram matrix has the means' information and more. "
    "Features of more units than keep distances within 10 % are read by way of a sparse random "
    "projection, and have to learn from the same few pictures that position does not matter, "
    "which the other readings are told. HMAX's C1 has four orientations a band, and so small "
    "Gram matrices; its C2 has no positions. Intervals are over tested objects, not over "
    "trainings."
)


if __name__ == "__main__":
    main()
