"""Built-in pictures: dead leaves, generated once and cached, without a download."""

from __future__ import annotations

import numpy as np

from n2n_cli.data.dead_leaves import dead_leaves
from n2n_cli.data.picture_cache import cache_folder, read_pictures, write_pictures
from n2n_cli.data.picture_memory import MAX_BYTES
from n2n_cli.errors import DataError
from n2n_cli.nn.functional import Array
from n2n_cli.system.cpu import available_cores

PIXELS = 20 * 2**20
"""Minimum number of pixels of all pictures together."""
LEAST = 40
"""Minimum number of pictures."""
VERSION = 2
"""Version of the generator, part of the cached file's name."""


def built_in_pictures(
    smallest: int, channels: int, *, threads: int | None = None
) -> tuple[list[Array], tuple[str, ...]]:
    """Read dead-leaves pictures from the user's cache folder, or generate them.

    Parameters
    ----------
    smallest : int
        Minimum side, in pixels.
    channels : int
        1 (gray) or 3 (RGB).
    threads : int, optional
        By default all cores.

    Returns
    -------
    pictures : list of (side, side, channels) uint8 array
    notes : tuple of str
        Notes on pictures that were generated, for the user.

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
    shape, folder = (count, side, side, 3), cache_folder()
    path = None if folder is None else folder / f"dead-leaves-{VERSION}-{count}x{side}"
    pictures = None if path is None else read_pictures(path, shape)
    notes: tuple[str, ...] = ()
    if pictures is None:
        pictures = dead_leaves(count, side, seed=0, threads=available_cores() if threads is None else threads)
        made = f"made {count} dead-leaves pictures"
        if path is None:
            notes = (f"{made}; they are not kept: this user has no home folder, and no `$XDG_CACHE_HOME`",)
        else:
            try:
                write_pictures(path, pictures)
                notes = (f"{made} of {side}x{side} pixels, kept in `{path}`",)
            except OSError as error:
                notes = (f"{made}; they could not be kept in `{path}`: {error.strerror or error}",)
    if channels == 1:
        pictures = pictures.mean(axis=3, keepdims=True).astype(np.uint8)
    return list(pictures), notes
