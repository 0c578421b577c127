"""Stacks of pages with axes, in files of several writers and in folders of frames."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from n2n_cli.errors import ImageError
from n2n_cli.images import Picture, opened_stack, write_pages, write_picture
from n2n_cli.nn.functional import Array

PAGES = np.arange(4 * 5 * 2 * 6 * 7, dtype=np.uint16).reshape(4, 5, 2, 6, 7)  # (T, Z, C, H, W)
OME = (
    '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"{root}>'
    '<Image ID="Image:0"><Pixels ID="Pixels:0" Type="uint16" SizeX="7" SizeY="6" {pixels}</Pixels></Image></OME>'
)


def stored(pages: Array, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    tifffile.imwrite(file, pages, **{"photometric": "minisblack"} | options)
    return file


def with_ome(count: int, pixels: str, root: str = "") -> io.BytesIO:
    """File of pages with OME-XML on the first."""
    description = OME.format(root=root, pixels=pixels).encode()
    return stored(PAGES.reshape(-1, 6, 7)[:count], description=description, metadata=None)


def axes_of(file: io.BytesIO, axes: str | None = None) -> tuple[str, tuple[int, ...]]:
    with opened_stack(file, axes) as stack:
        assert len(stack) == np.prod(stack.shape[: len(stack.axes.rstrip("YXS"))])
        return stack.axes, stack.shape


@pytest.mark.parametrize("order", ["TZCYX", "CTZYX", "ZTCYX"])
def test_axes_of_ome_are_read(order: str) -> None:
    with opened_stack(stored(PAGES, ome=True, metadata={"axes": order})) as stack:
        assert (stack.axes, stack.shape, stack.notes) == (order, PAGES.shape, ())
        for number in (39, 0, 17):
            assert np.array_equal(stack.page(number).pixels[..., 0], PAGES.reshape(-1, 6, 7)[number])


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_axes_of_imagej_are_read(byteorder: Any) -> None:
    metadata = {"axes": "TZCYX", "spacing": 0.3, "unit": "\\u00B5m", "finterval": 2.5, "Labels": ["DAPI", "GFP"] * 20}
    options = {"imagej": True, "resolution": (4, 2), "metadata": metadata, "byteorder": byteorder}
    with opened_stack(stored(PAGES, **options)) as stack:
        assert (stack.axes, stack.shape, stack.notes) == ("TZCYX", PAGES.shape, ())
        assert stack.place(23) == {"T": 2, "Z": 1, "C": 1}
        assert stack.description.writer == "ImageJ"
        assert stack.description.channels == ("DAPI", "GFP")
        assert stack.description.pixel_size == {"X": (0.25, "µm"), "Y": (0.5, "µm"), "Z": (0.3, "µm"), "T": (2.5, "s")}


def test_pixel_size_and_channels_of_ome() -> None:
    metadata = {
        "axes": "TCYX",
        "PhysicalSizeX": 0.1,
        "PhysicalSizeXUnit": "µm",
        "TimeIncrement": 2,
        "Channel": {"Name": ["DAPI", "GFP"]},
    }
    with opened_stack(stored(PAGES[:, 0], ome=True, metadata=metadata)) as stack:
        assert stack.axes == "TCYX"
        assert stack.description.channels == ("DAPI", "GFP")
        assert stack.description.pixel_size == {"X": (0.1, "µm"), "T": (2, "s")}


@pytest.mark.parametrize(
    ("count", "pixels", "root", "found"),
    [
        # No TiffData, with as many planes as pages.
        (6, 'DimensionOrder="XYCZT" SizeC="2" SizeZ="3" SizeT="1">', "", ("ZCYX", (3, 2, 6, 7))),
        # One TiffData element for all pages.
        (6, 'DimensionOrder="XYZCT" SizeC="2" SizeZ="3" SizeT="1"><TiffData/>', "", ("CZYX", (2, 3, 6, 7))),
        # The pages of this file are one channel of a set of files.
        (
            3,
            'DimensionOrder="XYZCT" SizeC="2" SizeZ="3" SizeT="1"><TiffData PlaneCount="3" IFD="0"><UUID '
            'FileName="a.tif">urn:uuid:a</UUID></TiffData><TiffData FirstC="1" PlaneCount="3" IFD="0"><UUID>'
            "urn:uuid:b</UUID></TiffData>",
            ' UUID="urn:uuid:b"',
            ("ZYX", (3, 6, 7)),
        ),
        # Slowest dimension first, as some programs write it.
        (6, 'DimensionOrder="TCZYX" SizeC="2" SizeZ="3" SizeT="1"><TiffData/>', "", ("CZYX", (2, 3, 6, 7))),
        # Pages in another order than that of the dimensions.
        (
            4,
            'DimensionOrder="XYZCT" SizeC="2" SizeZ="2" SizeT="1">'
            '<TiffData IFD="0"/><TiffData IFD="1" FirstC="1"/><TiffData IFD="2" FirstZ="1"/>'
            '<TiffData IFD="3" FirstZ="1" FirstC="1"/>',
            "",
            ("ZCYX", (2, 2, 6, 7)),
        ),
    ],
)
def test_axes_follow_the_pages_that_ome_assigns(
    count: int, pixels: str, root: str, found: tuple[str, tuple[int, ...]]
) -> None:
    assert axes_of(with_ome(count, pixels, root)) == found


@pytest.mark.parametrize(
    "pixels",
    [
        'DimensionOrder="XYZCT" SizeC="2" SizeZ="3" SizeT="1">',
        'DimensionOrder="XYZCT" SizeC="x" SizeZ="3" SizeT="1">',
        'DimensionOrder="XYZCT" SizeC="2">',
        'DimensionOrder="XYZCT" SizeC="9999999999999" SizeZ="3" SizeT="999999999999"><TiffData IFD="-1"/>',
        'DimensionOrder="XYZCT" SizeC="-2" SizeZ="-5" SizeT="1">',
        'DimensionOrder="XYZCT" SizeC="2" SizeZ="3" SizeT="1"></Image>',
    ],
)
def test_wrong_ome_xml_is_ignored_with_a_note(pixels: str) -> None:
    with opened_stack(with_ome(10, pixels)) as stack:
        assert (stack.axes, stack.shape) == ("TYX", (10, 6, 7))
        assert len(stack.notes) == 1


def test_entities_of_ome_xml_are_not_expanded() -> None:
    start = b'<!DOCTYPE OME [<!ENTITY a "' + b"a" * 1000 + b'"><!ENTITY b "' + b"&a;" * 1000 + b'">]>'
    text = start + OME.format(root=' x="&b;"', pixels='SizeC="2">').partition("?>")[2].encode()
    with opened_stack(stored(PAGES[0, 0], description=text, metadata=None)) as stack:
        assert stack.axes == "TYX"
        assert "damaged" in stack.notes[0]


@pytest.mark.parametrize("encoding", ["UTF-9", "UTF-16", "\xff"])
def test_unknown_encoding_of_ome_xml_is_ignored_with_a_note(encoding: str) -> None:
    text = OME.format(root="", pixels='DimensionOrder="XYZCT" SizeC="2" SizeZ="1" SizeT="1">')
    file = stored(PAGES[0, 0], description=text.replace("UTF-8", encoding).encode("latin-1"), metadata=None)
    with opened_stack(file) as stack:
        assert stack.axes == "TYX"
        assert stack.notes == ("its description by OME is damaged: axes are not known",)


def test_wrong_imagej_description_is_ignored_with_a_note() -> None:
    text = "ImageJ=1.54f\nimages=2\nchannels=2\nslices=3\n"
    with opened_stack(stored(PAGES[0, 0], description=text, metadata=None)) as stack:
        assert stack.axes == "TYX"
        assert stack.notes == ("its description, by ImageJ, says 3 slices, 2 channels; the file holds 2",)


def test_axes_of_pages_without_a_description() -> None:
    file = stored(PAGES.reshape(-1, 6, 7), metadata=None)
    assert axes_of(file) == ("TYX", (40, 6, 7))
    assert axes_of(file, "T4Z5CYX") == ("TZCYX", PAGES.shape)


def test_colour_is_an_axis_of_a_page() -> None:
    pages = np.arange(3 * 6 * 7 * 3, dtype=np.uint8).reshape(3, 6, 7, 3)
    assert axes_of(stored(pages, ome=True, photometric="rgb", metadata={"axes": "ZYXS"})) == ("ZYXS", (3, 6, 7, 3))


def test_colours_counted_as_ome_channels() -> None:
    pages = np.zeros((3, 6, 7, 3), np.uint8)
    pixels = 'DimensionOrder="XYCZT" SizeC="3" SizeZ="3" SizeT="1"><Channel/><Channel/><Channel/>'
    description = OME.format(root="", pixels=pixels).encode()
    file = stored(pages, description=description, metadata=None, photometric="rgb")
    assert axes_of(file) == ("ZYXS", (3, 6, 7, 3))


def test_axes_of_tifffile_are_read_unless_malformed() -> None:
    assert axes_of(stored(PAGES, metadata={"axes": "TZCYX"})) == ("TZCYX", PAGES.shape)
    assert axes_of(stored(PAGES, metadata={"axes": "QRCYX"})) == ("TYX", (40, 6, 7))
    for text in ('{"shape": [2, 6, 7], "axes": 3}', '{"shape": ' + "[" * 9999, '{"shape": [2, 6, 7], "axes": "TYX"'):
        assert axes_of(stored(PAGES[0, 0], description=text, metadata=None)) == ("TYX", (2, 6, 7))


def test_page_is_read_independently(tmp_path: Path) -> None:
    path = tmp_path / "long.tif"
    tifffile.imwrite(path, PAGES.reshape(-1, 6, 7), metadata=None)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        offsets = file.pages[7].tags["StripOffsets"].valueoffset  # type: ignore[union-attr]
    struct.pack_into("<I", data, offsets, len(data) - 2)
    path.write_bytes(data)
    with opened_stack(path) as stack:
        assert np.array_equal(stack.page(39).pixels[..., 0], PAGES[-1, -1, -1])
        with pytest.raises(ImageError, match="end too early"):
            stack.page(7)
        assert np.array_equal(stack.page(8).pixels[..., 0], PAGES.reshape(-1, 6, 7)[8])


def test_page_can_be_read_repeatedly() -> None:
    with opened_stack(stored(np.zeros((2, 300, 300), np.uint16), metadata=None)) as stack:
        for _ in range(12):
            assert stack.page(1).pixels.shape == (300, 300, 1)


def test_pages_of_different_sizes_are_refused() -> None:
    file = io.BytesIO()
    write_pages(file, [Picture(np.zeros((4, 5, 1), np.uint16)), Picture(np.zeros((4, 6, 1), np.uint16))], format="TIFF")
    message = "page 2 of the stream is 6 x 4 x 1, uint16, its first page is 5 x 4 x 1, uint16"
    with opened_stack(file) as stack, pytest.raises(ImageError, match=re.escape(message)):
        stack.page(1)


def test_smaller_versions_of_pages_are_omitted() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for number in range(3):
            writer.write(PAGES[0, 0, 0] + number, metadata=None)
            writer.write(PAGES[0, 0, 0][::2, ::2], subfiletype=1, metadata=None)
    with opened_stack(file) as stack:
        assert (stack.axes, stack.shape) == ("TYX", (3, 6, 7))
        assert [page.pixels[0, 0, 0] for page in stack] == [0, 1, 2]
        assert stack.notes == ("3 smaller versions of pages were left out",)


def test_frames_of_a_folder_are_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 9, 2, 1):
        write_picture(tmp_path / f"frame{number}.png", Picture(np.full((4, 5, 1), number, np.uint8)))
    (tmp_path / ".frame0.png").write_bytes(b"hidden")
    (tmp_path / "notes.txt").write_text("none")
    with opened_stack(tmp_path) as stack:
        assert (stack.axes, stack.shape) == ("TYX", (4, 4, 5))
        assert [page.pixels[0, 0, 0] for page in stack] == [1, 2, 9, 10]
        assert stack.page(3).pixels[0, 0, 0] == 10


def test_files_of_a_folder_are_the_time_axis(tmp_path: Path) -> None:
    pages = np.arange(40 * 2 * 6 * 7, dtype=np.uint16).reshape(40, 2, 6, 7)
    for number, page in enumerate(pages):
        tifffile.imwrite(tmp_path / f"t{number}.tif", page, imagej=True, metadata={"axes": "ZYX"})
    with opened_stack(tmp_path) as stack:
        assert (stack.axes, stack.shape) == ("TZYX", pages.shape)
        for number in (79, 0, 41):
            assert np.array_equal(stack.page(number).pixels[..., 0], pages.reshape(-1, 6, 7)[number])


def test_single_picture_is_a_stack_of_one_page() -> None:
    file = io.BytesIO()
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(file, format="PNG")
    assert axes_of(file) == ("YXS", (4, 5, 3))


@pytest.mark.parametrize(("files", "message"), [([], "holds no frames"), (["a.gif"], "left out 1 picture")])
def test_folder_without_frames_is_refused(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        (tmp_path / name).write_bytes(b"GIF89a")
    with pytest.raises(ImageError, match=message), opened_stack(tmp_path):
        pass


def test_page_numbers_outside_the_stack_are_refused() -> None:
    with opened_stack(stored(PAGES[0, 0], metadata=None)) as stack:
        for number in (-1, 2):
            with pytest.raises(IndexError):
                stack.page(number)
