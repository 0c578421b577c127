"""Image file <-> pixels; the only home of the image library."""

from n2n_cli.images.formats import FORMATS, format_named, format_of, is_lossy
from n2n_cli.images.picture import Metadata, Picture, Text
from n2n_cli.images.reading import picture_size, read_pages, read_picture, read_pixels
from n2n_cli.images.sources import MAX_PIXELS
from n2n_cli.images.writing import check_holds, write_pages, write_picture

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "Metadata",
    "Picture",
    "Text",
    "check_holds",
    "format_named",
    "format_of",
    "is_lossy",
    "picture_size",
    "read_pages",
    "read_picture",
    "read_pixels",
    "write_pages",
    "write_picture",
]
