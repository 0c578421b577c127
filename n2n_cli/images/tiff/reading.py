"""Reading of the pages of a TIFF file as pictures, in any order."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import BinaryIO

from n2n_cli.errors import ImageError
from n2n_cli.images import depth, kinds, pillow
from n2n_cli.images.axes import Description
from n2n_cli.images.picture import Metadata, Picture
from n2n_cli.images.sources import Limits, check_size, page_label, without_warnings
from n2n_cli.images.tiff import libtiff
from n2n_cli.images.tiff import pages as tags
from n2n_cli.images.tiff.blocks import blocks_of, decoded
from n2n_cli.images.tiff.descriptions import described
from n2n_cli.images.tiff.entries import Room
from n2n_cli.images.tiff.metadata import read_metadata
from n2n_cli.images.tiff.pages import Page, PageList
from n2n_cli.images.tiff.pixels import layout_of

_SHARED, _SHARED_LEAST = 4, 2**16  # limit of bytes of all pages: a multiple of the file's size, at least this many


class TiffPages:
    """The pages of a TIFF, each read from the file on request.

    Parameters
    ----------
    file : BinaryIO
    label : str
        Name of the file in messages.
    limits : Limits

    Raises
    ------
    ImageError
        When the file is a camera raw file.
    ValueError
        When the first directory is damaged, or the file holds no pages.
    """

    def __init__(self, file: BinaryIO, label: str, limits: Limits) -> None:
        self._label, self._limits = label, limits
        with without_warnings():
            self._pages = PageList(file)
            kinds.refuse_raw(label, self._pages[0])
        self._size = file.seek(0, io.SEEK_END)
        self._room, self._metadata_room = max(_SHARED * self._size, _SHARED_LEAST), Room(self._size)
        self._counted = bytearray(len(self._pages))  # pages that already count in the limit

    def __len__(self) -> int:
        return len(self._pages)

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of the first page, upright."""
        height, width = self._pages[0].size
        return (width, height) if self._pages[0].orientation > 4 else (height, width)

    @property
    def description(self) -> Description:
        """Description of the pages by the file's writer."""
        with without_warnings():
            return described(self._pages[0], len(self._pages))

    def is_reduced(self, number: int) -> bool:
        """True for a smaller version of another page, such as a thumbnail."""
        return number > 0 and self._pages.is_reduced(number)

    def page(self, number: int) -> Picture:
        """Read a page.

        A small file can name the same bytes as the pixels or the metadata of many pages, so the bytes of all pages
        together are limited; a page counts once.

        Raises
        ------
        ImageError
            When the pixels are too many, of an unsupported type, or shared by too many pages.
        ValueError, OSError, zlib.error
            When the page is damaged.
        """
        label = page_label(self._label, number)
        with without_warnings():
            page = self._pages[number]
            layout = layout_of(page)
            # Pillow decodes up to four channels of 8 bits.
            pixel_bytes = min(4, page.integer(tags.SAMPLES, 1)) if layout is None else layout.pixel_bytes
            check_size(label, *page.size, self._limits, pixel_bytes=pixel_bytes)
            metadata_room = self._counted_once(label, number, page)
            metadata, notes = read_metadata(page, metadata_room)
            notes = page.notes + notes
            if layout is not None:
                return depth.read_tiff_page(label, page, layout, metadata, notes)
            return _by_pillow(label, page, metadata, notes)

    def _counted_once(self, label: str, number: int, page: Page) -> Room:
        if self._counted[number]:
            return Room(self._size)
        stored = blocks_of(page).stored_bytes
        if stored > self._room:
            raise ImageError(
                f"{label} shares its pixels with too many pages of the same file", hint="save only the wanted pages"
            )
        self._room, self._counted[number] = self._room - stored, True
        return self._metadata_room


def _by_pillow(label: str, page: Page, metadata: Metadata, notes: tuple[str, ...]) -> Picture:
    try:
        image, blocks = decoded(page, lambda blocks: libtiff.pillow_image(page, blocks))
    except (SyntaxError, OSError) as error:
        if not isinstance(error, SyntaxError) and page.integer(tags.COMPRESSION, 1) in libtiff.COMPRESSIONS:
            raise  # Pillow raises SyntaxError for pixels that it does not support
        raise ImageError(
            f"{label} holds pixels of a kind that is not supported ({page.kind()})",
            hint="convert it to gray or RGB of 8 or 16 bits",
        ) from None
    with image:
        picture = pillow.picture_of(label, image, metadata, notes + blocks.notes)
    return replace(picture, lossless=page.tags.get(tags.COMPRESSION) not in tags.LOSSY)
