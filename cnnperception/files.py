"""Files written whole or not at all, and what they contain, by hash."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

# As `atomic_path` has tempfile name them.
_TEMPORARY = re.compile(r"\.(?P<stem>.+)\.[a-z0-9_]{8}(?P<suffix>(\.[^.]+)?)")


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path` that takes its place when the block ends well.

    An error inside the block removes the temporary file and leaves `path` as it was. The
    temporary name keeps the suffix, so that writers which choose a format by it still can.

    Parameters
    ----------
    path : path-like
        The file to write. Its folder is made when it does not exist.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    IsADirectoryError
        When `path` is an existing folder.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; give the name of a file to write")
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(
        dir=target.parent, prefix=f".{target.stem}.", suffix=target.suffix
    )
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; a result should be as readable as any other new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def check_target(path: str | os.PathLike[str]) -> None:
    """Raise unless a file can be written under this name, before what it is to hold is made.

    Raises
    ------
    IsADirectoryError, NotADirectoryError, PermissionError
        When it is a folder, or is to be in something that is none or cannot be written to.
    """
    target = Path(path).absolute()
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file to write")
    there = next(parent for parent in target.parents if parent.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: {there} is no folder")
    if not os.access(there, os.W_OK):
        raise PermissionError(f"{path} cannot be written: nothing can be written to {there}")


def remove_leftovers(folder: str | os.PathLike[str], names: Collection[str]) -> None:
    """Remove the temporary files that killed writes of files of these names left in a folder."""
    for path in Path(folder).glob(".*"):
        found = _TEMPORARY.fullmatch(path.name)
        if found and found["stem"] + found["suffix"] in names:
            path.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write a mapping as indented JSON, atomically; NumPy scalars and paths become plain."""
    write_text(path, json_text(content) + "\n")


def json_text(content: Mapping[str, Any]) -> str:
    """Return a mapping as indented JSON; NumPy arrays and scalars and paths become plain."""
    return json.dumps(content, indent=2, default=_plain)


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)
