"""Image files to tensors and back: RGB in [0, 1], shape (batch, 3, height, width), float32."""

from __future__ import annotations

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

from .files import atomic_path, write_json

MAXIMUM_PIXELS = 2**27  # a square of 11 585 pixels: more is taken for a decompression bomb
READABLE = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
MID_GREY = 0.5
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601
PROVENANCE_KEY = "cnnperception"
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
        For a file that is missing, empty, truncated, no image, animated, of several pages, or
        of more than `MAXIMUM_PIXELS` pixels.
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
            pixels = _pixels(image)
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


def _pixels(image: Image.Image) -> np.ndarray:
    """Return (height, width, 3) float32 in [0, 1]."""
    profile = image.info.get("icc_profile")
    transparent = image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I"):
        grey = np.asarray(image).astype(np.float32) / 65535
        return np.repeat(np.clip(grey, 0, 1)[..., None], 3, axis=2)
    if image.mode == "F":
        return np.repeat(np.clip(np.asarray(image), 0, 1)[..., None], 3, axis=2)
    alpha = None
    if transparent:
        rgba = image.convert("RGBA")
        alpha = np.asarray(rgba.getchannel("A"), dtype=np.float32)[..., None] / 255
        image = rgba.convert("RGB")
    image = _to_srgb(image, profile)
    colour = np.asarray(image, dtype=np.float32) / 255
    return colour if alpha is None else colour * alpha + MID_GREY * (1 - alpha)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a broken profile is no reason to refuse the picture
    return image.convert("RGB")


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
    bits = (single.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    picture = Image.fromarray(bits.permute(1, 2, 0).cpu().numpy())
    format_ = _FORMATS[file.suffix.lower()]
    options = dict(_SAVING.get(format_, {}))
    if provenance is not None and format_ == "PNG":
        chunk = PngImagePlugin.PngInfo()
        chunk.add_itxt(PROVENANCE_KEY, json.dumps(provenance, default=str))
        options["pnginfo"] = chunk
    # The picture last: where there is one, all of it is there.
    if provenance is not None:
        write_json(_beside(file), provenance)
    with atomic_path(file) as temporary:
        picture.save(temporary, format=format_, **options)


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the provenance written with an image, from the PNG itself or the JSON beside it.

    Raises
    ------
    ImageError
        When there is none.
    """
    file = Path(path)
    if file.suffix.lower() == ".png" and file.exists():
        with Image.open(file) as image:
            text = getattr(image, "text", {}).get(PROVENANCE_KEY)
        if text is not None:
            return dict(json.loads(text))
    if _beside(file).exists():
        return dict(json.loads(_beside(file).read_text(encoding="utf-8")))
    raise ImageError(f"{file}: no provenance is stored in the file or beside it")


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
