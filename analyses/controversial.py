"""Where do HMAX and a trained network disagree about a picture, and with which do others side?

Pictures are changed so that HMAX's layers stay as they were while the network's go as far away as
they can, and the other way round (after Golan, Raju & Kriegeskorte 2020 and Wang & Simoncelli
2008). Other models say what they think of the changes, and the network names what it sees:

    python analyses/controversial.py [--quick] [--model vgg19 ...]
"""

import dataclasses
import functools

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

import cnnperception as cp
from cnnperception.figures import contact_sheet, interval_curves
from cnnperception.objects import ObjectScenes
from cnnperception.studies import (
    MORE_MODELS,
    Study,
    arguments,
    compared,
    load,
    mean_intervals,
    paragraphs,
    study,
    with_interval,
)
from cnnperception.synthesis.noise import with_noise
from cnnperception.synthesis.setup import digest
from cnnperception.synthesis.view import view

SIDE = 64  # of the pictures: that of the network's training
NETWORK = "objects-vgg"
# what it is called: (model, its layers); networks like the one that is judged have its layers
JUDGES = {
    "pixels": ("pixels", ("pixels",)),
    "V1": ("v1", ("scale*",)),
    "random filters": ("random-filters", ("scale*",)),
    "untrained VGG": ("objects-vgg:none", None),
    "self-supervised VGG": ("objects-vgg:self-supervised", None),
}
# background: how many objects, each of a category of its own, that the network names surely
OBJECTS = {"blank": 3, "clutter": 3}
PHOTOGRAPHS = ("chelsea", "coffee")
EXEMPLARS = tuple(range(3000, 3040))  # that the network was not trained on
SURE = 0.8  # probability of the right category
GAIN = 4  # by which changes are shown
FAINTEST = 1e-6  # distance


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture to start from; the category of its object, or nothing."""

    name: str
    image: Tensor
    category: str = ""


@dataclasses.dataclass(frozen=True)
class Party:
    """One of the two that disagree: what it is called, its model and layers."""

    name: str
    spec: str
    layers: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Pairing:
    """HMAX and another that are set against each other, on pictures of a side."""

    name: str
    hmax: Party
    other: Party
    side: int = SIDE

    def roles(self) -> list[tuple[Party, Party]]:
        """Return who is held and who is driven away, both ways."""
        return [(self.hmax, self.other), (self.other, self.hmax)]


PAIRINGS = (
    Pairing("c2", Party("HMAX C2", "hmax", ("c2",)), Party("VGG average", NETWORK, ("average",))),
    Pairing("c1", Party("HMAX C1", "hmax", ("c1",)), Party("VGG pool3", NETWORK, ("pool3",))),
)


@functools.cache
def model(spec: str, device: str) -> cp.models.VisionModel:
    return load(spec, device)


def pairings(settings) -> list[Pairing]:
    """Return the pairings of the script, and HMAX C2 against each model asked for besides."""
    more = []
    for number, spec in enumerate(settings.model or [], 1):
        layers, side = compared(spec, SIDE)
        other = Party(f"{spec} {layers[-1]}", spec, layers[-1:])
        more.append(Pairing(f"more{number}", PAIRINGS[0].hmax, other, side))
    return [*PAIRINGS, *more]


def pictures(settings) -> list[Picture]:
    """Return rendered objects that the network names rightly and surely, and photographs."""
    wanted = {"clutter": 1} if settings.quick else OBJECTS
    found: list[Picture] = []
    for background, count in wanted.items():
        found += objects(background, count, {picture.category for picture in found}, settings)
    for name in PHOTOGRAPHS[:1] if settings.quick else PHOTOGRAPHS:
        middle = cp.images.middle_square(cp.exemplar(name), SIDE)
        found.append(Picture(name, in_8_bits(middle)))
    return found


def objects(background: str, count: int, taken: set[str], settings) -> list[Picture]:
    """Return pictures of objects, each of a category that is not taken."""
    scenes = ObjectScenes(
        SIDE, "medium", background, exemplars=EXEMPLARS, seed=settings.seed, oversampling=3
    )
    found: list[Picture] = []
    for number in range(1000):
        category = scenes.table([number])["category"].item()
        image = in_8_bits(scenes.pictures([number]))
        _, shares = answer(image, settings.device)
        if category not in taken and shares[category] > SURE:
            taken = {*taken, category}
            found.append(Picture(f"{category}-{background}", image, category))
        if len(found) == count:
            return found
    raise ValueError(f"of 1000 objects on {background}, {NETWORK} names {len(found)} surely")


def in_8_bits(image: Tensor) -> Tensor:
    """Return a picture as a file holds it, so that rounding is no change."""
    return (255 * image).round() / 255


def answer(image: Tensor, device: str) -> tuple[str, dict[str, float]]:
    """Return what the network names in a picture, and the probability of every category."""
    network = model(NETWORK, device)
    shown = cp.images.resize(image, (SIDE, SIDE)).to(cp.models.device_of(network))
    with torch.no_grad():
        seen = network.features(shown, ["categories"])["categories"]
    shares = dict(zip(network.classes, seen.softmax(1)[0].tolist(), strict=True))
    return max(shares, key=shares.__getitem__), shares


def changed(found: Study, picture: Tensor, held: Party, driven: Party, settings) -> Tensor:
    """Return a picture that is the same to the one and as far away as can be to the other."""
    evaluations = settings.evaluations or (60 if settings.quick else 250)
    models = [model(party.spec, settings.device) for party in (held, driven)]

    def make() -> cp.SynthesisResult:
        print(f"{held.name} held, {driven.name} driven", flush=True)
        return cp.controversial(
            picture,
            models[0],
            held.layers,
            models[1],
            driven.layers,
            luminance=True,
            seed=settings.seed,
            evaluations=evaluations,
        )

    return found.remember_image(
        "controversial",
        make,
        layers=[held.layers, driven.layers],
        weights=[cp.models.fingerprint(one) for one in models],
        picture=digest(picture),
        seed=settings.seed,
        evaluations=evaluations,
    )


def judged(pairing: Pairing, picture: Tensor, images: list[Tensor], settings) -> pd.DataFrame:
    """Return how far the two images are from the picture to all models, and noise as strong."""
    own = {party.name: (party.spec, party.layers) for party in (pairing.hmax, pairing.other)}
    alike = pairing.other.layers if pairing.other.spec == NETWORK else ("average",)
    rows = []
    for name, (spec, layers) in (own | JUDGES).items():
        judge = model(spec, settings.device)
        seen = view(judge, layers or alike, picture.to(cp.models.device_of(judge)))
        for (held, _), image in zip(pairing.roles(), images, strict=True):
            rms = float((image - picture).square().mean().sqrt())
            noisy = with_noise(picture, rms, luminance=True, seed=settings.seed)
            near, far = (
                float(seen.distances(one.to(cp.models.device_of(judge))).mean())
                for one in (image, noisy)
            )
            rows.append((held.name, name, rms, near, far))
    return pd.DataFrame(rows, columns=["held", "judge", "rms", "distance", "noise"])


def readout(picture: Picture, images: list[Tensor], pairing: Pairing, device: str) -> pd.DataFrame:
    """Return what the network names in a picture and the two made of it."""
    rows = []
    held = [party.name for party, _ in pairing.roles()]
    for name, image in zip(("", *held), (picture.image, *images), strict=True):
        named, shares = answer(image, device)
        rows.append((name, named, shares[named], shares.get(picture.category, np.nan)))
    return pd.DataFrame(rows, columns=["held", "named", "probability", "of_category"])


def measure(found: Study, settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make what is not there yet; return the table of distances, and that of names."""
    distances, names = [], []
    shown = pictures(settings)
    for pairing in pairings(settings):
        drawn, labels = [], []
        for picture in shown:
            original = cp.images.resize(picture.image, (pairing.side, pairing.side))
            images = [changed(found, original, *role, settings) for role in pairing.roles()]
            described = {"pairing": pairing.name, "picture": picture.name}
            table = judged(pairing, original, images, settings)
            told = readout(picture, images, pairing, settings.device)
            distances.append(table.assign(**described))
            names.append(told.assign(**described, category=picture.category))
            changes = [(0.5 + GAIN * (image - original)).clamp(0, 1) for image in images]
            drawn += [original, images[0], changes[0], images[1], changes[1]]
            below = labelled(picture, told)
            labels += [below[0], below[1], f"change x {GAIN}", below[2], f"change x {GAIN}"]
        found.figure(
            f"pictures_{pairing.name}",
            contact_sheet([image[0] for image in drawn], labels, columns=5),
            f"From left to right: the picture; {pairing.hmax.name} held and {pairing.other.name} "
            f"driven away, and {GAIN} times the change; the other way round, and {GAIN} times the "
            f"change, which has a colour where a channel was at its limit. Below rendered objects "
            f"what {NETWORK} names them, and how sure it is.",
        )
    return pd.concat(distances, ignore_index=True), pd.concat(names, ignore_index=True)


def labelled(picture: Picture, told: pd.DataFrame) -> list[str]:
    if picture.category:
        return [f"{row.named}, {row.probability:.0%}" for row in told.itertuples()]
    return [picture.name, *(f"{held} held" for held in told["held"][1:])]


def ratios(distances: pd.DataFrame) -> pd.DataFrame:
    """Return the table with a column more: the distance relative to noise's, log 10."""
    # A picture that did not change at all is no farther away than no noise.
    distance, noise = distances["distance"] + FAINTEST, distances["noise"] + FAINTEST
    return distances.assign(ratio=np.log10(distance / noise))


def sides(distances: pd.DataFrame) -> pd.DataFrame:
    """Return with whom a judge sides: a row for each pairing, picture and judge.

    The ratio of the picture in which HMAX is held, which comes first, less that of the picture in
    which the other is held: below 0 as HMAX has it, above 0 as the other.
    """
    grouped = ratios(distances).groupby(["pairing", "picture", "judge"], sort=False)["ratio"]
    return (grouped.first() - grouped.last()).rename("side").reset_index()


def main() -> None:
    settings = arguments(
        __doc__,
        "controversial",
        model=MORE_MODELS,
        evaluations={"type": int, "help": "of each picture; 250, or 60 with --quick"},
    )
    found = study(
        "controversial",
        "Controversial pictures",
        "Which changes of a picture does a trained network see that HMAX does not, and the other "
        "way round, and with which of the two do other models side?",
        settings,
    )
    distances, names = measure(found, settings)
    found.table("distances", distances)
    found.table("names", names)
    found.figure("distances", drawn_distances(distances, settings), CAPTION)
    found.conclude(in_short(distances, settings), shows(distances, names, settings), LIMITS)


def drawn_distances(distances: pd.DataFrame, settings) -> Figure:
    """Return the figure of distances."""
    value = "distance / that of noise, log 10"
    rows = mean_intervals(ratios(distances), ["pairing", "held", "judge"], "picture", "ratio")
    rows["held"] = np.where(rows["held"].str.startswith("HMAX"), "HMAX held", "the other held")
    titles = {one.name: f"{one.hmax.name} against {one.other.name}" for one in pairings(settings)}
    return interval_curves(
        rows.assign(pairing=rows["pairing"].map(titles)).rename(
            columns={"judge": "to", "ratio": value}
        ),
        x="to",
        y=value,
        curve="held",
        panel="pairing",
        reference=0.0,
        reference_name="as noise",
    )


def in_short(distances: pd.DataFrame, settings) -> str:
    """Return the answer in a sentence."""
    rows = distances.set_index(["pairing", "held", "judge"])
    said = []
    for pairing in pairings(settings):
        for held, driven in pairing.roles():
            seen = rows.loc[(pairing.name, held.name, driven.name)]
            kept = rows.loc[(pairing.name, held.name, held.name)]
            times = geometric(seen["distance"]) / geometric(seen["noise"])
            share = geometric(kept["distance"]) / geometric(kept["noise"])
            said.append(f"{held.name} sees {share:.0%} and {driven.name} {times:.1f} times")
    return (
        "Pictures can be changed so that one model sees little of it and another much, of what "
        f"they see of noise as strong: {'; '.join(said)}."
    )


def shows(distances: pd.DataFrame, names: pd.DataFrame, settings) -> str:
    """Return what the tables show, with their statistics."""
    count = distances["picture"].nunique()
    judgements = mean_intervals(sides(distances), ["pairing", "judge"], "picture", "side")
    return paragraphs(
        "Distances are relative to the spread of a layer's responses over its units, in brackets "
        f"those of noise as strong; means over {count} pictures are geometric.",
        *(achieved(pairing, distances) for pairing in pairings(settings)),
        "With whom do others side? How much farther away a model finds the picture in which HMAX "
        "is held than the one in which the other is, both relative to noise as strong, in powers "
        "of ten with 95 % intervals over pictures, not corrected for their number: above 0 it "
        "sides with the other, below 0 with HMAX.",
        *(sided(pairing, judgements) for pairing in pairings(settings)),
        *(named(pairing, names) for pairing in pairings(settings)),
    )


def achieved(pairing: Pairing, distances: pd.DataFrame) -> str:
    """Return how far the two are from the pictures, with each of them held."""
    of_both = distances[distances["pairing"] == pairing.name].set_index(["held", "judge"])
    told = []
    for held, _ in pairing.roles():
        own = [of_both.loc[(held.name, p.name)] for p in (pairing.hmax, pairing.other)]
        means = [
            f"{party.name} {geometric(rows['distance']):.2g} ({geometric(rows['noise']):.2g})"
            for party, rows in zip((pairing.hmax, pairing.other), own, strict=True)
        ]
        told.append(f"{held.name} held: {', '.join(means)}, pixels {geometric(own[0]['rms']):.2g}")
    return f"{'; '.join(told)}."


def geometric(values: pd.Series) -> float:
    return float(np.exp(np.log(values + FAINTEST).mean()))


def sided(pairing: Pairing, judgements: pd.DataFrame) -> str:
    """Return with whom the judges side."""
    rows = judgements[(judgements["pairing"] == pairing.name) & (judgements["judge"] != "pixels")]
    told = [f"{r.judge} {with_interval(r.side, r.lower, r.upper)}" for r in rows.itertuples()]
    others = rows[~rows["judge"].isin([pairing.hmax.name, pairing.other.name])]
    below, above = others["upper"] < 0, others["lower"] > 0
    groups = {pairing.hmax.name: below, pairing.other.name: above, "neither": ~(below | above)}
    listed = [
        f"with {name} ({', '.join(others['judge'][chosen])})"
        for name, chosen in groups.items()
        if chosen.any()
    ]
    return paragraphs(
        f"{pairing.hmax.name} against {pairing.other.name}: {'; '.join(told)}.",
        f"By these intervals the others side {', '.join(listed)}; on the mean none by more than "
        f"{others['side'].abs().max():.2f}.",
    )


def named(pairing: Pairing, names: pd.DataFrame) -> str:
    """Return how often the network still names the object."""
    objects_ = names[(names["pairing"] == pairing.name) & (names["category"] != "")]
    rightly = (objects_["named"] == objects_["category"]).groupby(objects_["held"]).sum()
    told = [f"{rightly[held.name]} where {held.name} is held" for held, _ in pairing.roles()]
    return (
        f"Of {objects_['picture'].nunique()} objects that {NETWORK} names rightly and surely, it "
        f"still names rightly {' and '.join(told)}."
    )


CAPTION = (
    "How much farther away from the original than noise of the same root mean square the pictures "
    "are, to the two models and to others; 95 % intervals of Student's t over pictures. To pixels "
    "noise is as far by construction."
)
LIMITS = (
    "Each picture is where one search from one noise ended, not the farthest there is; changes are "
    "of luminance alone, as HMAX does not see colour. Pictures are few and of 64 pixels, the size "
    "the network was trained at, so HMAX's larger bands see little of them. Where a background is "
    "uniform or black C2 answers to the faintest contrast, and noise drives it almost as far as "
    "the search does. A judge's distance is that of one choice of layers, relative to one noise, "
    "and no observer was asked. The objects are such as the network names surely."
)


if __name__ == "__main__":
    main()
