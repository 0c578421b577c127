from __future__ import annotations

import base64
import zlib
from pathlib import Path

import pytest

from n2n_cli.checkpoints.file import read_checkpoint, write_checkpoint
from n2n_cli.errors import CheckpointError
from tests.checkpoints.pth.files import (
    GOLDEN,
    checked_message,
    floats,
    golden_tree,
    refusal_of,
)
from tests.pickles import check_same

SMALL = {"weight": floats(1.5, -2), "epoch": 3, "flag": True}


@pytest.fixture(scope="module")
def small(folder: Path) -> bytes:
    write_checkpoint(folder / "small.pth", SMALL)
    return (folder / "small.pth").read_bytes()


def test_truncated_file_is_refused(small: bytes, tmp_path: Path) -> None:
    for length in range(1, len(small)):
        message = refusal_of(small[:length], tmp_path)
        assert "is damaged" in message or (length < 4 and "is not a checkpoint" in message)


@pytest.mark.parametrize("writer", ["ours", "torch's"])
def test_flipped_bit_is_detected_or_harmless(small: bytes, tmp_path: Path, writer: str) -> None:
    """Flip every bit of a small n2n file, and a bit of each byte of PyTorch's."""
    if writer == "ours":
        content, wanted, bits = bytearray(small), SMALL, [1 << bit for bit in range(8)]
    else:
        content, wanted, bits = bytearray(zlib.decompress(base64.b64decode(GOLDEN))), golden_tree(), [0]
    path, noticed = tmp_path / "a.pth", 0
    for place in range(len(content)):
        for mask in bits:
            flip = mask or 1 << place % 8
            content[place] ^= flip
            path.write_bytes(content)
            content[place] ^= flip
            try:
                found = read_checkpoint(path)
            except CheckpointError as error:
                checked_message(error, path)
                noticed += 1
            else:
                check_same(found, wanted)
    assert noticed > len(content) * len(bits) / 4
