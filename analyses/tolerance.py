"""What does each layer tolerate: shifts, changes of size, rotations, clutter?

A linear readout learns to name the category of objects at one place and size, in one view and on
a uniform background, and is tested on other objects that are displaced ever further in one
variable alone. How like the responses to an object stay is measured besides:

    python analyses/tolerance.py [--quick] [--model vgg19 ...]
"""

import functools
import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

import cnnperception as cp
from cnnperception.figures import contact_sheet, interval_curves, interval_dots
from cnnperception.objects import CATEGORIES, Displacement, ObjectScenes
from cnnperception.studies import (
    MORE_MODELS,
    SHEET_DPI,
    Study,
    arguments,
    compared,
    load,
    paragraphs,
    study,
    with_interval,
)

VGG = ("pool1", "pool2", "pool3", "pool4", "average")
# what it is called: (model, its layers and what each is made of, side of the images it is shown)
MODELS = {
    "pixels": ("pixels", {"pixels": ["pixels"]}, 64),
    "V1": ("v1", {"V1": ["scale*"]}, 64),
    "HMAX": ("hmax", {"HMAX C1": ["c1"], "HMAX C2": ["c2"]}, 128),
    "Neocognitron": ("neocognitron", {f"Neocognitron UC{n}": [f"uc{n}"] for n in (1, 2, 3)}, 64),
    "VGG, untrained": ("objects-vgg:none", {f"VGG untrained, {name}": [name] for name in VGG}, 64),
    "VGG, trained": ("objects-vgg", {f"VGG trained, {name}": [name] for name in VGG}, 64),
}
QUICK = ("pixels", "HMAX", "VGG, untrained", "VGG, trained")
# Layers that stand for their models where there is no room for all.
CHOSEN = (
    "pixels",
    "V1",
    "HMAX C1",
    "HMAX C2",
    "Neocognitron UC3",
    "VGG untrained, average",
    "VGG trained, average",
)
POSITION, SIZE = "position (halves of the side)", "size (octaves)"
PLANE, DEPTH = "rotation in the plane (degrees)", "rotation in depth (degrees)"
CLUTTER = "clutter (contrast)"
AMOUNTS = {
    POSITION: (0.1, 0.2, 0.3, 0.4, 0.5),
    SIZE: (0.25, 0.5, 0.75, 1.0),
    PLANE: (15.0, 30.0, 45.0, 60.0, 90.0),
    DEPTH: (15.0, 30.0, 45.0, 60.0, 90.0),
    CLUTTER: (0.125, 0.25, 0.5, 0.75, 1.0),
}
REFERENCE = "reference"
SIDE = 128  # of the pictures, before they are resized for a model
SCALE = 0.8  # of the objects at the reference, so that they stay inside when moved and enlarged
# Exemplars that no network was trained on: a readout learns from some and is tested on others.
LEARNT, TESTED = range(2000, 2040), range(3000, 3040)
READOUT = "logistic"
CHANCE = 1 / len(CATEGORIES)
RESAMPLES = 1000
MIXTURES = 2000  # of the units of a layer, which are read out


def scenes(variable: str, amount: float, exemplars: range, seed: int) -> ObjectScenes:
    """Return objects displaced in one variable by a signed amount, and in no other."""
    steps = {
        POSITION: Displacement((amount, 0.0), SCALE),
        SIZE: Displacement(size=SCALE * 2.0**amount),
        PLANE: Displacement(size=SCALE, rotation=(0.0, 0.0, amount)),
        DEPTH: Displacement(size=SCALE, rotation=(0.0, amount, 0.0)),
    }
    return ObjectScenes(
        SIDE,
        "low",
        "clutter",
        exemplars=exemplars,
        seed=seed,
        displacement=steps.get(variable, Displacement(size=SCALE)),
        background_contrast=amount if variable == CLUTTER else 0.0,
    )


def both_ways(variable: str, amount: float, count: int, seed: int) -> Iterator[cp.StimulusSet]:
    """Yield test pictures displaced one way, then as many displaced the other way."""
    # Categories take turns: whole turns go the same way.
    other = np.arange(count) // len(CATEGORIES) % 2 == 1
    for way, chosen in ((1, ~other), (-1, other)):
        signed = amount if variable == CLUTTER else way * amount
        drawn = scenes(variable, signed, TESTED, seed)
        yield drawn.stimuli(np.flatnonzero(chosen).tolist())


@functools.lru_cache(maxsize=1)
def pictures(learnt: int, tested: int, thinned: int, seed: int) -> cp.StimulusSet:
    """Return the pictures to learn from and all that are tested; `variable` says which is which.

    Every `thinned`-th amount is shown, always the largest among them.
    """
    parts = [("learnt", 0.0, [scenes(REFERENCE, 0.0, LEARNT, 10 * seed).stimuli(range(learnt))])]
    parts += [(REFERENCE, 0.0, both_ways(REFERENCE, 0.0, tested, 10 * seed + 1))]
    parts += [
        (variable, amount, both_ways(variable, amount, tested, 10 * seed + 1))
        for variable, amounts in AMOUNTS.items()
        for amount in amounts[::-1][::thinned][::-1]
    ]
    arrays, tables = [], []
    for variable, amount, sets in parts:
        for stimuli in sets:
            arrays += stimuli.sources
            tables.append(stimuli.table.assign(variable=variable, amount=amount))
    table = pd.concat(tables, ignore_index=True).drop(columns="stimulus_id")
    return cp.StimulusSet.from_arrays(arrays, table=table)


def answers(model: tuple, stimuli: cp.StimulusSet, settings) -> pd.DataFrame:
    """Return a row for each layer and tested picture: whether it is named, and how alike it is."""
    spec, layers, side = model
    loaded, table = load(spec, settings.device), stimuli.table
    every = [part for parts in layers.values() for part in parts]
    tree = cp.extract(loaded, stimuli, every, size=side, readout="projection", progress=True)
    tested = (table["variable"] != "learnt").to_numpy()
    rows = []
    for layer, parts in layers.items():
        names = cp.models.resolve_layers(loaded, parts)
        units = np.concatenate(
            [tree[name]["activations"].values.reshape(len(stimuli), -1) for name in names], axis=1
        )
        result = cp.decoding.decode(
            mixed(units, settings.seed),
            table["category"].tolist(),
            readout=READOUT,
            groups=table["object"].tolist(),
            test_on=tested,
            folds=3,
            penalties=(1e-3, 1e-2, 1e-1, 1.0),
            resamples=1,
            seed=settings.seed,
        )
        shown = table.loc[tested, ["variable", "amount", "number", "object"]]
        correct = (result["prediction"] == result["label"]).values
        alike = similarities(units[tested], shown)
        rows.append(shown.assign(layer=layer, correct=correct, similarity=alike))
    return pd.concat(rows, ignore_index=True)


def mixed(units: np.ndarray, seed: int) -> np.ndarray:
    """Return random mixtures of the units, in which the geometry of the responses is kept.

    The readout standardises what it is given. Units that hardly vary at the reference, as most do
    where there is only background, would be made as loud as the others, and clutter would drown
    all. Mixtures vary all alike, so that units keep their share of the responses.
    """
    random = np.random.default_rng([seed, 4])
    return units @ random.standard_normal((units.shape[1], MIXTURES), dtype=np.float32)


def similarities(units: np.ndarray, shown: pd.DataFrame) -> np.ndarray:
    """Return how like each response is to that to the same object at the reference.

    The cosine of responses less their mean over all objects at the reference: 1 for the same
    response, 0 on average for that to another object.
    """
    at_reference = (shown["variable"] == REFERENCE).to_numpy()
    centred = units - units[at_reference].mean(axis=0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    place = {number: row for row, number in zip(*_numbered(shown, at_reference), strict=True)}
    own = centred[[place[number] for number in shown["number"]]]
    return np.einsum("ij,ij->i", centred, own)


def _numbered(shown: pd.DataFrame, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.flatnonzero(chosen), shown["number"].to_numpy()[chosen]


def models(settings) -> dict[str, tuple[str, dict[str, list[str]], int]]:
    """Return the models of the script, and those that were asked for besides."""
    own = {name: MODELS[name] for name in QUICK} if settings.quick else MODELS
    more = {}
    for spec in settings.model or []:
        layers, side = compared(spec, SIDE)
        more[spec] = (spec, {f"{spec} {layer}": [layer] for layer in layers}, side)
    return own | more


def numbers(settings) -> tuple[int, int, int]:
    """Return how many pictures are learnt from and tested, and which amounts: every so-manyth."""
    tested = settings.images or (96 if settings.quick else 128)
    return (320, tested, 3) if settings.quick else (480, tested, 1)


def measure(found: Study, settings) -> pd.DataFrame:
    """Return the rows of `answers` of all models."""
    learnt, tested, thinned = numbers(settings)
    parts = []
    for name, model in models(settings).items():

        def step(model: tuple = model) -> pd.DataFrame:
            stimuli = pictures(learnt, tested, thinned, settings.seed)
            return answers(model, stimuli, settings)

        part = found.remember(
            "answers",
            step,
            model=model,
            weights=cp.models.fingerprint(load(model[0], "cpu")),
            pictures=[learnt, tested, thinned, SCALE, AMOUNTS],
            readout=[READOUT, MIXTURES],
            seed=settings.seed,
        )
        parts.append(part.assign(model=name))
    return pd.concat(parts, ignore_index=True)


def curves(rows: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return accuracy and similarity by layer and displacement, and the half-widths of accuracy.

    Intervals, of 95 %, are over objects: these are drawn with replacement, the same for all
    layers and displacements.
    """
    points, widths = [], []
    for (model, layer), part in rows.groupby(["model", "layer"], sort=False):
        wide = {
            value: part.pivot(
                index=["number", "object"], columns=["variable", "amount"], values=value
            )
            for value in ("correct", "similarity")
        }
        drawn = resampled(wide["correct"].index.get_level_values("object"), seed)
        for variable in dict.fromkeys(part["variable"]):
            if variable == REFERENCE:
                continue
            amounts = [0.0, *sorted(set(part.loc[part["variable"] == variable, "amount"]))]
            columns = [(REFERENCE, 0.0), *((variable, amount) for amount in amounts[1:])]
            rest = {"model": model, "layer": layer, "variable": variable}
            means = {value: drawn @ wide[value][columns].to_numpy(float) for value in wide}
            for place, amount in enumerate(amounts):
                row = {**rest, "displacement": amount}
                for value, name in (("correct", "accuracy"), ("similarity", "similarity")):
                    row[name] = means[value][0, place]
                    ends = np.quantile(means[value][1:, place], [0.025, 0.975])
                    row |= {f"{name}_lower": ends[0], f"{name}_upper": ends[1]}
                points.append(row)
            widths.append(rest | half_width(np.array(amounts), means["correct"]))
    return pd.DataFrame(points), pd.DataFrame(widths)


def resampled(objects: pd.Index, seed: int) -> np.ndarray:
    """Return weights of pictures (1 + resample, picture): all alike, then of objects drawn."""
    groups = pd.factorize(objects)[0]
    count = groups.max() + 1
    rng = np.random.default_rng([seed, 3])
    times = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    weights = np.concatenate([np.ones((1, count)), times])[:, groups]
    return weights / weights.sum(axis=1, keepdims=True)


def half_width(amounts: np.ndarray, accuracy: np.ndarray) -> dict[str, float | bool]:
    """Return the displacement at which accuracy is half-way from the reference's to chance.

    Parameters
    ----------
    amounts : ndarray, shape (amount,)
        From 0 upwards.
    accuracy : ndarray, shape (1 + resample, amount)
        That of all objects, then those of resamples.

    Returns
    -------
    dict
        `width`, interpolated; `lower`, `upper`, the ends of its 95 % interval; `beyond`, whether
        accuracy stays above that level at all amounts. What lies beyond is set to the largest.
        NaN where the reference itself is not above chance.
    """
    level = CHANCE + (accuracy[:, 0] - CHANCE) / 2
    below = accuracy < level[:, None]
    first = below.argmax(axis=1).clip(min=1)
    rows = np.arange(len(accuracy))
    before, after = accuracy[rows, first - 1], accuracy[rows, first]
    share = np.divide(before - level, before - after, where=after < before, out=np.ones(len(rows)))
    found = amounts[first - 1] + share * (amounts[first] - amounts[first - 1])
    found = np.where(below.any(axis=1), found, np.inf)
    found[accuracy[:, 0] <= CHANCE] = np.nan
    known = found[1:][~np.isnan(found[1:])]
    # Of an interpolated quantile, infinity and a number would make no number.
    ends = np.quantile(known, [0.025, 0.975], method="inverted_cdf") if len(known) else [np.nan] * 2
    largest = amounts[-1]
    return {
        "width": min(found[0], largest) if found[0] == found[0] else np.nan,
        "lower": min(ends[0], largest),
        "upper": min(ends[1], largest),
        "beyond": bool(np.isinf(found[0])),
    }


def main() -> None:
    settings = arguments(
        __doc__,
        "tolerance",
        model=MORE_MODELS,
        images={"type": int, "help": "tested at each displacement; 128, or 96 with --quick"},
    )
    found = study(
        "tolerance",
        "Tolerance by layer",
        "How far can an object move, grow, turn or be surrounded by clutter until a readout that "
        "learnt from one view no longer names it, layer by layer?",
        settings,
    )
    rows = measure(found, settings)
    points, widths = curves(rows, settings.seed)
    found.table("curves", points)
    found.table("half_widths", widths)
    draw(found, points, widths, rows, settings)
    found.conclude(in_short(widths), shows(points, widths, rows, settings), LIMITS)


def draw(found: Study, points: pd.DataFrame, widths: pd.DataFrame, rows: pd.DataFrame, settings):
    """Draw examples, the curves and the half-widths."""
    found.figure("stimuli", examples(settings), EXAMPLES, dpi=SHEET_DPI)
    counts = f"{rows['number'].nunique()} pictures of {rows['object'].nunique()} new objects"
    deepest = points.groupby("model", sort=False)["layer"].transform("last")
    asked = points["model"].isin(settings.model or []) & (points["layer"] == deepest)
    chosen = points[points["layer"].isin(CHOSEN) | asked]
    figures = {
        value: (chosen, value, "Layers that stand for their models")
        for value in ("accuracy", "similarity")
    }
    for model, part in points.groupby("model", sort=False):
        if part["layer"].nunique() > 2:
            name = re.sub(r"[^a-z0-9]+", "-", str(model).lower())
            figures[f"accuracy_{name}"] = (part, "accuracy", f"The layers of {model}")
    for name, (part, value, whose) in figures.items():
        part = part.rename(columns={f"{value}_lower": "lower", f"{value}_upper": "upper"})
        percent = value == "accuracy"
        figure = interval_curves(
            part,
            x="displacement",
            y=value,
            curve="layer",
            panel="variable",
            reference=CHANCE if percent else None,
            percent=percent,
            columns=3,
        )
        what = (
            f"share of {counts} whose category, one of {len(CATEGORIES)}, is named rightly"
            if percent
            else f"similarity of the responses to those to the same object undisplaced, {counts}"
        )
        found.figure(name, figure, f"{whose}: {what}; 95 % intervals over objects.")
    figure = interval_dots(widths, row="layer", value="width", group="model", panel="variable")
    found.figure(
        "half_widths",
        figure,
        "Displacement at which accuracy is half-way from the reference's to chance, by layer; "
        "95 % intervals over objects, cut off at the largest displacement shown.",
    )


EXAMPLES = (
    "An object at the reference, and displaced by the largest amount shown: to the right, larger, "
    "turned in the plane, turned in depth, in clutter; below, the other way."
)


def examples(settings):
    """Return a figure of two objects at the largest displacements."""
    amounts = [(REFERENCE, 0.0), *((name, values[-1]) for name, values in AMOUNTS.items())]
    drawn, titles = [], []
    for way, number in ((1, 8), (-1, 12)):
        for variable, amount in amounts:
            signed = amount if variable == CLUTTER else way * amount
            scene = scenes(variable, signed, TESTED, 10 * settings.seed + 1)
            drawn.append(scene.pictures([number])[0])
            titles.append(f"{variable.partition(' (')[0]} {signed:g}" if amount else REFERENCE)
    return contact_sheet(drawn, titles, columns=len(amounts))


def in_short(widths: pd.DataFrame) -> str:
    """Return the answer in a sentence."""
    beyond = widths[widths["layer"].isin(CHOSEN) & widths["beyond"].astype(bool)]
    variables = beyond["variable"].str.partition(" (")[0].groupby(beyond["layer"]).agg(", ".join)
    listed = "; ".join(
        f"{layer}: {variables.get(layer, 'nothing')}"
        for layer in CHOSEN
        if layer in set(widths["layer"])
    )
    return (
        "What can change, as far as it was changed here, before a readout that learnt from one "
        f"view falls half-way to chance: {listed}."
    )


def shows(points: pd.DataFrame, widths: pd.DataFrame, rows: pd.DataFrame, settings) -> str:
    """Return what the tables show, with their statistics."""
    learnt, tested, _ = numbers(settings)
    start = points[points["displacement"] == 0].drop_duplicates(["model", "layer"])
    return paragraphs(
        f"Chance is {CHANCE:.1%}. A {READOUT} readout learnt from {learnt} pictures of at most "
        f"{len(LEARNT)} exemplars a category at the reference and was tested on {tested} pictures "
        f"of {rows['object'].nunique()} other objects at each displacement, half of them each way. "
        "At the reference it named "
        + ", ".join(f"{row.layer} {row.accuracy:.1%}" for row in start.itertuples())
        + ".",
        "The displacement at which accuracy is half-way to chance: "
        + "; ".join(
            f"{variable}: " + ", ".join(map(_width, part.itertuples()))
            for variable, part in widths[widths["layer"].isin(CHOSEN)].groupby(
                "variable", sort=False
            )
        )
        + ".",
        *(_compared(widths, *pair) for pair in PAIRS),
    )


# Layers whose tolerance is compared.
PAIRS = (
    ("VGG trained, average", "VGG untrained, average"),
    ("VGG trained, average", "HMAX C2"),
    ("HMAX C2", "V1"),
    ("VGG trained, average", "VGG trained, pool1"),
)


def _width(row) -> str:
    """Return a half-width with its interval in words."""
    if np.isnan(row.width):
        return f"{row.layer} none (at chance)"
    if row.beyond:
        return f"{row.layer} beyond {row.width:g}"
    return f"{row.layer} {with_interval(row.width, row.lower, row.upper, '.2g')}"


def _compared(widths: pd.DataFrame, first: str, second: str) -> str:
    """Return in which variables one layer's half-width is surely larger than another's."""
    if not {first, second} <= set(widths["layer"]):
        return ""
    table = widths.set_index(["variable", "layer"])
    wins: dict[str, list[str]] = {"wider": [], "narrower": [], "undecided": []}
    for variable in dict.fromkeys(widths["variable"]):
        one, other = table.loc[(variable, first)], table.loc[(variable, second)]
        name = variable.partition(" (")[0]
        if one["lower"] > other["upper"]:
            wins["wider"].append(name)
        elif one["upper"] < other["lower"]:
            wins["narrower"].append(name)
        else:
            wins["undecided"].append(name)
    told = [f"{word} for {', '.join(names)}" for word, names in wins.items() if names]
    return f"{first} against {second} (intervals apart, or undecided): {'; '.join(told)}."


LIMITS = (
    "The trained network saw such objects, of other exemplars, shifted, resized, turned and in "
    "clutter, on some of the same photographs, when it was trained: what is shown is what "
    "training brings, not what it would generalise to. Half-widths are relative to each layer's "
    "own accuracy at the reference, of the first crossing where a curve comes back, and not known "
    "where accuracy stays above half-way at all displacements; intervals end at the largest. In "
    "clutter the object stays in its place, where a readout of a layer with positions may look "
    "for it alone: what is pooled over the whole picture cannot be read so. The view at the "
    "reference is three quarters, from above, so that turning in depth by about 70 degrees one "
    "way shows its mirror image. What is read out are random mixtures of a layer's units, which "
    "keep the geometry of the responses but for a few percent, and in which units count as they "
    "vary; a readout that makes all units vary alike is far more easily upset by clutter. "
    "Intervals are over tested objects, not over trainings."
)


if __name__ == "__main__":
    main()
