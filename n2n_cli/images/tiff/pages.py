"""Pages of a TIFF file and their tags.

References
----------
TIFF Revision 6.0, Adobe 1992; BigTIFF, Aware Systems 2007.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import BinaryIO, NamedTuple, overload

from PIL.TiffImagePlugin import PREFIXES

from n2n_cli.images import exif
from n2n_cli.images.tiff.entries import BIG_HEAD
from n2n_cli.images.tiff.tags import Tags

SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
FILL_ORDER, DESCRIPTION = 266, 270
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS, X_RESOLUTION, Y_RESOLUTION = 273, 277, 278, 279, 282, 283
PLANAR, RESOLUTION_UNIT, PREDICTOR = 284, 296, 317
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS = 322, 323, 324, 325
SUB_IFDS, EXTRA_SAMPLES, SAMPLE_FORMAT, XMP, ICC_PROFILE = 330, 338, 339, 700, 34675
SEPARATE = 2  # value of the tag PlanarConfiguration: channels one after another
RAW, LOSSY = 1, (6, 7)  # values of the tag Compression: none; old-style and new-style JPEG
OF_PIXELS = {
    *(WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, SAMPLES, ROWS_PER_STRIP, PLANAR, PREDICTOR),
    *(TILE_WIDTH, TILE_LENGTH, EXTRA_SAMPLES, SAMPLE_FORMAT),
    *(292, 293, 320, 332, 347, 529, 530, 531, 532),  # fax options, palette, inks, JPEG tables, YCbCr
    *(512, 513, 514, 515, 517, 518, 519, 520, 521),  # old-style JPEG
}
"""Tags needed to decode the pixels."""
YCBCR = 6  # value of the tag PhotometricInterpretation
_REDUCED, _MASK = 1, 4  # flags of the tag NewSubfileType; _MASK is also a value of PhotometricInterpretation
_MOST_INNER, _MOST_INTEGERS = 64, 2**16
_LONG_STACK = 2**32 - 2**24  # minimum bytes of a file for which ImageJ leaves out directories
_START = 4096  # bytes of a description that are read first
_IMAGEJ = re.compile(rb"ImageJ=.*?\bimages=(\d{1,9})", re.DOTALL)


@dataclass(frozen=True)
class Page:
    """A page of an open TIFF file.

    Attributes
    ----------
    file : BinaryIO
    head : bytes
        Header of the file: 8 bytes, or 16 for BigTIFF.
    offset : int
        Offset of the page's directory in the file.
    tags : Tags
        Values by tag number.
    notes : tuple of str
        Messages for the user about data left out of the file.
    shift : int
        Distance of the pixels from the place that the tags state, in bytes.
    """

    file: BinaryIO
    head: bytes
    offset: int
    tags: Tags
    notes: tuple[str, ...] = ()
    shift: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) as stored.

        Raises
        ------
        ValueError
            When the page has no size.
        """
        height, width = self.integer(LENGTH, 0), self.integer(WIDTH, 0)
        if height <= 0 or width <= 0:
            raise ValueError("a page has no size")
        return height, width

    @property
    def orientation(self) -> int:
        """Orientation, 1 to 8 as in EXIF data."""
        (value, *_) = self.integers(exif.ORIENTATION) or (1,)
        return value if 1 <= value <= 8 else 1

    @property
    def is_planar(self) -> bool:
        """True if the channels are stored one after another.

        Raises
        ------
        ValueError
            When a tag does not hold one whole number.
        """
        return self.integer(PLANAR, 1) == SEPARATE and self.integer(SAMPLES, 1) > 1

    @property
    def is_mask(self) -> bool:
        """True if the page is the transparency mask of another."""
        return _MASK in self.integers(PHOTOMETRIC) or self._is_flagged(_MASK)

    @property
    def is_reduced(self) -> bool:
        """True if the page is a smaller version of another picture."""
        return self._is_flagged(_REDUCED)

    def _is_flagged(self, flag: int) -> bool:
        (value, *_) = self.integers(SUBFILE) or (0,)
        return bool(value & flag)

    def integer(self, tag: int, default: int) -> int:
        """Read a tag of one whole number, or of the same number for all channels."""
        if tag not in self.tags:
            return default
        values = set(self.integers(tag))
        if len(values) != 1:
            raise ValueError(f"tag {tag} does not hold one whole number")
        return values.pop()

    def integers(self, tag: int) -> tuple[int, ...]:
        """Read the whole numbers of a tag.

        Empty if there are none, or more than any picture has channels.
        """
        if tag not in self.tags or self.tags.slot(tag).number > _MOST_INTEGERS:
            return ()
        values = self.tags.numbers(tag)
        return tuple(values.tolist()) if values.dtype.kind in "iu" else ()

    def kind(self) -> str:
        """Describe the pixels by their tags, for messages."""
        names = {"bits": BITS, "photometric": PHOTOMETRIC, "sample format": SAMPLE_FORMAT, "compression": COMPRESSION}
        return ", ".join(f"{name} {self.tags[tag]}" for name, tag in names.items() if tag in self.tags)

    def inner_pages(self) -> list[Page]:
        """Read the pages that the tag SubIFDs names, except damaged ones."""
        found = []
        for offset in self.tags.numbers(SUB_IFDS)[:_MOST_INNER].tolist():
            with suppress(ValueError):
                found.append(Page(self.file, self.head, offset, Tags(self.file, self.head, offset)))
        return found


def is_tiff(head: bytes) -> bool:
    """True if `head` starts a TIFF file."""
    return head.startswith(tuple(PREFIXES))


def read_pages(file: BinaryIO) -> Iterator[Page]:
    """Read the pages one by one, in the order of the file.

    Transparency masks, and pages after a damaged directory, are left out, with a note on the last page before them. A
    stack that ImageJ wrote with a single directory is read to its end.

    Raises
    ------
    ValueError
        When the first directory is damaged, there are only masks, or the file ends within ImageJ's stack.
    """
    file.seek(0)
    head = file.read(8)
    if b"\x2b" in head[2:4]:
        head += file.read(BIG_HEAD - 8)
    here = len(head) // 2
    offset = int.from_bytes(head[here:], "little" if head[:2] == b"II" else "big")
    seen = set[int]()
    last: Page | None = None
    claimed = 0
    while offset or not seen:
        number = len(seen) + 1
        try:
            page = _page(file, head, offset, seen)
        except ValueError as error:
            if last is None:
                raise
            last = _noted(last, f"{error}: page {number} and what may follow were left out")
            break
        seen.add(offset)
        description = page.tags.raw(DESCRIPTION, _START) if DESCRIPTION in page.tags else b""
        if claim := _IMAGEJ.match(description):
            claimed = max(claimed, int(claim[1]))
        if not page.is_mask:
            if last is not None:
                yield last
            last = page
        elif last is not None:
            last = _noted(last, "its transparency mask was left out")
        offset = page.tags.following
    if last is None:
        raise ValueError("it holds no picture, but a transparency mask")
    if claimed > len(seen):
        yield from _imagej_stack(last, claimed, len(seen))
    else:
        yield last


class _Place(NamedTuple):
    """Place of a page in its file."""

    offset: int
    shift: int
    notes: tuple[str, ...]
    is_reduced: bool


class PageList(Sequence[Page]):
    """Pages of a file; only their places are kept in memory.

    Raises the errors of `read_pages`.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._places, self._head = file, list[_Place](), b""
        for page in read_pages(file):
            self._head = page.head
            self._places.append(_Place(page.offset, page.shift, page.notes, page.is_reduced))

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, number: int) -> Page: ...
    @overload
    def __getitem__(self, number: slice) -> list[Page]: ...
    def __getitem__(self, number: int | slice) -> Page | list[Page]:
        if isinstance(number, slice):
            return [self[i] for i in range(len(self))[number]]
        offset, shift, notes, _ = self._places[number]
        return Page(self._file, self._head, offset, Tags(self._file, self._head, offset), notes, shift)

    def is_reduced(self, number: int) -> bool:
        """True if a page is a smaller version of another picture."""
        return self._places[number].is_reduced


def _page(file: BinaryIO, head: bytes, offset: int, seen: set[int]) -> Page:
    if offset in seen:
        raise ValueError("its list of pages leads back to an earlier one")
    found = Tags(file, head, offset)
    if OF_PIXELS & set(found.damaged):
        raise ValueError("it ends too early")
    notes = () if found.whole else ("its list of pages is damaged: what may follow was left out",)
    page = Page(file, head, offset, found, notes)
    if seen and not {WIDTH, LENGTH} <= set(page.tags):
        raise ValueError("its list of pages leads to something else")
    return page


def _noted(page: Page, note: str) -> Page:
    return replace(page, notes=(*page.notes, *({note} - set(page.notes))))


def _imagej_stack(page: Page, claimed: int, found: int) -> Iterator[Page]:
    """Read the rest of a file that claims more pictures than it has directories.

    Above 4 GB, ImageJ writes all further pictures one after the other, without directories. In a smaller file, the
    description was copied from another file.
    """
    height, width = page.size
    bits = page.integers(BITS) or (1,)
    length = height * width * page.integer(SAMPLES, 1) * bits[0] // 8
    places = page.tags.numbers(STRIP_OFFSETS)
    start = int(places[0]) if len(places) else 0
    end = page.file.seek(0, io.SEEK_END)
    behind = start + length, start + claimed * length
    if found == 1 and page.integer(COMPRESSION, RAW) == RAW and not page.tags.lies_in(*behind):
        if behind[1] <= end:
            yield from (replace(page, shift=number * length) for number in range(claimed))
            return
        if claimed * length >= _LONG_STACK and end - start >= 2 * length:
            raise ValueError(f"ImageJ says it has {claimed} pictures, it holds {(end - start) // length}")
    yield _noted(page, f"its description, by ImageJ, claims {claimed} pictures; the file holds {found}")
