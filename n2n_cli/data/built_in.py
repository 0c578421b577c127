"""The built-in pictures: dead leaves, made once and cached, without a download."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from n2n_cli.data.dead_leaves import dead_leaves
from n2n_cli.data.picture_memory import MAX_BYTES
from n2n_cli.errors import DataError
from n2n_cli.nn.functional import Array
from n2n_cli.system.atomic_files import replacing
from n2n_cli.system.cpu import available_cores

PIXELS = 20 * 2**20
"""Minimum number of pixels of all pictures together."""
LEAST = 40
"""Minimum number of pictures."""
VERSION = 2


def built_in_pictures(
    smallest: int, channels: int, *, threads: int | None = None
) -> tuple[list[Array], tuple[str, ...]]:
    """Make or read dead-leaves pictures of at least `smallest` pixels a side.

    They are kept in the user's cache folder.

    Parameters
    ----------
    channels : int
        1 (gray) or 3 (RGB).

    Raises
    ------
    DataError
        When the pictures would be too large.
    """
    side = max(256, smallest)
    count = max(LEAST, PIXELS // side**2)
    if count * side**2 * 3 > MAX_BYTES:
        raise DataError(
            f"built-in pictures of {side}x{side} pixels need more than {MAX_BYTES / 1e9:g} GB",
            hint="a smaller `data.size`, or a noise model that needs fewer source pixels",
        )
    path = cache_folder() / f"dead-leaves-{VERSION}-{count}x{side}.npy"
    notes: tuple[str, ...] = ()
    pictures = _read_cache(path, (count, side, side, 3))
    if pictures is None:
        pictures = dead_leaves(count, side, seed=0, threads=available_cores() if threads is None else threads)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                np.save(file, pictures, allow_pickle=False)
            notes = (f"made {count} dead-leaves pictures of {side}x{side} pixels, kept in `{path}`",)
        except OSError as error:
            reason = error.strerror or error
            notes = (f"made {count} dead-leaves pictures; they could not be kept in `{path}`: {reason}",)
    if channels == 1:
        pictures = pictures.mean(axis=3, keepdims=True).astype(np.uint8)
    return list(pictures), notes


def cache_folder() -> Path:
    """The user's cache folder: `$XDG_CACHE_HOME/n2n`, or `~/.cache/n2n`."""
    named = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(named or Path.home() / ".cache") / "n2n"
    except RuntimeError:  # a user without a home, as in some containers
        return Path(tempfile.gettempdir()) / "n2n"


def _read_cache(path: Path, shape: tuple[int, ...]) -> Array | None:
    with suppress(OSError, ValueError, EOFError):  # missing or damaged: it is made again
        pictures: Array = np.load(path, allow_pickle=False)
        if pictures.shape == shape and pictures.dtype == np.uint8:
            return pictures
    return None
