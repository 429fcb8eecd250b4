"""Pages of the documentation as programs: their blocks, run in order in one folder."""

import contextlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', re.MULTILINE | re.DOTALL)
RUN = ("python", "sh")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, the file it stands for or "", and its text."""

    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    return [Block(*found) for found in BLOCK.findall(page.read_text(encoding="utf-8"))]


def runs(page: Path) -> bool:
    """Return whether a page has blocks to run: `python`, or `sh` for the command line.

    Blocks in other languages (`py`, `console`) are shown and not run.
    """
    return any(block.language in RUN for block in blocks(page))


def pictures(page: Path) -> list[str]:
    """Return the names of the files in the folder `pictures` beside a page that it shows."""
    return re.findall(r"\]\(pictures/([^)]+)\)", page.read_text(encoding="utf-8"))


def run(page: Path, folder: Path) -> None:
    """Run a page: a block with a title is written to that file, the others are executed."""
    names: dict[str, object] = {}
    with contextlib.chdir(folder):
        for block in blocks(page):
            if block.title:
                Path(block.title).write_text(block.text, encoding="utf-8")
            elif block.language == "python":
                exec(compile(block.text, page.name, "exec"), names)
            elif block.language == "sh":
                _run_commands(block.text)


def _run_commands(text: str) -> None:
    from typer.testing import CliRunner

    from cnnperception.cli import app

    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        assert words[0] == "cnnperception", f"only the command line is run, not {words[0]!r}"
        result = CliRunner().invoke(app, words[1:])
        assert result.exit_code == 0, f"{line}\n{result.output}"
