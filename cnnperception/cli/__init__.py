"""The command line: each command mirrors a Python function."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from . import analysis, controversial, foveated, overview, synthesis
from .arguments import explained

app = typer.Typer(
    name="cnnperception",
    help="Make stimuli from the layers of vision models, and compare what the models represent.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

COMMANDS: dict[str, Callable[..., None]] = {
    "demo": overview.demo,
    "models": overview.models,
    "presets": overview.presets,
    "texture": synthesis.texture,
    "style": synthesis.style,
    "metamer": synthesis.metamer,
    "foveated": foveated.foveated,
    "controversial": controversial.controversial,
    "stimuli": synthesis.stimulus_set,
    "extract": analysis.extract,
    "rsa": analysis.rsa,
    "report": overview.report,
}
for name, command in COMMANDS.items():
    app.command(name)(explained(command))


def main() -> None:
    """Run the command line."""
    # A reader that closes early (`| head`) is no error of ours.
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()
