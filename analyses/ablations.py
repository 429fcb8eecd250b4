"""Which differences between HMAX and a CNN make the difference in performance?

Five changes lead from HMAX to a small VGG. All 32 combinations of them are built, those that can
learn are trained on the same pictures, and the same linear readout names the category of new
objects from each, so that the worth of a change is known whatever was changed before it:

    python analyses/ablations.py [--quick] [--model vgg19 ...]
"""

import dataclasses
import itertools

import numpy as np
import pandas as pd

import cnnperception as cp
from cnnperception.ablation import (
    ALL_PICTURES,
    CNN,
    HMAX,
    LONG,
    PARTICULARS,
    Network,
    Pictures,
    Scale,
    decoded,
    learn,
    read,
)
from cnnperception.decoding import gains, mean_gain, resampled_accuracies
from cnnperception.figures import interval_curves, interval_dots, waterfall
from cnnperception.objects import CATEGORIES
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

PLACES = {"blank": "on a uniform background", "clutter": "in clutter"}
# The order in which changes are made from HMAX on, and in which they are taken back from the CNN.
THERE = ("learnt", "rectified", "averaged", "convolved", "deep")
BACK = ("averaged", "rectified", "convolved", "deep", "learnt")
# What a change is called where it is made, and where it is taken back.
MADE = {
    "learnt": "learning",
    "rectified": "rectification",
    "averaged": "averaging",
    "convolved": "convolutions first",
    "deep": "depth",
}
TAKEN = {
    "learnt": "stored patches (HMAX)",
    "rectified": "Gaussian tuning",
    "averaged": "one maximum",
    "convolved": "Gabors first",
    "deep": "one layer of patches",
}
WAYS = ("alone", "on the way there", "on the way back", "last", "mean of all orders")
# Learning rates by whether units are rectified, chosen on pictures that are not tested.
RATES = {False: 5e-3, True: 7e-3}
PHOTOGRAPHS = "patches of photographs"
LONGER = "trained longer, wider"
# what it is called: (model, its layers, side of the images it is shown)
REFERENCES = {
    "HMAX, 1000 patches of photographs": ("hmax", ["c2/*"], 64),
    "the same, pictures enlarged to 128": ("hmax", ["c2/*"], 128),
    "VGG, self-supervised": ("objects-vgg:self-supervised", ["average"], 64),
    LONGER: ("objects-vgg", ["average"], 64),
}
QUICK = Scale(steps=12, batch=32, width=4, units=8, images=320)
CHANCE = 1 / len(CATEGORIES)
RESAMPLES = 2000

# network and layer -> whether right, (seed, picture)
Rights = dict[tuple[str, str], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Measured:
    """Accuracies on one background: each an array, the value itself and then its resamples."""

    background: str
    accuracy: dict[tuple[str, str], np.ndarray]
    seeds: dict[tuple[str, str], np.ndarray]

    def corners(self) -> dict[frozenset[str], np.ndarray]:
        """Return the accuracy of every combination of changes."""
        return {changes: self.accuracy[name(Network(changes)), "pooled"] for changes in corners()}


def corners() -> list[frozenset[str]]:
    """Return every combination of changes, fewest first."""
    counts = range(len(THERE) + 1)
    return [frozenset(c) for count in counts for c in itertools.combinations(THERE, count)]


def name(network: Network) -> str:
    """Return what the tables call a network."""
    if network.particular:
        return network.particular
    changes = " + ".join(change for change in THERE if change in network.changes)
    return {HMAX: "HMAX", CNN: "CNN"}.get(network.changes, changes)


# --- results ------------------------------------------------------------------------------------


def results(
    found: Study, network: Network, pictures: Pictures, device: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return which pictures are named rightly from a network's layers, and its training's curve."""
    rate = RATES["rectified" in network.changes]
    key = {
        "changes": sorted(network.changes),
        "particular": network.particular,
        "network": network.seed,
        "rate": rate,
        "scale": vars(pictures.scale),
        "pictures": pictures.seed,
    }
    checkpoint = found.kept("training", ".checkpoint", **key)
    curves = []

    def compute() -> pd.DataFrame:
        print(f"{name(network)}, seed {network.seed}", flush=True)
        trained, curve = learn(
            network, pictures, rate, device=device, checkpoint=checkpoint, progress=True
        )
        curves.append(found.remember("curve", lambda: curve, **key))
        return read(network, trained, pictures)

    right = found.remember("right", compute, **key)
    # Remembered since, or before the rights were.
    return right, found.remember("curve", lambda: curves[0], **key)


def reference(
    found: Study, spec: str, layers: list[str], side: int, pictures: Pictures, device: str
) -> pd.DataFrame:
    """Return which pictures are named rightly from the layers of another model, side by side."""

    def compute() -> pd.DataFrame:
        tables = []
        for background, (seen, table, held) in pictures.readout.items():
            stimuli = cp.StimulusSet.from_arrays(np.moveaxis(seen.pixels, 1, 3))
            tree = cp.extract(load(spec, device), stimuli, layers, size=side, progress=True)
            units = [node["activations"].values.reshape(len(held), -1) for node in tree.leaves]
            right = decoded(np.concatenate(units, axis=1), table, held, pictures.seed)
            rows = {"background": background, "layer": "pooled", "right": right.astype(int)}
            tables.append(pd.DataFrame(rows))
        return pd.concat(tables, ignore_index=True)

    return found.remember(
        "reference",
        compute,
        model=(spec, layers, side),
        weights=cp.models.fingerprint(load(spec, "cpu")),
        images=pictures.scale.images,
        pictures=pictures.seed,
    )


def networks(seeds: int) -> list[Network]:
    """Return every network: combinations of changes, then particular ones."""
    return [
        *(Network(changes, seed=seed) for seed in range(seeds) for changes in corners()),
        *(
            Network(changes, particular, seed)
            for seed in range(seeds)
            for particular, (changes, _) in PARTICULARS.items()
            if particular not in LONG or seed == 0
        ),
    ]


def collect(found: Study, pictures: Pictures, settings) -> tuple[dict[str, Rights], pd.DataFrame]:
    """Return for each background who named which pictures rightly, and all curves."""
    tables, curves = [], []
    for network in networks(settings.seeds or (1 if settings.quick else 2)):
        right, curve = results(found, network, pictures, settings.device)
        tables.append(right.assign(network=name(network)))
        curves.append(curve.assign(network=name(network), seed=network.seed))
    for label, (spec, layers, side) in references(settings).items():
        right = reference(found, spec, layers, side, pictures, settings.device)
        tables.append(right.assign(network=label))
    merged: dict[str, Rights] = {place: {} for place in pictures.readout}
    for table in tables:
        for (place, label, layer), rows in table.groupby(["background", "network", "layer"]):
            before = merged[place].get((label, layer), np.empty((0, len(rows))))
            merged[place][label, layer] = np.vstack([before, rows["right"]])
    return merged, pd.concat(curves, ignore_index=True)


def references(settings) -> dict[str, tuple[str, list[str], int]]:
    """Return the models that are not of the family, those that were asked for among them."""
    shown = {LONGER: REFERENCES[LONGER]} if settings.quick else REFERENCES
    more = {}
    for spec in settings.model or []:
        layers, side = compared(spec, 64)
        more[spec] = (spec, [layers[-1]], side)
    return shown | more


def measured(background: str, rights: Rights, objects: pd.Series, seed: int) -> Measured:
    """Return the accuracies on one background, with resamples of the objects tested."""
    correct = np.stack([right.mean(axis=0) for right in rights.values()])
    samples = resampled_accuracies(correct, objects, resamples=RESAMPLES, seed=seed)
    values = np.vstack([correct.mean(axis=1), samples]).T
    return Measured(
        background,
        dict(zip(rights, values, strict=True)),
        {key: right.mean(axis=1) for key, right in rights.items()},
    )


def value_and_interval(values: np.ndarray) -> dict[str, float]:
    """Return a value, the first, and the 95 % interval of its resamples, the others."""
    lower, upper = np.quantile(values[1:], [0.025, 0.975])
    return {"value": float(values[0]), "lower": float(lower), "upper": float(upper)}


def accuracies(here: Measured) -> pd.DataFrame:
    """Return a row for each network and layer."""
    rows = []
    for (label, layer), values in here.accuracy.items():
        seeds = here.seeds[label, layer]
        row = {"network": label, "layer": layer, "background": PLACES[here.background]}
        row |= value_and_interval(values) | {"seeds": len(seeds)}
        rows.append({**row, "lowest_seed": seeds.min(), "highest_seed": seeds.max()})
    return pd.DataFrame(rows)


def contributions(here: Measured) -> pd.DataFrame:
    """Return what each change is worth, made first, on either way, last, and on average."""
    values = here.corners()
    rows = []
    for change in THERE:
        gained = gains(values, change)
        before = {
            "alone": HMAX,
            "on the way there": frozenset(THERE[: THERE.index(change)]),
            "on the way back": frozenset(BACK[BACK.index(change) + 1 :]),
            "last": CNN - {change},
        }
        found = {way: gained[made] for way, made in before.items()}
        found["mean of all orders"] = mean_gain(values, change)
        least = min(gained, key=lambda made: gained[made][0])
        most = max(gained, key=lambda made: gained[made][0])
        for way in WAYS:
            row = {"background": PLACES[here.background], "change": MADE[change], "way": way}
            row |= value_and_interval(found[way])
            row |= {"least": gained[least][0], "least_after": name(Network(least))}
            rows.append({**row, "most": gained[most][0], "most_after": name(Network(most))})
    return pd.DataFrame(rows)


def path(here: Measured, steps: list[tuple[str, str]]) -> pd.DataFrame:
    """Return the accuracies along a path of (what the step is called, network)."""
    rows = []
    for place, (label, network) in enumerate(steps):
        values = here.accuracy[network, "pooled"]
        before = here.accuracy[steps[place - 1][1], "pooled"] if place else values
        step = value_and_interval(values - before)
        row = {"background": PLACES[here.background], "step": label, "network": network}
        row |= {f"gain_{key}" if key != "value" else "gain": number for key, number in step.items()}
        rows.append({**row, **value_and_interval(values)})
    return pd.DataFrame(rows).rename(columns={"value": "accuracy"})


def there() -> list[tuple[str, str]]:
    """Return the path from HMAX to the CNN."""
    made = [frozenset(THERE[: count + 1]) for count in range(len(THERE))]
    return [
        ("HMAX, patches of photographs", PHOTOGRAPHS),
        ("patches of the objects", "HMAX"),
        *(
            (MADE[change], name(Network(so_far)))
            for change, so_far in zip(THERE, made, strict=True)
        ),
        (LONGER, LONGER),
    ]


def back() -> list[tuple[str, str]]:
    """Return the path from the CNN to HMAX, in an order of its own."""
    left = [CNN - set(BACK[: count + 1]) for count in range(len(BACK))]
    return [
        (f"VGG, {LONGER}", LONGER),
        ("trained as all are here", "CNN"),
        *((TAKEN[change], name(Network(rest))) for change, rest in zip(BACK, left, strict=True)),
        ("patches of photographs", PHOTOGRAPHS),
    ]


# --- figures and text ---------------------------------------------------------------------------


def draw_path(
    found: Study, all_measured: list[Measured], steps: list[tuple[str, str]], file: str, text: str
) -> pd.DataFrame:
    """Draw a path on each background; return its table."""
    table = pd.concat([path(here, steps) for here in all_measured], ignore_index=True)
    points = pd.DataFrame(
        {"background": PLACES[here.background], "step": label, "accuracy": accuracy}
        for here in all_measured
        for label, network in steps
        for accuracy in here.seeds[network, "pooled"]
    )
    figure = waterfall(
        table, row="step", value="accuracy", panel="background", points=points, reference=CHANCE
    )
    found.figure(file, figure, text)
    found.table(file, table)
    return table


def draw_contributions(found: Study, all_measured: list[Measured]) -> pd.DataFrame:
    """Draw what each change is worth; return its table."""
    table = pd.concat([contributions(here) for here in all_measured], ignore_index=True)
    percent = table.assign(
        row=table["change"] + ", " + table["way"],
        panel="gain " + table["background"] + " (points)",
        **{key: 100 * table[key] for key in ("value", "lower", "upper")},
    )
    found.figure(
        "contributions",
        interval_dots(percent, row="row", value="value", group="change", panel="panel"),
        "What each change adds to the accuracy: made alone in HMAX; on the way from HMAX to the "
        "CNN; in the order of the way back; last, when all others are made; and averaged over all "
        "120 orders, over which the five gains add up to the whole gap. 95 % intervals over "
        "objects, of the same pictures in both.",
    )
    found.table("contributions", table)
    return table


def draw_parts(found: Study, table: pd.DataFrame) -> None:
    """Draw HMAX and the CNN with one thing changed, and models that are not of the family."""
    groups = {
        "HMAX": ["HMAX", *(label for label, (of, _) in PARTICULARS.items() if of != CNN)],
        "CNN": ["CNN", *(label for label, (of, _) in PARTICULARS.items() if of == CNN)],
    }
    known = {label for labels in groups.values() for label in labels}
    family = {name(Network(changes)) for changes in corners()}
    others = [label for label in table["network"].unique() if label not in known | family]
    groups["other"] = others
    # Its units are HMAX's: what is particular is its own answer.
    own = table["network"].eq(ALL_PICTURES) == table["layer"].eq("own readout")
    table = table[own]
    parts = [
        table[table["network"] == label].assign(group=group)
        for group, labels in groups.items()
        for label in labels
    ]
    shown = pd.concat(parts, ignore_index=True)
    kept = shown["layer"].eq("positions")
    shown = shown.assign(
        row=shown["network"] + kept.map({True: ", positions kept", False: ""}),
        panel="accuracy " + shown["background"] + " (%)",
        **{key: 100 * shown[key] for key in ("value", "lower", "upper")},
    )
    found.figure(
        "parts",
        interval_dots(shown, row="row", value="value", group="group", panel="panel"),
        "HMAX, the CNN, and each with one thing changed; and models that are not of the family. "
        "All are read out alike, but for the readout of all training pictures. 95 % intervals over "
        "objects.",
    )


def draw_curves(found: Study, curves: pd.DataFrame) -> None:
    """Draw the training of all combinations of changes."""
    trained = [changes for changes in corners() if "learnt" in changes]
    means = curves.groupby(["network", "step"], as_index=False)["held_out"].mean()
    rows = []
    for changes in trained:
        first = "convolutions first" if "convolved" in changes else "Gabors first"
        depth = "deep" if "deep" in changes else "one layer of patches"
        tuning = "rectified" if "rectified" in changes else "Gaussian"
        pooling = "average" if "averaged" in changes else "maximum"
        part = means[means["network"] == name(Network(changes))]
        rows.append(part.assign(stages=f"{first}, {depth}", units=f"{tuning}, {pooling}"))
    figure = interval_curves(
        pd.concat(rows, ignore_index=True).rename(columns={"held_out": "accuracy"}),
        x="step",
        y="accuracy",
        curve="units",
        panel="stages",
        reference=CHANCE,
        percent=True,
        columns=2,
    )
    found.figure(
        "training",
        figure,
        "Share of pictures of new objects that networks name rightly while they are trained, mean "
        "of both backgrounds and all seeds.",
    )
    found.table("training", curves)


def in_short(here: Measured, gained: pd.DataFrame) -> str:
    """Return the answer for one background in a sentence."""
    place, corner = PLACES[here.background], here.corners()
    longer = here.accuracy[LONGER, "pooled"][0]
    mean = gained[(gained["background"] == place) & (gained["way"] == "mean of all orders")]
    mean = mean.sort_values("value", ascending=False)
    sure = mean[(mean["lower"] > 0) | (mean["upper"] < 0)]
    parts = ", ".join(f"{r['change']} {100 * r['value']:+.0f}" for _, r in sure.iterrows())
    rest = ", ".join(mean["change"][~mean.index.isin(sure.index)])
    return (
        f"{place.capitalize()}, HMAX names {corner[HMAX][0]:.0%} and the CNN {corner[CNN][0]:.0%}, "
        f"and {longer:.0%} if wider and trained on ten times as many pictures; "
        f"in points, averaged over all orders of the changes: {parts or 'none for sure'}"
        + (f"; not surely anything: {rest}." if rest else ".")
    )


def shows(here: Measured, parts: pd.DataFrame, gained: pd.DataFrame) -> str:
    """Return what one background shows, with its statistics."""
    place = PLACES[here.background]
    parts = parts[parts["background"] == place].set_index(["network", "layer"])
    gained = gained[gained["background"] == place]
    corner = here.corners()
    gap = value_and_interval(corner[CNN] - corner[HMAX])
    mean = gained[gained["way"] == "mean of all orders"].sort_values("value", ascending=False)
    way = gained.set_index(["way", "change"])
    widest = max(MADE.values(), key=lambda change: _spread(mean, change))
    row = mean.set_index("change").loc[widest]
    return paragraphs(
        f"{place.capitalize()}, HMAX (prototypes of the objects) reaches "
        f"{_share(parts.loc['HMAX', 'pooled'])} and the CNN {_share(parts.loc['CNN', 'pooled'])}: "
        f"a gap of {_points(gap)}, of which the five changes bring, averaged over all orders, "
        + ", ".join(f"{r['change']} {_points(r)}" for _, r in mean.iterrows())
        + ".",
        "Made alone in HMAX they bring "
        + _listed(way.loc["alone"])
        + "; made last, "
        + _listed(way.loc["last"])
        + ".",
        f"The order matters most for {widest}: it brings {100 * row['least']:.1f} points after "
        f"{row['least_after']} and {100 * row['most']:.1f} after {row['most_after']}.",
        f"What comes before and after the five: patches of photographs instead of the objects' "
        f"reach {_share(parts.loc[PHOTOGRAPHS, 'pooled'])}, and the VGG that comes with the "
        f"package, which saw ten times as many pictures and is half as wide again, "
        f"{_share(parts.loc[LONGER, 'pooled'])}.",
    )


def _spread(mean: pd.DataFrame, change: str) -> float:
    row = mean.set_index("change").loc[change]
    return float(row["most"] - row["least"])


def _share(row: pd.Series) -> str:
    return with_interval(row["value"], row["lower"], row["upper"], ".1%")


def _points(row) -> str:
    return f"{100 * row['value']:.1f} points [{100 * row['lower']:.1f}, {100 * row['upper']:.1f}]"


def _listed(rows: pd.DataFrame) -> str:
    return ", ".join(f"{change} {_points(row)}" for change, row in rows.iterrows())


def details(parts: pd.DataFrame, place: str) -> str:
    """Return what single things change, in HMAX and in the CNN, on one background."""
    here = parts[parts["background"] == place].set_index(["network", "layer"])["value"]
    found = here.xs("pooled", level="layer").to_dict()
    # Of this one alone it is its own answers that are of interest.
    found[ALL_PICTURES] = here[ALL_PICTURES, "own readout"]
    from_hmax = [label for label, (of, _) in PARTICULARS.items() if of == HMAX]
    from_cnn = [label for label, (of, _) in PARTICULARS.items() if of == CNN]
    return paragraphs(
        f"{place.capitalize()}, HMAX ({found['HMAX']:.1%}) with "
        + ", ".join(f"{label} {found[label]:.1%}" for label in from_hmax)
        + f"; with learnt prototypes {found['learnt']:.1%}, with S1 learnt too "
        f"{found['learnt, S1 too']:.1%}.",
        f"The CNN ({found['CNN']:.1%}) with "
        + ", ".join(f"{label} {found[label]:.1%}" for label in from_cnn)
        + ".",
    )


def converged(curves: pd.DataFrame) -> str:
    """Return how flat the curves are at their ends."""
    ends = curves.sort_values("step").groupby(["network", "seed"])["held_out"]
    rise = 100 * (ends.last() - ends.apply(lambda values: values.iloc[-2]))
    means = rise.groupby("network").mean().sort_values()
    return (
        f"In the last tenth of training, at the lowest rates, accuracy rose by {means.mean():.1f} "
        f"points on average and by {means.iloc[-1]:.1f} at most ({means.index[-1]})."
    )


def limits(scale: Scale, seeds: int) -> str:
    """Return what the study does not show."""
    return (
        f"All were trained alike, on {scale.steps * scale.batch} pictures each seen once, far too "
        "few for the CNN to reach what it can: what it gains from more is the last step of the "
        "path, in which width grows too. Intervals are over tested objects, not over trainings, "
        f"of which there were {seeds} each, on the same pictures in the same order. One "
        "learning rate served all networks of a kind of units; others may suit single ones "
        "better. The steps are coarse: convolutions in the first stage bring learning, colour, "
        "finer filters and one scale in place of four at once, and Gaussian units in a deep stage "
        "are no published model. Learning brings nothing but itself to the readout, which is "
        "always learnt anew from as few pictures; the readout of all training pictures shows "
        "what more of them would do for HMAX. The categories are simple solids."
    )


def main() -> None:
    settings = arguments(
        __doc__,
        "ablations",
        model=MORE_MODELS,
        steps={"type": int, "help": "of training; 1280, or 12 with --quick"},
        seeds={"type": int, "help": "trainings of each network; 2, or 1 with --quick"},
    )
    found = study(
        "ablations",
        "From HMAX to a CNN, step by step",
        "Which of the differences between HMAX and a CNN brings which part of the difference in "
        "performance?",
        settings,
    )
    scale = QUICK if settings.quick else Scale()
    scale = dataclasses.replace(scale, steps=settings.steps or scale.steps)
    pictures = Pictures(found.cache / "pictures", scale, settings.seed)
    rights, curves = collect(found, pictures, settings)
    all_measured = []
    for background, (_, table, held) in pictures.readout.items():
        objects = table["object"][held]
        all_measured.append(measured(background, rights[background], objects, settings.seed))
    parts = pd.concat([accuracies(here) for here in all_measured], ignore_index=True)
    found.table("accuracy", parts)
    seeds = int(parts["seeds"].max())
    draw_path(
        found,
        all_measured,
        there(),
        "there",
        "From HMAX to the CNN: the accuracy after each change, all changes before it kept. Bars: "
        "what the change brings; lines: 95 % intervals of the accuracy over objects; dots: single "
        "seeds.",
    )
    draw_path(
        found,
        all_measured,
        back(),
        "back",
        "From the CNN back to HMAX, in another order: the same changes, taken back one by one, "
        "are worth more or less than on the way there.",
    )
    gained = draw_contributions(found, all_measured)
    draw_parts(found, parts)
    draw_curves(found, curves)
    tested = int(scale.images / 2)
    found.conclude(
        " ".join(in_short(here, gained) for here in all_measured),
        paragraphs(
            f"Chance is {CHANCE:.1%}; {tested} pictures of new objects at high variation are named "
            f"by readouts of {tested} others, on each background.",
            *(shows(here, parts, gained) for here in all_measured),
            *(details(parts, PLACES[here.background]) for here in all_measured),
            converged(curves),
        ),
        limits(scale, seeds),
    )


if __name__ == "__main__":
    main()
