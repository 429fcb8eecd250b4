"""What does each control of the synthesis do? A gallery.

Textures, style transfers, metamers and control stimuli, each control at several values and all
else the same, on one page:

    python analyses/synthesis_gallery.py [--quick] [--pictures FOLDER] [--large 1024]
"""

import dataclasses
import functools
import itertools
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

import cnnperception as cp
from cnnperception.figures import contact_sheet, panel
from cnnperception.files import atomic_path
from cnnperception.images import middle_square
from cnnperception.report import Picture, Section, write_report
from cnnperception.studies import Study, arguments, study
from cnnperception.synthesis import Animation, Level, baselines
from cnnperception.synthesis.setup import digest

TITLE = "Every control of the synthesis"
QUESTION = (
    "What does each control of textures, style transfers and metamers do? In every figure one "
    "control takes several values, and all else stays as it is: random filters, the seed, and "
    "the number of evaluations, which is small. What stands below a picture is the argument of "
    "the function that made it."
)
CONTROLS = Path(__file__).with_suffix(".toml")
SIDE = 144  # of the pictures: the coarsest of the random filters see 142 pixels
TILE = 128  # of those that tile: a multiple of 16 at half the size, too
DPI, QUALITY = 100, 85  # of the figures
FEW = 4  # evaluations of each picture in a quick run
MOST_PICTURES = 3  # of a folder
FINE = ("grass", "gravel")  # pictures that show enough in the middle half of each side


def filmed(exemplar: Tensor, **options: Any) -> cp.SynthesisResult:
    """Return the frames of a texture in the making, as the images of a batch."""
    film = Animation("unwritten.gif", every=32, side=SIDE)
    result = cp.texture(exemplar, watch=film, **options)
    frames = [torch.from_numpy(frame).permute(2, 0, 1)[None] / 255 for frame in film.frames]
    larger = [functional.interpolate(frame, SIDE) for frame in frames]
    return dataclasses.replace(result, images=torch.cat(larger))


# How each kind of picture is made, and with how many evaluations.
TASKS: Mapping[str, tuple[Callable[..., cp.SynthesisResult], int]] = {
    "texture": (cp.texture, 160),
    "course": (filmed, 160),
    "style": (cp.stylize, 120),
    "metamer": (cp.metamer, 240),
    "foveated": (cp.foveated_metamer, 120),
    "portilla-simoncelli": (baselines.portilla_simoncelli, 200),
}
# What an option "model" means here.
MODELS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "random-filters": ("random-filters", {}),
    "other filters": ("random-filters", {"seed": 1}),
    "random-multiscale": ("random-multiscale", {"maps": 32}),
    "trained": ("objects-vgg", {"pooling": "avg"}),
    "self-supervised": ("objects-vgg", {"pooling": "avg", "weights": "self-supervised"}),
    "untrained": ("objects-vgg", {"pooling": "avg", "weights": None}),
    "hmax": ("hmax", {}),
    "v1": ("v1", {}),
}


@dataclasses.dataclass(frozen=True)
class Control:
    """A figure in which a control takes several values, as the file of controls has it.

    Attributes
    ----------
    name : str
        Of the figure.
    task : str
        One of `TASKS`.
    given : list of list of str
        For each row the pictures that go in: an exemplar, or content and styles.
    caption : str
        What is set, and what to look for.
    option, choices
        A control, and the values it takes.
    values : mapping of str to options
        Further options, by what is said below the picture.
    always : mapping of str to option
        What goes with all of them.
    columns : int, optional
        Pictures in a row of the figure.
    """

    name: str
    task: str
    given: list[list[str]]
    caption: str
    option: str = ""
    choices: Sequence[Any] = ()
    values: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    always: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    columns: int | None = None

    def options(self) -> dict[str, dict[str, Any]]:
        """Return the options of each picture of a row, by what is said below it."""
        chosen = {f"{self.option} {said(each)}": {self.option: each} for each in self.choices}
        return {label: {**self.always, **own} for label, own in {**chosen, **self.values}.items()}


@dataclasses.dataclass(frozen=True)
class Group:
    """A figure of the page."""

    name: str
    figure: Figure
    caption: str


Shown = list[tuple[Tensor, str]]


def controls() -> dict[str, Control]:
    """Return the controls of the file beside this script, by name."""
    with CONTROLS.open("rb") as file:
        return {name: Control(name, **table) for name, table in tomllib.load(file).items()}


def said(value: Any) -> str:
    """Return a value as short as it can be told."""
    if isinstance(value, list | tuple):
        return ", ".join(said(each) for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


class Gallery:
    """Pictures as they are asked for: made once, and remembered."""

    def __init__(self, found: Study, settings) -> None:
        self.found, self.settings = found, settings

    @functools.cache  # noqa: B019
    def model(self, called: str) -> cp.models.VisionModel:
        """Return one of `MODELS` on the device that was asked for."""
        name, options = MODELS[called]
        return cp.load_model(name, device=self.settings.device, **options)

    def folder(self) -> list[Tensor]:
        """Return the first pictures of the folder, if there is one."""
        if self.settings.pictures is None:
            return []
        pictures = cp.StimulusSet.from_folder(self.settings.pictures)
        return [pictures.image(place) for place in range(min(len(pictures), MOST_PICTURES))]

    def make(self, task: str, *given: Any, **options: Any) -> Tensor:
        """Return a picture, or those of a batch side by side."""
        function, usual = TASKS[task]
        options["evaluations"] = self.few(options.get("evaluations", usual))
        options.setdefault("seed", self.settings.seed)
        if "preset" not in options and task != "portilla-simoncelli":
            options.setdefault("model", "random-filters")
        if "model" in options:
            options["model"] = self.model(options["model"])
        if options.get("start") in cp.list_exemplars():
            options["start"] = builtin(options["start"])
        if "schedule" in options:
            levels = [Level((h, w), self.few(count)) for h, w, count in options["schedule"]]
            options["schedule"] = levels

        def make() -> cp.SynthesisResult:
            print(task, ", ".join(options), flush=True)
            result = function(*given, **options)
            row = torch.cat(result.images.split(1), dim=-1)
            return dataclasses.replace(result, images=row)

        return self.found.remember_image(task, make, **described({"given": given, **options}))

    def few(self, evaluations: int) -> int:
        """Return a number of evaluations, or a few of them in a quick run."""
        return min(evaluations, FEW) if self.settings.quick else evaluations


@functools.cache
def builtin(name: str, side: int = SIDE) -> Tensor:
    """Return the middle of a built-in picture, (1, 3, side, side); of fine ones a smaller part."""
    whole = cp.exemplar(name)
    if name in FINE:
        top, left = (length // 4 for length in whole.shape[-2:])
        whole = whole[..., top:-top, left:-left]
    return middle_square(whole, side)


def described(value: Any) -> Any:
    """Return what a picture depends on as JSON: images and models by their hashes."""
    if isinstance(value, Tensor):
        return digest(value)
    if isinstance(value, torch.nn.Module):
        return cp.models.fingerprint(value)
    if isinstance(value, dict):
        return {key: described(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [described(each) for each in value]
    return value if isinstance(value, str | int | float | None) else repr(value)


def drawn(gallery: Gallery, control: Control) -> Group:
    """Return the figure of a control: in each row the pictures given, and what came of them."""
    shown: Shown = []
    for names in control.given:
        # A painting at twice the size has detail for strokes of every scale.
        first, *others = (builtin(n, SIDE if n == names[0] else 2 * SIDE) for n in names)
        shown += zip((first, *others), names, strict=True)
        given = (first, *([others] if len(others) > 1 else others))
        shown += [
            (gallery.make(control.task, *given, **options), label)
            for label, options in control.options().items()
        ]
    columns = control.columns or len(shown) // len(control.given)
    return sheet(control.name, shown, columns, control.caption)


def sheet(name: str, shown: Shown, columns: int, caption: str) -> Group:
    """Return a figure of pictures in rows."""
    images, labels = zip(*((image[0], label) for image, label in shown), strict=True)
    return Group(name, contact_sheet(images, labels, columns), caption)


def to_scale(name: str, shown: Shown, caption: str) -> Group:
    """Return a figure of pictures in a row, of which a pixel is as large in each."""
    images, labels = zip(*((image[0], label) for image, label in shown), strict=True)
    return Group(name, panel(images, labels), caption)


def seeds(gallery: Gallery) -> Group:
    source, first = builtin("gravel"), gallery.settings.seed
    row = gallery.make("texture", source, seed=[first + number for number in range(4)])
    shown = [(source, "gravel")]
    shown += [(one, f"seed {number}") for number, one in enumerate(row.split(SIDE, -1), first)]
    return sheet(
        "texture_seeds",
        shown,
        5,
        "seed: four at once, as a batch. Other stones, the same gravel; none is the exemplar's.",
    )


def batches(gallery: Gallery) -> Group:
    names = ("brick", "grass", "gravel")
    row = gallery.make("texture", torch.cat([builtin(name) for name in names]))
    shown = [(builtin(name), name) for name in names]
    shown += [(one, "its texture") for one in row.split(SIDE, -1)]
    return sheet(
        "texture_batch",
        shown,
        6,
        "A batch of exemplars gives a batch of textures, made together: each has the statistics "
        "of its own exemplar.",
    )


def sizes(gallery: Gallery) -> Group:
    source = builtin("gravel")
    shown = [(source, "exemplar")]
    for size in (72, (288, 144), 288):
        made = gallery.make("texture", source, size=size, evaluations=320)
        shown.append((made, f"size {said(size)}"))
    return to_scale(
        "texture_size",
        shown,
        "size: of the result, also larger than the exemplar. Stones stay as large as they are, "
        "and there are more of them; none should come back at regular distances.",
    )


def tiles(gallery: Gallery) -> Group:
    shown = []
    for tileable in (False, True):
        made = gallery.make("texture", builtin("gravel"), size=TILE, tileable=tileable)
        said = "tileable" if tileable else "not tileable"
        shown.append((made.repeat(1, 1, 2, 2), f"{said}, laid out 2 x 2"))
    return to_scale(
        "texture_tileable",
        shown,
        "tileable: at the left seams run across the middle, at the right there are none.",
    )


def blends(gallery: Gallery) -> Group:
    pair = [builtin("brick"), builtin("ihc")]
    shown = [(pair[0], "brick")]
    for share in (1, 0.75, 0.5, 0.25, 0):
        made = gallery.make("texture", pair, weights=[share, 1 - share])
        shown.append((made, f"weights {share:g}, {1 - share:g}"))
    return sheet(
        "texture_blend",
        [*shown, (pair[1], "ihc")],
        7,
        "Two exemplars and their weights: from the statistics of the one to those of the other. "
        "Weights are of errors relative to each exemplar, so that a pale one counts for more: half "
        "of each is not half-way.",
    )


def halves(left: str, right: str) -> tuple[Tensor, Tensor]:
    """Return a picture of two built-in ones, and which part of it is the right one."""
    labels = (torch.arange(SIDE) >= SIDE // 2).long().expand(SIDE, SIDE).contiguous()
    return torch.where(labels.bool(), builtin(right), builtin(left)), labels


def shown_labels(labels: Tensor) -> Tensor:
    """Return a mask as a picture, (1, 3, height, width)."""
    return labels.float().expand(1, 3, -1, -1)


def masks(gallery: Gallery) -> Group:
    both, right = halves("brick", "ihc")
    shown = [(both, "exemplar"), (shown_labels(right), "mask")]
    for mask, said in ((None, "no mask"), (right, "this mask"), (1 - right, "its opposite")):
        made = gallery.make("texture", both, layers="scale[1-3]", mask=mask)
        shown.append((made, said))
    return sheet(
        "texture_mask",
        shown,
        5,
        "mask: which part of the exemplar counts. Without one the halves are mixed; with one the "
        "texture is that of the part which is white, with a little, at a border, of what units at "
        "the edge of the mask saw beyond it.",
    )


def course(gallery: Gallery) -> Group:
    row = gallery.make("course", builtin("brick"))
    shown = [(one, f"evaluation {32 * n + 1}") for n, one in enumerate(row.split(SIDE, -1))]
    shown[-1] = (shown[-1][0], "the last one")
    return sheet(
        "texture_course",
        shown,
        len(shown),
        "watch: the frames of an Animation, a texture from the first noise to the end; the levels "
        "before the last are of half the size. A Preview keeps the latest as a file.",
    )


def style_masks(gallery: Gallery) -> Group:
    content = builtin("rocket")
    painting, there = halves("ihc", "brick")
    here = there.T.contiguous()
    shown = [
        (content, "rocket"),
        (shown_labels(here), "its mask"),
        (painting, "style"),
        (shown_labels(there), "its mask"),
    ]
    for pair, said in (
        (None, "without masks"),
        ((here, there), "masks"),
        ((1 - here, there), "the content's mask inverted"),
    ):
        shown.append((gallery.make("style", content, painting, masks=pair), said))
    return sheet(
        "style_masks",
        shown,
        7,
        "masks: a region of the content takes the style of the painting's region that has the same "
        "colour in its mask.",
    )


def mixed_scales(gallery: Gallery) -> Group:
    content, one, other = builtin("china"), builtin("ihc"), builtin("brick")
    fine, coarse = ["scale1", "scale2"], ["scale3", "scale4", "scale5"]
    new = gallery.make("style", other, one, style_layers=fine, content_weight=0.01)
    shown = [(content, "china"), (one, "style 1"), (other, "style 2")]
    for layers, said in (
        ([fine, coarse], "fine layers of 1, coarse of 2"),
        ([coarse, fine], "coarse layers of 1, fine of 2"),
    ):
        shown.append((gallery.make("style", content, [one, other], style_layers=layers), said))
    shown.append((new, "style 3: style 2 with the fine layers of 1"))
    shown.append((gallery.make("style", content, new), "style 3 alone"))
    return sheet(
        "style_mixed_scales",
        shown,
        7,
        "style_layers, for each style its own: the fine structure of one and the coarse one of "
        "another. At the right the way of Gatys et al. (2017): a new style first, which is then "
        "transferred.",
    )


def large(gallery: Gallery) -> Group:
    chosen = gallery.folder()[-2:]
    content, style = chosen if len(chosen) == 2 else (cp.exemplar(n) for n in ("china", "ihc"))
    longer = 256 if gallery.settings.quick else gallery.settings.large
    few, many = (
        gallery.make("style", content, style, size=size, evaluations=200)
        for size in (longer // 4, longer)
    )
    part = [slice(round(0.3 * side), round(0.3 * side) + side // 4) for side in many.shape[-2:]]
    shown = [
        (few, f"{longer // 4} pixels"),
        (cp.images.resize(many, longer // 4), f"{longer} pixels, reduced"),
        (many[..., part[0], part[1]], f"{longer} pixels, a sixteenth of it"),
    ]
    return to_scale(
        "style_size",
        shown,
        "size: a small style transfer, one of four times the size beside it, and a part of this as "
        "it is. Strokes grow with the picture, which keeps its look, and there is more detail in "
        "them.",
    )


def baseline_pictures(gallery: Gallery) -> Group:
    shown, seed = [], gallery.settings.seed
    for name in ("brick", "coffee"):
        source = builtin(name)
        smooth = baselines.periodic_component(source)
        shown += [
            (source, name),
            (baselines.phase_randomised(source, seed).clamp(0, 1), "phase-randomised"),
            (baselines.phase_randomised(smooth, seed).clamp(0, 1), "of the periodic component"),
            (baselines.pixel_shuffled(source, seed), "pixel-shuffled"),
            (gallery.make("portilla-simoncelli", source), "portilla-simoncelli"),
            (baselines.with_luminance(source, mean=0.5)[0], "mean luminance 0.5"),
            (baselines.with_luminance(source, contrast=0.1)[0], "RMS contrast 0.1"),
        ]
    return sheet(
        "baselines",
        shown,
        7,
        "Control stimuli: noise of the spectrum, from which the periodic component leaves the "
        "cross of the picture's borders out; the colours alone; a texture of Portilla & "
        "Simoncelli; and luminance and contrast as asked for.",
    )


def folder_textures(gallery: Gallery) -> Group:
    shown = []
    for whole in gallery.folder():
        source = middle_square(whole, SIDE)
        shown.append((source, "picture"))
        for options in ({}, {"statistic": "gram"}, {"spectrum": 1.0}, {"pool_grid": 3}):
            said = ", ".join(f"{key} {value}" for key, value in options.items()) or "texture"
            shown.append((gallery.make("texture", source, **options), said))
        shown.append((gallery.make("foveated", source), "foveated"))
    return sheet(
        "folder_textures",
        shown,
        6,
        "Pictures of the folder, and their textures, texforms and foveated metamers.",
    )


def folder_styles(gallery: Gallery) -> Group:
    shown = []
    for content, style in itertools.permutations(gallery.folder(), 2):
        given = middle_square(content, SIDE), middle_square(style, 2 * SIDE)
        shown += [(given[0], "content"), (given[1], "style")]
        for kept in ("style", "luminance"):
            shown.append((gallery.make("style", *given, colour=kept), f"colour {kept}"))
    return sheet(
        "folder_styles",
        shown,
        8,
        "Each of these pictures in the style of each other, in the style's colours and in its own.",
    )


# What stands in the page: controls of the file by name, and figures that need more.
SECTIONS: Mapping[str, tuple[str | Callable[[Gallery], Group], ...]] = {
    "Textures: what is matched": (
        "texture_statistics",
        "texture_layers_random_filters",
        "texture_layers_untrained",
        "texture_models",
        "texture_spectrum",
        "texture_schedule",
        "texture_presets",
    ),
    "Textures: what is made": (
        seeds,
        batches,
        sizes,
        tiles,
        blends,
        masks,
        "texture_pool_grid",
        "texture_colour",
        course,
    ),
    "Styles": (
        "style_blend",
        mixed_scales,
        "style_scale",
        "style_colour",
        style_masks,
        "style_content_weight",
        "style_content_layers",
        "style_layers_random_filters",
        "style_layers_trained",
        "style_statistics",
        "style_start",
        "style_smoothness",
        "style_presets",
    ),
    "Styles: large pictures": ("style_composed_at", large),
    "Metamers": ("metamer_models", "metamer_controls", "foveated"),
    "Control stimuli": (baseline_pictures,),
}
OF_FOLDER = {"Pictures of a folder": (folder_textures, folder_styles)}


def main() -> None:
    settings = arguments(
        __doc__,
        "synthesis_gallery",
        pictures={"help": "folder of pictures of your own to show besides the built-in ones"},
        large={
            "type": int,
            "default": 1024,
            "help": "longer side of the large style transfer, of the folder's last two pictures",
        },
    )
    found = study("synthesis_gallery", TITLE, QUESTION, settings)
    gallery, listed = Gallery(found, settings), controls()
    sections = [Section("The question", QUESTION)]
    for title, parts in (SECTIONS | (OF_FOLDER if gallery.folder()[1:] else {})).items():
        groups = (
            drawn(gallery, listed[part]) if isinstance(part, str) else part(gallery)
            for part in parts
        )
        sections.append(Section(title, pictures=[written(found, group) for group in groups]))
    chosen = dict(found.settings) | {"pictures": settings.pictures is not None}
    print(write_report(found.output / "index.html", TITLE, sections, chosen))


def written(found: Study, group: Group) -> Picture:
    """Write a figure, and return what the page shows of it."""
    path = found.output / f"{group.name}.jpg"
    with atomic_path(path) as temporary:
        group.figure.savefig(temporary, dpi=DPI, pil_kwargs={"quality": QUALITY})
    return Picture(path, group.caption)


if __name__ == "__main__":
    main()
