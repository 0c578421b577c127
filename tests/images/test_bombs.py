"""Memory and time for small files with huge claims are bounded."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.errors import ImageError
from n2n_cli.images import Picture, read_pages, read_picture, write_picture
from n2n_cli.nn.functional import Array
from tests.images.bombs import BOMBS, sharing_pages

LARGE, LARGE_MEMORY = re.compile("of 64 MB|100,000 tiles|unpacks to"), 2**28
"""Names of files with many pixels of their own, and their maximum peak memory in bytes."""
USUAL, SECONDS = 2**26, 10


def read_apart(path: str, **options: Any) -> dict[str, Any]:
    """Read a file in a separate process.

    Return the outcome, the time, and the peak memory in bytes.
    """
    command = [sys.executable, "-m", "tests.images.peak", path]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60, **options)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_takes_little_memory_and_time(name: str, tmp_path: Path) -> None:
    (tmp_path / "bomb").write_bytes(BOMBS[name]())
    found = read_apart(str(tmp_path / "bomb"))
    assert found["memory"] < (LARGE_MEMORY if LARGE.search(name) else USUAL)
    assert found["seconds"] < SECONDS
    assert found["pages"] or found["refused"]


def test_pages_that_share_pixels_are_limited() -> None:
    assert len(list(read_pages(io.BytesIO(sharing_pages(4, 100)), name="it"))) == 4
    pages = read_pages(io.BytesIO(sharing_pages(1_000, 8_192)), name="it")
    with pytest.raises(ImageError, match=r"^`it`, page \d+, shares its pixels with too many pages of the same file$"):
        for _ in pages:
            pass


class Endless(io.RawIOBase):
    """Endless stream that counts the bytes read from it."""

    def __init__(self, start: bytes) -> None:
        self.start, self.count = start, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        assert size > 0, "all of it"
        self.count += size
        return (self.start + bytes(size))[:size]


@pytest.mark.parametrize("start", [b"", b"text", b"\0\0\0\x18ftypheic"])
def test_stream_that_is_no_picture_is_refused_after_its_start(start: bytes) -> None:
    stream = Endless(start)
    with pytest.raises(ImageError):
        read_picture(stream, name="stdin")  # type: ignore[arg-type]
    assert stream.count < 10_000


def test_long_stream_is_not_held_in_memory(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", Picture(np.zeros((4, 4, 3), np.uint8)))
    with (tmp_path / "a.png").open("r+b") as file:
        file.truncate(2**29)
    with (tmp_path / "a.png").open("rb") as file:
        process = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)  # a pipe
        found = read_apart("-", stdin=process.stdout)
        assert process.stdout is not None
        process.stdout.close()
        process.wait(timeout=60)
    assert found["pages"] == 1
    assert found["memory"] < 2**28


@pytest.mark.parametrize("ending", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_beyond_the_memory_limit_are_refused(ending: str, dtype: type, tmp_path: Path) -> None:
    if ending == ".bmp" and dtype is np.uint16:
        return
    path = tmp_path / f"a{ending}"
    pixels: Array = np.zeros((1000, 2000, 3), dtype)
    write_picture(path, Picture(pixels))
    assert next(read_pages(path, max_memory=pixels.nbytes)).pixels.shape == pixels.shape
    with pytest.raises(ImageError) as caught:
        next(read_pages(path, max_memory=pixels.nbytes - 1))
    megabytes = pixels.nbytes // 10**6
    assert f"has 2,000 x 1,000 pixels, which take {megabytes} MB, more than the limit of" in caught.value.message
    assert caught.value.hint == "a larger `--max-memory`"
