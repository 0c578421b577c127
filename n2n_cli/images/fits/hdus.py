"""Header and data units (HDUs) of a FITS file, and the images among them."""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from n2n_cli.images.fits.cards import BLOCK, read_header
from n2n_cli.images.picture import Stored
from n2n_cli.images.sources import without_warnings
from n2n_cli.nn.functional import Array

_STORED = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}  # dtype by BITPIX
_OFFSETS = {8: -(2.0**7), 16: 2.0**15, 32: 2.0**31}
"""BZERO for integers of the opposite signedness, by BITPIX."""
_MOST_AXES = 999
_MOST_SHOWN = 10**18  # maximum bytes that an error states exactly
_EXACT = 2**53  # float64 represents all integers up to this one
_NO_PICTURES = re.compile(
    r"(.*[_. -])?(DQ|DATA_?QUALITY|QUALITY|QUAL|FLAGS?|MASKS?|MSK|BPM|ERR|ERRS|ERRORS?|UNC|UNCERT|UNCERTAINTY|SIGMA|RMS"
    r"|STDDEV|STD|NOISE|STAT|VAR|VARIANCE|IVAR|INVVAR|WHT|WGT|WEIGHTS?|EXPMAP|SAMP|TIME|CTX|CON|COVERAGE)[\d_]*"
    r"|(VAR|DQ|ERR)_.*|(WCSDV|D2IM)ARR",
    re.IGNORECASE,
)
"""Names of extensions that are not pictures: flags, errors, weights, tables of distortions."""


@dataclass(frozen=True)
class Hdu:
    """A header and data unit of a file.

    Attributes
    ----------
    header : bytes
        Header as stored, with its padding.
    values : mapping
        The header, decoded by astropy.
    start, data, stop : int
        Offsets in the file of the header, of the data, and of the end of the unit.
    size : int
        Size of the data in bytes, without padding.
    """

    header: bytes
    values: Any
    start: int
    data: int
    size: int
    stop: int

    def whole(self, key: str, default: int | None = None) -> int:
        """Read a whole number from the header.

        Raises
        ------
        ValueError
            When the value is not a whole number, or missing without a default.
        """
        value = self.values.get(key, default)
        if not isinstance(value, int):
            raise ValueError(f"its {key} is {value!r}" if key in self.values else f"it has no {key}")
        return int(value)

    def text(self, key: str) -> str:
        """Read a text from the header; empty if there is none."""
        value = self.values.get(key, "")
        return value.strip() if isinstance(value, str) else ""

    @property
    def kind(self) -> str:
        """Kind of the extension, such as IMAGE or BINTABLE; empty for the primary unit."""
        return self.text("XTENSION").upper()

    @property
    def name(self) -> str:
        """Name for messages: EXTNAME, or the kind."""
        return self.text("EXTNAME") or self.kind or "primary header"


def read_hdus(fits: Any, file: BinaryIO) -> list[Hdu]:
    """Read all units of a file; bytes after the last one are left out.

    Parameters
    ----------
    fits : module
        ``astropy.io.fits``.
    file : BinaryIO

    Raises
    ------
    ValueError
        When a header is damaged, or the file ends within the data.
    """
    end = file.seek(0, io.SEEK_END)
    hdus = list[Hdu]()
    start = 0
    while start < end:
        file.seek(start)
        header = read_header(file)
        if header is None:
            break
        with without_warnings():
            hdu = _hdu(fits.Header.fromstring(header), header, start)
        if hdu.data + hdu.size > end:
            size = f"{hdu.size:,}" if hdu.size < _MOST_SHOWN else f"more than {_MOST_SHOWN:,}"
            raise ValueError(f"the data of {hdu.name} should have {size} bytes, there are {end - hdu.data:,}")
        hdus.append(hdu)
        start = hdu.stop
    return hdus


def _hdu(values: Any, header: bytes, start: int) -> Hdu:
    bare = Hdu(header, values, start, start + len(header), 0, 0)
    bits, axes = bare.whole("BITPIX"), _axes(bare)
    if bits not in _STORED:
        raise ValueError(f"its BITPIX is {bits}")
    if axes and axes[0] == 0 and bare.values.get("GROUPS") is True:
        axes = axes[1:]  # random groups
    elements = math.prod(axes) if axes else 0
    parameters, groups = bare.whole("PCOUNT", 0), bare.whole("GCOUNT", 1)
    if parameters < 0 or groups < 0:
        raise ValueError("its PCOUNT or GCOUNT is negative")
    size = abs(bits) // 8 * groups * (parameters + elements)
    return Hdu(header, values, start, bare.data, size, bare.data + -(-size // BLOCK) * BLOCK)


def _axes(hdu: Hdu, prefix: str = "") -> list[int]:
    count = hdu.whole(f"{prefix}NAXIS")
    if not 0 <= count <= _MOST_AXES:
        raise ValueError(f"its {prefix}NAXIS is {count}")
    axes = [hdu.whole(f"{prefix}NAXIS{number}") for number in range(1, count + 1)]
    if any(size < 0 for size in axes):
        raise ValueError(f"one of its axes has {min(axes)} pixels")
    return axes


@dataclass(frozen=True)
class Image:
    """An image of two or more axes in a FITS file.

    Attributes
    ----------
    hdu : Hdu
    axes : tuple of int
        Sizes of the axes, the slowest first: those of the pages, then rows and columns.
    stored : dtype
        Type of the pixels in the file.
    scale, zero : float
        Value = scale * stored + zero.
    blank : int or None
        Stored integer that stands for missing data.
    is_compressed : bool
        True if the image is compressed in tiles, which are in a table.
    """

    hdu: Hdu
    axes: tuple[int, ...]
    stored: np.dtype[Any]
    scale: float
    zero: float
    blank: int | None
    is_compressed: bool

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of a page."""
        return self.axes[-2], self.axes[-1]

    @property
    def pages(self) -> int:
        """Number of pages."""
        return math.prod(self.axes[:-2])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values: the stored type, or float64 for scaled or too long integers."""
        kind, size = self.stored.kind, self.stored.itemsize
        if self.scale == 1 and self.zero == 0 and (kind == "f" or size < 8):
            return self.stored.newbyteorder("=")
        if self._flips_sign:
            return np.dtype(f"{'i' if size == 1 else 'u'}{size}")
        return np.dtype(np.float64)

    @property
    def _flips_sign(self) -> bool:
        kind, size = self.stored.kind, self.stored.itemsize
        return kind != "f" and self.scale == 1 and self.zero == _OFFSETS.get(8 * size)

    @property
    def nodata(self) -> float | None:
        """Value that stands for missing data; None for floats, which use NaN."""
        return None if self.blank is None or self.dtype.kind == "f" else self.blank + self.zero

    def values(self, stored: Array) -> Array:
        """Convert stored pixels to values.

        Raises
        ------
        ValueError
            When integers are too large for float64.
        """
        native: Array = stored.astype(self.stored.newbyteorder("="), copy=False)
        if self._flips_sign:
            return np.asarray(native ^ native.dtype.type(_sign_bit(native.dtype))).view(self.dtype)
        if self.dtype == native.dtype:
            return native
        if native.dtype == np.int64 and max(-int(native.min()), int(native.max())) > _EXACT:
            raise ValueError("it holds integers of more than 53 bits")
        with np.errstate(over="ignore", invalid="ignore"):
            values: Array = native.astype(np.float64) * self.scale + self.zero
        if self.blank is not None:
            values[native == self.blank] = np.nan
        return values

    def stored_of(self, values: Array) -> Array:
        """Convert values to stored pixels, rounding integers: the inverse of `values`."""
        native = self.stored.newbyteorder("=")
        if self._flips_sign:
            unsigned = values.view(native)
            return np.asarray(unsigned ^ native.type(_sign_bit(native)), self.stored)
        if self.dtype == native:
            return values.astype(self.stored)
        with np.errstate(over="ignore", invalid="ignore"):
            levels = (values - self.zero) / self.scale
            if native.kind == "f":
                return levels.astype(self.stored)
        limits, missing = np.iinfo(native), np.isnan(levels)
        top = float(limits.max) if native.itemsize < 8 else float(limits.max - 1023)  # the largest float below 2^63
        stored = np.clip(np.rint(np.where(missing, 0, levels)), float(limits.min), top).astype(native)
        if self.blank is not None:
            stored[stored == self.blank] += -1 if self.blank == limits.max else 1
            stored[missing] = self.blank
        return stored.astype(self.stored)


def _sign_bit(dtype: np.dtype[Any]) -> int:
    return -(1 << 8 * dtype.itemsize - 1) if dtype.kind == "i" else 1 << 8 * dtype.itemsize - 1


def image_of(hdu: Hdu) -> Image | None:
    """Find the image in a unit; None for tables, spectra, flags and other units.

    Raises
    ------
    ValueError
        When the header of the image is damaged.
    """
    compressed = hdu.kind == "BINTABLE" and hdu.values.get("ZIMAGE") is True
    if hdu.kind not in ("", "IMAGE") and not compressed:
        return None
    prefix = "Z" if compressed else ""
    axes = tuple(reversed(_axes(hdu, prefix)))
    grouped = not compressed and (hdu.whole("PCOUNT", 0) != 0 or hdu.whole("GCOUNT", 1) != 1)
    if len(axes) < 2 or 0 in axes or min(axes[-2:]) < 2 or grouped:
        return None
    bits = hdu.whole(f"{prefix}BITPIX")
    if bits not in _STORED:
        raise ValueError(f"its {prefix}BITPIX is {bits}")
    scale, zero = _number(hdu, "BSCALE", 1), _number(hdu, "BZERO", 0)
    if not scale:
        raise ValueError("its BSCALE is 0")
    blank = None
    if bits > 0 and (key := next((key for key in ("BLANK", "ZBLANK") if key in hdu.values), None)):
        blank = hdu.whole(key)
    return Image(hdu, axes, np.dtype(_STORED[bits]), scale, zero, blank, compressed)


def is_no_picture(hdu: Hdu) -> bool:
    """True for an image of flags, errors or weights, by its name."""
    return _NO_PICTURES.fullmatch(hdu.text("EXTNAME")) is not None


def _number(hdu: Hdu, key: str, default: float) -> float:
    value = hdu.values.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"its {key} is {value!r}")
    return float(value)


@dataclass(frozen=True)
class StoredPage(Stored):
    """Metadata of a FITS page, which can be written while its source file is open.

    Attributes
    ----------
    file : BinaryIO
        The source file.
    image : Image
    number : int
        Number of the page in its image.
    before, behind : (int, int)
        Start and end, in the file, of the bytes before the image's header, and of the bytes after its data.
    """

    file: BinaryIO | None = None
    image: Image | None = None
    number: int = 0
    before: tuple[int, int] = (0, 0)
    behind: tuple[int, int] = (0, 0)
