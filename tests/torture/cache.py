"""Damaged files in the cache of generated pictures."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from n2n_cli.data.picture_cache import read_pictures, write_pictures
from tests.torture import Note, Trial

_HEADER = 128


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Change a few bytes of a file's header, or cut bytes out of it or put some in."""
    while True:
        found = bytearray(content)
        kind = rng.randrange(4)
        for _ in range(rng.choice((1, 1, 2, 8, 32))):
            at = rng.randrange(_HEADER)
            if kind == 0:
                found[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                found[at] = rng.randrange(256)
            elif kind == 2:
                del found[at : at + rng.randrange(1, 9)]
            else:
                found[at:at] = rng.randbytes(rng.randrange(1, 9))
        if found != content:
            return bytes(found)


def headers(count: int) -> Iterator[str]:
    """Damage the header of a cache file; it must be treated as missing."""
    pictures = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
    with tempfile.TemporaryDirectory(prefix="n2n-torture-") as name:
        path = Path(name, "pictures")
        write_pictures(path, pictures)
        content = path.read_bytes()
        for seed in range(count):
            path.write_bytes(damaged(content, random.Random(seed)))
            try:
                if read_pictures(path, pictures.shape) is not None:
                    yield f"header {seed}: the damaged file was used"
            except Exception as error:
                yield f"header {seed}: {error!r}"
        write_pictures(path, pictures)
        if read_pictures(path, pictures.shape) is None:
            yield "the file that was written again was not used"
    yield Note("every damaged file was made again")


TRIALS: dict[str, Trial] = {"cache": headers}
COUNTS = {"cache": (3_000, 3_000)}
