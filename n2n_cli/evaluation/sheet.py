"""A contact sheet: pictures of one size side by side, with captions, and regions of them enlarged below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from n2n_cli.nn.functional import Array, Pair

Shade: TypeAlias = tuple[int, int, int]

BOX = 560
"""Pixels; no side of a picture is shown longer, and smaller pictures are shown whole times as large."""
ZOOM = 8
"""How often a region is enlarged, where the sheet chooses its size."""

_NARROWEST = 264  # pixels: what the captions need
_MARGIN, _GAP = 32, 20
_BACKGROUND, _TEXT, _DIM = (27, 27, 30), (240, 240, 242), (164, 164, 170)
_HAIRLINE = (62, 62, 66)
_MARKS = ((255, 176, 0), (86, 180, 233), (0, 190, 120), (230, 110, 170))  # told apart by the colour-blind, too
_HEADING, _TITLE, _CAPTION = 26, 20, 17  # sizes of type, in pixels


@dataclass(frozen=True)
class Panel:
    """A column of the sheet: an (H, W, 3) uint8 picture, its title, and a line about it."""

    title: str
    caption: str
    pixels: Array


@dataclass(frozen=True)
class Region:
    """A square of the pictures to be enlarged, in pixels from the top left corner, and why."""

    left: int
    top: int
    side: int
    label: str


def shown_size(height: int, width: int) -> Pair:
    """(rows, columns) on the sheet of a picture of this size."""
    longest = max(height, width)
    if longest <= BOX:
        return height * (BOX // longest), width * (BOX // longest)
    return max(1, round(height * BOX / longest)), max(1, round(width * BOX / longest))


def region_side(height: int, width: int) -> int:
    """Side of a region, in pixels, that fills a column of the sheet when it is enlarged; 0 where none is needed."""
    side = max(shown_size(height, width)[1], _NARROWEST) // ZOOM
    # What is shown at four times its size or more needs no enlargement, and of a thin strip there is none.
    return side if side <= min(height, width) and max(height, width) > BOX // 4 else 0


def draw_sheet(heading: str, facts: str, panels: Sequence[Panel], regions: Sequence[Region]) -> Array:
    """Draw a contact sheet.

    Parameters
    ----------
    heading, facts : str
        The two lines at the top.
    panels : sequence of Panel
        At least one, all of one size. Regions are marked on the first.
    regions : sequence of Region
        Inside the pictures; a row of the sheet each.

    Returns
    -------
    (H, W, 3) uint8 array
    """
    height, width = panels[0].pixels.shape[:2]
    rows, columns = shown_size(height, width)
    column = max(columns, _NARROWEST)
    sides = [_enlarged(region.side, column) for region in regions]
    lefts = [_MARGIN + i * (column + _GAP) for i in range(len(panels))]
    top = _MARGIN + _HEADING + _CAPTION + 36
    first_region = top + _TITLE + _CAPTION + 20 + rows + _GAP
    lower = first_region + sum(side + _CAPTION + 12 + _GAP for side in sides)
    size = (lefts[-1] + column + _MARGIN, lower - _GAP + _MARGIN)
    image = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(image)
    room = size[0] - 2 * _MARGIN
    _write(draw, (_MARGIN, _MARGIN), heading, _HEADING, _TEXT, room)
    _write(draw, (_MARGIN, _MARGIN + _HEADING + 8), facts, _CAPTION, _DIM, room)
    pictures = [Image.fromarray(np.ascontiguousarray(panel.pixels)) for panel in panels]
    for left, panel, picture in zip(lefts, panels, pictures, strict=True):
        _write(draw, (left, top), panel.title, _TITLE, _TEXT, column)
        _write(draw, (left, top + _TITLE + 6), panel.caption, _CAPTION, _DIM, column)
        _place(image, _resized(picture, columns, rows), left, top + _TITLE + _CAPTION + 20)
    corner = (lefts[0], top + _TITLE + _CAPTION + 20)
    for i, region in enumerate(regions):
        _mark(draw, corner, region, (rows / height, columns / width), _MARKS[i % len(_MARKS)])
    y = first_region
    for i, (region, side) in enumerate(zip(regions, sides, strict=True)):
        draw.rectangle((_MARGIN, y + 3, _MARGIN + 13, y + 16), fill=_MARKS[i % len(_MARKS)])
        place = f"{region.side} x {region.side} pixels at {region.left}, {region.top}"
        label = f"{region.label}: {place}" if region.label else place
        _write(draw, (_MARGIN + 24, y), label, _CAPTION, _DIM, room - 24)
        y += _CAPTION + 12
        box = (region.left, region.top, region.left + region.side, region.top + region.side)
        for left, picture in zip(lefts, pictures, strict=True):
            _place(image, _resized(picture.crop(box), side, side), left, y)
        y += side + _GAP
    return np.asarray(image)


def _enlarged(side: int, column: int) -> int:
    """Pixels of a region's side on the sheet: a whole multiple that fits into the column, or the column."""
    return side * (column // side) if side <= column else column


def _resized(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Enlarged without smoothing, reduced by the means of boxes."""
    larger = width >= picture.width and height >= picture.height
    return picture.resize((width, height), Image.Resampling.NEAREST if larger else Image.Resampling.BOX)


def _place(sheet: Image.Image, picture: Image.Image, left: int, top: int) -> None:
    """Paste with a hairline around it, so that a dark picture has an edge."""
    sheet.paste(_HAIRLINE, (left - 1, top - 1, left + picture.width + 1, top + picture.height + 1))
    sheet.paste(picture, (left, top))


def _mark(draw: ImageDraw.ImageDraw, corner: Pair, region: Region, scale: tuple[float, float], colour: Shade) -> None:
    """A frame around a region, with a dark line on both sides so that it is seen on any picture."""
    middle_x, middle_y = region.left + region.side / 2, region.top + region.side / 2
    x, y = corner[0] + round(middle_x * scale[1]), corner[1] + round(middle_y * scale[0])
    across, down = (max(7, round(region.side * along / 2)) for along in (scale[1], scale[0]))
    left, top, right, bottom = x - across, y - down, x + across - 1, y + down - 1
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=_BACKGROUND, width=4)
    draw.rectangle((left, top, right, bottom), outline=colour, width=2)


def _write(draw: ImageDraw.ImageDraw, place: Pair, text: str, size: int, colour: Shade, room: int) -> None:
    """A line of text, its end cut off where it is longer than `room` pixels."""
    font = ImageFont.load_default(size)
    # The letters that Pillow brings along are few.
    text = "".join(character if " " <= character <= "~" else "?" for character in text)
    if draw.textlength(text, font) > room:
        while text and draw.textlength(f"{text}...", font) > room:
            text = text[:-1]
        text += "..."
    draw.text(place, text, colour, font)
