"""Metadata of stacks by ImageJ, OME and others is copied byte for byte."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
import tifffile

from n2n_cli.images import opened_pages, opened_stack, write_pages
from n2n_cli.images.tiff.entries import SIZES
from n2n_cli.images.tiff.metadata import LAYOUT
from n2n_cli.nn.functional import Array

PAGES = np.random.default_rng(0).integers(0, 4000, (3, 2, 2, 19, 29)).astype(np.uint16)  # (T, Z, C, H, W)
LUTS = [np.stack([np.arange(256), np.zeros(256), np.zeros(256)]).astype(np.uint8), np.ones((3, 256), np.uint8)]
IMAGEJ = {
    "axes": "TZCYX",
    "spacing": 0.3,
    "unit": "um",
    "finterval": 1.5,
    "mode": "composite",
    "loop": False,
    "Labels": [f"slice {i}" for i in range(12)],
    "LUTs": LUTS,
    "Ranges": (0.0, 4000.0, 10.0, 300.0),
    "ROI": b"Iout" + bytes(range(60)),
    "Overlays": [b"Iout" + bytes(90)] * 3,
    "Info": "Exposure = 3 ms\n",
}
OME = {
    "axes": "TZCYX",
    "PhysicalSizeX": 0.1,
    "PhysicalSizeXUnit": "µm",
    "TimeIncrement": 2.5,
    "Channel": {"Name": ["DAPI", "GFP"]},
    "Plane": {"DeltaT": [0.1 * i for i in range(12)]},
}
WRITERS: dict[str, dict[str, Any]] = {
    "ImageJ": {"imagej": True, "resolution": (10, 10), "metadata": IMAGEJ},
    "OME": {"ome": True, "resolution": (100000, 100000), "resolutionunit": 3, "metadata": OME},
    "OME of 64 bits, compressed": {"ome": True, "bigtiff": True, "compression": "zlib", "metadata": OME},
    "OME in tiles": {"ome": True, "tile": (16, 16), "metadata": OME},
    "tags on every page": {
        "metadata": {"axes": "TZCYX"},
        "datetime": "2026:01:02 03:04:05",
        "software": "a microscope",
        "extratags": [(51123, 2, 0, '{"Exposure": 3}', False), (65001, 12, 3, (1.0, 2.0, 3.0), False)],
    },
}


def tags_of(data: bytes) -> list[dict[int, tuple[int, bytes]]]:
    """Types and bytes of the tags of every page.

    Tags that describe how pixels are stored are left out.
    """
    pages = []
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        for page in file.pages:
            assert isinstance(page, tifffile.TiffPage)
            tags = {}
            for tag in page.tags:
                file.filehandle.seek(tag.valueoffset)
                content = file.filehandle.read(tag.count * SIZES[int(tag.dtype)])
                if tag.code not in LAYOUT:
                    tags[tag.code] = int(tag.dtype), content
            pages.append(tags)
    return pages


def written_again(data: bytes) -> bytes:
    file = io.BytesIO()
    with opened_pages(io.BytesIO(data)) as pages:
        assert write_pages(file, pages, format="TIFF") == ()
    return file.getvalue()


def pixels_of(data: bytes) -> Array:
    with opened_pages(io.BytesIO(data)) as pages:
        return np.stack([page.pixels[..., 0] for page in pages])


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("options", WRITERS.values(), ids=WRITERS)
def test_every_tag_is_copied_byte_for_byte(options: dict[str, Any], byteorder: Any) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, PAGES, byteorder=byteorder, photometric="minisblack", **options)
    again = written_again(file.getvalue())
    assert again[:2] == file.getvalue()[:2]
    assert tags_of(again) == tags_of(file.getvalue())
    assert np.array_equal(pixels_of(again).reshape(PAGES.shape), PAGES)
    with opened_stack(file) as before, opened_stack(io.BytesIO(again)) as after:
        assert (after.axes, after.shape, after.description) == (before.axes, before.shape, before.description)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(("photometric", "channels"), [("rgb", 3), ("minisblack", 3), ("minisblack", 5)])
def test_planar_channels_stay_planar(photometric: Any, channels: int, compression: Any) -> None:
    planes = np.arange(channels * 300 * 500, dtype=np.uint16).reshape(channels, 300, 500)
    options = {"photometric": photometric, "planarconfig": "separate", "compression": compression}
    file, again = io.BytesIO(), io.BytesIO()
    tifffile.imwrite(file, planes, **options)
    with opened_pages(file, all_channels=True) as pages:
        write_pages(again, pages, format="TIFF")
    with tifffile.TiffFile(io.BytesIO(again.getvalue())) as found:
        assert found.series[0].shape == planes.shape
        assert found.pages.first.planarconfig == 2
        assert np.array_equal(found.asarray(), planes)


def imagej_file(pages: Array, *, directories: int) -> bytes:
    """Big-endian hyperstack as ImageJ writes it.

    One directory comes before the pixels, the others after them.
    """
    count, height, width = pages.shape
    description = (
        f"ImageJ=1.54f\nimages={count}\nchannels=2\nslices={count // 2}\nhyperstack=true\nunit=\\u00B5m\n\0".encode()
    )
    labels = b"".join(f"c:{i}".encode("utf-16-be") for i in range(count))
    header = b"IJIJ" + struct.pack(">4sI4sI4sI", b"labl", count, b"luts", 2, b"roi ", 1)
    counts = [len(header), *[6] * count, 768, 768, 64]
    own = header + labels + bytes(768) + bytes(range(256)) * 3 + b"Iout" + bytes(60)
    values = {
        254: (4, struct.pack(">I", 0)),
        **{tag: (4, struct.pack(">I", number)) for tag, number in ((256, width), (257, height), (278, height))},
        258: (3, struct.pack(">H", 8 * pages.itemsize)),
        262: (3, struct.pack(">H", 1)),
        270: (2, description),
        273: (4, bytes(4)),
        277: (3, struct.pack(">H", 1)),
        279: (4, struct.pack(">I", pages[0].nbytes)),
        282: (5, struct.pack(">II", 1000000, 250000)),
        283: (5, struct.pack(">II", 1000000, 250000)),
        296: (3, struct.pack(">H", 1)),
        50838: (4, struct.pack(f">{len(counts)}I", *counts)),
        50839: (1, own),
    }
    table = 8 + 2 + 12 * len(values) + 4
    start = table + sum(len(content) for _, content in values.values() if len(content) > 4)
    end = start + pages.nbytes
    data = bytearray(b"MM\0*" + struct.pack(">I", 8) + struct.pack(">H", len(values)))
    behind = b""
    for tag, (kind, content) in values.items():
        content = struct.pack(">I", start) if tag == 273 else content
        value = content.ljust(4, b"\0")
        if len(content) > 4:
            value, behind = struct.pack(">I", table + len(behind)), behind + content
        data += struct.pack(">HHI", tag, kind, len(content) // SIZES[kind]) + value
    data += (
        struct.pack(">I", end if directories > 1 else 0)
        + behind
        + pages.astype(pages.dtype.newbyteorder(">")).tobytes()
    )
    plain = {tag: values[tag] for tag in (256, 257, 258, 262, 273, 277, 278, 279)}
    for number in range(1, directories):
        data += struct.pack(">H", len(plain))
        for tag, (kind, content) in plain.items():
            content = struct.pack(">I", start + number * pages[0].nbytes) if tag == 273 else content
            data += struct.pack(">HHI", tag, kind, len(content) // SIZES[kind]) + content.ljust(4, b"\0")
        data += struct.pack(">I", len(data) + 4 if number + 1 < directories else 0)
    return bytes(data)


@pytest.mark.parametrize("directories", [1, 8])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_hyperstack_of_imagej_round_trips(directories: int, dtype: Any) -> None:
    pages = (PAGES.reshape(-1, 19, 29)[:8] // 16).astype(dtype)
    data = imagej_file(pages, directories=directories)
    with opened_stack(io.BytesIO(data)) as stack:
        assert (stack.axes, stack.shape) == ("ZCYX", (4, 2, 19, 29))
        assert stack.description.channels == ("c:0", "c:1")
        assert stack.description.pixel_size == {"X": (0.25, "µm"), "Y": (0.25, "µm")}
    again = written_again(data)
    assert tags_of(again)[0] == tags_of(data)[0]
    assert np.array_equal(pixels_of(again), pages)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pages_of_an_imagej_stack_follow_one_another(dtype: Any) -> None:
    # ImageJ reads only the first directory and takes the bytes after its pixels as those of the next pages.
    pages = (PAGES.reshape(-1, 19, 29) // 16).astype(dtype)
    file = io.BytesIO()
    tifffile.imwrite(file, pages, imagej=True, byteorder=">", metadata={"Info": "long " * 100})
    again = written_again(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(again)) as found:
        start = found.pages.first.dataoffsets[0]
    assert again[start : start + pages.nbytes] == pages.astype(pages.dtype.newbyteorder(">")).tobytes()
