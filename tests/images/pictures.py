"""Images and files shared by tests of the package `images`."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms
from PIL.TiffImagePlugin import IFDRational

from n2n_cli.errors import ImageError
from n2n_cli.images import Picture, read_pages, read_picture, write_pages, write_picture
from n2n_cli.nn.functional import Array

GRAY = np.array([[0, 255, 7], [1, 128, 254]], np.uint8)  # (2, 3)
DEEP = np.array([[0, 65535, 7], [256, 32768, 65534]], np.uint16)
RGB = np.arange(0, 252, 14).astype(np.uint8).reshape(2, 3, 3)
ALPHA = np.array([[0, 255, 9], [128, 1, 254]], np.uint8)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PALETTE_NOTE = "its palette became plain colours"

Save = Callable[[Path], None]


def saved(image: Image.Image, **options: Any) -> Save:
    return lambda path: image.save(path, **options)


def raw(data: bytes) -> Save:
    def save(path: Path) -> None:
        path.write_bytes(data)

    return save


def mode(mode: str, values: Array) -> Image.Image:
    """Image of a mode that a NumPy array does not imply."""
    return Image.frombytes(mode, (values.shape[1], values.shape[0]), values.tobytes())


def palette(*colours: int) -> Image.Image:
    image = mode("P", np.array([[0, 1, 2], [2, 1, 0]], np.uint8))
    image.putpalette(colours)
    return image


def with_alpha(pixels: Array) -> Image.Image:
    return Image.fromarray(np.concatenate([np.atleast_3d(pixels), ALPHA[..., None]], axis=2))


def png(
    width: int, height: int, depth: int, colour: int, data: bytes, *, before: bytes = b"", behind: bytes = b""
) -> bytes:
    """PNG file of given rows.

    `data` holds the rows; `before` and `behind` are chunks around the pixels.
    """
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + before
        + chunk(b"IDAT", zlib.compress(data))
        + behind
        + chunk(b"IEND", b"")
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def tiff(width: int, height: int, bits: int, photometric: int, data: bytes, *, samples: int = 1) -> bytes:
    """Uncompressed little-endian TIFF file of one strip."""
    depths = 8 + 2 + 9 * 12 + 4
    inline = samples * 2 <= 4
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, samples, bits * (2**16 + 1 if samples == 2 else 1) if inline else depths),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, depths + 2 * samples),
        (277, 3, 1, samples),
        (278, 4, 1, height),
        (279, 4, 1, len(data)),
    ]
    table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + table + struct.pack(f"<{samples}H", *[bits] * samples) + data


Tags = dict[int, tuple[int, bytes]]
"""Type and bytes of the values, by tag."""
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 12: 8, 13: 4, 16: 8}


def tagged(*pages: Tags, order: str = "<", big: bool = False) -> bytes:
    """TIFF file of RGB pages with tags.

    The bytes of the tags' values have the byte order of the file.
    """
    count, row, inline, letter = ("Q", "HHQ", 8, "Q") if big else ("H", "HHI", 4, "I")
    data = bytearray(b"II" if order == "<" else b"MM")
    data += struct.pack(f"{order}HHHQ", 43, 8, 0, 0) if big else struct.pack(f"{order}HI", 42, 0)
    link = len(data) - inline
    for tags in pages:
        values = {256: 3, 257: 2, 259: 1, 262: 2, 273: len(data), 277: 3, 278: 2, 279: RGB.size}
        data += RGB.tobytes()
        entries = {258: (3, struct.pack(f"{order}3H", 8, 8, 8))}
        entries |= {tag: (4, struct.pack(f"{order}I", value)) for tag, value in values.items()} | tags
        table = b""
        for tag, (kind, content) in sorted(entries.items()):
            value = content.ljust(inline, b"\0")
            if len(content) > inline:
                value = struct.pack(order + letter, len(data))
                data += content + bytes(len(content) % 2)
            table += struct.pack(order + row, tag, kind, len(content) // SIZES[kind]) + value
        struct.pack_into(order + letter, data, link, len(data))
        data += struct.pack(order + count, len(entries)) + table
        link = len(data)
        data += bytes(inline)
    return bytes(data)


def tags_of(data: bytes) -> list[Tags]:
    """Tags of every page of a TIFF file, parsed independently of the package."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", data, 2) == (43,)
    count, row, inline, letter = ("Q", "HHQ", 8, "Q") if big else ("H", "HHI", 4, "I")
    (at,) = struct.unpack_from(order + letter, data, 8 if big else 4)
    pages = []
    while at:
        (rows,) = struct.unpack_from(order + count, data, at)
        at += struct.calcsize(order + count)
        page: Tags = {}
        for _ in range(rows):
            tag, kind, number = struct.unpack_from(order + row, data, at)
            at += struct.calcsize(order + row)
            length = number * SIZES[kind]
            place = at if length <= inline else struct.unpack_from(order + letter, data, at)[0]
            page[tag] = kind, data[place : place + length]
            at += inline
        pages.append(page)
        (at,) = struct.unpack_from(order + letter, data, at)
    return pages


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    """JPEG with further segments after its JFIF segment."""
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "JPEG")
    content = b"".join(struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data for marker, data in segments)
    return file.getvalue()[:20] + content + file.getvalue()[20:]


def png_with(*chunks: tuple[bytes, bytes], behind: bytes = b"") -> bytes:
    """PNG with further chunks before its pixels."""
    rows = b"".join(b"\0" + row.tobytes() for row in RGB)
    return png(3, 2, 8, 2, rows, before=b"".join(chunk(*content) for content in chunks), behind=behind)


def webp_with(*chunks: tuple[bytes, bytes]) -> bytes:
    """WebP with further chunks at its end."""
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "WEBP", lossless=True)
    for name, data in chunks:
        file.write(struct.pack("<4sI", name, len(data)) + data + bytes(len(data) % 2))
    data = file.getvalue()
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def exif_of(**tags: Any) -> bytes:
    exif = Image.Exif()
    for name, value in tags.items():
        exif[ExifTags.Base[name]] = value
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.ExposureTime: IFDRational(1, 125)}
    return exif.tobytes()


def same(found: Array | None, wanted: Array | None) -> bool:
    return found is wanted if found is None or wanted is None else np.array_equal(found, wanted)


def refused(path: Path | str, read: Callable[[Path | str], object] = read_picture) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read(path)
    error = caught.value
    assert f"`{path}`" in error.message
    assert error.hint
    assert "\n" not in error.message + error.hint
    return error


def not_written(path: Path | str, picture: Picture) -> ImageError:
    return refused(path, lambda path: write_picture(path, picture))


def refused_pages(data: bytes, **options: Any) -> ImageError:
    with pytest.raises(ImageError) as caught:
        list(read_pages(io.BytesIO(data), name="it", **options))
    assert "\n" not in caught.value.message
    return caught.value


def rewritten(image_format: str, data: bytes, change: Any = lambda pixels: pixels, history: str = "") -> bytes:
    """Rewrite a file with changed pixels and one more line of history."""

    def pages() -> Iterator[Picture]:
        for page in read_pages(io.BytesIO(data), name="it"):
            metadata = {**page.metadata, "history": history} if history else page.metadata
            yield replace(page, pixels=change(page.pixels), metadata=metadata)

    out = io.BytesIO()
    assert write_pages(out, pages(), format=image_format) == ()
    return out.getvalue()
