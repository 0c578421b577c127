"""Trials of picture files: bombs, and files with damage outside the pixels."""

from __future__ import annotations

import io
import json
import random
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from n2n_cli.errors import ImageError
from n2n_cli.images import read_picture
from n2n_cli.nn.functional import Array
from tests.images.bombs import BOMBS
from tests.images.pictures import chunk
from tests.torture import Note, Trial

_MEMORY, _SECONDS = 300_000_000, 10.0


def bombs(count: int) -> Iterator[str]:
    """Read small files that claim large pictures, each in its own process."""
    most, slowest = 0, 0.0
    with tempfile.TemporaryDirectory(prefix="n2n-torture-") as folder:
        for name, make in [*BOMBS.items()][:count]:
            path = Path(folder) / "bomb"
            path.write_bytes(make())
            command = [sys.executable, "-m", "tests.images.peak", str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
            if done.returncode:
                yield f"{name}: {done.stderr}"
                continue
            found = json.loads(done.stdout)
            most, slowest = max(most, found["memory"]), max(slowest, found["seconds"])
            if found["memory"] > _MEMORY or found["seconds"] > _SECONDS:
                yield f"{name}: {found['memory']:,} bytes, {found['seconds']:.1f} s"
    yield Note(f"{len(BOMBS)} forms; {most / 1e6:.0f} MB and {slowest:.1f} s at most")


def damaged_beside(count: int) -> Iterator[str]:
    """Read files with damage outside the pixels.

    The pixels must be read correctly, with or without a note.
    """
    damages = [_chain, _counts, _claim, _segment, _chunk, _end]
    noted = 0
    for number in range(count):
        rng = random.Random(number)
        pixels = np.random.default_rng(number).integers(
            0, 256, (rng.randrange(1, 40), rng.randrange(1, 40), 3), np.uint8
        )
        damage = damages[number % len(damages)]
        data, wanted = damage(rng, pixels)
        try:
            picture = read_picture(io.BytesIO(data), name="it")
        except ImageError as error:
            yield f"trial {number} ({damage.__name__[1:]}): {error.message}"
            continue
        noted += bool(picture.notes)
        if not np.array_equal(picture.pixels, wanted):
            yield f"trial {number} ({damage.__name__[1:]}): other pixels"
    yield Note(f"{len(damages)} kinds of damage; {noted} with a note")


def _tiff(rng: random.Random, pixels: Array, **options: object) -> tuple[bytearray, dict[int, int]]:
    """TIFF with a random compression, and the offsets of its entries by their tags."""
    file = io.BytesIO()
    compression = rng.choice([None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd"])
    Image.fromarray(pixels).save(file, "TIFF", compression=compression, **options)
    data = bytearray(file.getvalue())
    table = struct.unpack_from("<I", data, 4)[0]
    (number,) = struct.unpack_from("<H", data, table)
    places = range(table + 2, table + 2 + 12 * number, 12)
    return data, {struct.unpack_from("<H", data, at)[0]: at for at in places} | {0: table + 2 + 12 * number}


def _chain(rng: random.Random, pixels: Array) -> tuple[bytes, Array]:
    data, places = _tiff(rng, pixels)
    behind = len(data) + len(data) % 2
    data = data.ljust(behind, b"\0") + rng.randbytes(60)
    target = rng.choice(
        [struct.unpack_from("<I", data, 4)[0], behind, rng.randrange(behind, 2**32), rng.randrange(1, 8)]
    )
    struct.pack_into("<I", data, places[0], target)
    return bytes(data), pixels


def _counts(rng: random.Random, pixels: Array) -> tuple[bytes, Array]:
    data, places = _tiff(rng, pixels, tiffinfo={278: 100})
    wrong = rng.choice([0, rng.randrange(1, 20), 2**31, 2**32 - 1])
    struct.pack_into("<HII", data, places[279] + 2, 4, 1, wrong)
    return bytes(data), pixels


def _claim(rng: random.Random, pixels: Array) -> tuple[bytes, Array]:
    claimed = rng.choice([2, 3, 100, 10**9 - 1])
    data, _ = _tiff(rng, pixels, description=f"ImageJ=1.53t\nimages={claimed}\nunit=micron\n")
    return bytes(data), pixels


def _segment(rng: random.Random, pixels: Array) -> tuple[bytes, Array]:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    whole = file.getvalue()
    marker = rng.choice([*range(0xE0, 0xF0), 0xFE])
    names = [
        b"JFIF\0",
        b"Exif\0\0",
        b"ICC_PROFILE\0",
        b"Photoshop 3.0\x008BIM",
        b"MPF\0",
        b"http://ns.adobe.com/xap/1.0/\0",
    ]
    content = rng.choice(names) + rng.randbytes(rng.randrange(12))
    data = whole[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + whole[2:]
    with Image.open(file) as image:
        return data, np.asarray(image)


def _png(pixels: Array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _chunk(rng: random.Random, pixels: Array) -> tuple[bytes, Array]:
    name = rng.choice([b"iCCP", b"eXIf", b"zTXt", b"iTXt", b"tEXt", b"pHYs", b"tIME", b"acTL", b"gAMA", b"abCd"])
    damaged = bytearray(chunk(name, rng.randbytes(rng.choice([0, 1, 9, 60]))))
    if rng.random() < 0.5:
        damaged[-1] ^= 1
    whole = _png(pixels)
    place = rng.choice([33, len(whole) - 12])
    return whole[:place] + bytes(damaged) + whole[place:], pixels


def _end(rng: random.Random, pixels: Array) -> tuple[bytes, Array]:
    whole = _png(pixels)
    return rng.choice([whole[:-12], whole + rng.randbytes(40), whole[:-12]]), pixels


TRIALS: dict[str, Trial] = {"picture-bombs": bombs, "damaged-beside": damaged_beside}
COUNTS = {"picture-bombs": (1_000, 4), "damaged-beside": (20_000, 300)}
