"""Reading and writing of image files.

picture         picture in memory: pixels and metadata
pixels          conversion of stored values to float32 in [0, 1] and back; flips and rotations
formats         supported formats and what each can hold
kinds           file formats, recognised by their first bytes
sources         opening of files and streams, with errors for the user
reading         reading of pictures
stacks          stacks of pages with axes, from a file or a folder of frames
axes            axes of pages, and the description of pages by the program that wrote them
writing         writing of pictures
depth           interpretation of a TIFF page's channels: colours, alpha, missing data
pillow          pictures of 8 bits per channel, through Pillow
jpeg_repair     JPEG files without their damaged segments
simple_formats  reading of JPEG, WebP and BMP files
png             16-bit PNG, and metadata of PNG files
tiff            TIFF of any depth
fits            FITS: images of a file; tables and other units are copied
mrc             MRC: sections of images, stacks and volumes
packing         files compressed by gzip
extras          import of packages that an extra installs
exif            EXIF data and resolutions
photoshop       Photoshop's image resources, with IPTC data
jpeg, webp      metadata of JPEG and WebP files
orientation     rotation of stored pictures to upright
carrying        choice of the metadata to write into a file
copying         copying of the parts of a file other than pixels
"""

from n2n_cli.images.axes import Axis, Description, page_axes, pages_of_channel, place_of
from n2n_cli.images.carrying import other_names
from n2n_cli.images.formats import FORMATS, INSTRUMENTS, ending_of, format_named, format_of, has_ending, is_lossy
from n2n_cli.images.kinds import picture_kind, skipped_notes
from n2n_cli.images.orientation import upright
from n2n_cli.images.picture import Metadata, Part, Picture, Stored, Text
from n2n_cli.images.reading import PAGED_FORMATS, Pages, opened_pages, picture_size, read_pages, read_picture
from n2n_cli.images.sources import MAX_PIXELS
from n2n_cli.images.stacks import Stack, opened_stack
from n2n_cli.images.writing import check_holds, write_pages, write_picture

__all__ = [
    "FORMATS",
    "INSTRUMENTS",
    "MAX_PIXELS",
    "PAGED_FORMATS",
    "Axis",
    "Description",
    "Metadata",
    "Pages",
    "Part",
    "Picture",
    "Stack",
    "Stored",
    "Text",
    "check_holds",
    "ending_of",
    "format_named",
    "format_of",
    "has_ending",
    "is_lossy",
    "opened_pages",
    "opened_stack",
    "other_names",
    "page_axes",
    "pages_of_channel",
    "picture_kind",
    "picture_size",
    "place_of",
    "read_pages",
    "read_picture",
    "skipped_notes",
    "upright",
    "write_pages",
    "write_picture",
]
