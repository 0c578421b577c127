"""Image file <-> pixels; the only home of image files. `sheet` and `lettering` draw with Pillow.

picture         a picture in memory: its pixels, and how they were stored
formats         the formats that are read and written, and what each can hold
sources         a file or a stream to read from, and what may be wrong with it
reading         files and streams -> pictures
writing         pictures -> files and streams
depth           channels of a file -> colours, alpha, and the range of their values
pillow          pictures of 8 bits a channel, by Pillow
png16           PNG of 16 bits: its pixels
png_filters     PNG: the five row filters
png_chunks      PNG: the chunks of a file
png_metadata    PNG: what it carries beside the pixels
deflate         PNG: how hard to compress
tiff_pages      TIFF: the pages of a file and their tags
tiff_pixels     TIFF: pixels at their full depth
tiff_writing    TIFF: files, written
tiff_directory  TIFF: directories, written
exif            EXIF, XMP and resolution: checked, and fitted to the format they go to
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
