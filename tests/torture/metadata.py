"""Trials of metadata: whatever is read, what is written can be read again."""

from __future__ import annotations

import io
import random
import struct
import traceback
import warnings
from collections.abc import Iterator

from PIL import Image

from n2n_cli.errors import N2NError
from n2n_cli.images import Picture, read_pages, read_picture, write_pages
from tests.images.metadata_table import FORMATS, KINDS
from tests.images.pictures import exif_of, png_with
from tests.torture import Note, Trial
from tests.torture.fuzzing import mutated

_TAGS = (0, 1, 2, 270, 271, 274, 282, 283, 296, 305, 330, 513, 514, 700, 33432, 34665, 34853, 37500, 40965)
_COUNTS = (0, 1, 1, 1, 2, 4, 40, 2**32 - 1)
_OFFSETS = (0, 8, 14, 20, 26, 60, 2**32 - 1)


def _corpus() -> list[bytes]:
    """EXIF data of both byte orders, with all directories."""
    found = []
    for endian in "<>":
        exif = Image.Exif()
        exif.endian = endian
        exif[271], exif[274], exif[282], exif[283], exif[296], exif[33432] = "maker", 6, 300.0, 150.0, 3, "me"
        exif[34665] = {33434: (1, 125), 37500: b"note" * 20, 37510: b"ASCII\0\0\0hi", 40965: {1: "R98"}}
        exif[34853] = {1: "N", 2: (1.0, 2.0, 3.0)}
        found.append(exif.tobytes()[6:])
    return [*found, exif_of(Make="maker", Orientation=3)[6:]]


CORPUS = _corpus()


def random_exif(rng: random.Random) -> bytes:
    """EXIF data: valid data with changes, random rows of a directory, or random bytes."""
    if rng.random() < 0.6:
        return mutated(rng, CORPUS, (b"II*\0", b"MM\0*", b"Exif\0\0"))
    order = rng.choice("<>")
    start = b"II*\0\x08\0\0\0" if order == "<" else b"MM\0*\0\0\0\x08"
    if rng.random() < 0.3:
        return start + rng.randbytes(rng.randrange(90))
    rows = [
        (rng.choice(_TAGS), rng.choice((*range(14), 16, 99)), rng.choice(_COUNTS), rng.choice(_OFFSETS))
        for _ in range(rng.randrange(4))
    ]
    table = b"".join(struct.pack(f"{order}HHII", *row) for row in rows)
    return (
        start + struct.pack(f"{order}H", len(rows)) + table + bytes(rng.randrange(5)) + rng.randbytes(rng.randrange(40))
    )


def problem_of(exif: bytes) -> str | None:
    """Return the first problem with a picture of this EXIF data, if any.

    It is written in every format, and read by n2n and Pillow.
    """
    try:
        _check([read_picture(io.BytesIO(png_with((b"eXIf", exif))), name="it")])
    except Exception:
        return traceback.format_exc(limit=-3)
    return None


def _check(pages: list[Picture]) -> None:
    """Check that files of the pages are read without a warning or a note."""
    for image_format in FORMATS if len(pages) == 1 else ("TIFF",):
        file = io.BytesIO()
        write_pages(file, pages, format=image_format, name="it")
        back = list(read_pages(file, name="it"))
        if notes := [note for page in back for note in page.notes if "left out" in note]:
            raise AssertionError(f"{image_format}: {notes}")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            file.seek(0)
            with Image.open(file) as image:
                image.load()
                exif = image.getexif()
                for directory in (exif, *(exif.get_ifd(tag) for tag in (34665, 34853, 40965))):
                    dict(directory)


def exif_round_trip(count: int) -> Iterator[str]:
    """Random and damaged EXIF data: what is written can be read again."""
    for number in range(count):
        if problem := problem_of(random_exif(random.Random(number))):
            yield f"EXIF data {number}: {problem}"


def metadata_round_trip(count: int) -> Iterator[str]:
    """Read damaged files with metadata of every kind, and rewrite them.

    They are refused, or what is written of them can be read again.
    """
    files = [kind.file for kinds in KINDS.values() for kind in kinds.values()]
    read = 0
    for number in range(count):
        data = mutated(random.Random(number), files, ())
        try:
            pages = list(read_pages(io.BytesIO(data), name="it"))
        except N2NError:
            continue
        try:
            read += 1
            _check(pages)
        except N2NError:
            pass  # transparency, 16 bits: not every format can hold them
        except Exception:
            yield f"file {number}: {traceback.format_exc(limit=-3)}"
    yield Note(f"{read:,} were read and written")


TRIALS: dict[str, Trial] = {"exif-round-trip": exif_round_trip, "metadata-round-trip": metadata_round_trip}
COUNTS = {"exif-round-trip": (20_000, 100), "metadata-round-trip": (20_000, 100)}
