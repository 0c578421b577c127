"""File formats, recognised by their first bytes: supported and foreign pictures."""

from __future__ import annotations

import math
import re
import struct
import warnings
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from n2n_cli.errors import ImageError
from n2n_cli.images.packing import unpacked_start
from n2n_cli.images.tiff.pages import PHOTOMETRIC, Page, is_tiff, read_pages

READ_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "FITS", "MRC")
READ = "PNG, JPEG, TIFF, WebP, BMP, FITS and MRC"
"""Names of the supported formats, in one text."""
START = 512
"""Number of bytes from which a format is recognised."""

_EXPORT = "export it as 16-bit TIFF or as PNG"
_DEVELOP = "develop it with a raw converter, such as darktable or RawTherapee, and export it as 16-bit TIFF"
_MEASURED = "export it as TIFF of 16 bits or of 32-bit floats"
_MICROSCOPE = "export it as TIFF, for example with Fiji"
_UNPACK = "unpack it first"
_FRAMES = "export the wanted frames as PNG or TIFF"
_NOT_A_PICTURE = "get the picture itself"

_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # lengths of the second header, in bytes
_RAW_ENDINGS = {
    *(".3fr", ".arw", ".cr2", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".k25", ".kdc"),
    *(".mef", ".mos", ".nef", ".nrw", ".pef", ".sr2", ".srf", ".srw"),
}
"""File name extensions of camera raw files that are TIFF inside."""
_DNG_VERSION, _CFA, _LINEAR_RAW = 50706, 32803, 34892


class Kind(NamedTuple):
    """A kind of file that n2n does not read.

    Attributes
    ----------
    name : str
    hint : str
        Advice for the user.
    is_picture : bool
        True for a picture, false for a file that belongs to one.
    """

    name: str
    hint: str
    is_picture: bool = True

    @property
    def article(self) -> str:
        """The indefinite article of the name."""
        spelled = ("HDF5", "HEIC", "MNG", "SGI", "SVG", "xz")
        return "an" if self.name[0] in "AEIO" or self.name.startswith(spelled) else "a"


RAW = Kind("camera raw file", _DEVELOP)
_SIGNATURES: tuple[tuple[int, bytes, Kind], ...] = (
    (0, b"GIF87a", Kind("GIF picture", "save the wanted frame as PNG")),
    (0, b"GIF89a", Kind("GIF picture", "save the wanted frame as PNG")),
    (0, b"FUJIFILMCCD-RAW", RAW),
    (6, b"HEAPCCDR", RAW),
    (0, b"IIRO", RAW),
    (0, b"IIRS", RAW),
    (0, b"MMOR", RAW),
    (0, b"IIU\0", RAW),
    (0, b"\0MRM", RAW),
    (0, b"FOVb", RAW),
    (0, b"XISF0100", Kind("XISF file", _MEASURED)),
    (0, b"LUCAM-RECORDER", Kind("SER video", _FRAMES)),
    (128, b"DICM", Kind("DICOM file", _MEASURED)),
    (344, b"n+1\0", Kind("NIfTI file", _MEASURED)),
    (344, b"ni1\0", Kind("NIfTI file", _MEASURED)),
    (0, b"NRRD000", Kind("NRRD file", _MEASURED)),
    (0, b"v/1\x01", Kind("OpenEXR picture", _MEASURED)),
    (0, b"#?RADIANCE", Kind("Radiance HDR picture", _MEASURED)),
    (0, b"#?RGBE", Kind("Radiance HDR picture", _MEASURED)),
    (0, b"\x89HDF\r\n\x1a\n", Kind("HDF5 file", _MEASURED)),
    (0, b"\x93NUMPY", Kind("NumPy array", _MEASURED, False)),
    (0, b"ZISSRAWFILE", Kind("Zeiss CZI file", _MICROSCOPE)),
    (0, b"\xda\xce\xbe\x0a", Kind("Nikon ND2 file", _MICROSCOPE)),
    (0, b"\x70\0\0\0", Kind("Leica LIF file", _MICROSCOPE)),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind("OLE file, such as OIB or ZVI", _MICROSCOPE)),
    (0, b"\0\0\0\x0cjP  ", Kind("JPEG 2000 picture", _EXPORT)),
    (0, b"\xff\x4f\xff\x51", Kind("JPEG 2000 picture", _EXPORT)),
    (0, b"\0\0\0\x0cJXL ", Kind("JPEG XL picture", _EXPORT)),
    (0, b"\xff\x0a", Kind("JPEG XL picture", _EXPORT)),
    (0, b"II\xbc", Kind("JPEG XR picture", _EXPORT)),
    (0, b"8BPS", Kind("Photoshop file", _EXPORT)),
    (0, b"gimp xcf", Kind("GIMP file", _EXPORT)),
    (0, b"\0\0\1\0", Kind("Windows icon", _EXPORT, False)),
    (0, b"\x01\xda", Kind("SGI picture", _EXPORT)),
    (0, b"DDS ", Kind("DDS texture", _EXPORT)),
    (0, b"qoif", Kind("QOI picture", _EXPORT)),
    (0, b"FLIF", Kind("FLIF picture", _EXPORT)),
    (0, b"BPG\xfb", Kind("BPG picture", _EXPORT)),
    (0, b"\x8aMNG", Kind("MNG animation", _FRAMES, False)),
    (0, b"%PDF", Kind("PDF document", _EXPORT, False)),
    (0, b"%!PS", Kind("PostScript document", _EXPORT, False)),
    (0, b"\xc5\xd0\xd3\xc6", Kind("PostScript document", _EXPORT, False)),
    (0, b"\x1a\x45\xdf\xa3", Kind("Matroska video", _FRAMES, False)),
    (0, b"\0\5\x16\7", Kind("macOS metadata file of a picture", "name the file without `._`", False)),
    (0, b"\x1f\x8b", Kind("gzip file", _UNPACK, False)),
    (0, b"BZh", Kind("bzip2 file", _UNPACK, False)),
    (0, b"\xfd7zXZ\0", Kind("xz file", _UNPACK, False)),
    (0, b"\x28\xb5\x2f\xfd", Kind("Zstandard file", _UNPACK, False)),
    (0, b"PK\3\4", Kind("zip file", _UNPACK, False)),
    (0, b"version https://git-lfs", Kind("pointer to a file in Git LFS", "`git lfs pull`")),
)
_BRANDS = (  # major brands of ISO base media files
    (("avif", "avis"), Kind("AVIF picture", _EXPORT)),
    (("heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "mif2", "msf1"), Kind("HEIC picture", _EXPORT)),
    (("crx ",), RAW),
)
_VIDEO = Kind("video", _FRAMES, False)
_PATTERNS = (
    (re.compile(rb"(?:II\*\0|MM\0\*).{4}(?:CR\x02\0|IIII[TC]waR|MMMMRaw[TC])", re.DOTALL), RAW),
    (re.compile(rb"P[1-7]\s[\s\d#]"), Kind("Netpbm picture", _EXPORT)),
    (re.compile(rb"P[fF]\s\d"), Kind("PFM picture", _MEASURED)),
    (re.compile(rb"RIFF....AVI ", re.DOTALL), Kind("AVI video", _FRAMES, False)),
    (re.compile(rb"\s*(?:<\?xml.{0,200})?<svg\b", re.DOTALL), Kind("SVG drawing", _EXPORT, False)),
    (re.compile(rb"\s*<(?:!doctype html|html)\b", re.IGNORECASE), Kind("web page", _NOT_A_PICTURE, False)),
)


def format_in(start: bytes) -> str | None:
    """Supported format that a file starts with; None for any other file.

    FITS and MRC may be compressed by gzip.
    """
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if start.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "WEBP"
    if start.startswith(b"BM") and len(start) >= 18 and struct.unpack_from("<I", start, 14)[0] in _BMP_HEADERS:
        return "BMP"
    if is_tiff(start):
        return "TIFF"
    return _instrument_format(unpacked_start(start))


def _instrument_format(start: bytes) -> str | None:
    if start.startswith(b"SIMPLE  ="):
        return "FITS"
    return "MRC" if start[208:211] == b"MAP" else None


def format_of_file(file: BinaryIO) -> str | None:
    """Supported format of a file, as in `format_in`."""
    file.seek(0)
    return format_in(file.read(START))


def foreign_kind(start: bytes) -> Kind | None:
    """Kind of a foreign file, from its first bytes; None if unknown or supported."""
    if _instrument_format(unpacked_start(start)) is not None:
        return None
    for place, signature, kind in _SIGNATURES:
        if start.startswith(signature, place):
            return kind
    if start[4:8] == b"ftyp":
        brands = {start[8:12].decode("latin-1")}
        return next((kind for names, kind in _BRANDS if brands & set(names)), _VIDEO)
    return next((kind for pattern, kind in _PATTERNS if pattern.match(start)), None)


def refuse_foreign(label: str, start: bytes) -> None:
    """Refuse a file of a known foreign kind.

    Raises
    ------
    ImageError
        When the kind is known; the message names it and the hint gives advice.
    """
    kind = foreign_kind(start)
    if kind is not None:
        raise _refusal(label, kind)


def _refusal(label: str, kind: Kind) -> ImageError:
    return ImageError(f"{label} is {kind.article} {kind.name}; supported are {READ}", hint=kind.hint)


def refuse_raw(label: str, page: Page) -> None:
    """Refuse a camera raw file, and a file whose pages hold only a preview.

    Parameters
    ----------
    page : Page
        The first page of a TIFF.

    Raises
    ------
    ImageError
        When it is such a file.
    """
    if _is_raw(page) or Path(label.strip("`")).suffix.lower() in _RAW_ENDINGS:  # the label is the name in backticks
        raise _refusal(label, RAW)
    if page.is_reduced and any(_area(inner) > _area(page) for inner in page.inner_pages()):
        raise ImageError(
            f"{label} holds only a preview in its first page; its picture is in a subdirectory (SubIFD)",
            hint=_EXPORT,
        )


def _area(page: Page) -> int:
    """Number of pixels of a page; 0 if it has no size."""
    with suppress(ValueError):
        return math.prod(page.size)
    return 0


def _is_raw(page: Page) -> bool:
    kinds = {kind for found in (page, *page.inner_pages()) for kind in found.integers(PHOTOMETRIC)}
    return bool(kinds & {_CFA, _LINEAR_RAW}) or (_DNG_VERSION in page.tags and page.is_reduced)


def picture_kind(path: Path) -> str | None:
    """Name of a picture file's kind, supported or not; None if it holds no picture."""
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind = _kind_of_file(path, file)
    except Exception:  # damaged files may raise any exception
        return None
    return kind if isinstance(kind, str) or kind is None else kind.name if kind.is_picture else None


def _kind_of_file(path: Path, file: BinaryIO) -> Kind | str | None:
    start = file.read(START)
    image_format = format_in(start)
    if image_format == "TIFF" and foreign_kind(start) is None:
        page = next(read_pages(file))
        return RAW if _is_raw(page) or path.suffix.lower() in _RAW_ENDINGS else image_format
    return foreign_kind(start) or image_format


def skipped_notes(paths: Iterable[Path], place: Path) -> tuple[str, ...]:
    """Note on pictures, if any, that are not read because of their extensions."""
    counts = Counter(kind for path in paths if (kind := picture_kind(path)) is not None)
    if not counts:
        return ()
    names = {name: f"{name} without its extension" if name in READ_FORMATS else name for name in counts}
    kinds = ", ".join(f"{names[name]} ({count})" for name, count in counts.most_common())
    total = counts.total()
    files = "1 picture that is" if total == 1 else f"{total} pictures that are"
    return (f"{place}: left out {files} not read: {kinds}; export as 16-bit TIFF or PNG, or correct the extension",)
