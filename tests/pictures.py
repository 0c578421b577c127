"""Small images for tests, and a check of error messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from n2n_cli.errors import N2NError
from n2n_cli.nn.functional import Array


def numbered(h: int, w: int, channels: int = 1, first: int = 0) -> Array:
    """uint16 image in which all values differ."""
    return np.arange(first, first + h * w * channels, dtype=np.uint16).reshape(h, w, channels)


def flipped_corners(picture: Array, side: int) -> set[tuple[int, ...]]:
    """Corner values of all square crops in four flips, each from its top left corner."""
    corners: set[tuple[int, ...]] = set()
    for y in range(picture.shape[0] - side + 1):
        for x in range(picture.shape[1] - side + 1):
            a, b, c, d = (int(picture[y + dy, x + dx, 0]) for dy in (0, side - 1) for dx in (0, side - 1))
            corners |= {(a, b, c, d), (b, a, d, c), (c, d, a, b), (d, c, b, a)}
    return corners


def save(path: Path, pixels: Array) -> Path:
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(path)
    return path


def colour(h: int, w: int, seed: int = 0, channels: int = 3) -> Array:
    return np.random.default_rng(seed).integers(256, size=(h, w, channels), dtype=np.uint8)


def error_of(error: type[N2NError], call: Callable[[], Any]) -> N2NError:
    """Return the error of a call after checking that it has one line and a hint."""
    with pytest.raises(error) as caught:
        call()
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value
