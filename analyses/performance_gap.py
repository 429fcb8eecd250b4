"""How well do the representations of HMAX, CNNs and simpler models tell objects under variation?

The same linear readout names the category of objects it was not trained on, from the layers of
each model, at low, medium and high variation of position, size and rotation, on a uniform
background and in front of photographs and scattered parts (after Majaj et al. 2015 and Cadieu et
al. 2014):

    python analyses/performance_gap.py [--quick] [--model vgg19 ...]
"""

import itertools

import numpy as np
import pandas as pd
import xarray as xr

import cnnperception as cp
from cnnperception.figures import interval_curves
from cnnperception.objects import CATEGORIES, VARIATIONS, ObjectScenes
from cnnperception.studies import (
    MORE_MODELS,
    Study,
    arguments,
    load,
    paragraphs,
    study,
    with_interval,
)

# what it is called: (model, its layers, side of the images it is shown)
MODELS = {
    "pixels": ("pixels", ["pixels"], 64),
    "V1": ("v1", ["scale*"], 64),
    "HMAX C2": ("hmax", ["c2/*"], 128),
    "Neocognitron": ("neocognitron", ["uc3"], 64),
    "random filters": ("random-filters", ["scale4", "scale5"], 128),
    "VGG, untrained": ("objects-vgg:none", ["pool4"], 64),
    "VGG, self-supervised": ("objects-vgg:self-supervised", ["pool4"], 64),
    "VGG, trained": ("objects-vgg", ["pool4"], 64),
}
BACKGROUNDS = {"blank": "on a uniform background", "clutter": "in clutter"}
SIDE = 128  # of the pictures, before they are resized for a model
# Exemplars that no network was trained on: a readout learns from some and is tested on others.
LEARNT, TESTED = range(2000, 2040), range(3000, 3040)
READOUT = "logistic"
COMPARED = ("VGG, trained", "HMAX C2", "V1", "pixels")  # from the best to the worst, perhaps


def pictures(
    variation: str, background: str, images: int, seed: int
) -> tuple[cp.StimulusSet, np.ndarray]:
    """Return pictures, two thirds to learn from, and which are held out to test on."""
    held = np.arange(images) >= 2 * images // 3
    arrays, tables = [], []
    for exemplars, number, series in ((LEARNT, (~held).sum(), 0), (TESTED, held.sum(), 1)):
        scenes = ObjectScenes(
            SIDE, variation, background, exemplars=exemplars, seed=10 * seed + series
        )
        drawn = scenes.pictures(range(number)).permute(0, 2, 3, 1).numpy()
        arrays.extend((255 * drawn).round().astype(np.uint8))
        tables.append(scenes.table(range(number)))
    table = pd.concat(tables, ignore_index=True).drop(columns="stimulus_id")
    return cp.StimulusSet.from_arrays(arrays, table=table), held


def features(spec: str, layers: list[str], side: int, stimuli, device: str) -> np.ndarray:
    """Return the units of all the layers side by side, (stimulus, unit)."""
    tree = cp.extract(load(spec, device), stimuli, layers, size=side, progress=True)
    found = [node["activations"].values for node in tree.leaves]
    return np.concatenate([values.reshape(len(values), -1) for values in found], axis=1)


def accuracy(name: str, variation: str, background: str, settings) -> pd.DataFrame:
    """Return a row: how well new objects are named from one model's layers."""
    spec, layers, side = models(settings)[name]
    stimuli, held = pictures(variation, background, images(settings), settings.seed)
    units = features(spec, layers, side, stimuli, settings.device)
    result: xr.Dataset = cp.decoding.decode(
        units,
        stimuli.table["category"].tolist(),
        readout=READOUT,
        groups=stimuli.table["object"].tolist(),
        test_on=held,
        folds=3,
        penalties=(1e-3, 1e-2, 1e-1, 1.0),
        seed=settings.seed,
    )
    lower, upper = result["accuracy_interval"].values
    row = {"model": name, "background": BACKGROUNDS[background], "variation": variation}
    row["accuracy"] = float(result["accuracy"])
    units_of = {"lower": lower, "upper": upper, "units": units.shape[1], "images": len(held)}
    objects = stimuli.table["object"][held].nunique()
    return pd.DataFrame([{**row, **units_of, "tested": int(held.sum()), "objects": objects}])


def models(settings) -> dict[str, tuple[str, list[str], int]]:
    """Return the models of the script, and those that were asked for besides."""
    more = {
        spec: (spec, [load(spec, "cpu").recommended["compare"][-1]], SIDE)
        for spec in settings.model or []
    }
    return MODELS | more


def images(settings) -> int:
    """Return the number of pictures of a level of variation."""
    return settings.images or (480 if settings.quick else 2400)


def measure(found: Study, settings) -> pd.DataFrame:
    """Return the table of all models at all levels."""
    shown = models(settings)
    weights = {name: fingerprint(spec) for name, (spec, _, _) in shown.items()}
    rows = [
        found.remember(
            "accuracy",
            lambda name=name, variation=variation, background=background: accuracy(
                name, variation, background, settings
            ),
            model=shown[name],
            weights=weights[name],
            name=name,
            variation=variation,
            background=background,
            images=images(settings),
            seed=settings.seed,
        )
        for background in BACKGROUNDS
        for name in shown
        for variation in VARIATIONS
    ]
    return pd.concat(rows, ignore_index=True)


def fingerprint(spec: str) -> str:
    """Return the hash of a model's weights, so that other weights are other results."""
    return cp.models.fingerprint(load(spec, "cpu"))


def main() -> None:
    settings = arguments(
        __doc__,
        "performance_gap",
        model=MORE_MODELS,
        images={"type": int, "help": "pictures of a level; 2400, or 480 with --quick"},
    )
    found = study(
        "performance_gap",
        "The gap in performance",
        "Which models' representations let a linear readout name objects that vary in position, "
        "size, rotation and background?",
        settings,
    )
    table = measure(found, settings)
    found.table("accuracy", table)
    chance = 1 / len(CATEGORIES)
    found.figure(
        "accuracy",
        interval_curves(
            table,
            x="variation",
            y="accuracy",
            curve="model",
            panel="background",
            reference=chance,
            percent=True,
        ),
        f"Share of {int(table['tested'].iloc[0])} pictures of "
        f"{int(table['objects'].iloc[0])} new objects whose category, one of "
        f"{len(CATEGORIES)}, is named rightly; 95 % intervals over objects.",
    )
    found.conclude(in_short(table, chance), shows(table, chance), LIMITS)


def in_short(table: pd.DataFrame, chance: float) -> str:
    """Return the answer in a sentence."""
    high = table[table["variation"] == "high"].set_index(["background", "model"])["accuracy"]
    places = list(dict.fromkeys(table["background"]))
    named = ", ".join(
        f"{model} {' and '.join(f'{high[place, model]:.0%}' for place in places)}"
        for model in COMPARED
    )
    return (
        f"Of new objects at high variation, {' and '.join(places)}, a linear readout names rightly "
        f"from {named}; chance is {chance:.0%}."
    )


def shows(table: pd.DataFrame, chance: float) -> str:
    """Return what the table shows, with its statistics."""
    first = table.iloc[0]
    return paragraphs(
        f"Chance is {chance:.1%}.",
        *(
            _told(table[table["background"] == place], place)
            for place in dict.fromkeys(table["background"])
        ),
        f"A {READOUT} readout learnt from {int(first['images'] - first['tested'])} pictures of "
        f"{len(LEARNT)} exemplars a category and was tested on {int(first['tested'])} of others.",
    )


def _told(table: pd.DataFrame, place: str) -> str:
    """Return the accuracies at high variation, and which intervals are apart."""
    high = table[table["variation"] == "high"].set_index("model")
    values = ", ".join(
        f"{name} {with_interval(row['accuracy'], row['lower'], row['upper'], '.1%')}"
        for name, row in high.iterrows()
    )
    apart = {
        f"{above} over {below}": high.loc[above, "lower"] > high.loc[below, "upper"]
        for above, below in itertools.pairwise(COMPARED)
    }
    yes = ", ".join(name for name, is_apart in apart.items() if is_apart)
    no = ", ".join(name for name, is_apart in apart.items() if not is_apart)
    return paragraphs(
        f"At high variation {place}: {values}.",
        f"Intervals lie apart for {yes}." if yes else "",
        f"They overlap for {no}, an order that these pictures do not show." if no else "",
    )


LIMITS = (
    "The trained network was trained on such pictures (of other exemplars, on the same "
    "photographs), as networks trained on photographs are on theirs; HMAX's prototypes are "
    "patches of photographs and were not chosen for these objects. One layer of each model was "
    "read out; objects are simple solids. Intervals are over tested objects, not over trainings."
)


if __name__ == "__main__":
    main()
