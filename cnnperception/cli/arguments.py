"""What the commands share: the types of their options, and from these to our objects."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer

if TYPE_CHECKING:
    from torch import Tensor

    from ..models import VisionModel
    from ..synthesis import SynthesisResult
    from ..synthesis.procedure import Procedure
    from ..synthesis.run import Running

Parameters = ParamSpec("Parameters")
INTERRUPTED = 130


Output = Annotated[Path, typer.Option("--output", "-o", help="File or folder to write.")]
ModelName = Annotated[str, typer.Option("--model", help="As `cnnperception models` lists them.")]
Weights = Annotated[
    str | None,
    typer.Option(help="torchvision networks: DEFAULT, none (random), or the path of a file."),
]
Pooling = Annotated[str | None, typer.Option(help="torchvision networks: max or avg.")]
ModelSeed = Annotated[int | None, typer.Option(help="Seed of random weights.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Layers = Annotated[str | None, typer.Option(help="Names, groups or patterns, separated by commas.")]
Seed = Annotated[int, typer.Option(help="Of every random choice.")]
Statistic = Annotated[
    str | None,
    typer.Option(
        help="whitened-gram by default, gram (Gatys et al.), balanced-gram, mean-covariance, "
        "sliced-wasserstein ..."
    ),
]
PresetName = Annotated[
    str, typer.Option("--preset", help="A paper to the letter; `cnnperception presets` lists them.")
]
PresetModel = Annotated[
    str | None,
    typer.Option("--model", help="random-filters, or the preset's, when left out."),
]
Preview = Annotated[
    Path | None, typer.Option(help="Image file that shows the best so far, while it runs.")
]
Animation = Annotated[Path | None, typer.Option(help="Film of the optimisation: .gif or .mp4.")]
LossCurve = Annotated[Path | None, typer.Option(help="Figure of the losses: .png, and .pdf.")]
Precision = Annotated[
    str, typer.Option(help="auto, float32, or mixed: bfloat16, at last of changes alone.")
]
Seconds = Annotated[float | None, typer.Option(help="Stop after this time.")]
Memory = Annotated[
    float | None, typer.Option(help="GiB that may be used; most of what is free by default.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
Skip = Annotated[bool, typer.Option(help="Leave out stimuli that cannot be read.")]


def explained(command: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Turn the errors a user can do something about into one line and exit status 1."""

    @functools.wraps(command)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except BrokenPipeError:
            # An OSError that is no fault: the reader has closed, as `head` does.
            raise
        except (ValueError, OSError, FloatingPointError, ImportError, MemoryError) as error:
            typer.secho(f"error: {error}", err=True, fg="red")
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            typer.secho("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None

    return wrapper


def load(
    name: str, weights: str | None, pooling: str | None, seed: int | None, device: str
) -> VisionModel:
    from ..models import load_model

    return load_model(name, device=device, **_options(name, weights, pooling, seed))


def load_for(
    preset: Procedure,
    name: str | None,
    weights: str | None,
    pooling: str | None,
    seed: int | None,
    device: str,
) -> VisionModel:
    """Return the model asked for, or the one of a preset, with the options asked for."""
    network = preset.network
    if network is None or name not in (None, network.name):
        return load(name or "random-filters", weights, pooling, seed, device)
    return network.load(device=device, **_options(network.name, weights, pooling, seed))


def _options(
    name: str, weights: str | None, pooling: str | None, seed: int | None
) -> dict[str, Any]:
    from ..models.registry import EMBEDDED, NETWORKS

    options: dict[str, Any] = {"seed": seed}
    # Weights and pooling are a matter of networks alone.
    if name not in EMBEDDED or name in NETWORKS:
        options |= {"weights": weights, "pooling": pooling}
    given = {key: value for key, value in options.items() if value is not None}
    if given.get("weights", "").lower() == "none":
        given["weights"] = None
    return given


def picture(source: str, size: int | None, at_most: int | None = None) -> Tensor:
    from .. import images, stimuli

    if size is not None and size < 1:
        raise ValueError(f"size must be 1 or more; got {size}")
    if not Path(source).exists() and source in stimuli.list_exemplars():
        picture = stimuli.exemplar(source)
    else:
        picture = images.read(source)
    longest = max(picture.shape[-2:])
    if size is None and at_most is not None and longest > at_most:
        size = at_most
    return picture if size is None else images.resize(picture, size)


def split(names: str | None) -> list[str] | None:
    return None if names is None else [name.strip() for name in names.split(",") if name.strip()]


def size(text: str | None) -> int | tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text.strip())
    if not match:
        raise ValueError(
            f"size must be a side or HEIGHTxWIDTH in pixels, like 256x384; got {text!r}"
        )
    height = int(match[1])
    return height if match[2] is None else (height, int(match[2]))


def numbers(text: str | None) -> list[float] | None:
    """Return the numbers of a text like "0.7,0.3"."""
    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"weights are numbers separated by commas, like 0.7,0.3; got {text!r}"
        ) from None


def exemplar(source: str, size: int | None, preset: Procedure) -> Tensor:
    """Return a picture at a size, by default that of the preset's pictures or 512 at most."""
    from ..synthesis.presets import sized

    if size is None and preset.pixels is not None:
        return sized(preset, picture(source, None))
    return picture(source, size, at_most=512)


def mask(path: Path | None, size: int | None, preset: Procedure) -> Tensor | None:
    """Return what of an exemplar counts, (height, width): what is lighter than mid-grey."""
    return None if path is None else exemplar(str(path), size, preset)[0].amax(dim=0) > 0.5


def masks(content: Path | None, style: Path | None) -> tuple[Tensor, Tensor] | None:
    """Return the regions of a photograph and of a painting."""
    from ..synthesis.guidance import read_labels

    if content is None or style is None:
        return None
    return read_labels(content), read_labels(style)


def checkpoint(output: Path) -> Path:
    return output.with_name(f"{output.name}.checkpoint")


def write(results: Sequence[SynthesisResult], output: Path) -> None:
    """Write images; several get their seeds into their names: out.png has out-0.png ..."""
    from ..images import write

    for result in results:
        write(_name_of(result, results, output), result.image, result.provenance)


def _name_of(result: SynthesisResult, results: Sequence[SynthesisResult], output: Path) -> Path:
    if len(results) == 1:
        return output
    return output.with_name(f"{output.stem}-{result.provenance['seed']}{output.suffix}")


def tell(results: Sequence[SynthesisResult], output: Path) -> None:
    """Say what was written, and end with the code of interruptions where one was.

    Raises
    ------
    typer.Exit
        After an interruption.
    """
    for result in results:
        tell_preset(result)
        losses = result.final_losses()
        typer.echo(", ".join(f"{term} {loss:.2g}" for term, loss in losses.items()), err=True)
        typer.echo(_name_of(result, results, output))
    if not all(result.finished for result in results):
        typer.secho(
            "interrupted: this is the best image so far; the same command goes on from here",
            err=True,
        )
        raise typer.Exit(INTERRUPTED)


def tell_preset(result: SynthesisResult) -> None:
    """Say in what a result differs from the preset it was made with, where one was named."""
    from ..synthesis.overrides import summary
    from ..synthesis.presets import DEFAULT

    record = result.provenance.get("preset")
    if record is not None and record["name"] != DEFAULT:
        typer.echo(summary(record), err=True)


@contextlib.contextmanager
def running(
    output: Path,
    *,
    preview: Path | None,
    animation: Path | None,
    loss_curve: Path | None,
    precision: str,
    seconds: float | None,
    memory: float | None,
    quiet: bool,
) -> Iterator[Running]:
    """Give what `synthesize` is run with; an animation is written when the block ends.

    Write the picture inside the block: whatever fails later, it is there.
    """
    from ..files import check_target
    from ..images import check_writable
    from ..synthesis.watching import Animation as Film
    from ..synthesis.watching import Preview as Window
    from ..synthesis.watching import watchers

    check_writable(output)
    if loss_curve is not None and loss_curve.suffix.lower() not in (".png", ".pdf"):
        raise ValueError(f"the loss curve is written as .png and .pdf; got {loss_curve.name}")
    for path in (output, preview, animation, loss_curve):
        if path is not None:
            check_target(path)
    with contextlib.ExitStack() as films:
        watch = [] if preview is None else [films.enter_context(Window(preview))]
        film = [] if animation is None else [films.enter_context(Film(animation))]
        yield {
            "progress": not quiet,
            "checkpoint": checkpoint(output),
            "precision": precision,
            "seconds": seconds,
            "memory": None if memory is None else int(memory * 2**30),
            "watch": watchers(*watch, *film) if watch or film else None,
        }


def draw_losses(result: SynthesisResult, path: Path | None) -> None:
    """Write the figure of the losses, where one was asked for."""
    if path is not None:
        from .. import figures

        figures.save(figures.loss_curves(result.losses), path)
