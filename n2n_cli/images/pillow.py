"""Pictures of 8 bits per channel, read and written by Pillow."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image

from n2n_cli.errors import ImageError
from n2n_cli.images import exif
from n2n_cli.images.formats import JPEG_QUALITY
from n2n_cli.images.orientation import upright
from n2n_cli.images.picture import Metadata, Picture, Text
from n2n_cli.images.png.chunks import chunk
from n2n_cli.images.png.deflate import strategy_for
from n2n_cli.images.png.filters import filtered
from n2n_cli.images.png.metadata import write_metadata
from n2n_cli.nn.functional import Array

_ALPHA = {"1": "LA", "L": "LA", "RGB": "RGBA"}
_DEPTH_16 = {"I;16", "I;16L", "I;16B"}
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # of TIFF
_PLAIN_COLOUR_QUALITY = 90  # from this quality on, JPEG keeps colour at full resolution
_LONGEST_IN_JPEG = 65_533 - 29  # bytes of XMP data
_BAND = 256  # rows
_SAMPLED = 16  # rows by which the compression strategy of a PNG is chosen
_INCH = 0.0254  # metres
_BMP_HEADER, _BMP_START, _BIT_FIELDS = 108, 122, 3  # bytes of the header of version 4, bytes before the pixels
_PNG_START = 33  # bytes of a PNG's signature and header


def read_metadata(image: Image.Image) -> tuple[Metadata, tuple[str, ...]]:
    """Metadata of a decoded JPEG, WebP or BMP, checked; and notes."""
    metadata, notes, info = Metadata(), tuple[str, ...](), image.info
    try:
        if info.get("exif"):
            metadata["exif"] = exif.checked(info["exif"])
    except Exception:  # damaged EXIF data may raise any exception
        notes = (exif.DAMAGED,)
    if info.get("icc_profile"):
        metadata["icc_profile"] = info["icc_profile"]
    if isinstance(info.get("xmp"), bytes) and info["xmp"]:
        metadata["xmp"] = info["xmp"]
    if isinstance(info.get("comment"), bytes) and info["comment"]:
        text = info["comment"].decode("utf-8", "replace")
        metadata["texts"] = (Text(keyword="Comment", text=text, language="", translated=""),)
    if image.format in ("JPEG", "MPO") and info.get("jfif_unit") not in (1, 2):
        dpi = _exif_density(metadata)  # without one, Pillow invents it
    else:
        dpi = exif.dots_per_inch(*info.get("dpi", (None, None)))
    if dpi:
        metadata["dpi"] = dpi
    return metadata, notes


def _exif_density(metadata: Metadata) -> tuple[float, float] | None:
    """The resolution in EXIF data, in dots per inch."""
    if "exif" not in metadata:
        return None
    found = exif.loaded(metadata["exif"])
    unit, x, y = (ExifTags.Base.ResolutionUnit, ExifTags.Base.XResolution, ExifTags.Base.YResolution)
    return exif.dots_per_inch(found.get(x), found.get(y), found.get(unit))


def picture_of(label: str, image: Image.Image, metadata: Metadata, notes: tuple[str, ...]) -> Picture:
    """Convert an image of Pillow's.

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
    """(H, W, C) uint8, copied in bands: Pillow takes twice the memory of a copy."""
    width, height = image.size
    values = np.empty((height, width, len(image.getbands())), np.uint8)
    for top in range(0, height, _BAND):
        band = np.asarray(image.crop((0, top, width, min(top + _BAND, height))))
        values[top : top + _BAND] = band.reshape(-1, *values.shape[1:])
    return values


def _check_depth(label: str, image: Image.Image) -> None:
    """Refuse a TIFF page whose 16-bit channels Pillow would silently cut to 8 bits."""
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, ())
    bits = bits if isinstance(bits, tuple) else (bits,)
    if max(bits, default=8) > 8 and image.mode not in _DEPTH_16:
        raise ImageError(
            f"{label} has pixels of {max(bits)} bits that would be cut to 8 bits (Pillow's mode {image.mode})",
            hint="save it as gray or RGB, without compression or with LZW or deflate",
        )


def _deep_gray(image: Image.Image) -> Array:
    """(H, W) uint16, black at 0, white at 65535; Pillow does not scale this depth."""
    values: Array = np.asarray(image).astype(np.uint16)
    tags = getattr(image, "tag_v2", {})
    if tags.get(_BITS_PER_SAMPLE) == (12,):
        values = values << 4 | values >> 8
    return ~values if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else values


def write(file: BinaryIO, picture: Picture, image_format: str, quality: int | None) -> None:
    """Write an 8-bit picture as PNG, JPEG, WebP or BMP.

    The encoders may raise any exception.
    """
    pixels, metadata = picture.channels, picture.metadata
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if image_format == "PNG":
        chunks = b"".join(chunk(name, content) for name, content in write_metadata(metadata))
        strategy = strategy_for(_some_rows(pixels))
        inserting: Any = _Inserting(file, chunks, _PNG_START)
        image.save(inserting, format="PNG", compress_type=strategy)
        return
    options: dict[str, Any] = {}
    for key in ("exif", "icc_profile", "dpi"):
        if key in metadata:
            options[key] = metadata[key]
    if image_format == "JPEG":
        options["quality"] = JPEG_QUALITY if quality is None else quality
        options["subsampling"] = "4:4:4" if options["quality"] >= _PLAIN_COLOUR_QUALITY else "4:2:0"
        if len(metadata.get("xmp", b"")) <= _LONGEST_IN_JPEG and "xmp" in metadata:
            options["xmp"] = metadata["xmp"]
        if comments := [text["text"] for text in metadata.get("texts", ()) if text["keyword"] == "Comment"]:
            options["comment"] = comments[0].encode()[:65_000]
    elif image_format == "WEBP":
        options |= {"lossless": True, "quality": 50} if quality is None else {"quality": quality}
        options["exact"] = True  # keeps the colours of fully transparent pixels
        options["xmp"] = metadata.get("xmp", b"")
    else:
        picture = upright(picture)  # BMP cannot hold the orientation
        if picture.alpha is not None:
            _write_bmp_with_alpha(file, picture.pixels, picture.alpha, picture.metadata)
            return
        pixels = picture.pixels
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        options = {"dpi": picture.metadata["dpi"]} if "dpi" in picture.metadata else {}
    image.save(file, format=image_format, **options)


def _write_bmp_with_alpha(file: BinaryIO, pixels: Array, alpha: Array, metadata: Metadata) -> None:
    """Write RGBA with the header of version 4, which Pillow reads and does not write."""
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
    """Filtered rows from the middle of (H, W, C) uint8 `pixels`."""
    start = max(0, (len(pixels) - _SAMPLED) // 2)
    rows = pixels[start : start + _SAMPLED].reshape(-1, pixels.shape[1] * pixels.shape[2])
    return filtered(rows, rows[0], pixels.shape[2]).tobytes()


class _Inserting:
    """File for writing that inserts some bytes at one position."""

    def __init__(self, file: BinaryIO, inserted: bytes, place: int) -> None:
        self._file, self._inserted, self._left = file, inserted, place

    def write(self, data: bytes) -> int:
        if len(data) < self._left:
            self._left -= len(data)
            return self._file.write(data)
        before, behind = data[: self._left], data[self._left :]
        inserted, self._inserted, self._left = self._inserted, b"", 0
        for part in (before, inserted, behind):
            self._file.write(part)
        return len(data)

    def flush(self) -> None:
        self._file.flush()


def left_out(metadata: Metadata, image_format: str) -> tuple[str, ...]:
    """Notes on the metadata that a format cannot hold."""
    notes = []
    if image_format == "BMP":
        held = {"icc_profile": "colour profile", "xmp": "XMP data", "exif": "EXIF data"}
        notes += [f"BMP cannot hold its {name}" for key, name in held.items() if key in metadata]
    if image_format == "JPEG" and len(metadata.get("xmp", b"")) > _LONGEST_IN_JPEG:
        notes.append("its XMP data is too long for JPEG")
    texts = metadata.get("texts", ())
    if image_format == "JPEG":
        texts = tuple(text for text in texts if text["keyword"] != "Comment")
    if texts and image_format != "PNG":
        notes.append(f"{image_format} cannot hold its texts: " + ", ".join(text["keyword"] for text in texts))
    names = {name for name, _ in metadata.get("colour", ())}
    if image_format != "PNG" and b"gAMA" in names and b"sRGB" not in names and "icc_profile" not in metadata:
        notes.append(f"{image_format} cannot hold its gamma")
    return tuple(notes)
