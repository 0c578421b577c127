"""Image file <-> pixels; the only home of image files.

picture  an image in memory: its pixels, and how they were stored
pixels   stored integers <-> float32 in [0, 1]; flips and rotations
formats  the formats that are read and written, and what each can hold
sources  a file or a stream to read from, and what may be wrong with it
reading  files and streams -> images
writing  images -> files and streams
depth    channels of a file -> colours, alpha, and the range of their values
pillow   images of 8 bits a channel, by Pillow
png      PNG of 16 bits, and what PNG files carry
tiff     TIFF at its full depth
exif     EXIF, XMP and resolution: checked, and fitted to the format they go to
"""

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
