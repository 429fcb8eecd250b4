"""The command that makes images on which two models disagree."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import arguments
from .arguments import (
    Animation,
    Device,
    LossCurve,
    Memory,
    Output,
    Preview,
    Quiet,
    Seconds,
    Seed,
)

LAYERS = "Names, groups or patterns, separated by commas."
WEIGHTS = "DEFAULT, none (random), or the path of a file."


def controversial(
    image: Annotated[str, typer.Argument(help="Image file, or the name of a built-in one.")],
    output: Output,
    hold_layers: Annotated[str, typer.Option(help=LAYERS)],
    drive_layers: Annotated[str, typer.Option(help=LAYERS)],
    hold: Annotated[str, typer.Option(help="Model to which it stays the same.")] = "hmax",
    drive: Annotated[
        str, typer.Option(help="Model to which it becomes another one.")
    ] = "objects-vgg",
    hold_weights: Annotated[str | None, typer.Option(help=WEIGHTS)] = None,
    drive_weights: Annotated[str | None, typer.Option(help=WEIGHTS)] = None,
    hold_pooling: Annotated[str | None, typer.Option(help="max or avg.")] = None,
    drive_pooling: Annotated[str | None, typer.Option(help="max or avg.")] = None,
    hold_model_seed: Annotated[int | None, typer.Option(help="Of random weights.")] = None,
    drive_model_seed: Annotated[int | None, typer.Option(help="Of random weights.")] = None,
    both: Annotated[
        bool, typer.Option(help="A second image, NAME-reversed, with the roles exchanged.")
    ] = False,
    size: Annotated[
        int | None, typer.Option(help="Longer side in pixels; above 256 it is reduced by default.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Largest distance of a held layer, relative to its spread.")
    ] = 0.1,
    luminance: Annotated[bool, typer.Option(help="Change the three channels alike.")] = False,
    evaluations: Annotated[int, typer.Option(help="Of each model.")] = 400,
    table: Annotated[Path | None, typer.Option(help="CSV file of the distances.")] = None,
    preview: Preview = None,
    animation: Animation = None,
    loss_curve: LossCurve = None,
    seconds: Seconds = None,
    memory: Memory = None,
    seed: Seed = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Change an image so that one model sees the same and another model something else.

    Interrupted with Ctrl-C, it keeps the best image so far; the same command goes on from there.

    Example: cnnperception controversial chelsea -o out.png --size 96 --hold hmax
    --hold-layers c2 --drive objects-vgg --drive-layers average --both
    """
    import pandas as pd

    from .. import images
    from ..files import atomic_path, check_target
    from ..synthesis import controversial as synthesise

    if table is not None:
        check_target(table)
    with arguments.running(
        output,
        preview=preview,
        animation=animation,
        loss_curve=loss_curve,
        precision="float32",
        seconds=seconds,
        memory=memory,
        quiet=quiet,
    ) as running:
        result = synthesise(
            arguments.picture(image, size, at_most=256),
            arguments.load(hold, hold_weights, hold_pooling, hold_model_seed, device),
            arguments.split(hold_layers) or [],
            arguments.load(drive, drive_weights, drive_pooling, drive_model_seed, device),
            arguments.split(drive_layers) or [],
            both=both,
            tolerance=tolerance,
            luminance=luminance,
            evaluations=evaluations,
            seed=seed,
            **running,
        )
        arguments.write([result], output)
        if both:
            images.write(reversed_name(output), result.images[1], result.provenance)
    arguments.draw_losses(result, loss_curve)
    distances = pd.DataFrame(result.provenance["distances"])
    typer.echo(distances.to_string(index=False, float_format="%.3g"), err=True)
    if table is not None:
        with atomic_path(table) as path:
            distances.to_csv(path, index=False)
    if both:
        typer.echo(reversed_name(output))
    arguments.tell([result], output)


def reversed_name(output: Path) -> Path:
    """Return the name of the second image: out.png has out-reversed.png."""
    return output.with_name(f"{output.stem}-reversed{output.suffix}")
