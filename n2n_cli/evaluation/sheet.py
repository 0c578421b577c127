"""Contact sheets: pictures side by side, with enlarged regions below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from n2n_cli.nn.functional import Array, Pair

Colour: TypeAlias = tuple[int, int, int]

MAX_SIDE = 560
"""Maximum side of a picture on the sheet, in pixels; smaller pictures are enlarged by an integer."""
ZOOM = 8
"""Enlargement of a region whose size the sheet chooses."""

_MIN_COLUMN = 264  # minimum width of a column, in pixels, to fit the captions
_MARGIN, _GAP = 32, 20  # pixels around the sheet, and between columns
_BACKGROUND, _TEXT, _DIM = (27, 27, 30), (240, 240, 242), (164, 164, 170)
_BORDER = (62, 62, 66)
_MARKS = ((255, 176, 0), (86, 180, 233), (0, 190, 120), (230, 110, 170))  # distinct for the colour-blind, too
_HEADING, _TITLE, _CAPTION = 26, 20, 17  # font sizes, in pixels


@dataclass(frozen=True)
class Panel:
    """A column of the sheet: an (H, W, 3) uint8 picture with a title and a caption."""

    title: str
    caption: str
    pixels: Array


@dataclass(frozen=True)
class Region:
    """A square to enlarge, in pixels from the top left corner, with a label."""

    left: int
    top: int
    side: int
    label: str


def shown_size(height: int, width: int) -> Pair:
    """Size (rows, columns) on the sheet of a picture of this size."""
    longest = max(height, width)
    if longest <= MAX_SIDE:
        return height * (MAX_SIDE // longest), width * (MAX_SIDE // longest)
    return max(1, round(height * MAX_SIDE / longest)), max(1, round(width * MAX_SIDE / longest))


def region_side(height: int, width: int) -> int:
    """Side of a region, in pixels, that fills a column after enlargement by `ZOOM`.

    The side is 0 for a picture that is shown at 4 times its size or more, or that is narrower than a region.
    """
    side = max(shown_size(height, width)[1], _MIN_COLUMN) // ZOOM
    return side if side <= min(height, width) and max(height, width) > MAX_SIDE // 4 else 0


def draw_sheet(heading: str, facts: str, panels: Sequence[Panel], regions: Sequence[Region]) -> Array:
    """Draw a contact sheet.

    Parameters
    ----------
    heading, facts : str
        The two lines at the top.
    panels : sequence of Panel
        At least one panel, with pictures of equal size. The regions are marked on the first panel.
    regions : sequence of Region
        Regions inside the pictures, each enlarged in a separate row.

    Returns
    -------
    (H, W, 3) uint8 array
    """
    height, width = panels[0].pixels.shape[:2]
    rows, columns = shown_size(height, width)
    column = max(columns, _MIN_COLUMN)
    sides = [_enlarged_side(region.side, column) for region in regions]
    lefts = [_MARGIN + i * (column + _GAP) for i in range(len(panels))]
    title_top = _MARGIN + _HEADING + _CAPTION + 36
    picture_top = title_top + _TITLE + _CAPTION + 20
    region_top = picture_top + rows + _GAP
    bottom = region_top + sum(side + _CAPTION + 12 + _GAP for side in sides)
    size = (lefts[-1] + column + _MARGIN, bottom - _GAP + _MARGIN)
    image = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(image)
    line_width = size[0] - 2 * _MARGIN
    _write(draw, (_MARGIN, _MARGIN), heading, _HEADING, _TEXT, line_width)
    _write(draw, (_MARGIN, _MARGIN + _HEADING + 8), facts, _CAPTION, _DIM, line_width)
    pictures = [Image.fromarray(np.ascontiguousarray(panel.pixels)) for panel in panels]
    for left, panel, picture in zip(lefts, panels, pictures, strict=True):
        _write(draw, (left, title_top), panel.title, _TITLE, _TEXT, column)
        _write(draw, (left, title_top + _TITLE + 6), panel.caption, _CAPTION, _DIM, column)
        _paste(image, _resize(picture, columns, rows), left, picture_top)
    for i, region in enumerate(regions):
        _mark(draw, (lefts[0], picture_top), region, (rows / height, columns / width), _MARKS[i % len(_MARKS)])
    y = region_top
    for i, (region, side) in enumerate(zip(regions, sides, strict=True)):
        draw.rectangle((_MARGIN, y + 3, _MARGIN + 13, y + 16), fill=_MARKS[i % len(_MARKS)])
        place = f"{region.side} x {region.side} pixels at {region.left}, {region.top}"
        label = f"{region.label}: {place}" if region.label else place
        _write(draw, (_MARGIN + 24, y), label, _CAPTION, _DIM, line_width - 24)
        y += _CAPTION + 12
        box = (region.left, region.top, region.left + region.side, region.top + region.side)
        for left, picture in zip(lefts, pictures, strict=True):
            _paste(image, _resize(picture.crop(box), side, side), left, y)
        y += side + _GAP
    return np.asarray(image)


def _enlarged_side(side: int, column: int) -> int:
    """Side of a region on the sheet: the largest multiple that fits into the column."""
    return side * (column // side) if side <= column else column


def _resize(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Enlarge without smoothing, or reduce by averaging."""
    larger = width >= picture.width and height >= picture.height
    return picture.resize((width, height), Image.Resampling.NEAREST if larger else Image.Resampling.BOX)


def _paste(sheet: Image.Image, picture: Image.Image, left: int, top: int) -> None:
    """Paste a picture with a thin border, which shows the edge of a dark picture."""
    sheet.paste(_BORDER, (left - 1, top - 1, left + picture.width + 1, top + picture.height + 1))
    sheet.paste(picture, (left, top))


def _mark(draw: ImageDraw.ImageDraw, corner: Pair, region: Region, scale: tuple[float, float], colour: Colour) -> None:
    """Draw a frame around a region, with dark edges that are visible on any picture."""
    middle_x, middle_y = region.left + region.side / 2, region.top + region.side / 2
    x, y = corner[0] + round(middle_x * scale[1]), corner[1] + round(middle_y * scale[0])
    half_width, half_height = (max(7, round(region.side * factor / 2)) for factor in (scale[1], scale[0]))
    left, top, right, bottom = x - half_width, y - half_height, x + half_width - 1, y + half_height - 1
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=_BACKGROUND, width=4)
    draw.rectangle((left, top, right, bottom), outline=colour, width=2)


def _write(draw: ImageDraw.ImageDraw, place: Pair, text: str, size: int, colour: Colour, width: int) -> None:
    """Write a line of text, shortened to `width` pixels."""
    font = ImageFont.load_default(size)
    # Pillow's default font lacks most letters beyond ASCII.
    text = "".join(character if " " <= character <= "~" else "?" for character in text)
    if draw.textlength(text, font) > width:
        while text and draw.textlength(f"{text}...", font) > width:
            text = text[:-1]
        text += "..."
    draw.text(place, text, colour, font)
