import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from cnnperception import images
from cnnperception.images import ImageError


def _picture(height: int = 6, width: int = 9) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _expected(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".bmp", ".webp"])
def test_lossless_formats_are_read_bit_by_bit(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(_picture()).save(
        tmp_path / f"a{suffix}", **({"lossless": True} if suffix == ".webp" else {})
    )
    torch.testing.assert_close(images.read(tmp_path / f"a{suffix}"), _expected(_picture()))


def test_jpeg_is_read_closely(tmp_path: Path) -> None:
    smooth = np.full((16, 16, 3), (200, 100, 50), dtype=np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.JPG", quality=95)
    torch.testing.assert_close(
        images.read(tmp_path / "a.JPG"), _expected(smooth), atol=0.02, rtol=0
    )


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_grey_keeps_its_precision(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 1, 256], [32768, 65534, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"a{suffix}")
    read = images.read(tmp_path / f"a{suffix}")
    expected = torch.from_numpy(values.astype(np.float32) / 65535)
    torch.testing.assert_close(read[0], expected.expand(3, 2, 3))


def test_grey_bilevel_and_palette_become_colour(tmp_path: Path) -> None:
    grey = _picture()[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    torch.testing.assert_close(
        images.read(tmp_path / "grey.png"), _expected(np.repeat(grey[..., None], 3, 2))
    )
    Image.fromarray(grey > 128).save(tmp_path / "bits.png")
    assert set(images.read(tmp_path / "bits.png").unique().tolist()) == {0.0, 1.0}
    palette = Image.fromarray(_picture()).quantize(8)
    palette.save(tmp_path / "palette.png")
    torch.testing.assert_close(
        images.read(tmp_path / "palette.png"), _expected(np.asarray(palette.convert("RGB")))
    )


def test_what_is_transparent_lies_over_mid_grey(tmp_path: Path) -> None:
    pixels = np.zeros((1, 3, 4), dtype=np.uint8)
    pixels[0, :, 0] = 255
    pixels[0, :, 3] = (0, 51, 255)
    Image.fromarray(pixels).save(tmp_path / "rgba.png")
    red, green = images.read(tmp_path / "rgba.png")[0, :2, 0].tolist()
    assert red == pytest.approx([0.5, 0.2 + 0.8 * 0.5, 1.0])
    assert green == pytest.approx([0.5, 0.4, 0.0])
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "palette.png", transparency=0)
    assert images.read(tmp_path / "palette.png")[0, :, 0].T.tolist() == [[0.5] * 3, [0, 0, 1]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(tmp_path: Path, orientation: int) -> None:
    upright = _picture()
    # What a camera stores so that the given orientation turns it upright again.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 1)[::-1, ::-1].swapaxes(0, 1)[::-1, ::-1].swapaxes(0, 1)[::-1],
        8: np.rot90(upright, -1),
    }
    stored[7] = upright[::-1, ::-1].swapaxes(0, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored[orientation])).save(tmp_path / "a.png", exif=exif)
    torch.testing.assert_close(images.read(tmp_path / "a.png"), _expected(upright))


def test_an_embedded_srgb_profile_changes_nothing(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(_picture()).save(tmp_path / "a.png", icc_profile=profile)
    torch.testing.assert_close(
        images.read(tmp_path / "a.png"), _expected(_picture()), atol=1.5 / 255, rtol=0
    )


def _with_red_and_blue_swapped() -> bytes:
    """Return the sRGB profile with the primaries of red and blue exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", profile[128:132])[0]
    at = {bytes(profile[place : place + 4]): place for place in range(132, 132 + 12 * count, 12)}
    red, blue = (slice(at[tag] + 4, at[tag] + 12) for tag in (b"rXYZ", b"bXYZ"))
    profile[red], profile[blue] = profile[blue], profile[red]
    return bytes(profile)


def _of_linear_grey() -> bytes:
    """Return a profile of grey levels that are proportional to light."""
    white = struct.pack(">3i", *(round(value * 65536) for value in (0.9642, 1, 0.8249)))
    name = b"linear grey\0"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": b"XYZ " + bytes(4) + white,
        b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, 256),
    }
    table, data = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        table += tag + struct.pack(">II", 132 + 12 * len(tags) + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    size = struct.pack(">I", 128 + len(table) + len(data))
    header = size + bytes(4) + struct.pack(">I", 0x02100000) + b"mntrGRAYXYZ "
    header += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + white
    return header.ljust(128, b"\0") + table + data


def _srgb(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_profile_of_colours_is_converted_in_every_mode(tmp_path: Path, mode: str) -> None:
    pixels = np.full((8, 8, 3), (180, 100, 40), dtype=np.uint8)
    # A palette of the picture's own colours, which loses nothing.
    picture = Image.fromarray(pixels)
    picture = picture.quantize(4) if mode == "P" else picture.convert(mode)
    picture.save(tmp_path / "a.png", icc_profile=_with_red_and_blue_swapped())
    assert Image.open(tmp_path / "a.png").mode == mode
    swapped = _expected(pixels[..., ::-1])
    torch.testing.assert_close(images.read(tmp_path / "a.png"), swapped, atol=1.5 / 255, rtol=0)
    if mode == "P":
        picture.save(tmp_path / "b.png", icc_profile=_with_red_and_blue_swapped(), transparency=3)
        torch.testing.assert_close(images.read(tmp_path / "b.png"), swapped, atol=0.006, rtol=0)


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_profile_of_grey_is_converted_with_and_without_alpha(tmp_path: Path, mode: str) -> None:
    levels = np.arange(256, dtype=np.uint8)[None]
    picture = Image.fromarray(levels).convert(mode)
    picture.save(tmp_path / "a.png", icc_profile=_of_linear_grey())
    read = images.read(tmp_path / "a.png")
    expected = torch.from_numpy(_srgb(levels / 255)).float().expand(1, 3, 1, 256)
    torch.testing.assert_close(read, expected, atol=0.51 / 255, rtol=0)
    assert float(read[0, 0, 0, 100] * 255) == pytest.approx(168, abs=0.01)
    picture = Image.fromarray(levels).convert("LA")
    picture.putalpha(51)
    picture.save(tmp_path / "b.png", icc_profile=_of_linear_grey())
    over = 0.2 * expected + 0.8 * images.MID_GREY
    torch.testing.assert_close(images.read(tmp_path / "b.png"), over, atol=0.2 / 255, rtol=0)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_profile_of_sixteen_bit_grey_is_converted_to_more_than_eight_bits(
    tmp_path: Path, suffix: str
) -> None:
    levels = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    file = tmp_path / f"a{suffix}"
    Image.fromarray(levels).save(file, icc_profile=_of_linear_grey())
    expected = torch.from_numpy(_srgb(levels / 65535)).float().expand(1, 3, 256, 256)
    torch.testing.assert_close(images.read(file), expected, atol=0.05 / 255, rtol=0)
    # One that is of colours does not fit, and changes nothing.
    Image.fromarray(levels).save(file, icc_profile=_with_red_and_blue_swapped())
    plain = torch.from_numpy(levels / np.float32(65535)).expand(1, 3, 256, 256)
    torch.testing.assert_close(images.read(file), plain)


def test_a_colour_picture_keeps_its_colours_whatever_its_profile_is_of(tmp_path: Path) -> None:
    Image.fromarray(_picture()).save(tmp_path / "a.png", icc_profile=_of_linear_grey())
    torch.testing.assert_close(images.read(tmp_path / "a.png"), _expected(_picture()))


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_deep_levels_beyond_black_and_white_are_refused(tmp_path: Path, kind: type) -> None:
    white = 1 if kind is np.float32 else 65535
    levels = np.linspace(0, white, 12).reshape(3, 4).astype(kind)
    Image.fromarray(levels).save(tmp_path / "a.tif")
    expected = torch.from_numpy((levels / white).astype(np.float32)).expand(1, 3, 3, 4)
    torch.testing.assert_close(images.read(tmp_path / "a.tif"), expected)
    Image.fromarray((levels * 2).astype(kind)).save(tmp_path / "a.tif")
    with pytest.raises(
        ImageError, match=f"a.tif: .* from 0 to {2 * white}, .* {white} is white; r"
    ):
        images.read(tmp_path / "a.tif")
    Image.fromarray((levels - white / 2).astype(kind)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="grey levels run from -"):
        images.read(tmp_path / "a.tif")
    if kind is np.float32:
        levels[1, 1] = np.nan
        Image.fromarray(levels).save(tmp_path / "a.tif")
        with pytest.raises(ImageError, match="not finite"):
            images.read(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_a_tiff_whose_least_is_white_is_not_inverted(tmp_path: Path, kind: type) -> None:
    white = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[kind]
    levels = np.array([[0, white / 5, white]]).astype(kind)
    # Pillow inverts what it writes of 8 bits alone.
    stored = levels if kind is np.uint8 else white - levels
    Image.fromarray(stored).save(tmp_path / "a.tif", tiffinfo={262: 0})
    assert Image.open(tmp_path / "a.tif").tag_v2[262] == 0
    assert images.read(tmp_path / "a.tif")[0, 0, 0].tolist() == pytest.approx([0, 0.2, 1])


def _png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    data = b"IDAT" + zlib.compress(b"\0" * 100)
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", len(data) - 4) + data


def test_every_fault_names_the_file_and_itself(tmp_path: Path) -> None:
    def refused(path: Path, fault: str) -> None:
        with pytest.raises(ImageError, match=fault) as raised:
            images.read(path)
        assert path.name in str(raised.value)

    refused(tmp_path / "missing.png", "no such file")
    refused(tmp_path, "folder")
    (tmp_path / "empty.png").write_bytes(b"")
    refused(tmp_path / "empty.png", "empty")
    (tmp_path / "text.png").write_text("this is no image")
    refused(tmp_path / "text.png", "not an image")
    large = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for suffix in (".jpg", ".png", ".tif", ".bmp"):
        whole = tmp_path / f"whole{suffix}"
        Image.fromarray(large).save(whole)
        cut = tmp_path / f"cut{suffix}"
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        refused(cut, "truncated|damaged")
    frames = [Image.fromarray(_picture()), Image.fromarray(255 - _picture())]
    for name in ("film.gif", "film.webp", "pages.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        refused(tmp_path / name, "2 frames or pages")
    (tmp_path / "bomb.png").write_bytes(_png_header(60_000, 60_000))
    refused(tmp_path / "bomb.png", "60000 x 60000|too large")


def test_a_large_image_below_the_limit_is_read_without_a_warning(tmp_path: Path, recwarn) -> None:
    Image.new("L", (9_000, 9_000)).save(tmp_path / "large.png")
    assert images.read(tmp_path / "large.png", size=100).shape == (1, 3, 100, 100)
    assert not [w for w in recwarn if "Decompression" in str(w.category)]


def test_what_is_written_is_read_again_with_its_provenance(tmp_path: Path) -> None:
    picture, record = _expected(_picture()), {"seed": 3, "name": "Tübingen"}
    images.write(tmp_path / "a.png", picture, record)
    torch.testing.assert_close(images.read(tmp_path / "a.png"), picture)
    assert images.read_provenance(tmp_path / "a.png") == record
    assert json.loads((tmp_path / "a.png.json").read_text(encoding="utf-8")) == record
    (tmp_path / "a.png.json").unlink()
    assert images.read_provenance(tmp_path / "a.png") == record
    images.write(tmp_path / "b.jpg", picture[0], record)
    assert images.read_provenance(tmp_path / "b.jpg") == record
    with pytest.raises(ImageError, match="no provenance"):
        images.read_provenance(tmp_path / "c.jpg")


def test_provenance_of_numpy_is_the_same_in_the_picture_and_beside_it(tmp_path: Path) -> None:
    record = {"seed": np.int64(3), "sizes": np.array([1.5, 2.0]), "file": Path("a.png")}
    images.write(tmp_path / "a.png", _expected(_picture()), record)
    inside = images.embedded_provenance(tmp_path / "a.png")
    assert inside == {"seed": 3, "sizes": [1.5, 2.0], "file": "a.png"}
    assert json.loads((tmp_path / "a.png.json").read_text(encoding="utf-8")) == inside


def test_the_hash_of_pixels_is_that_of_the_picture_read_again(tmp_path: Path) -> None:
    picture = torch.rand((1, 3, 6, 8), generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1
    images.write(tmp_path / "a.png", picture)
    assert images.pixel_hash(images.read(tmp_path / "a.png")) == images.pixel_hash(picture)
    other = picture.clone()
    other[0, 0, 0, 0] = 1 - other[0, 0, 0, 0].round()
    assert images.pixel_hash(other) != images.pixel_hash(picture)
    assert images.pixel_hash(picture.view(1, 3, 8, 6)) != images.pixel_hash(picture)


def test_values_are_clipped_and_rounded(tmp_path: Path) -> None:
    images.write(tmp_path / "a.png", torch.tensor([-1.0, 0.5, 2.0]).view(1, 1, 3).expand(3, 1, 3))
    assert (images.read(tmp_path / "a.png")[0, 0, 0] * 255).tolist() == [0, 128, 255]


def test_a_failure_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch) -> None:
    images.write(tmp_path / "a.png", _expected(_picture()))
    before = (tmp_path / "a.png").read_bytes()

    def fail(self, path, **_):
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        images.write(tmp_path / "a.png", torch.zeros(3, 4, 4))
    assert (tmp_path / "a.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.png, \.jpg"):
        images.write(tmp_path / "a.gif", torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match="shape"):
        images.write(tmp_path / "a.png", torch.zeros(4, 4))
    with pytest.raises(ValueError, match="not finite"):
        images.write(tmp_path / "a.png", torch.full((3, 4, 4), torch.nan))
    assert not list(tmp_path.iterdir())


def test_resizing_keeps_the_aspect_smooths_and_stays_in_range() -> None:
    checks = (torch.arange(64).view(-1, 1) + torch.arange(96)) % 2
    picture = checks.float().expand(1, 3, 64, 96)
    small = images.resize(picture, 24)
    assert small.shape == (1, 3, 16, 24)
    torch.testing.assert_close(small, torch.full_like(small, 0.5), atol=0.05, rtol=0)
    edge = (torch.arange(8) > 3).float().expand(1, 3, 8, 8)
    large = images.resize(edge, (32, 32))
    assert large.min() >= 0
    assert large.max() <= 1
    assert images.resize(picture, (64, 96)) is picture
    with pytest.raises(ValueError, match="positive"):
        images.resize(picture, (0, 5))


def test_luminance_weighs_the_channels() -> None:
    colours = torch.eye(3).view(3, 3, 1, 1)
    assert images.luminance(colours).flatten().tolist() == pytest.approx([0.299, 0.587, 0.114])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), side=st.integers(2, 9), other=st.integers(2, 9))
def test_histograms_are_matched_and_order_is_kept(seed: int, side: int, other: int) -> None:
    random = torch.Generator().manual_seed(seed)
    picture = torch.rand((1, 3, side, side), generator=random)
    reference = torch.rand((1, 3, other, other), generator=random) ** 2
    matched = images.match_histogram(picture, reference)
    if side == other:
        torch.testing.assert_close(
            matched.flatten(2).sort().values, reference.flatten(2).sort().values
        )
    in_order = matched.flatten(2).gather(2, picture.flatten(2).argsort())
    assert (in_order.diff(dim=2) >= 0).all()
    assert matched.min() >= reference.min() - 1e-6
    assert matched.max() <= reference.max() + 1e-6


def test_the_middle_square_is_as_large_as_can_be() -> None:
    ramp = torch.arange(10.0).div(10).expand(1, 3, 4, 10)
    torch.testing.assert_close(images.middle_square(ramp, 4), ramp[..., 3:7])
    torch.testing.assert_close(images.middle_square(ramp.mT, 4), ramp.mT[..., 3:7, :])
    assert images.middle_square(torch.rand(2, 3, 5, 8), 12).shape == (2, 3, 12, 12)
