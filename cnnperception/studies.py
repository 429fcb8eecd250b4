"""What the scripts in `analyses/` share: options, remembered steps, and findings for the report."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from . import __version__, images, runtime
from .files import atomic_path, json_text, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from .models import VisionModel
    from .synthesis import SynthesisResult

FINDINGS = "findings.json"
REPORTS = Path("reports")
CACHE = ".cache"
SHEET_DPI = 120  # of sheets of pictures, which otherwise make a report large
# The option --model of a script, for `arguments`.
MORE_MODELS = {"action": "append", "help": "a further model, e.g. vgg19 or vgg19:none"}


@dataclasses.dataclass
class Study:
    """One script's results, in a folder of its own, as the report collects them.

    Attributes
    ----------
    name : str
        Of the folder, and of the script.
    title, question : str
        What the report calls it, and what it asks.
    output : Path
    settings : mapping
        What the script was asked for: JSON values. Remembered steps hold for these alone.
    """

    name: str
    title: str
    question: str
    output: Path
    settings: Mapping[str, Any]
    figures: list[dict[str, str]] = dataclasses.field(default_factory=list)
    tables: list[str] = dataclasses.field(default_factory=list)
    began: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def cache(self) -> Path:
        """The folder of what is remembered."""
        return self.output.parent / CACHE / self.name

    def remember(
        self, step: str, compute: Callable[[], pd.DataFrame], **depends: Any
    ) -> pd.DataFrame:
        """Return a table that an earlier, perhaps interrupted, run has computed, or compute it.

        Parameters
        ----------
        step : str
            Its name; letters, digits, hyphens.
        compute : callable
        **depends
            All that the table depends on: JSON values. Another value, another table.
        """
        path = self.kept(step, ".csv", **depends)
        if not path.exists():
            table = compute()
            with atomic_path(path) as temporary:
                table.to_csv(temporary, index=False)
        return pd.read_csv(path)

    def remember_image(
        self, step: str, make: Callable[[], SynthesisResult], **depends: Any
    ) -> Tensor:
        """Return an image that an earlier run has made, or make it.

        Parameters
        ----------
        step, **depends
            As for `remember`.
        make : callable
            Its first image is kept, with 8 bits a channel.

        Returns
        -------
        Tensor, shape (1, 3, height, width)

        Raises
        ------
        KeyboardInterrupt
            When the synthesis was interrupted; nothing is kept.
        """
        path = self.kept(step, ".png", **depends)
        if not path.exists():
            result = make()
            if not result.finished:
                raise KeyboardInterrupt
            images.write(path, result.image, result.provenance)
        return images.read(path)

    def kept(self, step: str, suffix: str, **depends: Any) -> Path:
        """Return the file of a step that depends on these values; see `remember`.

        What another version of the package has computed is not taken for what this one would.
        """
        all_of_it = {"step": step, "version": __version__, **depends}
        described = json.dumps(all_of_it, sort_keys=True, default=str)
        key = hashlib.sha256(described.encode()).hexdigest()[:16]
        return self.cache / f"{step}-{key}{suffix}"

    def figure(self, name: str, figure: Figure, caption: str, *, dpi: int = 160) -> None:
        """Write a figure as PNG and PDF, and list it; `SHEET_DPI` suits those of pictures."""
        from .figures import save

        save(figure, self.output / f"{name}.png", dpi=dpi)
        self.figures.append({"file": f"{name}.png", "caption": caption})

    def table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as CSV, and list it."""
        with atomic_path(self.output / f"{name}.csv") as path:
            table.to_csv(path, index=False, float_format="%.5g")
        self.tables.append(f"{name}.csv")

    def conclude(self, answer: str, shows: str, limits: str) -> None:
        """Write the answer in a sentence or two, its statistics, and its limits; print them."""
        record = {
            "name": self.name,
            "title": self.title,
            "question": self.question,
            "answer": answer,
            "shows": shows,
            "limits": limits,
            "figures": self.figures,
            "tables": self.tables,
            "settings": dict(self.settings),
            "seconds": round(time.monotonic() - self.began, 1),
            "versions": runtime.versions(),
        }
        write_text(self.output / FINDINGS, json_text(record))
        print(f"{self.title}\n\n{answer}\n\n{shows}\n\nLimits: {limits}\n\n{self.output}")


def arguments(description: str, name: str, **options: dict[str, Any]) -> argparse.Namespace:
    """Return the options of a script: --quick, --output, --device, --seed and its own.

    Parameters
    ----------
    description : str
        The script's docstring.
    name : str
        Of the folder in `reports/`.
    **options
        For each further option, the keyword arguments of `argparse`'s `add_argument`.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small version, in minutes")
    parser.add_argument("--output", type=Path, default=REPORTS / name, help="folder to write")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--seed", type=int, default=0)
    for option, keywords in options.items():
        parser.add_argument(f"--{option.replace('_', '-')}", **keywords)
    return parser.parse_args()


def study(script: str, title: str, question: str, chosen: argparse.Namespace) -> Study:
    """Return an empty study of a script, given its options."""
    settings = {key: value for key, value in vars(chosen).items() if key != "output"}
    # Where a folder lies is nobody's business.
    shown = {key: Path(v).name if isinstance(v, os.PathLike) else v for key, v in settings.items()}
    return Study(script, title, question, Path(chosen.output), shown)


def load(text: str, device: str) -> VisionModel:
    """Return the model of a text such as "vgg19", "vgg19:none" or "objects-vgg:weights.pth".

    Parameters
    ----------
    text : str
        A name that `load_model` knows; after a colon the weights, "none" for random ones.
    device : str
    """
    from .models import load_model

    name, colon, weights = text.partition(":")
    if not colon:
        return load_model(name, device=device)
    return load_model(name, device=device, weights=None if weights == "none" else weights)


def compared(text: str, side: int) -> tuple[tuple[str, ...], int]:
    """Return the layers of a further model that suit a comparison, and the side of its images.

    Parameters
    ----------
    text : str
        The model, as `load` takes it.
    side : int
        In pixels; a model that takes images of one size alone has its own.

    Returns
    -------
    tuple of str, int
        The layers that the model recommends, or all.
    """
    model = load(text, "cpu")
    layers = model.recommended.get("compare") or model.layers
    return tuple(layers), getattr(model, "image_size", None) or side


def mean_intervals(table: pd.DataFrame, by: Sequence[str], unit: str, value: str) -> pd.DataFrame:
    """Return means of a value with 95 % intervals over independent units, by Student's t.

    Parameters
    ----------
    table : DataFrame
        Rows that agree in `by` and `unit` are averaged first.
    by : sequence of str
        Columns whose values each have a mean, in the order of the table.
    unit : str
        Column that names what was drawn at random, such as pictures.
    value : str
        Column of numbers.

    Returns
    -------
    DataFrame
        The columns `by`, `value`, lower and upper; the latter are NaN for a single unit.
    """
    from scipy import stats

    units = table.groupby([*by, unit], sort=False)[value].mean()
    grouped = units.groupby(list(by), sort=False)
    mean, count = grouped.mean(), grouped.count()
    half = stats.t.ppf(0.975, count - 1) * grouped.std() / count**0.5
    found = pd.DataFrame({value: mean, "lower": mean - half, "upper": mean + half})
    return found.reset_index()


def with_interval(value: float, lower: float, upper: float, form: str = ".2f") -> str:
    """Return a number and its interval as text, or the number alone where that is not known."""
    told, *ends = (format(number, form) for number in (value, lower, upper))
    return told if lower != lower else f"{told} [{', '.join(ends)}]"


def paragraphs(*sentences: str) -> str:
    """Return sentences joined to a paragraph, without those that are empty."""
    return " ".join(sentence.strip() for sentence in sentences if sentence.strip())


def assemble(reports: str | os.PathLike[str], output: str | os.PathLike[str]) -> Path:
    """Write one page of all studies in a folder of reports: question, figures, findings, limits.

    The same as a PDF lies beside it.

    Parameters
    ----------
    reports : path-like
        The folder whose folders hold what scripts concluded.
    output : path-like
        The HTML file to write; self-contained.

    Raises
    ------
    FileNotFoundError
        When there is nothing to report.
    """
    from .report import Picture, Section, write_report
    from .report_pdf import write_pdf

    found = {path.parent.name: path for path in Path(reports).glob(f"*/{FINDINGS}")}
    if not found:
        raise FileNotFoundError(
            f"{reports} holds no findings; run the scripts in analyses/ first, or `make report`"
        )
    order = [*(name for name in ORDER if name in found), *sorted(set(found) - set(ORDER))]
    records = {name: json.loads(found[name].read_text(encoding="utf-8")) for name in order}
    answers = "\n\n".join(f"{r['title']}. {r['answer']}" for r in records.values())
    sections = [Section("The question", QUESTION), Section("In short", answers)]
    settings = {}
    for name, record in records.items():
        text = f"{record['question']}\n\n{record['answer']}"
        pictures = [
            Picture(found[name].parent / figure["file"], caption=figure["caption"])
            for figure in record["figures"]
        ]
        details = f"{record['shows']}\n\nLimits: {record['limits']}"
        sections.append(Section(record["title"], text, pictures, details=details))
        settings[name] = {"settings": record["settings"], "tables": record["tables"]}
    write_pdf(Path(output).with_suffix(".pdf"), TITLE, sections, settings)
    return write_report(output, TITLE, sections, settings)


TITLE = "Why does a modern CNN beat HMAX, and what do Gram matrices know?"
QUESTION = (
    "Convolutional networks trained to recognise objects hold a model of texture and of style: "
    "match the Gram matrices of their layers and a new texture appears. In plan they are much "
    "like the Neocognitron and HMAX of decades before, and perform far better. Which difference "
    "makes the difference? The studies below put these models, and simpler ones, to the same "
    "tests, on stimuli that the package makes itself.\n\n"
    "Every figure is the output of a script in analyses/ and can be made again, on other models "
    "and with other seeds; the numbers that are plotted lie beside it as CSV."
)
# Studies in the order of the argument; others follow by name.
ORDER: Sequence[str] = (
    "performance_gap",
    "tolerance",
    "ablations",
    "it_geometry",
    "model_similarity",
    "object_information",
    "naturalness",
    "texture_layers",
    "style_transfer_grid",
    "metamers",
    "controversial",
)
