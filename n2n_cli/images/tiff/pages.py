"""Pages of a TIFF file and their tags.

References
----------
TIFF Revision 6.0, Adobe 1992; BigTIFF, Aware Systems 2007.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from PIL.TiffImagePlugin import PREFIXES, ImageFileDirectory_v2, TiffImageFile

from n2n_cli.images import exif
from n2n_cli.images.tiff.directory import BIG_HEAD

SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
FILL_ORDER, DESCRIPTION = 266, 270
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS, X_RESOLUTION, Y_RESOLUTION = 273, 277, 278, 279, 282, 283
PLANAR, RESOLUTION_UNIT, PREDICTOR = 284, 296, 317
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS = 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT, XMP, ICC_PROFILE = 338, 339, 700, 34675
RAW, LOSSY = 1, (6, 7)  # values of the tag Compression; LOSSY: old-style and new-style JPEG
_IMAGEJ = re.compile(r"ImageJ=.*?\bimages=(\d+)", re.DOTALL)


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
    tags : ImageFileDirectory_v2
        Values by tag number.
    """

    file: BinaryIO
    head: bytes
    offset: int
    tags: ImageFileDirectory_v2

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) as stored.

        Raises
        ------
        ValueError
            When it has none.
        """
        height, width = self.tags.get(LENGTH), self.tags.get(WIDTH)
        if not (isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0):
            raise ValueError("a page has no size")
        return height, width

    @property
    def orientation(self) -> int:
        """1 to 8, as in EXIF data."""
        value = self.tags.get(exif.ORIENTATION, 1)
        return value if isinstance(value, int) and 1 <= value <= 8 else 1

    def integer(self, tag: int, default: int) -> int:
        """Value of a tag that is one whole number, or the same for all channels."""
        value = self.tags.get(tag, default)
        if isinstance(value, tuple):
            value = value[0] if len(set(value)) == 1 else None
        if not isinstance(value, int):
            raise ValueError(f"tag {tag} is {self.tags.get(tag)}")
        return value

    def integers(self, tag: int) -> tuple[int, ...]:
        """Whole numbers of a tag; empty if it is absent."""
        value = self.tags.get(tag, ())
        return value if isinstance(value, tuple) else (value,)

    def kind(self) -> str:
        """Description of its pixels by its tags, for messages."""
        names = {"bits": BITS, "photometric": PHOTOMETRIC, "sample format": SAMPLE_FORMAT, "compression": COMPRESSION}
        return ", ".join(f"{name} {self.tags[tag]}" for name, tag in names.items() if tag in self.tags)

    def image(self) -> TiffImageFile:
        """Open the page with Pillow."""
        return TiffImageFile(_FromPage(self))  # type: ignore[arg-type]


class _FromPage(io.RawIOBase):
    """The file as if `page` were its first one, so that Pillow opens that page alone."""

    def __init__(self, page: Page) -> None:
        self._file, here = page.file, len(page.head) // 2
        order = "little" if page.head[:2] == b"II" else "big"
        self._head = page.head[:here] + page.offset.to_bytes(here, order)  # type: ignore[arg-type]
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()  # OSError for a stream in memory, as Pillow expects

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at}
        self._at = base[whence] + offset if whence in base else self._file.seek(offset, whence)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        head = self._head[self._at :][: None if size is None or size < 0 else size]
        self._file.seek(self._at + len(head))
        rest = self._file.read(-1 if size is None or size < 0 else size - len(head))
        self._at += len(head) + len(rest)
        return head + rest


def is_tiff(head: bytes) -> bool:
    """True if `head` starts a TIFF file."""
    return head.startswith(tuple(PREFIXES))


def read_pages(file: BinaryIO) -> Iterator[Page]:
    """Read the pages one by one, in the order of the file.

    Raises
    ------
    ValueError, SyntaxError, OSError
        When the file is damaged, its directories form a cycle, or ImageJ's description claims more pictures than there
        are directories.
    """
    file.seek(0)
    head = file.read(8)
    if b"\x2b" in head[2:4]:
        head += file.read(BIG_HEAD - 8)
    offset, seen = _directory(head).next, set[int]()
    claimed = 0
    while offset:
        if offset in seen:
            raise ValueError("its directories form a cycle")
        seen.add(offset)
        tags = _directory(head)
        file.seek(offset)
        tags.load(file)
        if not tags:
            raise ValueError("it ends too early")
        if claim := _IMAGEJ.match(str(tags.get(DESCRIPTION, ""))):
            claimed = max(claimed, int(claim[1]))
        following = tags.next
        if not following and claimed > len(seen):  # above 4 GB ImageJ writes pictures that no directory names
            raise ValueError(f"ImageJ says it has {claimed} pictures, its directories name {len(seen)}")
        yield Page(file, head, offset, tags)
        offset = following


def _directory(head: bytes, group: int | None = None) -> ImageFileDirectory_v2:
    """An empty directory, to be loaded from a file with the header `head`."""
    if len(head) < BIG_HEAD:
        return ImageFileDirectory_v2(head, group=group)
    return ImageFileDirectory_v2(b"II\x2b\0" + head[4:], prefix=head[:2], group=group)  # Pillow knows this head only
