"""Seeing a synthesis while it runs: a preview file, an animation."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .. import images as image_files
from ..files import atomic_path
from .result import Moment

SUFFIXES = (".gif", ".mp4")
HOLD = 12  # how often the last frame is shown, lest it be gone before it was seen
FRAMES_PER_SECOND = 12


def watchers(*watch: Callable[[Moment], None]) -> Callable[[Moment], None]:
    """Return one watcher that calls several."""

    def all_of_them(moment: Moment) -> None:
        for one in watch:
            one(moment)

    return all_of_them


class Preview:
    """Keeps a file with the best image so far; as a context, of the last one when it ends.

    Parameters
    ----------
    path : path-like
        An image file; replaced whole, so that a viewer never sees half of one.
    every : int
        Evaluations from one to the next.
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 10):
        image_files.check_writable(path)
        self.path, self.every = Path(path), every
        self.unwritten: Moment | None = None

    def __enter__(self) -> Preview:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A search can end before its evaluations are spent.
        if self.unwritten is not None:
            self.write(self.unwritten)

    def __call__(self, moment: Moment) -> None:
        """Write the first image, now and then."""
        self.unwritten = moment
        if moment.evaluation % self.every == 0 or moment.evaluation == moment.evaluations:
            self.write(moment)

    def write(self, moment: Moment) -> None:
        """Write the first image."""
        self.unwritten = None
        image_files.write(self.path, moment.images[0].float().clamp(0, 1))


class Animation:
    """Collects frames while a synthesis runs, and writes them as a film when it ends.

    Use it as a context: `with Animation("x.gif") as film: cp.texture(..., watch=film)`. What was
    collected is written after an interruption too. A resumed synthesis is filmed from where it
    resumes.

    Parameters
    ----------
    path : path-like
        A .gif, or a .mp4 (with the package imageio-ffmpeg).
    every : int
        Evaluations from one frame to the next.
    side : int
        Longer side of the frames, in pixels.

    Raises
    ------
    ValueError
        For another ending.
    ImportError
        For a .mp4 without imageio-ffmpeg.
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 5, side: int = 256):
        self.path, self.every, self.side = Path(path), every, side
        suffix = self.path.suffix.lower()
        if suffix not in SUFFIXES:
            raise ValueError(f"an animation ends in {' or '.join(SUFFIXES)}; got {self.path.name}")
        if suffix == ".mp4":
            _ffmpeg()
        self.frames: list[np.ndarray] = []
        self.unseen: Moment | None = None

    def __enter__(self) -> Animation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A search can end before its evaluations are spent.
        if self.unseen is not None:
            self.keep(self.unseen)
        if self.frames:
            self.write()

    def __call__(self, moment: Moment) -> None:
        """Keep the first image as a frame, now and then."""
        self.unseen = moment
        if moment.evaluation % self.every == 1 or moment.evaluation == moment.evaluations:
            self.keep(moment)

    def keep(self, moment: Moment) -> None:
        """Keep the first image as a frame."""
        self.unseen = None
        self.frames.append(_frame(moment.images[:1], self.side))

    def write(self) -> None:
        """Write the film."""
        size = max(frame.shape[:2] for frame in self.frames)
        frames = [_enlarged(frame, size) for frame in self.frames]
        frames += [frames[-1]] * HOLD
        with atomic_path(self.path) as path:
            _write_gif(path, frames) if self.path.suffix.lower() == ".gif" else _write_mp4(
                path, frames
            )


def _frame(image: Tensor, side: int) -> np.ndarray:
    longer = max(image.shape[-2:])
    if longer > side:
        image = image_files.resize(image.clamp(0, 1), side)
    pixels = image_files.eight_bits(image[0])
    return np.asarray(pixels.permute(1, 2, 0).cpu().numpy())


def _enlarged(frame: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return a frame with the pixels of a coarse level shown as they are, large."""
    if frame.shape[:2] == size:
        return frame
    pixels = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
    larger = functional.interpolate(pixels, size=(size[0], size[1]), mode="nearest-exact")
    return np.asarray(larger[0].permute(1, 2, 0).to(torch.uint8).numpy())


def _write_gif(path: Path, frames: list[np.ndarray]) -> None:
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(
        path,
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 / FRAMES_PER_SECOND),
        loop=0,
    )


def _write_mp4(path: Path, frames: list[np.ndarray]) -> None:
    height, width = frames[0].shape[:2]
    even = (width - width % 2, height - height % 2)
    writer = _ffmpeg().write_frames(str(path), even, fps=FRAMES_PER_SECOND, macro_block_size=2)
    with contextlib.closing(writer):
        writer.send(None)
        for frame in frames:
            writer.send(np.ascontiguousarray(frame[: even[1], : even[0]]))


def _ffmpeg():  # type: ignore[no-untyped-def]
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise ImportError(
            "writing .mp4 needs the package imageio-ffmpeg (pip install imageio-ffmpeg); a .gif "
            "needs nothing more"
        ) from error
    return imageio_ffmpeg
