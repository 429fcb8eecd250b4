"""Do models respond more to naturalistic textures than to noise of the same spectrum, as V2 does?

Freeman, Ziemba, Heeger, Simoncelli & Movshon (2013) found that cells of V2 do, and cells of V1
hardly. Each layer's modulation index, (texture - noise) / (texture + noise) of its mean
responses, is measured here for textures that are synthesised, cut from photographs, or match
the statistics of Portilla & Simoncelli (2000), and for noise against noise:

    python analyses/naturalness.py [--quick] [--model vgg19 ...] [--folder TEXTURES]
"""

import functools
import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t as student
from torch import Tensor

import cnnperception as cp
from cnnperception.figures import contact_sheet, interval_curves
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
from cnnperception.synthesis.baselines import (
    periodic_component,
    phase_randomised,
    portilla_simoncelli,
    with_luminance,
)

FAMILIES = (
    "brick",
    "grass",
    "gravel",
    "ihc",
    "coins",
    "retina",
    "hubble_deep_field",
    "flower",
    "coffee",
    "china",
    "chelsea",
    "astronaut",
)
POOLS = {layer: [layer] for layer in ("conv1_1", "pool1", "pool2", "pool3", "pool4")}
# what it is called: (model, its layers and what each is made of)
MODELS = {
    "V1": ("v1", {f"scale{n}": [f"scale{n}"] for n in range(1, 5)}),
    "HMAX": ("hmax", {"s1": ["s1"], "c1": ["c1"], "c2": ["c2"]}),
    "random filters": ("random-filters", {f"scale{n}": [f"scale{n}"] for n in range(1, 6)}),
    "VGG, untrained": ("objects-vgg:none", POOLS),
    "VGG, self-supervised": ("objects-vgg:self-supervised", POOLS),
    "VGG, trained": ("objects-vgg", POOLS),
}
SIDE = 128  # of the stimuli
EXEMPLAR = 256  # side of the picture that a family's textures are made from
MEAN, CONTRAST = 0.5, 0.12  # of the luminance of all stimuli: little is clipped
SYNTHESISED, PHOTOGRAPH = "synthesised", "photograph"
MATCHED, CONTROL = "Portilla-Simoncelli", "control: noise"
INDEX = "modulation index"


def grey(image: Tensor) -> Tensor:
    """Return an image's luminance in all three channels."""
    return cp.images.luminance(image).expand(-1, 3, -1, -1).contiguous()


def exemplars(settings) -> dict[str, Tensor]:
    """Return the picture of each family, (1, 3, 256, 256), grey."""
    if settings.folder:
        stimuli = cp.StimulusSet.from_folder(settings.folder)
        found = {name: stimuli.image(name) for name in stimuli.ids}
    else:
        names = FAMILIES[:3] if settings.quick else FAMILIES
        found = {name: cp.exemplar(name) for name in names}
    if len(found) < 2:
        raise ValueError(f"intervals need two families or more; {settings.folder} has {len(found)}")
    squares = {name: cp.images.middle_square(image, EXEMPLAR) for name, image in found.items()}
    return {name: grey(square) for name, square in squares.items()}


def crop(image: Tensor, sample: int, seed: int) -> Tensor:
    """Return a part of a family's picture: another sample, another place."""
    random = np.random.default_rng([seed, sample])
    top, left = random.integers(0, EXEMPLAR - SIDE + 1, 2)
    return image[..., top : top + SIDE, left : left + SIDE]


def makers(settings) -> dict[str, Callable[[Tensor, int], Tensor]]:
    """Return, for each kind of texture, what makes a family's picture and a seed into a sample."""

    def synthesised(image: Tensor, sample: int) -> Tensor:
        return cp.texture(
            image,
            size=SIDE,
            grey=True,
            tileable=True,
            evaluations=evaluations(settings),
            seed=settings.seed + sample,
            progress=True,
        ).images

    def matched(image: Tensor, sample: int) -> Tensor:
        seed = settings.seed + sample
        return portilla_simoncelli(
            crop(image, sample, settings.seed), seed, evaluations=evaluations(settings)
        ).images

    found = {SYNTHESISED: synthesised}
    found[PHOTOGRAPH] = lambda image, sample: crop(image, sample, settings.seed)
    if importlib.util.find_spec("plenoptic") and not settings.quick:
        found[MATCHED] = matched
    return found


def evaluations(settings) -> int:
    """Return how often the model is asked while a texture is made."""
    return settings.evaluations or (60 if settings.quick else 150)


def samples(settings) -> int:
    """Return the number of textures of a kind and family."""
    return settings.samples or (1 if settings.quick else 2)


def textures(found: Study, settings) -> pd.DataFrame:
    """Return family, kind, sample and picture of all textures; they are made only once."""
    rows = []
    for family, image in exemplars(settings).items():
        own = hashlib.sha256(image.numpy().tobytes()).hexdigest()[:8]
        for kind, make in makers(settings).items():
            for sample in range(samples(settings)):
                name = f"{family}-{own}_{kind}_{evaluations(settings)}_{settings.seed}_{sample}.png"
                file = found.cache / name.replace(" ", "-").replace("/", "-")
                if not file.exists():
                    cp.images.write(file, grey(make(image, sample)))
                rows.append({"family": family, "kind": kind, "sample": sample, "file": file})
    return pd.DataFrame(rows)


def stimuli(made: pd.DataFrame, seed: int) -> tuple[cp.StimulusSet, float]:
    """Return textures, their noise and more such noise, and the share that was clipped.

    The noise is that of each texture itself, which is shown without the jumps between its
    opposite borders: its spectrum would have them, and the noise everywhere.
    """
    arrays, rows, clipped = [], [], []
    for number, row in enumerate(made.itertuples(index=False)):
        texture = periodic_component(cp.images.read(row.file))
        pictures = {
            "texture": texture,
            "noise": phase_randomised(texture, seed=10_000 + 2 * number + 1000 * seed),
            "other noise": phase_randomised(texture, seed=10_001 + 2 * number + 1000 * seed),
        }
        for shown, picture in pictures.items():
            lit, outside = with_luminance(picture, MEAN, CONTRAST)
            arrays.append(lit[0].permute(1, 2, 0).numpy())
            clipped.append(outside)
            rows.append({"family": row.family, "kind": row.kind, "shown": shown})
    return cp.StimulusSet.from_arrays(arrays, table=pd.DataFrame(rows)), float(np.mean(clipped))


def indices(spec: str, layers: dict[str, list[str]], shown: cp.StimulusSet, device: str):
    """Return the modulation index of each layer, family and kind of texture.

    The index of each channel is of its mean over positions and samples; that of a layer is the
    mean over its channels, but for those that respond to neither.
    """
    model = load(spec, device)
    every = [part for parts in layers.values() for part in parts]
    tree = cp.extract(
        model, shown, every, size=compared(spec, SIDE)[1], readout="mean", progress=True
    )
    rows = []
    for layer, parts in layers.items():
        names = cp.models.resolve_layers(model, parts)
        means = np.concatenate([tree[name]["activations"].values for name in names], axis=1)
        responses = pd.DataFrame(means).groupby(
            [shown.table["family"], shown.table["kind"], shown.table["shown"]], sort=False
        )
        responses = responses.mean()
        for family, kind in dict.fromkeys(key[:2] for key in responses.index):
            one = {name: responses.loc[(family, kind, name)].to_numpy() for name in NAMES}
            for label, first in ((kind, "texture"), (f"{CONTROL}, {kind}", "other noise")):
                index = modulation(one[first], one["noise"])
                rows.append({"layer": layer, "family": family, "kind": label, INDEX: index})
    return pd.DataFrame(rows)


NAMES = ("texture", "noise", "other noise")


def modulation(texture: np.ndarray, noise: np.ndarray) -> float:
    """Return the mean over channels of (texture - noise) / (texture + noise).

    Freeman et al. (2013), of responses that are not negative: from -1 to 1.
    """
    total = np.abs(texture) + np.abs(noise)
    responds = total > 1e-12
    if not responds.any():
        return float("nan")
    return float(((texture - noise)[responds] / total[responds]).mean())


def models(settings) -> dict[str, tuple[str, dict[str, list[str]]]]:
    """Return the models of the script, and those that were asked for besides."""
    more = {
        spec: (spec, {layer: [layer] for layer in compared(spec, SIDE)[0]})
        for spec in settings.model or []
    }
    return MODELS | more


def measure(found: Study, shown: cp.StimulusSet, settings) -> pd.DataFrame:
    """Return the rows of `indices` of all models."""
    pictures = hashlib.sha256("".join(map(shown.sha256, range(len(shown)))).encode()).hexdigest()
    return pd.concat(
        [
            found.remember(
                "indices",
                functools.partial(indices, spec, layers, shown, settings.device),
                model=[spec, layers],
                weights=cp.models.fingerprint(load(spec, "cpu")),
                pictures=pictures,
            ).assign(model=name)
            for name, (spec, layers) in models(settings).items()
        ],
        ignore_index=True,
    )


def over_families(values: pd.Series) -> dict[str, float]:
    """Return the mean over families with its 95 % interval (Student's t)."""
    reach = student.ppf(0.975, len(values) - 1) * values.std() / len(values) ** 0.5
    mean = values.mean()
    return {INDEX: mean, "lower": mean - reach, "upper": mean + reach, "families": len(values)}


def main() -> None:
    settings = arguments(
        __doc__,
        "naturalness",
        model=MORE_MODELS,
        evaluations={"type": int, "help": "of each texture; 150, or 60 with --quick"},
        samples={"type": int, "help": "of each family and kind; 2, or 1 with --quick"},
        folder={"type": Path, "help": "of pictures, each a family, in place of the built-in ones"},
    )
    found = study(
        "naturalness",
        "Naturalistic textures against noise",
        "V2 responds more to naturalistic textures than to noise of the same spectrum, V1 does "
        "not. Do layers of models?",
        settings,
    )
    made = textures(found, settings)
    shown, clipped = stimuli(made, settings.seed)
    each = measure(found, shown, settings)
    # All noise is alike: its control is one curve.
    each["kind"] = each["kind"].where(~each["kind"].str.startswith(CONTROL), CONTROL)
    each = each.groupby(["model", "layer", "kind", "family"], sort=False)[INDEX].mean()
    rows = [
        dict(zip(["model", "layer", "kind"], keys, strict=True)) | over_families(values)
        for keys, values in each.groupby(level=[0, 1, 2], sort=False)
    ]
    # The control comes last.
    table = pd.DataFrame(rows).sort_values("kind", key=lambda k: k == CONTROL, kind="stable")
    found.table("indices", table)
    found.table("families", each.reset_index())
    found.figure("stimuli", examples(shown), EXAMPLES, dpi=SHEET_DPI)
    figure = interval_curves(
        table,
        x="layer",
        y=INDEX,
        curve="kind",
        panel="model",
        reference=0,
        reference_name="no difference",
        columns=3,
    )
    found.figure(
        "indices",
        figure,
        "Modulation index of each layer, (texture - noise) / (texture + noise): mean and 95 % "
        f"interval over {table['families'].iloc[0]} families of textures; below 0, noise drives "
        "the layer more.",
    )
    found.conclude(in_short(table), shows(table, each, made, clipped), LIMITS)


EXAMPLES = (
    "Of each family, in mean luminance and contrast as they were shown: textures of each kind, "
    "and the noise with the spectrum of the first."
)


def examples(shown: cp.StimulusSet):
    """Return a figure of the first sample of each kind and family, and of noise."""
    table, drawn, titles = shown.table, [], []
    kinds = list(dict.fromkeys(table["kind"]))
    for family in dict.fromkeys(table["family"]):
        for kind, what in [*((kind, "texture") for kind in kinds), (kinds[0], "noise")]:
            fits = (table["family"] == family) & (table["kind"] == kind) & (table["shown"] == what)
            drawn.append(shown.image(int(np.flatnonzero(fits)[0]))[0])
            begins = f"{family.replace('_', ' ')}: " if len(titles) % (len(kinds) + 1) == 0 else ""
            titles.append(begins + (kind if what == "texture" else what))
    return contact_sheet(drawn, titles, columns=2 * (len(kinds) + 1))


def in_short(table: pd.DataFrame) -> str:
    """Return the answer in a sentence."""
    textures = table[~table["kind"].str.startswith(CONTROL)]
    sides = textures.assign(above=textures["lower"] > 0, below=textures["upper"] < 0)
    always = sides.groupby(["model", "layer"], sort=False)[["above", "below"]].all()
    above = [f"{model} {layer}" for model, layer in always.index[always["above"]]]
    count = always["below"].groupby("model", sort=False).agg(["sum", "size"])
    below = ", ".join(f"{r.Index} {r.sum} of {r.size}" for r in count.itertuples())
    kinds = textures["kind"].nunique()
    return (
        f"Textures of all {kinds} kinds drive {', '.join(above) or 'no layer'} more than noise of "
        f"their spectrum does, and drive less the layers of {below}."
    )


def shows(table: pd.DataFrame, each: pd.Series, made: pd.DataFrame, clipped: float) -> str:
    """Return what the tables show, with their statistics."""
    textures = table[~table["kind"].str.startswith(CONTROL)]
    control = table[table["kind"] == CONTROL]
    largest = control.loc[control[INDEX].abs().idxmax()]
    misses = ((control["lower"] > 0) | (control["upper"] < 0)).sum()
    return paragraphs(
        f"{made['family'].nunique()} families of textures, {len(made)} pictures in all, each "
        "against noise of its own spectrum; mean luminance and RMS contrast are the same for all "
        f"({MEAN}, {CONTRAST}; {clipped:.2%} of the values were clipped).",
        *(
            f"{kind[0].upper() + kind[1:]}: {_sides(part)}."
            for kind, part in textures.groupby("kind", sort=False)
        ),
        *(_against_v1(each, kind) for kind in dict.fromkeys(textures["kind"])),
        f"Noise against other noise: the index farthest from 0 is {_told(largest)} "
        f"({largest['model']}), and {misses} of {len(control)} intervals leave 0 out.",
    )


def _sides(part: pd.DataFrame) -> str:
    """Return which layers have intervals above 0, and which below."""
    sides = {"above": part[part["lower"] > 0], "below": part[part["upper"] < 0]}
    told = []
    for side, rows in sides.items():
        layers = [_layers(model, its) for model, its in rows.groupby("model", sort=False)]
        told.append(f"intervals lie {side} 0 for {'; '.join(layers) or 'no layer'}")
    return ", and ".join(told)


def _layers(model: str, rows: pd.DataFrame) -> str:
    return f"{model} {', '.join(_told(row) for _, row in rows.iterrows())}"


def _told(row: pd.Series) -> str:
    return f"{row['layer']} {with_interval(row[INDEX], row['lower'], row['upper'], '+.3f')}"


def _against_v1(each: pd.Series, kind: str) -> str:
    """Return by how much the deepest layers' indices are above that of V1, family by family."""
    wide = each.xs(kind, level="kind").unstack("family")
    base = wide.loc["V1"].mean()
    gains = []
    for model in wide.index.unique("model"):
        if model != "V1":
            own = each.xs((model, kind), level=["model", "kind"])
            deepest = own.index.get_level_values("layer")[-1]
            gain = over_families(wide.loc[(model, deepest)] - base)
            gains.append(_told(pd.Series(gain | {"layer": f"{model} {deepest}"})))
    return f"Above V1 (mean of its scales), {kind}: {', '.join(gains)}."


LIMITS = (
    "Models have no spontaneous activity, and networks answer also to uniform grey, which is part "
    "of both responses. The index is of mean responses, which a compressive stage lowers for "
    "whatever is sparse: V1's normalisation does, so that an index below 0 is no preference for "
    "noise in a sense of its own. Textures are synthesised with random filters, the statistics of "
    "which one of the models shares; families are the package's photographs, some of which the "
    "networks saw in training, made grey; some are objects rather than textures. Intervals are "
    "over families."
)


if __name__ == "__main__":
    main()
