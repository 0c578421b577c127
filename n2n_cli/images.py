"""Image file <-> pixels; the only home of the image library."""

from __future__ import annotations

import errno
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from n2n_cli.errors import ArgumentError, ImageError
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

_ALPHA = {"1": "LA", "L": "LA", "RGB": "RGBA"}
_DEPTH_16 = {"I;16", "I;16L", "I;16B"}
_HOLDS_ALPHA = {"PNG", "TIFF", "WEBP"}
_HOLDS_16 = {"PNG", "TIFF"}
_LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # of TIFF
_EXIF_HEAD = b"Exif\0\0"
# The tags of EXIF and TIFF that tell about the picture; the others tell how one file holds it.
_TELLING = {
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Orientation,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.HostComputer,
    ExifTags.Base.Copyright,
    ExifTags.IFD.Exif,
    ExifTags.IFD.GPSInfo,
}


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

    Palette and 1-bit pictures become RGB or gray, CMYK becomes RGB. Of a camera's file of several views, the first is
    read. A TIFF's orientation is applied; that of other formats stays with the EXIF data.

    Raises
    ------
    ImageError
        When the file is missing, is not such a picture, is damaged, too large, animated, or of a depth that cannot be
        kept.
    """
    with _reading(path) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":
            raise ImageError(
                f"`{path}` has {frames} frames or pages; only single pictures are read",
                hint="save the one to be read as a picture of its own",
            )
        _check_depth(path, image)
        image.load()
        metadata, notes = _metadata(image)  # complete only now: a PNG may carry some behind its pixels
        if frames > 1:
            notes += (f"only the first of its {frames} views was read",)
        return _picture(path, image, metadata, notes)


def read_pixels(path: Path | str, channels: int) -> Array:
    """(H, W, channels) integer pixels of a picture: gray as three equal channels, RGB as its luma (ITU-R 601).

    Raises
    ------
    ImageError
        As from `read_picture`.
    ArgumentError
        When `channels` is neither 1 nor 3.
    """
    if channels not in (1, 3):
        raise ArgumentError("channels", channels, "1 (gray) or 3 (RGB) to read pictures from image files")
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

    BMP holds no EXIF data: there the pixels themselves are turned as its orientation says.

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
    side, longest = max(picture.pixels.shape[:2]), _LONGEST_SIDE.get(image_format, math.inf)
    if side > longest:
        raise ImageError(
            f"`{path}`: {image_format} holds at most {longest:,} pixels a side, the picture has {side:,}",
            hint="write PNG or TIFF",
        )
    try:
        with warnings.catch_warnings(), replacing(Path(path)) as file:
            warnings.simplefilter("ignore")  # odd metadata is no news to the user of a denoiser
            image, options = _encodable(picture, image_format)
            image.save(file, format=image_format, **options)
    except MemoryError:
        raise
    except Exception as error:  # the encoders raise nearly anything, as the decoders do
        if isinstance(error, OSError) and error.errno:
            raise ImageError(
                f"`{path}` cannot be written: {error.strerror}", hint=_way_out(error.errno, Path(path))
            ) from None
        raise ImageError(f"`{path}` cannot be written as {image_format}: {error}", hint="try PNG or TIFF") from None


def _encodable(picture: Picture, image_format: str) -> tuple[Image.Image, dict[str, Any]]:
    """What Pillow saves, and how."""
    pixels, options = picture.pixels, dict(picture.metadata)
    if picture.alpha is not None:
        pixels = np.concatenate([pixels, picture.alpha[..., None]], axis=2)  # (H, W, C + 1)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if image_format in ("JPEG", "WEBP"):
        options["quality"] = 95
    if "exif" in options and image_format == "TIFF":
        options["exif"] = _telling(_exif(options["exif"]))
    elif "exif" in options and image_format == "BMP":
        image.info["exif"] = options["exif"]
        image = ImageOps.exif_transpose(image)
    return image, options


def _way_out(number: int, path: Path) -> str:
    if number == errno.ENOENT:
        return f"make the folder first: `mkdir -p {path.parent}`"
    if number == errno.ENOSPC:
        return "free some space, or write to another disk"
    return "write to another name, or to a folder of your own"


@contextmanager
def _reading(path: Path | str) -> Iterator[Image.Image]:
    """An opened, not yet decoded picture; whatever goes wrong in the block is an `ImageError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is no news to the user of a denoiser
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # By the file, not by its name: else Pillow maps it into memory, and turned gray TIFFs come out scrambled.
            with Path(path).open("rb") as file, Image.open(file, formats=sorted(set(FORMATS.values()))) as image:
                yield image
    except (ImageError, KeyboardInterrupt, MemoryError):
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise ImageError(
            f"`{path}` claims to have more than {MAX_PIXELS:,} pixels", hint="cut it into smaller pictures"
        ) from None
    except FileNotFoundError:
        raise ImageError(f"there is no file `{path}`", hint="see what is there with `ls`") from None
    except IsADirectoryError:
        raise ImageError(f"`{path}` is a folder, not a picture", hint="name a picture in it") from None
    except PermissionError:
        raise ImageError(f"`{path}` may not be read", hint="its owner can allow it: `chmod +r`") from None
    except Exception as error:
        # The decoders raise nearly anything on damaged input: ValueError, SyntaxError, EOFError, struct.error, ...
        if isinstance(error, OSError) and error.errno:
            raise ImageError(f"`{path}` cannot be read: {error.strerror}", hint="check its name") from None
        if Path(path).is_file() and Path(path).stat().st_size == 0:
            raise ImageError(f"`{path}` is empty", hint="copy it again") from None
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
        raise ImageError(
            f"`{path}` is not a whole PNG, JPEG, TIFF, WebP or BMP picture{reason}",
            hint="copy it again; where a viewer shows it, save it from there as PNG",
        ) from None


def _check_depth(path: Path | str, image: Image.Image) -> None:
    """Refuse 16-bit colour, which Pillow would silently reduce to 8 bits."""
    deep = False
    if image.format == "PNG" and image.mode in ("RGB", "RGBA", "LA"):
        with Path(path).open("rb") as file:
            deep = file.read(25)[24:] == b"\x10"  # IHDR: the byte behind width and height
    elif image.format == "TIFF":
        bits = image.tag_v2.get(_BITS_PER_SAMPLE, ())  # type: ignore[attr-defined]
        deep = len(bits) > 1 and max(bits) > 8
    if deep:
        raise ImageError(
            f"`{path}` has 16 bits per channel and more than one channel, which would be cut to 8 bits",
            hint="convert it to 8 bits, or denoise its channels as separate 16-bit gray pictures",
        )


def _metadata(image: Image.Image) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What a decoded picture carries beside its pixels, in a state that can be written again; and notes."""
    metadata: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    try:
        if image.info.get("exif"):
            _telling(_exif(image.info["exif"]))  # sees whether it is whole
            # WebP has it without the head that JPEG must have.
            metadata["exif"] = _EXIF_HEAD + image.info["exif"].removeprefix(_EXIF_HEAD)
        elif image.format == "TIFF" or "Raw profile type exif" in image.info:
            exif = _telling(image.getexif())
            if exif:
                metadata["exif"] = exif
    except Exception:  # as from a decoder
        notes = ("its EXIF data is damaged and was left out",)
    if image.info.get("icc_profile"):
        metadata["icc_profile"] = image.info["icc_profile"]
    with suppress(ArithmeticError, TypeError, ValueError):  # a TIFF may claim 0/0, or a text
        dpi = tuple(map(float, image.info.get("dpi", ())))
        # One dot per inch is what Pillow says of a TIFF without a resolution.
        if dpi and all(1 < density < 2**16 for density in dpi):
            metadata["dpi"] = dpi
    return metadata, notes


def _exif(data: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(data)
    return exif


def _telling(exif: Image.Exif) -> bytes:
    """EXIF data without the tags that would describe another file's layout; empty if nothing is left."""
    for tag in set(exif) - _TELLING:
        del exif[tag]
    return exif.tobytes() if exif else b""


def _deep_gray(image: Image.Image) -> Array:
    """(H, W) uint16 with black at 0 and white at 65535, which Pillow does not see to at this depth."""
    values: Array = np.asarray(image).astype(np.uint16)
    tags = getattr(image, "tag_v2", {})
    if tags.get(_BITS_PER_SAMPLE) == (12,):
        values = values << 4 | values >> 8
    return ~values if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else values


def _picture(path: Path | str, image: Image.Image, metadata: dict[str, Any], notes: tuple[str, ...]) -> Picture:
    if image.mode in _DEPTH_16:
        if "transparency" in image.info:
            notes += ("its transparent gray level became opaque",)
        return Picture(_deep_gray(image)[..., None], metadata=metadata, notes=notes)
    if image.mode in _ALPHA and "transparency" in image.info:
        image = image.convert(_ALPHA[image.mode])
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
        notes += ("its palette became plain colours",)
    elif image.mode in ("CMYK", "YCbCr", "LAB"):
        notes += (f"it was converted from {image.mode} to RGB",)
        metadata.pop("icc_profile", None)  # it describes the old colours
        image = image.convert("RGB")
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
