"""Decoding by Pillow and its libtiff.

References
----------
TIFF Revision 6.0, Adobe 1992; TIFF Technical Note 2, 1995: JPEG.
"""

from __future__ import annotations

import io
import os
import threading
from contextlib import suppress

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from n2n_cli.images.tiff import pages as tags
from n2n_cli.images.tiff.blocks import Blocks, stored
from n2n_cli.images.tiff.entries import Directory, DirectoryWriter, Entry, Order, head, whole_numbers
from n2n_cli.images.tiff.pages import Page
from n2n_cli.nn.functional import Array

COMPRESSIONS = {1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32946, 34925, 50000}
"""Values of the tag Compression that Pillow's libtiff decodes in every build."""
_LONGEST_VALUES = 2**20  # maximum bytes of a tag that describes pixels
_OLD_JPEG, _LONGEST_OLD_JPEG = 6, 2**28  # value of the tag Compression, and maximum bytes of such a file
_STDERR = 2
_HEAD = 8  # bytes of a file's header


class _Silence:
    """Context that silences stderr, where libtiff prints errors that ours report.

    It holds a lock, since all threads share the descriptor.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stderr = -1

    def __enter__(self) -> None:
        self._lock.acquire()
        with suppress(OSError):  # stderr may be closed
            self._stderr = os.dup(_STDERR)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, _STDERR)
            os.close(nowhere)

    def __exit__(self, *error: object) -> None:
        if self._stderr >= 0:
            os.dup2(self._stderr, _STDERR)
            os.close(self._stderr)
            self._stderr = -1
        self._lock.release()


_silence = _Silence()


def decompressed(pieces: list[bytes], rows: list[int], compression: int, blocks: Blocks) -> Array:
    """Decompress strips or tiles to one array (rows of all, bytes).

    libtiff decodes them as strips of a gray picture with one pixel per byte.

    Parameters
    ----------
    pieces : list of bytes
        Compressed strips or tiles.
    rows : list of int
        Number of rows of each; equal except for the last.
    compression : int
        Value of the tag Compression.

    Raises
    ------
    ValueError, OSError
        When a strip or tile is damaged.
    """
    if not pieces:
        return np.zeros((0, blocks.row_bytes), np.uint8)
    numbers = {
        tags.WIDTH: [blocks.row_bytes],
        tags.LENGTH: [blocks.rows * (len(rows) - 1) + rows[-1]],
        tags.BITS: [8],
        tags.COMPRESSION: [compression],
        tags.PHOTOMETRIC: [1],
        tags.SAMPLES: [1],
        tags.ROWS_PER_STRIP: [blocks.rows],
        tags.STRIP_OFFSETS: np.cumsum([_HEAD, *map(len, pieces[:-1])]).tolist(),
        tags.STRIP_COUNTS: [*map(len, pieces)],
    }
    entries = {tag: whole_numbers("<", values) for tag, values in numbers.items()}
    with _silence, TiffImageFile(_file(pieces, Directory("<", entries))) as image:
        image.load()
        return np.asarray(image)


def pillow_image(page: Page, blocks: Blocks) -> Image.Image:
    """Decode a page with Pillow, from a file of only its pixels and the tags on them.

    Raises
    ------
    SyntaxError
        When Pillow does not support the type of the pixels.
    ValueError, OSError
        When the pixels are damaged or truncated.
    """
    order: Order = "<" if page.head[:2] == b"II" else ">"
    if any(page.tags.slot(tag).length > _LONGEST_VALUES for tag in tags.OF_PIXELS & set(page.tags)):
        raise ValueError("a tag of its pixels is too long")
    described = tags.OF_PIXELS & set(page.tags)
    entries = {tag: Entry(page.tags.slot(tag).type, page.tags.raw(tag)) for tag in described}
    if page.integer(tags.COMPRESSION, tags.RAW) == _OLD_JPEG:  # its parts may be anywhere in the file
        page.file.seek(0)
        data = page.file.read(_LONGEST_OLD_JPEG + 1)
        if len(data) > _LONGEST_OLD_JPEG or len(page.head) > _HEAD:
            raise ValueError("it is too long for an old-style JPEG in TIFF")
        pieces, places = [data[_HEAD:]], blocks.places
    else:
        _, firsts, numbers = np.unique(blocks.places, return_index=True, return_inverse=True)  # blocks may share bytes
        pieces = [stored(page, blocks, number) for number in firsts.tolist()]
        places = np.cumsum([_HEAD, *map(len, pieces[:-1])])[numbers]
    offsets, counts = (tags.TILE_OFFSETS, tags.TILE_COUNTS) if blocks.tiled else (tags.STRIP_OFFSETS, tags.STRIP_COUNTS)
    entries |= {offsets: whole_numbers(order, places), counts: whole_numbers(order, blocks.lengths)}
    with _silence:
        image = TiffImageFile(_file(pieces, Directory(order, entries)))
        image.load()
    return image


def _file(pieces: list[bytes], directory: Directory) -> io.BytesIO:
    """Build a file of pixels and the directory that describes them."""
    file = io.BytesIO(b"".join([bytes(_HEAD), *pieces]))
    file.seek(0, io.SEEK_END)
    writer = DirectoryWriter(file, directory.order)
    start = writer.write(writer.place(directory), 0)
    file.seek(0)
    file.write(head(start, directory.order))
    file.seek(0)
    return file
