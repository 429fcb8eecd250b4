"""Image files to tensors and back: RGB in [0, 1], shape (batch, 3, height, width), float32."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional

from .files import atomic_path, json_text, write_json

MAXIMUM_PIXELS = 2**27  # a square of 11 585 pixels: more is taken for a decompression bomb
READABLE = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
MID_GREY = 0.5
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601
PROVENANCE_KEY = "cnnperception"
# Pillow's modes of more than 8 bits, all grey, and what is white in each.
_DEEP = dict.fromkeys(("I;16", "I;16L", "I;16B", "I;16N", "I"), 65535.0) | {"F": 1.0}
_ROUNDING = 1e-6  # of 32-bit numbers that count as inside [0, 1]
_PHOTOMETRIC, _MIN_IS_WHITE = 262, 0  # a tag of TIFF, and a value of it
_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".bmp": "BMP",
}
_OPENED = [*sorted(set(_FORMATS.values())), "GIF"]  # GIF only to say that it is one
_SAVING: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
}


class ImageError(ValueError):
    """An image file that cannot be read; the message names the file and the fault."""


def is_image(path: str | os.PathLike[str]) -> bool:
    """Return whether a file's name ends like that of an image that can be read."""
    return Path(path).suffix.lower() in READABLE


def read(path: str | os.PathLike[str], size: int | tuple[int, int] | None = None) -> Tensor:
    """Read an image file.

    PNG, JPEG, TIFF, WebP and BMP, of 8 or 16 bits, grey, colour or with a palette. The EXIF
    orientation is applied, an embedded colour profile is converted to sRGB, and what is
    transparent is laid over mid-grey (0.5).

    Parameters
    ----------
    path : path-like
    size : int or (int, int), optional
        Longer side, or height and width, to resize to.

    Returns
    -------
    Tensor, shape (1, 3, height, width), float32
        RGB in [0, 1].

    Raises
    ------
    ImageError
        For a file that is missing, empty, truncated, no image, animated, of several pages, of
        more than `MAXIMUM_PIXELS` pixels, or of grey levels beyond black and white.
    """
    file = Path(path)
    if not file.exists():
        raise ImageError(f"{file}: there is no such file")
    if file.is_dir():
        raise ImageError(f"{file}: this is a folder, not an image")
    if file.stat().st_size == 0:
        raise ImageError(f"{file}: the file is empty")
    try:
        with Image.open(file, formats=_OPENED) as image:
            _check(file, image)
            pixels = _pixels(file, image)
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{file}: not an image of a known kind ({', '.join(READABLE)}), or damaged"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{file}: too large to be trusted ({error})") from error
    except (OSError, SyntaxError, EOFError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{file}: truncated or damaged ({error})") from error
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()
    return tensor if size is None else resize(tensor, size)


def _check(file: Path, image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAXIMUM_PIXELS:
        raise ImageError(
            f"{file}: {width} x {height} pixels is more than the {MAXIMUM_PIXELS} that are read; "
            "reduce it first"
        )
    # The JPEG of some cameras (MPO) is one photograph with previews behind it.
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise ImageError(f"{file}: holds {frames} frames or pages; save the one to use by itself")
    if image.format == "GIF":
        raise ImageError(f"{file}: GIF is not read; save it as PNG")


def _pixels(file: Path, image: Image.Image) -> np.ndarray:
    """Return (height, width, 3) float32 in [0, 1]."""
    profile = image.info.get("icc_profile")
    transparent = image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info
    from_white = _counts_from_white(image)
    image = ImageOps.exif_transpose(image)
    if image.mode in _DEEP:
        grey = _deep_grey(file, image)
        return _deep_to_srgb(1 - grey if from_white else grey, profile)
    alpha = None
    if transparent:
        rgba = image.convert("RGBA")
        alpha = np.asarray(rgba.getchannel("A"), dtype=np.float32)[..., None] / 255
        image = rgba.convert("RGB")
    elif image.mode == "P":
        image = image.convert("RGB")
    converted = _to_srgb(image, profile)
    shown = image.convert("RGB") if converted is None else converted
    colour = np.asarray(shown, dtype=np.float32) / 255
    return colour if alpha is None else colour * alpha + MID_GREY * (1 - alpha)


def _counts_from_white(image: Image.Image) -> bool:
    """Return whether the numbers of a deep TIFF grow towards black; of 8 bits Pillow sees to it."""
    tags: Any = getattr(image, "tag_v2", {})
    return image.mode in _DEEP and tags.get(_PHOTOMETRIC) == _MIN_IS_WHITE


def _deep_grey(file: Path, image: Image.Image) -> np.ndarray:
    """Return grey in [0, 1], (height, width) float32, of a picture of more than 8 bits."""
    levels, white = np.asarray(image).astype(np.float64), _DEEP[image.mode]
    if not np.isfinite(levels).all():
        raise ImageError(f"{file}: has grey levels that are not finite numbers; replace them")
    low, high = float(levels.min()), float(levels.max())
    if low < -_ROUNDING * white or high > (1 + _ROUNDING) * white:
        raise ImageError(
            f"{file}: its grey levels run from {low:.6g} to {high:.6g}, where 0 is black and "
            f"{white:g} is white; rescale them, and save 8 or 16 bits"
        )
    return np.clip(levels / white, 0, 1).astype(np.float32)


def _deep_to_srgb(grey: np.ndarray, profile: bytes | None) -> np.ndarray:
    """Return sRGB, (height, width, 3) float32, of grey in [0, 1] that may have a profile."""
    levels = np.arange(2**16, dtype=np.uint16)[None]
    ramp = _to_srgb(Image.fromarray(levels), profile)
    if ramp is None:
        return np.repeat(grey[..., None], 3, axis=2)
    # ImageCms gives 8 bits. The curve is halfway between two levels where it steps from one to
    # the other, and that place is known to 16 bits.
    channels = []
    for stairs in np.asarray(ramp, dtype=np.float64)[0].T / 255:
        steps = np.flatnonzero(np.diff(stairs))
        places = np.array([0, *(steps + 0.5), levels.size - 1]) / (levels.size - 1)
        values = np.array([stairs[0], *(stairs[steps] + stairs[steps + 1]) / 2, stairs[-1]])
        channels.append(np.interp(grey, places, values).astype(np.float32))
    return np.stack(channels, axis=2)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image | None:
    """Return a picture of 8-bit sRGB as its profile says, None without a profile that fits it."""
    if not profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() == "GRAY":
            image = _single_channel(image)
        # What ImageCms precomputes of a curve of grey is up to 10 levels off where it is steep.
        exact = image.mode in ("L", *_DEEP)
        flags = ImageCms.Flags.NOOPTIMIZE if exact else ImageCms.Flags.NONE
        target = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, target, outputMode="RGB", flags=flags)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None  # a broken profile is no reason to refuse the picture


def _single_channel(image: Image.Image) -> Image.Image:
    """Return a picture whose three channels are the same as one channel, others as they are."""
    if image.mode != "RGB":
        return image
    grey = image.convert("L")
    return grey if grey.convert("RGB").tobytes() == image.tobytes() else image


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise ValueError unless an image can be written under this name."""
    if Path(path).suffix.lower() not in _FORMATS:
        raise ValueError(
            f"{path}: images are written as {', '.join(_FORMATS)}; give the file such an ending"
        )


def write(
    path: str | os.PathLike[str], image: Tensor, provenance: Mapping[str, Any] | None = None
) -> None:
    """Write an image with 8 bits a channel, whole or not at all.

    Parameters
    ----------
    path : path-like
        The ending decides the format; PNG keeps every bit.
    image : Tensor, shape (3, height, width) or (1, 3, height, width)
        RGB, clipped to [0, 1].
    provenance : mapping, optional
        How the image was made: JSON values. Written beside the image as `<name>.json`, and for
        PNG into the file as well.

    Raises
    ------
    ValueError
        For an unknown ending, another shape, or pixels that are not finite.
    """
    check_writable(path)
    file = Path(path)
    single = image[0] if image.ndim == 4 and len(image) == 1 else image
    if single.ndim != 3 or single.shape[0] != 3:
        raise ValueError(f"an image to write has the shape (3, height, width); got {image.shape}")
    if not torch.isfinite(single).all():
        raise ValueError(f"{file}: the image has pixels that are not finite numbers")
    picture = Image.fromarray(eight_bits(single).permute(1, 2, 0).cpu().numpy())
    format_ = _FORMATS[file.suffix.lower()]
    options = dict(_SAVING.get(format_, {}))
    if provenance is not None and format_ == "PNG":
        chunk = PngImagePlugin.PngInfo()
        chunk.add_itxt(PROVENANCE_KEY, json_text(provenance))
        options["pnginfo"] = chunk
    # The picture last: where there is one, all of it is there.
    if provenance is not None:
        write_json(_beside(file), provenance)
    with atomic_path(file) as temporary:
        picture.save(temporary, format=format_, **options)


def eight_bits(image: Tensor) -> Tensor:
    """Return an image as `write` keeps it: clipped to [0, 1], uint8 from 0 to 255, same shape."""
    return (image.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the provenance written with an image, from the PNG itself or the JSON beside it.

    Raises
    ------
    ImageError
        When there is none.
    """
    file = Path(path)
    if file.suffix.lower() == ".png" and file.exists():
        inside = embedded_provenance(file)
        if inside is not None:
            return inside
    if _beside(file).exists():
        return dict(json.loads(_beside(file).read_text(encoding="utf-8")))
    raise ImageError(f"{file}: no provenance is stored in the file or beside it")


def embedded_provenance(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the provenance that a PNG itself holds, None where it holds none or is no image."""
    try:
        with Image.open(path) as image:
            text = getattr(image, "text", {}).get(PROVENANCE_KEY)
    except UnidentifiedImageError:
        return None
    return None if text is None else dict(json.loads(text))


def pixel_hash(image: Tensor) -> str:
    """Return the SHA-256 of an image's size and its pixels as `write` keeps them, of 8 bits."""
    bits = eight_bits(image).cpu().numpy()
    size = "x".join(str(side) for side in bits.shape[-2:])
    return hashlib.sha256(size.encode() + bits.tobytes()).hexdigest()


def _beside(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")


def resize(images: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Resize images with antialiasing (bicubic); differentiable.

    Parameters
    ----------
    images : Tensor, shape (batch, 3, height, width)
        RGB in [0, 1].
    size : int or (int, int)
        Longer side, keeping the aspect, or height and width.

    Returns
    -------
    Tensor, shape (batch, 3, *size)
        Clipped to [0, 1], which bicubic interpolation overshoots. Images of that size already
        come back as they are.
    """
    height, width = images.shape[-2:]
    if isinstance(size, int):
        scale = size / max(height, width)
        size = max(1, round(height * scale)), max(1, round(width * scale))
    if min(size) < 1:
        raise ValueError(f"the size of an image must be positive; got {size[0]} x {size[1]}")
    if (height, width) == tuple(size):
        return images
    resized = functional.interpolate(
        images, size=tuple(size), mode="bicubic", antialias=True, align_corners=False
    )
    return resized.clamp(0, 1)


def middle_square(images: Tensor, side: int) -> Tensor:
    """Cut the largest square out of the middle of images, and resize it.

    Parameters
    ----------
    images : Tensor, shape (batch, 3, height, width)
        RGB in [0, 1].
    side : int
        Of the result, in pixels.

    Returns
    -------
    Tensor, shape (batch, 3, side, side)
    """
    cut = min(images.shape[-2:])
    top, left = ((length - cut) // 2 for length in images.shape[-2:])
    return resize(images[..., top : top + cut, left : left + cut], (side, side))


def luminance(images: Tensor) -> Tensor:
    """Return the luminance (ITU-R BT.601) of images, shape (batch, 1, height, width)."""
    weights = images.new_tensor(LUMINANCE)[:, None, None]
    return (images * weights).sum(dim=1, keepdim=True)


def match_histogram(image: Tensor, reference: Tensor) -> Tensor:
    """Give each colour channel of an image the distribution of a reference's.

    The pixel of rank r takes the value at the same quantile of the reference; equal pixels are
    ordered by place, so the match is exact.

    Parameters
    ----------
    image, reference : Tensor, shape (..., 3, height, width)
        They may differ in size.

    Returns
    -------
    Tensor, like `image`
    """
    flat, source = image.flatten(-2), reference.flatten(-2).sort(dim=-1).values
    ranks = flat.argsort(dim=-1, stable=True).argsort(dim=-1, stable=True).to(image.dtype)
    count, available = flat.shape[-1], source.shape[-1]
    place = (ranks + 0.5) / count * available - 0.5
    place = place.clamp(0, available - 1)
    low = place.floor().long()
    high = (low + 1).clamp(max=available - 1)
    share = place - low
    source = source.expand(*flat.shape[:-1], available)
    values = source.gather(-1, low) * (1 - share) + source.gather(-1, high) * share
    return values.view_as(image)
