"""The built-in pictures: dead leaves, made once and then kept, so that a fresh machine needs no download."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from n2n_cli.data import picture_memory
from n2n_cli.data.dead_leaves import dead_leaves
from n2n_cli.errors import DataError
from n2n_cli.nn.functional import Array
from n2n_cli.system.atomic_files import replacing
from n2n_cli.system.cpu import available_cores

PIXELS = 20 * 2**20
"""Of all pictures together."""
LEAST = 40
"""Pictures, however large they are."""
VERSION = 2


def built_in_pictures(
    smallest: int, channels: int, *, threads: int | None = None
) -> tuple[list[Array], tuple[str, ...]]:
    """Dead-leaves pictures of at least `smallest` pixels a side, made once and then kept in the user's cache folder.

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
    if count * side**2 * 3 > picture_memory.MEMORY:
        raise DataError(
            f"built-in pictures of {side}x{side} pixels need more than {picture_memory.MEMORY / 1e9:g} GB",
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
    """Where this user's caches are: `$XDG_CACHE_HOME/n2n`, or `~/.cache/n2n`."""
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
