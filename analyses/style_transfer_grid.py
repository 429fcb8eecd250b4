"""What do content layer, content weight, style layers and start do to a style transfer?

Photographs are redrawn in the style of others at every combination of a content layer and a
weight, with ever deeper style layers, and from several starts (after Gatys, Ecker & Bethge 2016,
figures 3 to 6). Models that had no part in it judge what is left of the scene, and how much of
the style is there:

    python analyses/style_transfer_grid.py [--quick] [--model vgg19 ...]
    python analyses/style_transfer_grid.py --content FILE --painting FILE
"""

import dataclasses
import itertools

import pandas as pd
import torch
from torch import Tensor

import cnnperception as cp
from cnnperception.figures import contact_sheet, interval_curves, interval_dots
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
from cnnperception.synthesis import noise_like
from cnnperception.synthesis.setup import digest

# what it is called: (model, content layers from shallow to deep, evaluations of a transfer)
MODELS = {
    "VGG, trained": ("objects-vgg", ("conv1_2", "conv2_2", "conv3_2"), 300),
    "random filters": ("random-filters", ("normalised1", "normalised2", "normalised3"), 150),
}
PAIRS = {
    "chelsea as ihc": ("chelsea", "ihc"),
    "china as brick": ("china", "brick"),
    "coffee as gravel": ("coffee", "gravel"),
    "astronaut as retina": ("astronaut", "retina"),
    "flower as grass": ("flower", "grass"),
}
WEIGHTS = (0.01, 0.1, 1.0, 10.0)
WEIGHT = 0.1  # where style layers and starts are compared
STARTS = ("photograph", "painting", "noise 0", "noise 1")
# Edges in place, whatever their colour; and textures with their colours, by a network that was
# never trained and has no filters in common with the others.
CONTENT_JUDGE = ("hmax", ("c1/band1", "c1/band2", "c1/band3", "c1/band4"))
STYLE_JUDGE = ("vgg11:none", ("conv1_1", "conv2_1", "conv3_1"))
SIDE = 80
COLUMNS = 6  # of the sheet of style layers and starts
STATISTIC = "gram"
FROM_PHOTOGRAPH, FROM_NOISE = "distance from photograph's", "distance from noise 0's"


@dataclasses.dataclass(frozen=True)
class Transfer:
    """One style transfer: where it belongs, and its settings."""

    part: str  # "grid", "style layers" or "start"
    model: str
    pair: str
    content_layer: str
    weight: float
    style_layers: tuple[str, ...]
    start: str


def models(settings) -> dict[str, tuple[str, tuple[str, ...], int]]:
    """Return the models of the script, and those that were asked for besides."""
    more = {}
    for spec in settings.model or []:
        recommended = load(spec, "cpu").recommended
        if not recommended.get("style"):
            raise SystemExit(f"{spec} names no layers for style; leave it out of --model")
        more[spec] = (spec, tuple(recommended.get("content") or recommended["style"][-1:]), 300)
    return MODELS | more


def pairs(settings) -> dict[str, tuple[str, str]]:
    """Return the photographs and paintings: built-in ones, or the two files."""
    if (settings.content is None) != (settings.painting is None):
        raise SystemExit("--content and --painting go together: give both files, or neither")
    if settings.content is not None:
        return {"the two files": (settings.content, settings.painting)}
    return dict(itertools.islice(PAIRS.items(), 1 if settings.quick else None))


def picture(name: str) -> Tensor:
    """Return the middle of a file or built-in picture, (1, 3, SIDE, SIDE)."""
    try:
        whole = cp.exemplar(name) if name in cp.list_exemplars() else cp.images.read(name)
    except cp.images.ImageError as error:
        raise SystemExit(str(error)) from error
    return cp.images.middle_square(whole, SIDE)


def transfers(settings) -> list[Transfer]:
    """Return every style transfer of the study."""
    found = []
    for (name, (spec, layers, _)), pair in itertools.product(
        models(settings).items(), pairs(settings)
    ):
        style = tuple(load(spec, "cpu").recommended["style"])
        middle = layers[len(layers) // 2]
        usual = Transfer("grid", name, pair, middle, WEIGHT, style, STARTS[0])
        found += [
            dataclasses.replace(usual, content_layer=layer, weight=weight)
            for layer, weight in itertools.product(layers, WEIGHTS)
        ]
        found += [
            dataclasses.replace(usual, part="style layers", style_layers=style[: count + 1])
            for count in range(len(style))
        ]
        found += [dataclasses.replace(usual, part="start", start=start) for start in STARTS]
    return found


def made(found: Study, settings, transfer: Transfer) -> Tensor:
    """Return the image of a transfer, (1, 3, SIDE, SIDE)."""
    spec, _, usual = models(settings)[transfer.model]
    model = load(spec, settings.device)
    content, painting = (picture(name) for name in pairs(settings)[transfer.pair])
    evaluations = settings.evaluations or (usual // 4 if settings.quick else usual)
    kind, _, number = transfer.start.partition(" ")
    start: str | Tensor = {"photograph": "content", "painting": painting}.get(kind, kind)
    seed = settings.seed + int(number or 0)

    def make() -> cp.SynthesisResult:
        print(transfer, flush=True)
        return cp.stylize(
            content,
            painting,
            model=model,
            content_layers=transfer.content_layer,
            style_layers=transfer.style_layers,
            content_weight=transfer.weight,
            statistic=STATISTIC,
            start=start,
            seed=seed,
            evaluations=evaluations,
        )

    return found.remember_image(
        "transfer",
        make,
        weights=cp.models.fingerprint(model),
        content=digest(content),
        painting=digest(painting),
        layer=transfer.content_layer,
        weight=transfer.weight,
        style=transfer.style_layers,
        start=kind,
        seed=seed,
        evaluations=evaluations,
        statistic=STATISTIC,
    )


class Judges:
    """Models that say what is left of a photograph, and how much of a painting's style is there.

    Attributes
    ----------
    floor : float
        The style error of the painting's own halves.
    """

    def __init__(self, settings, pair: str):
        self.photograph, self.painting = (picture(name) for name in pairs(settings)[pair])
        self.content, self.content_layers = judge(settings, CONTENT_JUDGE, "content")
        self.style, self.style_layers = judge(settings, STYLE_JUDGE, "style")
        noise = noise_like(self.painting, (SIDE, SIDE), settings.seed).clamp(0, 1)
        self.far = self._apart(self.photograph, noise)
        unchanged = self._verdict(self.photograph)
        self.unchanged = unchanged["error"].mean()
        self.floor = float(unchanged["floor"].mean() / self.unchanged)

    def content_error(self, image: Tensor, other: Tensor | None = None) -> float:
        """Return the squared distance from the photograph, or another image, relative to noise."""
        return self._apart(self.photograph if other is None else other, image) / self.far

    def style_error(self, image: Tensor) -> float:
        """Return the error of the Gram matrices, relative to the photograph's."""
        return float(self._verdict(image)["error"].mean() / self.unchanged)

    @torch.no_grad()
    def _apart(self, image: Tensor, other: Tensor) -> float:
        device = cp.models.device_of(self.content)
        a, b = (self.content.features(x.to(device), self.content_layers) for x in (image, other))
        return sum(float((a[x] - b[x]).square().sum() / a[x].square().sum()) for x in a)

    def _verdict(self, image: Tensor) -> pd.DataFrame:
        return cp.verdict(image[0], self.painting[0], self.style, layers=self.style_layers)


def judge(settings, usual: tuple[str, tuple[str, ...]], purpose: str):
    """Return a judge and its layers: the usual one, or the layers that another recommends."""
    if settings.judge is None:
        return load(usual[0], settings.device), usual[1]
    model = load(settings.judge, settings.device)
    if not model.recommended.get(purpose):
        raise SystemExit(f"{settings.judge} names no layers for {purpose}; give another --judge")
    return model, model.recommended[purpose]


def measure(found: Study, settings) -> pd.DataFrame:
    """Return a row for each transfer with its errors, and those of starts against each other."""
    judges = {pair: Judges(settings, pair) for pair in pairs(settings)}
    rows = []
    for transfer in transfers(settings):
        image, by = made(found, settings, transfer), judges[transfer.pair]
        row = dataclasses.asdict(transfer) | {"style_layers": transfer.style_layers[-1]}
        row |= {"content error": by.content_error(image), "style error": by.style_error(image)}
        row["floor"] = by.floor
        if transfer.part == "start":
            others = (
                dataclasses.replace(transfer, start=start) for start in ("photograph", "noise 0")
            )
            apart = [by.content_error(image, made(found, settings, other)) for other in others]
            row |= dict(zip((FROM_PHOTOGRAPH, FROM_NOISE), apart, strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    settings = arguments(
        __doc__,
        "style_transfer_grid",
        model=MORE_MODELS,
        content={"help": "file of a photograph, with --painting; built-in ones when left out"},
        painting={"help": "file of the picture whose style it takes"},
        judge={"help": "model that judges content and style; HMAX and an untrained VGG-11"},
        evaluations={
            "type": int,
            "help": "of each transfer; 150 or 300 by the model, or a quarter with --quick",
        },
    )
    found = study(
        "style_transfer_grid",
        "Content against style",
        "What do the content layer and its weight, the style layers and the start do to a style "
        "transfer, as other models see it?",
        settings,
    )
    table = measure(found, settings)
    found.table("transfers", table)
    draw_pictures(found, settings)
    draw_errors(found, table)
    found.conclude(in_short(table), shows(table), LIMITS)


def draw_pictures(found: Study, settings) -> None:
    """Write sheets of every transfer of the first photograph."""
    pair = next(iter(pairs(settings)))
    content, painting = (picture(name)[0] for name in pairs(settings)[pair])
    for number, name in enumerate(models(settings), start=1):
        here = [t for t in transfers(settings) if t.pair == pair and t.model == name]
        grid = [t for t in here if t.part == "grid"]
        found.figure(
            f"grid_{number}",
            contact_sheet(
                [made(found, settings, t)[0] for t in grid],
                [f"{t.content_layer}, {t.weight:g}" for t in grid],
                columns=len(WEIGHTS),
            ),
            f"{pair}, with {name}: the content layer, and its weight against 1 of the style.",
            dpi=SHEET_DPI,
        )
        others = [t for t in here if t.part != "grid"]
        labels = [
            f"from {t.start}" if t.part == "start" else f"style to {t.style_layers[-1]}"
            for t in others
        ]
        found.figure(
            f"layers_and_starts_{number}",
            contact_sheet(
                [content, painting, *(made(found, settings, t)[0] for t in others)],
                ["photograph", "painting", *labels],
                columns=COLUMNS,
            ),
            f"{pair}, with {name}, at a content weight of {WEIGHT:g}: style layers up to the one "
            "named, and all style layers from several starts.",
            dpi=SHEET_DPI,
        )


def draw_errors(found: Study, table: pd.DataFrame) -> None:
    """Write the figures of errors."""
    grid = table[table["part"] == "grid"]
    keys = ["model", "content_layer", "weight"]
    curves = mean_intervals(grid, keys, "pair", "style error")
    curves["content error"] = mean_intervals(grid, keys, "pair", "content error")["content error"]
    floor = table.groupby("pair")["floor"].first().mean()
    found.figure(
        "trade_off",
        interval_curves(
            curves,
            x="content error",
            y="style error",
            curve="content_layer",
            panel="model",
            reference=floor,
            reference_name="the painting's halves",
        ),
        f"Each point is a content weight, {', '.join(f'{w:g}' for w in WEIGHTS)}, joined in this "
        "order. Content error: 0 is the photograph, 1 noise; style error: 1 is the "
        "photograph, 0 has the painting's statistics. Means over pairs of pictures, 95 % intervals "
        "of the style error.",
    )
    sets = _errors(table[table["part"] == "style layers"], "style_layers")
    found.figure(
        "style_layers",
        interval_curves(
            sets.rename(columns={"style_layers": "style layers up to"}),
            x="style layers up to",
            y="error",
            curve="judged",
            panel="model",
        ),
        f"Errors by the style layers, at a content weight of {WEIGHT:g}; 95 % intervals over pairs "
        "of pictures.",
    )
    starts = _errors(table[table["part"] == "start"], "start")
    starts["panel"] = starts["judged"] + " (" + starts["model"] + ")"
    found.figure(
        "starts",
        interval_dots(
            starts.assign(group=""),
            row="start",
            value="error",
            group="group",
            panel="panel",
            columns=2,
        ),
        f"Errors by the start, at a content weight of {WEIGHT:g}; 95 % intervals over pairs of "
        "pictures.",
    )


def _errors(rows: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return the mean of either error for each model and value of a column."""
    errors = ["content error", "style error"]
    long = rows.melt(["model", "pair", by], errors, var_name="judged", value_name="error")
    return mean_intervals(long, ["model", by, "judged"], "pair", "error")


def in_short(table: pd.DataFrame) -> str:
    """Return the answer in a sentence."""
    grid = table[table["part"] == "grid"]
    said = []
    for model, rows in grid.groupby("model", sort=False):
        ends = rows[rows["weight"].isin([WEIGHTS[0], WEIGHTS[-1]])].groupby("weight")
        content, style = (ends[f"{what} error"].mean() for what in ("content", "style"))
        said.append(
            f"with {model} the content error goes from {content.iloc[0]:.2f} to "
            f"{content.iloc[-1]:.2f} and the style error from {style.iloc[0]:.2f} to "
            f"{style.iloc[-1]:.2f}"
        )
    return (
        f"As the content's weight grows from {WEIGHTS[0]:g} to {WEIGHTS[-1]:g}, by judges that had "
        f"no part in the transfer, {'; '.join(said)}."
    )


def shows(table: pd.DataFrame) -> str:
    """Return what the table shows, with its statistics."""
    floor = table.groupby("pair")["floor"].first().mean()
    return paragraphs(
        "Content error is 0 for the photograph and 1 for noise, by judges that had no part in the "
        "transfer; style error is 1 for the photograph and 0 for the painting's statistics, "
        f"{floor:.2f} for the painting's halves.",
        *(_trade_off(table, name) for name in dict.fromkeys(table["model"])),
        *(_others(table, name) for name in dict.fromkeys(table["model"])),
        _counted(table),
    )


def _counted(table: pd.DataFrame) -> str:
    """Return over how many pictures means and intervals are."""
    pairs = table["pair"].nunique()
    if pairs == 1:
        return "One pair of pictures, so that there are no intervals."
    return f"Means over {pairs} pairs of pictures, with 95 % intervals over pairs."


def _trade_off(table: pd.DataFrame, model: str) -> str:
    """Return what weight and depth of the content do with a model."""
    grid = table[(table["part"] == "grid") & (table["model"] == model)]
    ends = {
        error: [_mean(grid[grid["weight"] == w], error) for w in (WEIGHTS[0], WEIGHTS[-1])]
        for error in ("content error", "style error")
    }
    layers = list(dict.fromkeys(grid["content_layer"]))
    weak = grid[grid["weight"] == WEIGHTS[-2]].pivot(
        index="pair", columns="content_layer", values=["content error", "style error"]
    )
    depths = {error: weak[error][layers[-1]] - weak[error][layers[0]] for error in ends}
    depth = ", ".join(f"{e} {_mean(d.rename(e).reset_index(), e)}" for e, d in depths.items())
    return paragraphs(
        f"With {model}, from the weight {WEIGHTS[0]:g} to {WEIGHTS[-1]:g}, the content error goes "
        f"from {ends['content error'][0]} to {ends['content error'][1]} and the style error from "
        f"{ends['style error'][0]} to {ends['style error'][1]}.",
        f"{layers[-1]} less {layers[0]}, at a weight of {WEIGHTS[-2]:g}: {depth}."
        if len(layers) > 1
        else "",
    )


def _others(table: pd.DataFrame, model: str) -> str:
    """Return what style layers and starts do with a model."""
    rows = table[table["model"] == model]
    layers = rows[rows["part"] == "style layers"]
    first, last = layers["style_layers"].iloc[0], layers["style_layers"].iloc[-1]
    style = [
        _mean(layers[layers["style_layers"] == layer], "style error") for layer in (first, last)
    ]
    starts = rows[rows["part"] == "start"].set_index("start")
    content = {start: _mean(starts.loc[[start]], "content error") for start in STARTS}
    return paragraphs(
        f"With {model} the style error is {style[0]} with {first} alone and {style[1]} with all "
        f"style layers to {last}.",
        f"From {', '.join(content)} the content error is {', '.join(content.values())}; by the "
        f"same measure two noises end {_mean(starts.loc[['noise 1']], FROM_NOISE)} apart, and a "
        f"noise {_mean(starts.loc[['noise 1']], FROM_PHOTOGRAPH)} from where the photograph does.",
    )


def _mean(rows: pd.DataFrame, column: str) -> str:
    """Return the mean of a column over pairs, with its interval."""
    found = mean_intervals(rows.assign(all=0), ["all"], "pair", column).iloc[0]
    return with_interval(found[column], found["lower"], found["upper"])


LIMITS = (
    "The judges are models: edges in place are not all of a scene, and the statistics of an "
    "untrained network not all of a style. Pictures have 80 pixels, transfers a fixed number of "
    "evaluations, so that slow ones are less far along: with the trained network the first style "
    "layer is the slowest to match. All but the comparison of starts begin with the photograph, "
    "which keeps more of it than the weights ask for. A weight in one layer or model is not that "
    "in another. Intervals are over a few pairs of pictures."
)


if __name__ == "__main__":
    main()
