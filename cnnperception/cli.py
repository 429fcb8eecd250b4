"""The command line: each command mirrors a Python function."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer

if TYPE_CHECKING:
    import xarray as xr
    from torch import Tensor

    from .models import VisionModel
    from .stimuli import StimulusSet
    from .synthesis import SynthesisResult

Parameters = ParamSpec("Parameters")
INTERRUPTED = 130

app = typer.Typer(
    name="cnnperception",
    help="Make stimuli from the layers of vision models, and compare what the models represent.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

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
Statistic = Annotated[str, typer.Option(help="whitened-gram or gram (Gatys et al.).")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
Skip = Annotated[bool, typer.Option(help="Leave out stimuli that cannot be read.")]


def _explained(command: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Turn the errors a user can do something about into one line and exit status 1."""

    @functools.wraps(command)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (ValueError, OSError, FloatingPointError, ImportError) as error:
            typer.secho(f"error: {error}", err=True, fg="red")
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            typer.secho("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None

    return wrapper


@app.command()
@_explained
def demo(
    output: Output = Path("reports/demo"),
    device: Device = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Run the whole path on built-in pictures, offline, and write a report.

    Example: cnnperception demo
    """
    from .demo import run_demo

    typer.echo(run_demo(output, device=device, seed=seed, progress=not quiet))


@app.command()
@_explained
def models(
    name: Annotated[str | None, typer.Argument(help="Show the layers of this model.")] = None,
    weights: Weights = None,
    pooling: Pooling = None,
) -> None:
    """List the models, or the layers of one.

    Example: cnnperception models hmax
    """
    from .models import list_models

    if name is None:
        for row in list_models().itertuples():
            typer.echo(f"{row.name:32s} {row.description}")
        return
    # The layers do not depend on the weights, so none need to be downloaded to list them.
    model = _model(name, weights or "none", pooling, None, "cpu")
    for layer in model.layers:
        typer.echo(layer)
    for purpose, layers in model.recommended.items():
        typer.echo(f"recommended for {purpose}: {', '.join(layers)}", err=True)


@app.command()
@_explained
def texture(
    exemplar: Annotated[str, typer.Argument(help="Image file, or the name of a built-in one.")],
    output: Output,
    model: ModelName = "random-filters",
    weights: Weights = None,
    pooling: Pooling = None,
    model_seed: ModelSeed = None,
    layers: Layers = None,
    size: Annotated[str | None, typer.Option(help="Side, or HEIGHTxWIDTH, in pixels.")] = None,
    exemplar_size: Annotated[
        int | None,
        typer.Option(help="Longer side of the exemplar; larger than 512 is reduced by default."),
    ] = None,
    statistic: Statistic = "whitened-gram",
    evaluations: Annotated[int, typer.Option(help="Of the model, over all levels.")] = 400,
    tileable: Annotated[bool, typer.Option(help="Opposite borders join without a seam.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Synthesise a new image with the texture of an exemplar.

    Interrupted with Ctrl-C, it keeps the best image so far; the same command goes on from there.

    Example: cnnperception texture brick -o brick.png --size 256
    """
    from .images import check_writable
    from .synthesis import texture as synthesise

    check_writable(output)
    result = synthesise(
        _picture(exemplar, exemplar_size, at_most=512),
        model=_model(model, weights, pooling, model_seed, device),
        layers=_split(layers),
        size=_size(size),
        statistic=statistic,
        evaluations=evaluations,
        tileable=tileable,
        seed=seed,
        progress=not quiet,
        checkpoint=_checkpoint(output),
    )
    _write(result, output)


@app.command()
@_explained
def style(
    content: Annotated[str, typer.Argument(help="Photograph: a file, or a built-in name.")],
    painting: Annotated[str, typer.Argument(help="Painting: a file, or a built-in name.")],
    output: Output,
    model: ModelName = "random-filters",
    weights: Weights = None,
    pooling: Pooling = None,
    model_seed: ModelSeed = None,
    content_layers: Layers = None,
    style_layers: Layers = None,
    content_weight: Annotated[float, typer.Option(help="More keeps more of the scene.")] = 0.05,
    style_scale: Annotated[float, typer.Option(help="Size of the strokes.")] = 1.0,
    size: Annotated[int, typer.Option(help="Longer side of the result, in pixels.")] = 512,
    statistic: Statistic = "whitened-gram",
    start: Annotated[str, typer.Option(help="content or noise.")] = "content",
    evaluations: Annotated[int, typer.Option(help="Of the model, over all levels.")] = 250,
    seed: Seed = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Redraw a photograph in the style of a painting.

    Interrupted with Ctrl-C, it keeps the best image so far; the same command goes on from there.

    Example: cnnperception style photo.jpg painting.jpg -o out.png
    """
    from .images import check_writable
    from .synthesis import stylize

    check_writable(output)
    result = stylize(
        _picture(content, size),
        _picture(painting, None, at_most=2 * size),
        model=_model(model, weights, pooling, model_seed, device),
        content_layers=_split(content_layers),
        style_layers=_split(style_layers),
        content_weight=content_weight,
        style_scale=style_scale,
        statistic=statistic,
        start=start,
        evaluations=evaluations,
        seed=seed,
        progress=not quiet,
        checkpoint=_checkpoint(output),
    )
    _write(result, output)


@app.command()
@_explained
def metamer(
    image: Annotated[str, typer.Argument(help="Image file, or the name of a built-in one.")],
    output: Output,
    layers: Annotated[str, typer.Option(help="Names, groups or patterns, separated by commas.")],
    model: ModelName = "hmax",
    weights: Weights = None,
    pooling: Pooling = None,
    model_seed: ModelSeed = None,
    size: Annotated[
        int | None, typer.Option(help="Longer side in pixels; above 256 it is reduced by default.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Image to begin with, in place of noise.")
    ] = None,
    evaluations: Annotated[int, typer.Option(help="Of the model, over all levels.")] = 800,
    coarsest: Annotated[
        int, typer.Option(help="Side from which sizes grow; that of the image: no growing.")
    ] = 32,
    seed: Seed = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Make another image to which layers of a model respond as they do to this one.

    Interrupted with Ctrl-C, it keeps the best image so far; the same command goes on from there.

    Example: cnnperception metamer chelsea --model hmax --layers c2 -o out.png
    """
    from .images import check_writable
    from .synthesis import metamer as synthesise

    check_writable(output)
    result = synthesise(
        _picture(image, size, at_most=256),
        _model(model, weights, pooling, model_seed, device),
        _split(layers) or [],
        start=None if start is None else _picture(start, size, at_most=256),
        evaluations=evaluations,
        coarsest=coarsest,
        seed=seed,
        progress=not quiet,
        checkpoint=_checkpoint(output),
    )
    for layer, distance in result.provenance["distances"].items():
        typer.echo(f"{layer}: {distance['to_start']:.2g} of the start's distance", err=True)
    _write(result, output)


@app.command()
@_explained
def extract(
    stimuli: Annotated[Path, typer.Argument(help="Folder of images.")],
    output: Output,
    model: ModelName = "hmax",
    weights: Weights = None,
    pooling: Pooling = None,
    model_seed: ModelSeed = None,
    layers: Layers = None,
    size: Annotated[str | None, typer.Option(help="Resize to HEIGHTxWIDTH, or a side.")] = None,
    readout: Annotated[
        str, typer.Option(help="full, mean, gram, projection, pca; or by layer: c1=mean,c2=full.")
    ] = "full",
    batch_size: Annotated[int | None, typer.Option(help="Chosen by itself when left out.")] = None,
    skip_unreadable: Skip = False,
    overwrite: Annotated[bool, typer.Option(help="Replace a store of other settings.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Store the activations of a model's layers as .zarr or .nc; a killed run resumes.

    Example: cnnperception extract pictures/ -o hmax.zarr --model hmax --layers c1,c2 --size 224
    """
    from .activations import extract as run

    pictures, _ = _stimuli(stimuli)
    tree = run(
        _model(model, weights, pooling, model_seed, device),
        pictures,
        layers=_split(layers),
        size=_size(size),
        batch_size="auto" if batch_size is None else batch_size,
        readout=_readout(readout),
        store=output,
        skip_unreadable=skip_unreadable,
        overwrite=overwrite,
        seed=seed,
        progress=not quiet,
    )
    for node in tree.leaves:
        shape = dict(node["activations"].sizes)
        typer.echo(f"{node.path.strip('/'):24s} {shape}")
    typer.echo(output)


@app.command("stimuli")
@_explained
def stimulus_set(
    config: Annotated[Path, typer.Argument(help="TOML file that describes the set.")],
    output: Output = Path("stimuli"),
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Make a whole set of textures and control stimuli, with a table and a contact sheet.

    Interrupt and run again: only what is missing is made.

    Example: cnnperception stimuli experiment.toml -o stimuli/
    """
    from .stimulus_sets import SHEET, TABLE, make_stimulus_set

    table = make_stimulus_set(config, output, device=device, progress=not quiet)
    typer.echo(f"{len(table)} pictures")
    typer.echo(output / TABLE)
    typer.echo(output / f"{SHEET}.png")


@app.command()
@_explained
def rsa(
    stimuli: Annotated[
        Path, typer.Argument(help="Folder of images, or of the 92-image data set's files.")
    ],
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Give it once for each model.")
    ] = None,
    activations: Annotated[
        list[Path] | None,
        typer.Option(help="Stored activations to compare as well; give it once for each store."),
    ] = None,
    output: Output = Path("reports/rsa"),
    weights: Weights = None,
    pooling: Pooling = None,
    model_seed: ModelSeed = None,
    layers: Layers = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="RDMs to compare with, each a subject: .csv, .npy, .npz, .nc, .h5"),
    ] = None,
    size: Annotated[str | None, typer.Option(help="Resize to HEIGHTxWIDTH, or a side.")] = None,
    metric: Annotated[str, typer.Option(help="correlation, euclidean, cosine.")] = "correlation",
    method: Annotated[
        str, typer.Option(help="spearman, corr, cosine, rho-a, tau-a, corr_cov ...")
    ] = "spearman",
    bootstrap: Annotated[
        str, typer.Option(help="What tests resample: dual, both, stimuli, subjects, none, auto.")
    ] = "auto",
    n_boot: Annotated[int, typer.Option(help="Number of resamples.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the resamples.")] = 0,
    skip_unreadable: Skip = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Compare models by the similarity of their representations, with each other and with data.

    With several models, --weights, --pooling and --model-seed go to the torchvision networks.

    Example: cnnperception rsa pictures/ --model hmax --model random-filters --size 128
    """
    from .recipes import run_rsa

    pictures, brains = _stimuli(stimuli)
    if data:
        brains = _read_rdms(data, pictures)
    loaded = [_model(name, weights, pooling, model_seed, device) for name in model or []]
    table, report = run_rsa(
        loaded,
        pictures,
        output,
        activations=activations or [],
        data=brains,
        layers=_split(layers),
        size=_size(size),
        metric=metric,
        method=method,
        bootstrap=None if bootstrap.lower() == "none" else bootstrap,
        n_boot=n_boot,
        seed=seed,
        skip_unreadable=skip_unreadable,
        progress=not quiet,
    )
    typer.echo(table.to_string())
    typer.echo(report)


def _model(
    name: str, weights: str | None, pooling: str | None, seed: int | None, device: str
) -> VisionModel:
    from .models import load_model
    from .models.registry import EMBEDDED

    options: dict[str, Any] = {"seed": seed}
    if name not in EMBEDDED:  # weights and pooling are a matter of networks alone
        options |= {"weights": weights, "pooling": pooling}
    given = {key: value for key, value in options.items() if value is not None}
    if given.get("weights", "").lower() == "none":
        given["weights"] = None
    return load_model(name, device=device, **given)


def _picture(source: str, size: int | None, at_most: int | None = None) -> Tensor:
    from . import images, stimuli

    if not Path(source).exists() and source in stimuli.list_exemplars():
        picture = stimuli.exemplar(source)
    else:
        picture = images.read(source)
    longest = max(picture.shape[-2:])
    if size is None and at_most is not None and longest > at_most:
        size = at_most
    return picture if size is None else images.resize(picture, size)


def _stimuli(path: Path) -> tuple[StimulusSet, xr.DataArray | None]:
    from . import datasets
    from .stimuli import StimulusSet

    if path.suffix == ".mat" or (path / datasets.IMAGES_FILE).exists():
        return datasets.load_92images(path)
    return StimulusSet.from_folder(path), None


def _read_rdms(paths: list[Path], stimuli: StimulusSet) -> xr.DataArray:
    import xarray as xr

    from . import rsa

    stacks = [rsa.read_rdms(path, list(stimuli.ids)) for path in paths]
    kept = {"rdm", "subject", "stimulus_a", "stimulus_b"}
    plain = [s.drop_vars([name for name in s.coords if name not in kept]) for s in stacks]
    return xr.concat(plain, dim="rdm", join="exact") if len(plain) > 1 else plain[0]


def _split(names: str | None) -> list[str] | None:
    return None if names is None else [name.strip() for name in names.split(",") if name.strip()]


def _readout(text: str) -> str | dict[str, str]:
    if "=" not in text:
        return text
    pairs = [part.partition("=") for part in _split(text) or []]
    return {layer.strip(): name.strip() for layer, _, name in pairs}


def _size(text: str | None) -> int | tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text.strip())
    if not match:
        raise ValueError(
            f"size must be a side or HEIGHTxWIDTH in pixels, like 256x384; got {text!r}"
        )
    height = int(match[1])
    return height if match[2] is None else (height, int(match[2]))


def _checkpoint(output: Path) -> Path:
    return output.with_name(f"{output.name}.checkpoint")


def _write(result: SynthesisResult, output: Path) -> None:
    from .images import write

    write(output, result.image, result.provenance)
    losses = result.final_losses()
    typer.echo(", ".join(f"{term} {loss:.2g}" for term, loss in losses.items()), err=True)
    typer.echo(output)
    if not result.finished:
        typer.secho(
            "interrupted: this is the best image so far; the same command goes on from here",
            err=True,
        )
        raise typer.Exit(INTERRUPTED)


def main() -> None:
    """Run the command line."""
    # A reader that closes early (`| head`) is no error of ours.
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()
