"""MRC files of electron microscopy: images, stacks and volumes, by section.

References
----------
Cheng et al. (2015), "MRC2014: Extensions to the MRC format header for electron cryo-microscopy and tomography".
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np

from n2n_cli.errors import ImageError
from n2n_cli.images.axes import Axis, Description
from n2n_cli.images.carrying import carried
from n2n_cli.images.copying import copy_part
from n2n_cli.images.extras import imported
from n2n_cli.images.picture import Metadata, Part, Picture, Stored
from n2n_cli.images.sources import Limits, check_size
from n2n_cli.nn.functional import Array

_Order: TypeAlias = Literal["<", ">"]

_KIND = "an MRC file"
_IMOD_STAMP, _SIGNED_BYTES = 1146047817, 1
"""Mark of files written by IMOD, and their flag for signed 8-bit integers."""
_IMOD_PLACE = 152  # offset of the mark and the flags in the header, in bytes
_LABELS, _LABEL = 10, 80
_MOST_HEADER = 2**28  # maximum bytes of an extended header


@dataclass(frozen=True)
class StoredSection(Stored):
    """Metadata of an MRC section, which can be written while its source file is open.

    Attributes
    ----------
    file : BinaryIO
        The source file.
    header : record
        Header of the file.
    dtype : dtype
        Type of the pixels, with their byte order.
    number, count : int
        Number of the section, and of all sections.
    start, stop : int
        Start and end of the pixels of all sections in the file; other bytes may follow.
    """

    file: BinaryIO | None = None
    header: Any = None
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float32))
    number: int = 0
    count: int = 0
    start: int = 0
    stop: int = 0


class MrcPages:
    """The sections of an MRC file.

    Parameters
    ----------
    file : BinaryIO
    label : str
        Name of the file in messages.
    limits : Limits

    Raises
    ------
    ImageError
        When mrcfile is not installed, or the type of the pixels is not supported.
    ValueError
        When the file is damaged.
    """

    def __init__(self, file: BinaryIO, label: str, limits: Limits) -> None:
        self._file, self._label, self._limits = file, label, limits
        mrcfile = imported("mrcfile", "mrc", label, _KIND)
        file.seek(0)
        data = file.read(mrcfile.dtypes.HEADER_DTYPE.itemsize)
        if len(data) < mrcfile.dtypes.HEADER_DTYPE.itemsize:
            raise ValueError("its header is truncated")
        self._header, order = _header(data, mrcfile.dtypes.HEADER_DTYPE)
        self.size = int(self._header["ny"]), int(self._header["nx"])
        self._count, extended = int(self._header["nz"]), int(self._header["nsymbt"])
        if min(*self.size, self._count) < 1 or not 0 <= extended <= _MOST_HEADER:
            raise ValueError("its header holds impossible sizes")
        self._dtype = _dtype(label, mrcfile, self._header, order)
        self._start = len(data) + extended
        self._bytes = math.prod(self.size) * self._dtype.itemsize
        end = file.seek(0, io.SEEK_END)
        if self._start + self._count * self._bytes > end:
            raise ValueError(
                f"its {self._count:,} sections should take {self._start + self._count * self._bytes:,} bytes, it has "
                f"{end:,}"
            )
        self._end = end

    def __len__(self) -> int:
        return self._count

    def is_reduced(self, number: int) -> bool:
        """Return False: no section is a smaller version of another."""
        return False

    @property
    def description(self) -> Description:
        """Axes and size of a pixel, in angstroms."""
        header = self._header
        axis = "T" if int(header["ispg"]) == 0 else "Z"
        sides = {"X": ("x", int(header["mx"])), "Y": ("y", int(header["my"])), "Z": ("z", int(header["mz"]))}
        sizes = {name: float(header["cella"][key]) / count for name, (key, count) in sides.items() if count > 0}
        pixel_size = {name: (size, "Å") for name, size in sizes.items() if 0 < size < math.inf}
        return Description((Axis(axis, self._count),) if self._count > 1 else (), "MRC", pixel_size)

    def page(self, number: int) -> Picture:
        """Read a section.

        Raises
        ------
        ImageError
            When the section is too large.
        """
        label = self._label if self._count == 1 else f"{self._label}, page {number + 1},"
        check_size(label, *self.size, self._limits, pixel_bytes=self._dtype.itemsize)
        self._file.seek(self._start + number * self._bytes)
        stored = np.frombuffer(self._file.read(self._bytes), self._dtype).reshape(*self.size, 1)
        section = StoredSection(
            "MRC",
            (Part(b"header", b""),) if number == 0 else (),
            file=self._file,
            header=self._header,
            dtype=self._dtype,
            number=number,
            count=self._count,
            start=self._start,
            stop=self._end,
        )
        pixels = stored.astype(self._dtype.newbyteorder("="), copy=False)
        return Picture(pixels, metadata=Metadata(stored=section), format="MRC")


def _header(data: bytes, dtype: np.dtype[Any]) -> tuple[Any, _Order]:
    """Read the header and find its byte order.

    Some machine stamps are wrong, so the byte order is the one in which the mode is a small number.
    """
    little = np.frombuffer(data, dtype.newbyteorder("<"))[0]
    if 0 <= int(little["mode"]) < 2**16:
        return little, "<"
    return np.frombuffer(data, dtype.newbyteorder(">"))[0], ">"


def _dtype(label: str, mrcfile: Any, header: Any, order: _Order) -> np.dtype[Any]:
    mode = int(header["mode"])
    try:
        dtype: np.dtype[Any] = np.dtype(mrcfile.utils.dtype_from_mode(mode))
    except ValueError:
        dtype = np.dtype(complex)
    if dtype.kind == "c":
        known = {3: "complex integers", 4: "complex floats", 16: "RGB", 101: "integers of 4 bits"}
        raise ImageError(
            f"{label} holds pixels of MRC mode {mode}, {known.get(mode, 'which is unknown')}; supported are 0, 1, 2, 6 "
            "and 12",
            hint="convert it to integers of 8 or 16 bits or to floats, for example with `newstack -mode 1` of IMOD",
        )
    stamp, flags = np.frombuffer(header.tobytes(), f"{order}i4", 2, _IMOD_PLACE).tolist()
    if mode == 0 and stamp == _IMOD_STAMP and not flags & _SIGNED_BYTES:
        dtype = np.dtype(np.uint8)
    return dtype.newbyteorder(order)


def _is_section(picture: Picture, stored: StoredSection) -> bool:
    return stored.dtype.newbyteorder("=") == picture.pixels.dtype


class MrcWriter:
    """Writer of sections, one by one; `finish` updates the header.

    Sections that were read from an MRC file keep its headers and labels.

    Parameters
    ----------
    file : BinaryIO
        An empty, seekable file.
    label : str
        Name of the file in messages.

    Raises
    ------
    ImageError
        When mrcfile is not installed.
    """

    def __init__(self, file: BinaryIO, label: str) -> None:
        self._file, self._label, self._mrcfile = file, label, imported("mrcfile", "mrc", label, _KIND)
        self._header: Any = None
        self._stored: StoredSection | None = None
        self._source: np.dtype[Any] = np.dtype(np.float32)  # type of the pictures
        self._dtype: np.dtype[Any] = self._source  # type of the pixels in the file
        self._count = 0
        self._low, self._high, self._mean, self._squares, self._values = math.inf, -math.inf, 0.0, 0.0, 0

    def add(self, picture: Picture) -> list[str]:
        """Write a picture; return names of metadata that MRC cannot hold.

        Raises
        ------
        ImageError
            When it differs from the first picture in size or type.
        """
        pixels = picture.pixels
        if self._header is None:
            self._begin(picture)
        size = int(self._header["ny"]), int(self._header["nx"])
        if pixels.shape[:2] != size or pixels.dtype != self._source:
            raise ImageError(
                f"{self._label}: MRC holds sections of one size and type; section {self._count + 1} is "
                f"{pixels.shape[1]} x {pixels.shape[0]}, {pixels.dtype}",
                hint="write TIFF",
            )
        self._file.write(np.ascontiguousarray(pixels.astype(self._dtype, copy=False)).data.cast("B"))
        self._count += 1
        self._measure(pixels)
        return [] if self._stored is not None else carried(picture.metadata, "MRC").left_out

    def _begin(self, picture: Picture) -> None:
        self._source = picture.pixels.dtype
        stored = picture.metadata.get("stored")
        if isinstance(stored, StoredSection) and stored.number == 0 and _is_section(picture, stored):
            self._stored, self._header, self._dtype = stored, stored.header.copy(), stored.dtype
            self._file.write(stored.header.tobytes())
            self._copy(len(stored.header.tobytes()), stored.start)
        else:
            self._header = self._new(picture)
            self._file.write(self._header.tobytes())
        if history := picture.metadata.get("history", ""):
            self._add_label(history)

    def _new(self, picture: Picture) -> Any:
        height, width = picture.pixels.shape[:2]
        dtype = picture.pixels.dtype
        self._dtype = np.dtype("<u2") if dtype == np.uint8 else dtype.newbyteorder("<")  # bytes are signed
        header = np.zeros((), self._mrcfile.dtypes.HEADER_DTYPE.newbyteorder("<"))
        header["nx"], header["ny"] = header["mx"], header["my"] = width, height
        header["mz"] = 1  # an image stack
        header["mode"] = self._mrcfile.utils.mode_from_dtype(self._dtype)
        header["cellb"] = (90, 90, 90)
        header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
        header["map"], header["nversion"] = b"MAP ", 20141
        header["machst"] = self._mrcfile.utils.machine_stamp_from_byte_order("<")
        return header

    def _add_label(self, text: str) -> None:
        count = int(self._header["nlabl"])
        if 0 <= count < _LABELS:
            self._header["label"][count] = text.encode("ascii", "replace")[:_LABEL]
            self._header["nlabl"] = count + 1

    def _measure(self, pixels: Array) -> None:
        """Add the values of a section to the statistics by Chan's formula."""
        values = pixels[np.isfinite(pixels)].astype(np.float64) if pixels.dtype.kind == "f" else pixels.astype(float)
        if not values.size:
            return
        self._low, self._high = min(self._low, values.min()), max(self._high, values.max())
        mean, count = float(values.mean()), self._values + values.size
        shift = mean - self._mean
        self._squares += float(np.square(values - mean).sum()) + shift**2 * self._values * values.size / count
        self._mean += shift * values.size / count
        self._values = count

    def _copy(self, start: int, stop: int) -> None:
        if self._stored is not None:
            copy_part(self._stored.file, start, stop, self._file, "MRC")

    def finish(self) -> None:
        """Copy the bytes after the sections, and write the header with its statistics."""
        header, stored = self._header, self._stored
        if stored is not None:
            size = math.prod((int(header["ny"]), int(header["nx"]))) * self._dtype.itemsize
            self._copy(stored.start + stored.count * size, stored.stop)
        header["nz"] = self._count
        if self._values:
            header["dmin"], header["dmax"], header["dmean"] = self._low, self._high, self._mean
            header["rms"] = math.sqrt(self._squares / self._values)
        self._file.seek(0)
        self._file.write(header.tobytes())
        self._file.seek(0, io.SEEK_END)
