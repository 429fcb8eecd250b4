"""Stimulus sets: images with a table, and the pictures that scientific packages ship."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from . import images
from .files import sha256
from .labels import present

TABLE_FILE = "stimuli.csv"
FILE_COLUMNS = ("file", "filename", "image", "path", "stimulus_path")

# name: (package, file in its data folder, category)
EXEMPLARS: dict[str, tuple[str, str, str]] = {
    "brick": ("skimage", "data/brick.png", "texture"),
    "grass": ("skimage", "data/grass.png", "texture"),
    "gravel": ("skimage", "data/gravel.png", "texture"),
    "ihc": ("skimage", "data/ihc.png", "texture"),
    "hubble_deep_field": ("skimage", "data/hubble_deep_field.jpg", "scene"),
    "moon": ("skimage", "data/moon.png", "scene"),
    "rocket": ("skimage", "data/rocket.jpg", "scene"),
    "china": ("sklearn", "datasets/images/china.jpg", "scene"),
    "astronaut": ("skimage", "data/astronaut.png", "object"),
    "camera": ("skimage", "data/camera.png", "object"),
    "chelsea": ("skimage", "data/chelsea.png", "object"),
    "coffee": ("skimage", "data/coffee.png", "object"),
    "coins": ("skimage", "data/coins.png", "object"),
    "retina": ("skimage", "data/retina.jpg", "object"),
    "flower": ("sklearn", "datasets/images/flower.jpg", "object"),
}


@dataclasses.dataclass(frozen=True)
class StimulusSet:
    """Images in a fixed order, with stable ids and a table.

    Make one with `from_folder`, `from_files` or `from_arrays`. Files are read when an image is
    asked for, not before.

    Attributes
    ----------
    sources : tuple of Path or ndarray
        A file, or an array (height, width, 3), for each stimulus.
    table : DataFrame
        A row for each stimulus; the first column, `stimulus_id`, holds the ids.
    """

    sources: tuple[Path | np.ndarray, ...]
    table: pd.DataFrame

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("a stimulus set needs at least one image")
        if len(self.sources) != len(self.table):
            raise ValueError(
                f"the table has {len(self.table)} rows for {len(self.sources)} stimuli"
            )
        if "stimulus_id" not in self.table:
            raise ValueError("the table needs a column 'stimulus_id'")
        present(self.table["stimulus_id"], "stimulus ids")
        doubled = self.table["stimulus_id"][self.table["stimulus_id"].duplicated()]
        if len(doubled):
            raise ValueError(f"the stimulus id {doubled.iloc[0]!r} occurs more than once")
        columns = ["stimulus_id", *[c for c in self.table.columns if c != "stimulus_id"]]
        ordered = self.table[columns].reset_index(drop=True)
        object.__setattr__(self, "table", ordered.astype({"stimulus_id": str}))

    @classmethod
    def from_folder(
        cls, folder: str | os.PathLike[str], table: str | os.PathLike[str] | None = None
    ) -> StimulusSet:
        """Collect the images in a folder and the folders below it.

        Parameters
        ----------
        folder : path-like
            Hidden files and files that are no images are passed over. The ids are the paths
            below the folder without their ending, in natural order (im2 before im10).
        table : path-like, optional
            A CSV with a column that names the files (`file`, `filename`, `image` or `path`);
            `stimuli.csv` in the folder is taken by itself. Its rows give the order. Names of
            files and ids are text (001 is not 1), and of text only an empty cell is missing (a
            category may be called None). Without a table, the first folder level becomes the
            column `category`.

        Raises
        ------
        FileNotFoundError, NotADirectoryError
            For a missing folder or table.
        ValueError
            For a folder without images, or a table that names files that are not there.
        """
        root = Path(folder)
        if not root.exists():
            raise FileNotFoundError(f"{root}: there is no such folder")
        if not root.is_dir():
            raise NotADirectoryError(f"{root} is a file; give the folder of the images")
        listed = Path(table) if table is not None else root / TABLE_FILE
        if table is not None or listed.exists():
            return cls._from_table(root, listed)
        found = [
            path
            for path in root.rglob("*")
            if path.is_file() and images.is_image(path) and not _hidden(path.relative_to(root))
        ]
        if not found:
            raise ValueError(f"{root} holds no images ({', '.join(images.READABLE)})")
        relative = sorted((path.relative_to(root) for path in found), key=_natural)
        made = pd.DataFrame(
            {"stimulus_id": _ids(relative), "file": [path.as_posix() for path in relative]}
        )
        if any(len(path.parts) > 1 for path in relative):
            made["category"] = [path.parts[0] if len(path.parts) > 1 else "" for path in relative]
        return cls(tuple(root / path for path in relative), made)

    @classmethod
    def _from_table(cls, root: Path, path: Path) -> StimulusSet:
        if not path.exists():
            raise FileNotFoundError(f"{path}: there is no such table")
        names = pd.read_csv(path, nrows=0).columns
        column = next((name for name in FILE_COLUMNS if name in names), None)
        if column is None:
            raise ValueError(f"{path} needs a column that names the files: {FILE_COLUMNS}")
        table = _read_table(path, ["stimulus_id", column])
        relative = [Path(name) for name in present(table[column], f"names of files in {path}")]
        missing = [name for name in relative if not (root / name).exists()]
        if missing:
            raise ValueError(f"{path} names {missing[0]}, which is not in {root}")
        if "stimulus_id" not in table:
            table.insert(0, "stimulus_id", _ids(relative))
        return cls(tuple(root / name for name in relative), table)

    @classmethod
    def from_files(
        cls, files: Iterable[str | os.PathLike[str]], table: pd.DataFrame | None = None
    ) -> StimulusSet:
        """Collect image files in the order given; ids are the names, with folders on a clash."""
        paths = [Path(file) for file in files]
        names = [Path(path.name) for path in paths]
        labels = _ids(names if len(set(names)) == len(names) else paths)
        made = pd.DataFrame({"stimulus_id": labels, "file": [path.as_posix() for path in paths]})
        if table is not None:
            made = table if "stimulus_id" in table else table.assign(stimulus_id=labels)
        return cls(tuple(paths), made)

    @classmethod
    def from_arrays(
        cls,
        arrays: np.ndarray | Sequence[np.ndarray],
        ids: Sequence[str] | None = None,
        table: pd.DataFrame | None = None,
    ) -> StimulusSet:
        """Take images that are in memory.

        Parameters
        ----------
        arrays : ndarray (stimulus, height, width, 3), or a sequence of (height, width, 3)
            uint8, or floating point in [0, 1].
        ids : sequence of str, optional
            stimulus1, stimulus2 ... when left out.
        table : DataFrame, optional
            Further columns, a row for each stimulus.

        Raises
        ------
        ValueError
            For another shape or dtype, values outside [0, 1], or ids that do not fit in number.
        """
        pictures = tuple(np.asarray(array) for array in arrays)
        for number, picture in enumerate(pictures):
            kind = picture.dtype == np.uint8 or np.issubdtype(picture.dtype, np.floating)
            if picture.ndim != 3 or picture.shape[2] != 3 or not kind:
                raise ValueError(
                    f"image {number} must be (height, width, 3), uint8 or floating point; got "
                    f"{picture.shape} {picture.dtype}"
                )
            _check_range(picture, number)
        labels = ids or [f"stimulus{number}" for number in range(1, len(pictures) + 1)]
        if len(labels) != len(pictures):
            raise ValueError(f"there are {len(labels)} ids for {len(pictures)} images")
        made = pd.DataFrame(index=range(len(pictures))) if table is None else table
        return cls(pictures, made.reset_index(drop=True).assign(stimulus_id=list(labels)))

    @property
    def ids(self) -> list[str]:
        """The stimulus ids, in order."""
        return [str(name) for name in self.table["stimulus_id"]]

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, chosen: int | slice | Sequence[int] | Sequence[bool]) -> StimulusSet:
        """Return the set of the chosen stimuli: a number, slice, list of numbers or of booleans."""
        places = np.arange(len(self))[chosen if not isinstance(chosen, int) else [chosen]]
        places = np.atleast_1d(places)
        return StimulusSet(tuple(self.sources[i] for i in places), self.table.iloc[places])

    def image(self, which: int | str, size: int | tuple[int, int] | None = None) -> Tensor:
        """Return one image, (1, 3, height, width), RGB in [0, 1], by number or id.

        Raises
        ------
        ImageError
            When its file cannot be read.
        KeyError
            For an id that is not in the set.
        """
        source = self.sources[self._place(which)]
        if isinstance(source, Path):
            return images.read(source, size)
        values = np.ascontiguousarray(source)
        scale = 255 if values.dtype == np.uint8 else 1
        picture = torch.from_numpy(values.astype(np.float32) / scale).permute(2, 0, 1)[None]
        return picture if size is None else images.resize(picture, size)

    def batch(self, which: Iterable[int], size: int | tuple[int, int] | None = None) -> Tensor:
        """Return several images as one tensor (n, 3, height, width).

        Raises
        ------
        ValueError
            When they differ in size and none, or only a longer side, is given.
        """
        chosen = list(which)
        pictures = [self.image(index, size) for index in chosen]
        for index, picture in zip(chosen, pictures, strict=True):
            if picture.shape != pictures[0].shape:
                first, other = (tuple(p.shape[-2:]) for p in (pictures[0], picture))
                raise ValueError(
                    f"{self.ids[chosen[0]]} has {first[0]} x {first[1]} pixels and "
                    f"{self.ids[index]} {other[0]} x {other[1]}; give size=(height, width)"
                )
        return torch.cat(pictures)

    def sha256(self, which: int | str) -> str:
        """Return the SHA-256 of a stimulus: of its file's bytes, or of its array."""
        source = self.sources[self._place(which)]
        if isinstance(source, Path):
            return sha256(source)
        described = f"{source.dtype}{source.shape}".encode()
        return hashlib.sha256(described + np.ascontiguousarray(source).tobytes()).hexdigest()

    def _place(self, which: int | str) -> int:
        if isinstance(which, str):
            if which not in self.ids:
                raise KeyError(f"no stimulus has the id {which!r}")
            return self.ids.index(which)
        return int(which)


def list_exemplars() -> list[str]:
    """Return the names of the built-in pictures that the installed packages hold."""
    return [name for name in EXEMPLARS if _shipped(name).exists()]


def exemplar(name: str, size: int | tuple[int, int] | None = None) -> Tensor:
    """Return a built-in picture, (1, 3, height, width), RGB in [0, 1].

    The pictures are those that scikit-image and scikit-learn install with themselves; nothing
    is downloaded.

    Raises
    ------
    ValueError
        For an unknown name; the message lists those there are.
    """
    present = list_exemplars()
    if name not in present:
        raise ValueError(f"no built-in picture is called {name!r}; there are {', '.join(present)}")
    return images.read(_shipped(name), size)


def builtin_exemplars(names: Sequence[str] | None = None) -> StimulusSet:
    """Return built-in pictures as a stimulus set with the column `category`."""
    chosen = list(names) if names is not None else list_exemplars()
    for name in chosen:
        if name not in EXEMPLARS or not _shipped(name).exists():
            exemplar(name)  # raises, naming those there are
    table = pd.DataFrame(
        {"stimulus_id": chosen, "category": [EXEMPLARS[name][2] for name in chosen]}
    )
    return StimulusSet.from_files([_shipped(name) for name in chosen], table)


def _shipped(name: str) -> Path:
    package, file, _ = EXEMPLARS[name]
    # Found without importing the packages, which takes seconds.
    specification = importlib.util.find_spec(package)
    if specification is None or specification.origin is None:
        return Path("missing") / file
    return Path(specification.origin).parent / file


def _check_range(picture: np.ndarray, number: int) -> None:
    # A millionth beyond is what rounding in float32 adds to white.
    if picture.dtype != np.uint8 and not ((picture >= -1e-6) & (picture <= 1 + 1e-6)).all():
        if np.isfinite(picture).all():
            fault = f"goes from {picture.min():g} to {picture.max():g}"
        else:
            fault = "has values that are not finite"
        raise ValueError(
            f"image {number} {fault}; floating-point images are in [0, 1]: divide values up to "
            "255 by 255, or give them as uint8"
        )


def _read_table(path: Path, text: Sequence[str]) -> pd.DataFrame:
    """Return a CSV with some columns as text, and with None, NA and the like as the text they are.

    Among numbers these stand for a missing one.
    """
    types = dict.fromkeys(text, str)
    table = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])
    usual = pd.read_csv(path, dtype=types)
    numbers = [
        name
        for name in table
        if pd.api.types.is_numeric_dtype(usual[name]) and usual[name].notna().any()
    ]
    return table.assign(**{str(name): usual[name] for name in numbers})


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _natural(path: Path) -> list[tuple[int, int | str]]:
    pieces = re.split(r"(\d+)", path.as_posix().lower())
    return [(0, int(piece)) if piece.isdigit() else (1, piece) for piece in pieces if piece]


def _ids(paths: Sequence[Path]) -> list[str]:
    """Return paths without their ending; with it where that would give two the same id."""
    bare = [path.with_suffix("").as_posix() for path in paths]
    return [
        path.as_posix() if bare.count(name) > 1 else name
        for path, name in zip(paths, bare, strict=True)
    ]
