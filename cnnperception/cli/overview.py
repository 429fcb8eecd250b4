"""Commands that show what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import arguments
from .arguments import Device, Output, Pooling, Quiet, Seed, Weights


def demo(
    output: Output = Path("reports/demo"),
    device: Device = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Run the whole path on built-in pictures, offline, and write a report.

    Example: cnnperception demo
    """
    from ..demo import run_demo

    typer.echo(run_demo(output, device=device, seed=seed, progress=not quiet))


def models(
    name: Annotated[str | None, typer.Argument(help="Show the layers of this model.")] = None,
    weights: Weights = None,
    pooling: Pooling = None,
) -> None:
    """List the models, or the layers of one.

    Example: cnnperception models hmax
    """
    from ..models import list_models

    if name is None:
        for row in list_models().itertuples():
            typer.echo(f"{row.name:32s} {row.description}")
        return
    # The layers do not depend on the weights, so none need to be downloaded to list them.
    model = arguments.load(name, weights or "none", pooling, None, "cpu")
    for layer in model.layers:
        typer.echo(layer)
    for purpose, layers in model.recommended.items():
        typer.echo(f"recommended for {purpose}: {', '.join(layers)}", err=True)


def presets(
    name: Annotated[str | None, typer.Argument(help="Show the numbers of this preset.")] = None,
) -> None:
    """List the presets, which are papers to the letter, or the numbers of one.

    Example: cnnperception presets gatys2015
    """
    from ..synthesis.overrides import numbers
    from ..synthesis.presets import listed, named

    if name is None:
        for row in listed().itertuples():
            typer.echo(f"{row.name:18s} {row.task:15s} {row.paper}")
        return
    preset = named(name)
    typer.echo(f"{preset.name}: {preset.paper}")
    for setting, value in numbers(preset).items():
        typer.echo(f"{setting:16s} {value}")
    for note in preset.notes:
        typer.echo(f"- {note}")


def report(
    reports: Annotated[
        Path, typer.Option(help="Folder with what the scripts in analyses/ have written.")
    ] = Path("reports"),
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="HTML file; index.html in that folder.")
    ] = None,
) -> None:
    """Write one page of what all analyses have found: questions, figures, limits.

    Example: cnnperception report
    """
    from ..studies import assemble

    typer.echo(assemble(reports, output or reports / "index.html"))
