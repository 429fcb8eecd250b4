"""Commands that make images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import arguments
from .arguments import (
    Device,
    Layers,
    ModelName,
    ModelSeed,
    Output,
    Pooling,
    Quiet,
    Seed,
    Statistic,
    Weights,
)


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
    from ..images import check_writable
    from ..synthesis import texture as synthesise

    check_writable(output)
    result = synthesise(
        arguments.picture(exemplar, exemplar_size, at_most=512),
        model=arguments.load(model, weights, pooling, model_seed, device),
        layers=arguments.split(layers),
        size=arguments.size(size),
        statistic=statistic,
        evaluations=evaluations,
        tileable=tileable,
        seed=seed,
        progress=not quiet,
        checkpoint=arguments.checkpoint(output),
    )
    arguments.write(result, output)


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
    from ..images import check_writable
    from ..synthesis import stylize

    check_writable(output)
    result = stylize(
        arguments.picture(content, size),
        arguments.picture(painting, None, at_most=2 * size),
        model=arguments.load(model, weights, pooling, model_seed, device),
        content_layers=arguments.split(content_layers),
        style_layers=arguments.split(style_layers),
        content_weight=content_weight,
        style_scale=style_scale,
        statistic=statistic,
        start=start,
        evaluations=evaluations,
        seed=seed,
        progress=not quiet,
        checkpoint=arguments.checkpoint(output),
    )
    arguments.write(result, output)


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
    from ..images import check_writable
    from ..synthesis import metamer as synthesise

    check_writable(output)
    result = synthesise(
        arguments.picture(image, size, at_most=256),
        arguments.load(model, weights, pooling, model_seed, device),
        arguments.split(layers) or [],
        start=None if start is None else arguments.picture(start, size, at_most=256),
        evaluations=evaluations,
        coarsest=coarsest,
        seed=seed,
        progress=not quiet,
        checkpoint=arguments.checkpoint(output),
    )
    for layer, distance in result.provenance["distances"].items():
        typer.echo(f"{layer}: {distance['to_start']:.2g} of the start's distance", err=True)
    arguments.write(result, output)


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
    from ..stimulus_sets import SHEET, TABLE, make_stimulus_set

    table = make_stimulus_set(config, output, device=device, progress=not quiet)
    typer.echo(f"{len(table)} pictures")
    typer.echo(output / TABLE)
    typer.echo(output / f"{SHEET}.png")
