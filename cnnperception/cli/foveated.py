"""The command that makes metamers of peripheral vision."""

from __future__ import annotations

from typing import Annotated

import typer

from . import arguments
from .arguments import (
    Animation,
    Device,
    Layers,
    LossCurve,
    Memory,
    ModelName,
    ModelSeed,
    Output,
    Pooling,
    Precision,
    Preview,
    Quiet,
    Seconds,
    Seed,
    Weights,
)


def foveated(
    image: Annotated[str, typer.Argument(help="Image file, or the name of a built-in one.")],
    output: Output,
    model: ModelName = "random-filters",
    weights: Weights = None,
    pooling: Pooling = None,
    model_seed: ModelSeed = None,
    layers: Layers = None,
    size: Annotated[
        int | None, typer.Option(help="Longer side in pixels; above 256 it is reduced by default.")
    ] = None,
    fixation: Annotated[
        str | None,
        typer.Option(help="x,y in pixels of the result, from its top left; the middle by default."),
    ] = None,
    scaling: Annotated[
        float, typer.Option(help="Width of a region / its distance from the fixation.")
    ] = 0.5,
    fovea: Annotated[
        float | None,
        typer.Option(help="Radius that is kept, in pixels; a sixteenth of the shorter side."),
    ] = None,
    statistic: Annotated[str, typer.Option(help="gram or whitened-gram.")] = "gram",
    start: Annotated[
        str | None, typer.Option(help="Image to begin with, in place of noise.")
    ] = None,
    evaluations: Annotated[int, typer.Option(help="Of the model.")] = 400,
    preview: Preview = None,
    animation: Animation = None,
    loss_curve: LossCurve = None,
    precision: Precision = "auto",
    seconds: Seconds = None,
    memory: Memory = None,
    seed: Seed = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Scramble an image the more, the farther it is from where an observer looks.

    Interrupted with Ctrl-C, it keeps the best image so far; the same command goes on from there.

    Example: cnnperception foveated chelsea -o out.png --size 192 --fixation 96,60
    """
    from ..synthesis import foveated_metamer

    with arguments.running(
        output,
        preview=preview,
        animation=animation,
        loss_curve=loss_curve,
        precision=precision,
        seconds=seconds,
        memory=memory,
        quiet=quiet,
    ) as running:
        result = foveated_metamer(
            arguments.picture(image, size, at_most=256),
            model=arguments.load(model, weights, pooling, model_seed, device),
            layers=arguments.split(layers),
            fixation=None if fixation is None else _point(fixation),
            scaling=scaling,
            fovea=fovea,
            statistic=statistic,
            start=None if start is None else arguments.picture(start, size, at_most=256),
            evaluations=evaluations,
            seed=seed,
            **running,
        )
        arguments.write([result], output)
    arguments.draw_losses(result, loss_curve)
    for layer, distance in result.provenance["distances"].items():
        typer.echo(f"{layer}: {distance['to_start']:.2g} of the start's distance", err=True)
    arguments.tell([result], output)


def _point(text: str) -> tuple[float, float]:
    """Return (y, x) of a text "x,y"."""
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"fixation is x,y in pixels, like 96,60; got {text!r}") from None
    return y, x
