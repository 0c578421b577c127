"""Descriptions of TIFF stacks by their writers: ImageJ, OME and tifffile.

References
----------
ImageJ: `ij.io.FileSaver.getDescriptionString`; OME-TIFF specification and OME-XML schema 2016-06, Open Microscopy
Environment.
"""

from __future__ import annotations

import itertools
import json
import math
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

import numpy as np

from n2n_cli.images.axes import PAGE_AXES, Axis, Description
from n2n_cli.images.tiff.pages import DESCRIPTION, SAMPLES, X_RESOLUTION, Y_RESOLUTION, Page
from n2n_cli.nn.functional import Array

_LONGEST = 2**27  # maximum bytes of a description, which may name each of many pages
_MOST_NAMES = 1000
_IMAGEJ, _OME_END, _TIFFFILE = b"ImageJ=", b"OME>", b'{"shape":'
_IMAGEJ_AXES = (("T", "frames"), ("Z", "slices"), ("C", "channels"))  # the slowest first
_IMAGEJ_COUNTS, _IMAGEJ_DATA = 50838, 50839
_LABELS = b"labl"  # type of an entry with labels of slices
_MICRON = "\u00b5m"
_NO_UNITS = ("", "pixel", "pixels")


def described(page: Page, count: int) -> Description:
    """Read the description of a file from its first page.

    Parameters
    ----------
    page : Page
        The first page.
    count : int
        Number of pages of the file.
    """
    if DESCRIPTION not in page.tags or page.tags.slot(DESCRIPTION).length > _LONGEST:
        return Description()
    text = page.tags.raw(DESCRIPTION).rstrip(b"\0")
    writer = ""
    try:
        if text.startswith(_IMAGEJ):
            writer = "ImageJ"
            return _imagej(page, text, count)
        if text.rstrip().endswith(_OME_END):
            writer = "OME"
            return _ome(text, count, max(1, page.integer(SAMPLES, 1)))
        if text.startswith(_TIFFFILE):
            return _tifffile(json.loads(text), count)
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError, expat.ExpatError, struct.error):
        pass  # a damaged description must not prevent reading the pixels
    note = f"its description by {writer} is damaged: axes are not known"
    return Description(writer=writer, notes=(note,) if writer else ())


def _imagej(page: Page, text: bytes, count: int) -> Description:
    lines = text.decode("utf-8", "replace").splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    unit = _unescaped(values.get("unit", "")).strip()
    sizes = {"Z": (_number(values.get("spacing")), unit), "T": (_number(values.get("finterval")), "s")}
    for axis, tag in (("X", X_RESOLUTION), ("Y", Y_RESOLUTION)):
        with suppress(ValueError, ZeroDivisionError, TypeError, OverflowError):
            sizes[axis] = 1 / float(page.tags.get(tag, 0)), unit
    pixel_size = {
        axis: (size, _MICRON if unit in ("um", "micron", "microns") else unit)
        for axis, (size, unit) in sizes.items()
        if size > 0 and math.isfinite(size) and unit not in _NO_UNITS
    }
    axes = tuple(Axis(axis, int(values[key])) for axis, key in _IMAGEJ_AXES if _is_several(values.get(key)))
    notes: tuple[str, ...] = ()
    if axes and math.prod(axis.size for axis in axes) != count:
        said = ", ".join(f"{axis.size} {key}" for axis in axes for name, key in _IMAGEJ_AXES if name == axis.name)
        axes = ()
        if values.get("images") == str(count):  # otherwise the page has a note on it
            notes = (f"its description, by ImageJ, says {said}; the file holds {count}",)
    channels = next((axis.size for axis in axes if axis.name == "C"), 0)
    names = tuple(_labels(page)[:channels]) if axes and axes[-1].name == "C" else ()
    return Description(axes, "ImageJ", pixel_size, names if len(set(names)) == channels else (), notes)


def _is_several(text: str | None) -> bool:
    return text is not None and text.isascii() and text.isdigit() and 1 < int(text[:10]) < 2**31


def _number(text: str | None) -> float:
    with suppress(ValueError):
        return float(text or 0)
    return 0.0


def _unescaped(text: str) -> str:
    """Decode a unit, in which ImageJ escapes non-ASCII letters as Java does."""
    if "\\u" not in text:
        return text
    with suppress(UnicodeDecodeError):
        return text.encode("latin-1", "replace").decode("unicode_escape")
    return text


def _labels(page: Page) -> list[str]:
    """Read the labels of the first slices from the tag of ImageJ's metadata."""
    if not {_IMAGEJ_COUNTS, _IMAGEJ_DATA} <= set(page.tags):
        return []
    order = "<" if page.head[:2] == b"II" else ">"
    counts = page.tags.numbers(_IMAGEJ_COUNTS)[: 2 * _MOST_NAMES].tolist()
    data = page.tags.raw(_IMAGEJ_DATA, _LONGEST)
    if not counts or counts[0] < 4 or (counts[0] - 4) % 8 or counts[0] > len(data):
        return []
    place, index, found = counts[0], 1, list[str]()
    for at in range(4, counts[0], 8):
        kind = data[at : at + 4] if order == ">" else data[at : at + 4][::-1]
        (number,) = struct.unpack(f"{order}I", data[at + 4 : at + 8])
        lengths = counts[index : index + number]
        if kind == _LABELS:
            encoding = "utf-16-le" if order == "<" else "utf-16-be"
            for length in lengths[:_MOST_NAMES]:
                found.append(data[place : place + length].decode(encoding, "replace"))
                place += length
            return found
        place, index = place + sum(lengths), index + number
    return found


def _tifffile(values: dict[str, Any], count: int) -> Description:
    sizes = dict(zip(str(values["axes"]), values["shape"], strict=True))
    axes = tuple(Axis(name, int(size)) for name, size in sizes.items() if name not in "YXS" and size > 1)
    fits = {axis.name for axis in axes} <= {*PAGE_AXES} and math.prod(axis.size for axis in axes) == count
    return Description(axes if fits else (), "tifffile")


@dataclass
class _Pixels:
    """The first `Pixels` element of OME-XML, and its content."""

    values: Mapping[str, str] = field(default_factory=dict)
    channels: list[Mapping[str, str]] = field(default_factory=list)
    planes: list[tuple[Mapping[str, str], str]] = field(default_factory=list)  # attributes and UUID of a TiffData
    uuid: str = ""


def _parsed(text: bytes) -> _Pixels:
    """Parse OME-XML as a stream; refuse a document type, which could define entities."""
    found, stack, images = _Pixels(), list[str](), 0

    def refuse(*declaration: object) -> None:
        raise ValueError("OME-XML has no document type")

    def start(tag: str, values: dict[str, str]) -> None:
        nonlocal images
        name = tag.rpartition(":")[2]
        stack.append(name)
        images += name == "Pixels"
        if len(stack) == 1:
            found.uuid = values.get("UUID", "")
        if images != 1:
            return
        if name == "Pixels":
            found.values = values
        elif name == "Channel" and "Pixels" in stack and len(found.channels) < _MOST_NAMES:
            found.channels.append(values)
        elif name == "TiffData":
            found.planes.append((values, ""))

    def inside(data: str) -> None:
        if images == 1 and stack[-2:] == ["TiffData", "UUID"]:
            values, uuid = found.planes[-1]
            found.planes[-1] = values, uuid + data

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: stack.pop()
    parser.CharacterDataHandler = inside
    parser.Parse(text, True)
    return found


def _ome(text: bytes, count: int, samples: int) -> Description:
    found = _parsed(text)
    values = found.values
    pixel_size = {
        axis: (size, values.get(f"PhysicalSize{axis}Unit", _MICRON))
        for axis in "XYZ"
        if 0 < (size := _number(values.get(f"PhysicalSize{axis}"))) < math.inf
    }
    if 0 < (interval := _number(values.get("TimeIncrement"))) < math.inf:
        pixel_size["T"] = interval, values.get("TimeIncrementUnit", "s")
    named = [channel.get("Name", "") for channel in found.channels]
    channels = tuple(named) if all(named) else ()
    if not values:  # this file is described in the XML of another
        return Description(writer="OME")
    axes = _ome_axes(found, count, samples)
    notes = () if axes is not None else (f"its OME-XML does not describe its {count} pages: axes are not known",)
    return Description(axes or (), "OME", pixel_size, channels, notes)


def _ome_axes(found: _Pixels, count: int, samples: int) -> tuple[Axis, ...] | None:
    """Find the axes of the pages of this file; None if the pages do not fill a grid.

    The pages may be in any order, and have `samples` channels each.
    """
    stated = found.values.get("DimensionOrder", "")
    order = [axis for axis in stated if axis in PAGE_AXES]
    if stated.startswith("XY"):
        order.reverse()  # some writers state the slowest axis first
    if sorted(order) != sorted(PAGE_AXES):
        return None
    sizes = {axis: int(found.values[f"Size{axis}"]) for axis in order}
    if sizes["C"] % samples == 0:
        sizes["C"] //= samples
    whole = tuple(sizes[axis] for axis in order)
    planes = math.prod(whole)
    if min(whole) < 1:
        return None
    places = np.full(count, -1, np.int64)  # plane number of each page
    for values, uuid in found.planes:
        if uuid and found.uuid and uuid.strip() != found.uuid:
            continue  # in another file
        first = int(values.get("IFD", 0))
        number = int(values.get("PlaneCount", 1 if "IFD" in values else count))
        start = 0
        for axis, size in zip(order, whole, strict=True):
            start = start * size + int(values.get(f"First{axis}", 0))
        end = min(first + number, count, first + planes - start)
        if 0 <= first < end and start >= 0:
            places[first:end] = np.arange(start, start + end - first)
    if not found.planes and planes == count:
        places = np.arange(count)
    if count == 0 or (places < 0).any():
        return None
    return _grid(dict(zip(order, np.unravel_index(places, whole), strict=True)), count)


def _grid(places: dict[str, Array], count: int) -> tuple[Axis, ...] | None:
    """Axes, the slowest first, if the pages form a complete grid; else None.

    The pages may be in any order.
    """
    steps = {axis: np.unique(along, return_inverse=True) for axis, along in places.items()}
    several = [axis for axis, (values, _) in steps.items() if len(values) > 1]
    for axes in itertools.permutations(several):
        shape = tuple(len(steps[axis][0]) for axis in axes)
        if math.prod(shape) != count:
            return None
        grid = np.indices(shape).reshape(len(shape), -1) if shape else np.zeros((0, 1), np.int64)
        if all(np.array_equal(steps[axis][1].ravel(), along) for axis, along in zip(axes, grid, strict=True)):
            return tuple(Axis(axis, size) for axis, size in zip(axes, shape, strict=True))
    return None
