"""Image file <-> pixels; the only home of the image library."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from n2n_cli.errors import ImageError
from n2n_cli.files import replacing
from n2n_cli.nn.functional import Array
from n2n_cli.pixels import to_float, to_integer

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".bmp": "BMP",
}
MAX_PIXELS = 250_000_000
"""Pictures above this size are refused before they are decoded: a small file can claim any size."""

Image.MAX_IMAGE_PIXELS = MAX_PIXELS

_ALPHA = {"L": "LA", "RGB": "RGBA"}
_DEPTH_16 = {"I;16", "I;16L", "I;16B"}
_HOLDS_ALPHA = {"PNG", "TIFF", "WEBP"}
_HOLDS_16 = {"PNG", "TIFF"}


@dataclass(frozen=True)
class Picture:
    """A picture and how it was stored, so that it can be stored that way again.

    Attributes
    ----------
    pixels : (H, W, C) array of uint8 or uint16
        C is 1 for gray and 3 for RGB.
    alpha : (H, W) uint8 array or None
        Opacity, kept as it was.
    metadata : dict
        What the format carries beside the pixels, as Pillow's `save` takes it: `exif`, `icc_profile`, `dpi`.
    notes : tuple of str
        What was changed while reading, for the user.
    """

    pixels: Array
    alpha: Array | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_float(self) -> Array:
        """(C, H, W) float32 in [0, 1]."""
        return np.moveaxis(to_float(self.pixels), -1, 0)

    def with_float(self, pixels: Array) -> Picture:
        """The same picture with other pixels: (C, H, W) floats, rounded to this picture's depth."""
        return replace(self, pixels=to_integer(np.moveaxis(pixels, 0, -1), self.pixels.dtype))


def read_picture(path: Path | str) -> Picture:
    """Decode a PNG, JPEG, TIFF, WebP or BMP file.

    Palette and 1-bit pictures become RGB or gray, CMYK becomes RGB.

    Raises
    ------
    ImageError
        When the file is missing, is not such a picture, is damaged, too large, animated, or of a depth that cannot be
        kept.
    """
    with _reading(path) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            raise ImageError(f"`{path}` has {frames} frames or pages; only single pictures are read")
        _check_depth(path, image)
        metadata = {key: image.info[key] for key in ("exif", "icc_profile", "dpi") if image.info.get(key)}
        image.load()
        return _picture(path, image, metadata)


def read_pixels(path: Path | str, channels: int) -> Array:
    """(H, W, channels) integer pixels of a picture: gray as three equal channels, RGB as its luma (ITU-R 601)."""
    pixels = read_picture(path).pixels
    if channels == pixels.shape[2]:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    luma = to_float(pixels) @ np.array([[0.299], [0.587], [0.114]], np.float32)
    return to_integer(luma, pixels.dtype)


def picture_size(path: Path | str) -> tuple[int, int]:
    """(rows, columns) of a picture, from its header alone."""
    with _reading(path) as image:
        return image.height, image.width


def format_of(path: Path | str) -> str:
    """The image format that a file's name asks for.

    Raises
    ------
    ImageError
        When the ending is unknown.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise ImageError(
            f"`{path}` does not end in the name of an image format",
            hint="known endings: " + ", ".join(FORMATS),
        )
    return FORMATS[suffix]


def write_picture(path: Path | str, picture: Picture) -> None:
    """Write a picture in the format its name asks for; the file appears whole, by rename.

    Raises
    ------
    ImageError
        When the format is unknown or cannot hold the picture's depth or alpha, or the file cannot be written.
    """
    image_format = format_of(path)
    if picture.alpha is not None and image_format not in _HOLDS_ALPHA:
        raise ImageError(
            f"`{path}`: {image_format} cannot hold this picture's transparency", hint="write PNG, TIFF or WebP"
        )
    if picture.pixels.dtype == np.uint16 and image_format not in _HOLDS_16:
        raise ImageError(f"`{path}`: {image_format} cannot hold 16 bits per channel", hint="write PNG or TIFF")
    options = dict(picture.metadata)
    if image_format in ("JPEG", "WEBP"):
        options["quality"] = 95
    pixels = picture.pixels
    if picture.alpha is not None:
        pixels = np.concatenate([pixels, picture.alpha[..., None]], axis=2)  # (H, W, C + 1)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    try:
        with replacing(Path(path)) as file:
            image.save(file, format=image_format, **options)
    except OSError as error:
        raise ImageError(f"`{path}` cannot be written: {error.strerror or error}") from None
    except ValueError as error:  # a size that the format has no room for
        raise ImageError(f"`{path}` cannot be written as {image_format}: {error}") from None


@contextmanager
def _reading(path: Path | str) -> Iterator[Image.Image]:
    """An opened, not yet decoded picture; whatever goes wrong in the block is an `ImageError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is no news to the user of a denoiser
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=sorted(set(FORMATS.values()))) as image:
                yield image
    except (ImageError, KeyboardInterrupt, MemoryError):
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise ImageError(f"`{path}` claims to have more than {MAX_PIXELS:,} pixels") from None
    except FileNotFoundError:
        raise ImageError(f"there is no file `{path}`") from None
    except IsADirectoryError:
        raise ImageError(f"`{path}` is a folder, not a picture") from None
    except PermissionError:
        raise ImageError(f"`{path}` may not be read") from None
    except Exception as error:
        # The decoders raise nearly anything on damaged input: ValueError, SyntaxError, EOFError, struct.error, ...
        if Path(path).is_file() and Path(path).stat().st_size == 0:
            raise ImageError(f"`{path}` is empty") from None
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
        known = "PNG, JPEG, TIFF, WebP or BMP"
        raise ImageError(f"`{os.fspath(path)}` is not a whole {known} picture{reason}") from None


def _check_depth(path: Path | str, image: Image.Image) -> None:
    """Refuse 16-bit colour, which Pillow would silently reduce to 8 bits."""
    deep = False
    if image.format == "PNG" and image.mode in ("RGB", "RGBA", "LA"):
        with Path(path).open("rb") as file:
            deep = file.read(25)[24:] == b"\x10"  # IHDR: the byte behind width and height
    elif image.format == "TIFF" and image.mode in ("RGB", "RGBA", "LA"):
        deep = 16 in image.tag_v2.get(258, ())  # type: ignore[attr-defined]  # BitsPerSample
    if deep:
        raise ImageError(
            f"`{path}` has 16 bits per channel and more than one channel, which would be cut to 8 bits",
            hint="convert it to 8 bits, or denoise its channels as separate 16-bit gray pictures",
        )


def _picture(path: Path | str, image: Image.Image, metadata: dict[str, Any]) -> Picture:
    notes: tuple[str, ...] = ()
    if image.mode in _DEPTH_16:
        return Picture(np.asarray(image).astype(np.uint16)[..., None], metadata=metadata)
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
        notes = ("its palette became plain colours",)
    elif image.mode in ("CMYK", "YCbCr", "LAB"):
        notes = (f"it was converted from {image.mode} to RGB",)
        metadata.pop("icc_profile", None)  # it describes the old colours
        image = image.convert("RGB")
    elif image.mode in _ALPHA and "transparency" in image.info:
        image = image.convert(_ALPHA[image.mode])
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise ImageError(
            f"`{path}` holds pixels of a kind that is not supported (Pillow's mode {image.mode})",
            hint="convert it to 8-bit gray or RGB, or to 16-bit gray",
        )
    values = np.asarray(image)
    values = values[..., None] if values.ndim == 2 else values  # (H, W, C)
    if image.mode in ("LA", "RGBA"):
        return Picture(values[..., :-1], values[..., -1], metadata, notes)
    return Picture(values, None, metadata, notes)
