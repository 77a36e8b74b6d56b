import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from unlogit.errors import BrokenImage
from unlogit.images import _decoding
from unlogit.images._decoding import decode

COLOURS = [
    (250, 20, 30),
    (20, 200, 40),
    (30, 40, 240),
    (240, 220, 20),
]  # top left, top right, bottom left, bottom right


def quarters(size: int = 32) -> Image.Image:
    """An image whose four quarters tell which way is up."""
    pixels = np.zeros((size, size + 8, 3), np.uint8)
    half, middle = size // 2, size // 2 + 4
    pixels[:half, :middle], pixels[:half, middle:] = COLOURS[0], COLOURS[1]
    pixels[half:, :middle], pixels[half:, middle:] = COLOURS[2], COLOURS[3]
    return Image.fromarray(pixels)


def encode(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def corners(image: torch.Tensor) -> list[tuple[int, ...]]:
    _, height, width = image.shape
    return [tuple(image[:, y, x].tolist()) for y in (4, height - 5) for x in (4, width - 5)]


def check(data: bytes, expected=COLOURS, tolerance: int = 6) -> None:
    image = decode(data, "image")
    assert image.dtype == torch.uint8 and image.shape == (3, 32, 40) and image.is_contiguous()
    assert np.abs(np.array(corners(image)) - np.array(expected)).max() <= tolerance


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {"quality": 95, "subsampling": 0}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {}),
        ("PPM", {}),
    ],
)
def test_formats(kind, options):
    check(encode(quarters(), kind, **options))


def grey(colours=COLOURS) -> list[tuple[int, int, int]]:
    return [(round(0.299 * r + 0.587 * g + 0.114 * b),) * 3 for r, g, b in colours]


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_greyscale(kind):
    check(encode(quarters().convert("L"), kind), grey())


def test_black_and_white():
    mono = quarters().convert("L").point(lambda v: 255 * (v > 100)).convert("1")
    check(encode(mono, "PNG"), [(255 * (g[0] > 100),) * 3 for g in grey()], 0)


def test_sixteen_bit_greyscale():
    deep = np.asarray(quarters().convert("L")).astype(np.uint16) * 257
    check(encode(Image.fromarray(deep), "PNG"), grey(), 1)
    check(encode(Image.fromarray(deep), "TIFF"), grey(), 1)
    rows = b"P5 40 32 65535\n" + deep.astype(">u2").tobytes()
    check(rows, grey(), 1)


def deep_png(kind: int, pixels: np.ndarray) -> bytes:
    """A 16-bit PNG of colours or with alpha, which Pillow reads and does not write. `kind`: the format's own number."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return png_file(struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0), zlib.compress(rows))


@pytest.mark.parametrize("kind", [2, 6])
def test_sixteen_bit_colours(kind):
    deep = np.asarray(quarters()).astype(np.uint16) * 257
    if kind == 6:
        deep = np.concatenate([deep, np.full((32, 40, 1), 65535, np.uint16)], 2)
    check(deep_png(kind, deep), tolerance=1)


def test_sixteen_bits_are_scaled_and_not_clipped():
    ramp = np.linspace(0, 65535, 64).round().astype(np.uint16)[None].repeat(4, 0)
    shades = decode(encode(Image.fromarray(ramp), "PNG"), "ramp")[0, 0].double()
    assert (shades - torch.linspace(0, 255, 64).double()).abs().max() <= 0.51


def test_thirty_two_bits_have_no_range():
    signed = np.asarray(quarters().convert("L")).astype(np.int32) * 257
    check(encode(Image.fromarray(signed), "TIFF"), grey(), 1)  # what fits into 16 bits is taken for them
    for wide in (signed * 256, signed - 65536):
        with pytest.raises(BrokenImage, match=r"^wide: 32-bit pixels have no known range"):
            decode(encode(Image.fromarray(wide), "TIFF"), "wide")


def test_no_other_program_is_started_for_an_image():
    with pytest.raises(BrokenImage, match=r"^drawing: cannot identify"):
        decode(encode(quarters(), "EPS"), "drawing")


def test_palette():
    check(encode(quarters().quantize(4), "PNG"))
    check(encode(quarters().quantize(4), "GIF"))


def test_transparency_lies_on_white():
    for image in (quarters().quantize(4), quarters().convert("RGBA")):
        if image.mode == "P":
            clear = image.getpixel((0, 0))
            data = encode(image, "PNG", transparency=clear)
        else:
            alpha = np.full((32, 40), 255, np.uint8)
            alpha[:16, :20] = 0
            image.putalpha(Image.fromarray(alpha))
            data = encode(image, "PNG")
        check(data, [(255, 255, 255), *COLOURS[1:]])
    half = quarters().convert("RGBA")
    half.putalpha(128)
    check(encode(half, "PNG"), [tuple((c + 255) / 2 for c in colour) for colour in COLOURS])
    grey_alpha = quarters().convert("LA")
    grey_alpha.putalpha(0)
    check(encode(grey_alpha, "PNG"), [(255, 255, 255)] * 4, 0)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind):
    check(encode(quarters().convert("CMYK"), kind, **({"quality": 95} if kind == "JPEG" else {})), tolerance=12)


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, lambda p: p),
        (2, lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
        (3, lambda p: p.transpose(Image.Transpose.ROTATE_180)),
        (4, lambda p: p.transpose(Image.Transpose.FLIP_TOP_BOTTOM)),
        (5, lambda p: p.transpose(Image.Transpose.TRANSPOSE)),
        (6, lambda p: p.transpose(Image.Transpose.ROTATE_90)),
        (7, lambda p: p.transpose(Image.Transpose.TRANSVERSE)),
        (8, lambda p: p.transpose(Image.Transpose.ROTATE_270)),
    ],
)
def test_exif_orientation(orientation, stored):
    exif = Image.Exif()
    exif[0x0112] = orientation
    check(encode(stored(quarters()), "JPEG", exif=exif, quality=95, subsampling=0))


def test_the_first_frame_of_an_animation():
    other = Image.new("RGB", (40, 32), "black")
    check(encode(quarters().quantize(4), "GIF", save_all=True, append_images=[other.quantize(4)]))
    check(encode(quarters(), "WEBP", save_all=True, append_images=[other], lossless=True))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_broken(kind, share):
    data = encode(Image.effect_noise((64, 64), 80).convert("RGB"), kind)
    with pytest.raises(BrokenImage, match=r"^cut: "):
        decode(data[: int(len(data) * share)], "cut")


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"not an image", b"\x89PNG\r\n\x1a\n" + b"\xff" * 50])
def test_what_is_no_image_is_broken(data):
    with pytest.raises(BrokenImage, match=r"^junk: "):
        decode(data, "junk")


def claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is this large."""
    return png_file(struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), zlib.compress(b"\0" * 100))


def png_file(header: bytes, data: bytes) -> bytes:
    chunks = [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])
def test_a_small_file_that_claims_to_be_huge_is_refused(side):
    with pytest.raises(BrokenImage, match=r"^bomb: .*pixel"):
        decode(claims(side, side), "bomb")


def test_the_limit_is_inclusive(monkeypatch):
    monkeypatch.setattr(_decoding, "MAX_PIXELS", 32 * 40)
    check(encode(quarters(), "PNG"))
    monkeypatch.setattr(_decoding, "MAX_PIXELS", 32 * 40 - 1)
    with pytest.raises(BrokenImage, match="40 x 32 is over the 1,279 pixel limit"):
        decode(encode(quarters(), "PNG"), "large")


def test_pixels_without_a_range_are_refused():
    data = encode(Image.fromarray(np.zeros((8, 8), np.float32)), "TIFF")
    with pytest.raises(BrokenImage, match=r"^float: floating-point pixels"):
        decode(data, "float")
