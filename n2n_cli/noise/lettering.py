"""Random letters over a picture: text noise (Lehtinen et al. 2018, section 3.3)."""

from __future__ import annotations

import string
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from n2n_cli.nn.functional import Array

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

LETTERS = string.ascii_letters + string.digits
SIZES = (10, 14, 20, 28)
"""Font sizes, in pixels."""


def cover_with_text(picture: Array, covered: float, *, rng: np.random.Generator) -> Array:
    """Cover a fraction of a picture with random letters of random sizes and colours.

    Parameters
    ----------
    picture : (H, W, C) float array in [0, 1]
    covered : float
        Fraction to cover, from 0 to 1.
    """
    result = picture.copy()
    h, w, channels = result.shape
    hidden, wanted = np.zeros((h, w), bool), covered * h * w
    # Letters may overlap or lie mostly outside the picture, so the number of attempts is limited.
    for _ in range(int(4 * wanted) + 1):
        if hidden.sum() >= wanted:
            break
        shapes = letter_shapes(int(rng.choice(SIZES)))
        shape = shapes[rng.integers(len(shapes))]
        rows, columns = shape.shape
        top, left = int(rng.integers(1 - rows, h)), int(rng.integers(1 - columns, w))
        inside = shape[max(0, -top) : h - top, max(0, -left) : w - left]
        place = (slice(max(0, top), top + rows), slice(max(0, left), left + columns))
        colour = rng.random(channels, dtype=np.float32)
        result[place][inside] = colour
        hidden[place] |= inside
    return result


@cache
def letter_shapes(size: int) -> list[Array]:
    """Boolean (rows, columns) masks of the letters, without empty rows or columns."""
    # Imported here: every command imports the noise models, and few draw letters.
    from PIL.ImageFont import load_default

    font = load_default(size)
    return [_shape(letter, font) for letter in LETTERS]


def _shape(letter: str, font: FreeTypeFont | ImageFont) -> Array:
    from PIL import Image, ImageDraw

    left, top, right, bottom = map(int, font.getbbox(letter))
    image = Image.new("1", (right - left, bottom - top))
    ImageDraw.Draw(image).text((-left, -top), letter, fill=1, font=font)
    covered: Array = np.asarray(image)
    return covered[np.ix_(covered.any(axis=1), covered.any(axis=0))]
