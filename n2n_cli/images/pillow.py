"""Pictures of 8 bits per channel, read and written by Pillow."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from n2n_cli.errors import ImageError, counted
from n2n_cli.images import exif, jpeg, webp
from n2n_cli.images.carrying import Carried
from n2n_cli.images.formats import JPEG_QUALITY
from n2n_cli.images.orientation import upright
from n2n_cli.images.picture import Metadata, Picture
from n2n_cli.images.png.chunks import chunk, chunks_of
from n2n_cli.images.png.deflate import strategy_for
from n2n_cli.images.png.filters import filtered
from n2n_cli.nn.functional import Array

_ALPHA = {"1": "LA", "L": "LA", "RGB": "RGBA"}
_DEPTH_16 = {"I;16", "I;16L", "I;16B"}
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # two tags of TIFF, and a value of the second
_PLAIN_COLOUR_QUALITY = 90  # minimum quality at which JPEG keeps colour at full resolution
_BAND = 256  # rows copied at a time
_SAMPLED = 16  # number of rows from which the compression strategy of a PNG is chosen
_INCH = 0.0254  # metres
_BMP_HEADER, _BMP_START, _BIT_FIELDS = 108, 122, 3  # bytes of the header of version 4, bytes before the pixels
_BMP_FILE_HEADER, _LONGEST_PROFILE = 14, 2**24  # bytes
_PNG_START, _PNG_END = 33, chunk(b"IEND", b"")  # length of a PNG's signature and header in bytes; last chunk
_JPEG_START = 20  # bytes of a JPEG's first marker and its JFIF segment, as Pillow writes them


def read_metadata(image: Image.Image, file: BinaryIO) -> tuple[Metadata, tuple[str, ...]]:
    """Read and check the metadata of a JPEG, WebP or BMP; also returns notes."""
    if image.format == "WEBP":
        metadata, notes = webp.read_metadata(webp.read_chunks(file))
        return metadata, notes + bytes_behind(webp.bytes_behind(file))
    if image.format != "BMP":
        metadata, notes = jpeg.read_metadata(jpeg.read_segments(file))
        behind = jpeg.bytes_behind(file) if image.format == "JPEG" else 0
        return metadata, notes + bytes_behind(behind)
    metadata = Metadata()
    if dpi := exif.dots_per_inch(*image.info.get("dpi", (None, None))):
        metadata["dpi"] = dpi
    if profile := _bmp_profile(file):
        metadata["icc_profile"] = profile
    return metadata, ()


def bytes_behind(count: int) -> tuple[str, ...]:
    """Note on bytes that follow a picture in its file."""
    return (f"data after its picture ({counted(count, 'byte')}) was left out",) if count else ()


def _bmp_profile(file: BinaryIO) -> bytes:
    """Colour profile of a BMP of version 5; empty if it has none."""
    file.seek(_BMP_FILE_HEADER)
    header = file.read(124)
    if len(header) < 124 or int.from_bytes(header[:4], "little") < 124 or header[56:60] != b"DEBM":
        return b""
    offset, length = struct.unpack_from("<II", header, 112)
    file.seek(_BMP_FILE_HEADER + offset)
    return file.read(min(length, _LONGEST_PROFILE))


def picture_of(label: str, image: Image.Image, metadata: Metadata, notes: tuple[str, ...]) -> Picture:
    """Convert a Pillow image to a picture.

    Raises
    ------
    ImageError
        When its depth would be reduced, or its mode is not supported.
    """
    source = {"MPO": "JPEG"}.get(image.format or "", image.format or "")
    _check_depth(label, image)
    image.load()
    if image.mode in _DEPTH_16:
        return Picture(_deep_gray(image)[..., None], None, metadata, notes, format=source)
    if image.mode in _ALPHA and "transparency" in image.info:
        image = image.convert(_ALPHA[image.mode])
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
        notes += ("its palette became plain colours",)
    elif image.mode in ("CMYK", "YCbCr", "LAB"):
        notes += (f"it was converted from {image.mode} to RGB",)
        if metadata.pop("icc_profile", None):  # it describes the old colours
            notes += ("its colour profile does not fit RGB and was left out",)
        image = image.convert("RGB")
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise ImageError(
            f"{label} holds pixels of a kind that is not supported (Pillow's mode {image.mode})",
            hint="convert it to gray or RGB of 8 or 16 bits",
        )
    values = _values(image)
    alpha = values[..., -1] if image.mode in ("LA", "RGBA") else None
    pixels = values if alpha is None else values[..., :-1]
    return Picture(pixels, alpha, metadata, notes, lossless=source != "JPEG", format=source)


def _values(image: Image.Image) -> Array:
    """Copy the pixels as (H, W, C) uint8.

    They are copied in bands, because Pillow needs twice the memory of a copy.
    """
    width, height = image.size
    values = np.empty((height, width, len(image.getbands())), np.uint8)
    for top in range(0, height, _BAND):
        band = np.asarray(image.crop((0, top, width, min(top + _BAND, height))))
        values[top : top + _BAND] = band.reshape(-1, *values.shape[1:])
    return values


def _check_depth(label: str, image: Image.Image) -> None:
    """Refuse a TIFF page whose 16-bit channels Pillow would silently reduce to 8 bits."""
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, ())
    bits = bits if isinstance(bits, tuple) else (bits,)
    if max(bits, default=8) > 8 and image.mode not in _DEPTH_16:
        raise ImageError(
            f"{label} has pixels of {max(bits)} bits that would be reduced to 8 bits (Pillow's mode {image.mode})",
            hint="save it as gray or RGB, without compression or with LZW or deflate",
        )


def _deep_gray(image: Image.Image) -> Array:
    """Read (H, W) uint16 pixels, black at 0 and white at 65535.

    Pillow does not scale this depth.
    """
    values: Array = np.asarray(image).astype(np.uint16)
    tags = getattr(image, "tag_v2", {})
    if tags.get(_BITS_PER_SAMPLE) == (12,):
        values = values << 4 | values >> 8
    return ~values if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else values


def write(file: BinaryIO, picture: Picture, taken: Carried, image_format: str, quality: int | None) -> None:
    """Write an 8-bit picture with its metadata as PNG, JPEG, WebP or BMP.

    The encoders may raise any exception.
    """
    pixels, metadata = picture.channels, taken.metadata
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    options: dict[str, Any] = {}
    target: Any = file
    if image_format == "PNG":
        options["compress_type"] = strategy_for(_some_rows(pixels))
        chunks = chunks_of(part for part in taken.parts if not part.behind)
        target = _Replacing(file, _PNG_START, _PNG_START, chunks)
    elif image_format == "JPEG":
        options["quality"] = JPEG_QUALITY if quality is None else quality
        options["subsampling"] = "4:4:4" if options["quality"] >= _PLAIN_COLOUR_QUALITY else "4:2:0"
        has_jfif = any("dpi" in jpeg.kinds(part) for part in taken.parts)
        target = _Replacing(file, 2 if has_jfif else _JPEG_START, _JPEG_START, jpeg.segments_of(taken.parts))
    elif image_format == "WEBP":
        options |= {"lossless": True, "quality": 50} if quality is None else {"quality": quality}
        options["exact"] = True  # keeps the colours of fully transparent pixels
        options |= {key: metadata.get(key, b"") for key in ("exif", "icc_profile", "xmp")}
    else:
        picture = upright(replace(picture, metadata=metadata))  # BMP cannot hold the orientation
        if picture.alpha is not None:
            _write_bmp_with_alpha(file, picture.pixels, picture.alpha, picture.metadata)
            return
        pixels = picture.pixels
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        options["dpi"] = picture.metadata.get("dpi", (0, 0))
    image.save(target, format=image_format, **options)
    if image_format == "PNG" and (behind := chunks_of(part for part in taken.parts if part.behind)):
        file.seek(-len(_PNG_END), io.SEEK_END)
        file.write(behind + _PNG_END)
    elif image_format == "WEBP" and taken.parts:
        webp.append_chunks(file, taken.parts)


def _write_bmp_with_alpha(file: BinaryIO, pixels: Array, alpha: Array, metadata: Metadata) -> None:
    """Write RGBA with a version 4 header, which Pillow can read but not write."""
    height, width = pixels.shape[:2]
    bgra = np.empty((height, width, 4), np.uint8)
    bgra[..., :3] = pixels[..., ::-1]
    bgra[..., 3] = alpha
    density = [round(value / _INCH) for value in metadata.get("dpi", (0, 0))]
    file.write(struct.pack("<2sIHHI", b"BM", _BMP_START + bgra.nbytes, 0, 0, _BMP_START))
    file.write(struct.pack("<IiiHHIIiiII", _BMP_HEADER, width, height, 1, 32, _BIT_FIELDS, bgra.nbytes, *density, 0, 0))
    file.write(struct.pack("<4I4s48x", 0xFF0000, 0xFF00, 0xFF, 0xFF000000, b"BGRs"))
    for row in bgra[::-1]:
        file.write(row.tobytes())


def _some_rows(pixels: Array) -> bytes:
    """Filter some rows from the middle of (H, W, C) uint8 `pixels`."""
    start = max(0, (len(pixels) - _SAMPLED) // 2)
    rows = pixels[start : start + _SAMPLED].reshape(-1, pixels.shape[1] * pixels.shape[2])
    return filtered(rows, rows[0], pixels.shape[2]).tobytes()


class _Replacing:
    """File for writing that replaces the bytes from `start` to `stop` by `new`."""

    def __init__(self, file: BinaryIO, start: int, stop: int, new: bytes) -> None:
        self._file = file
        self._head: bytes | None = b""  # data held back until `stop`
        self._start, self._stop, self._new = start, stop, new

    def write(self, data: bytes) -> int:
        if self._head is None:
            return self._file.write(data)
        self._head += data
        if len(self._head) >= self._stop:
            self._file.write(self._head[: self._start] + self._new + self._head[self._stop :])
            self._head = None
        return len(data)

    def flush(self) -> None:
        self._file.flush()
