from __future__ import annotations

import base64
import zlib
from pathlib import Path

import pytest

from n2n_cli.checkpoints.file import read_checkpoint, write_checkpoint
from n2n_cli.errors import CheckpointError
from tests.checkpoints.pth.files import (
    GOLDEN,
    floats,
    golden_tree,
    refusal_of,
    told,
)
from tests.pickles import check_same

SMALL = {"weight": floats(1.5, -2), "epoch": 3, "flag": True}


@pytest.fixture(scope="module")
def small(folder: Path) -> bytes:
    write_checkpoint(folder / "small.pth", SMALL)
    return (folder / "small.pth").read_bytes()


def test_a_file_that_is_cut_off_is_never_read(small: bytes, tmp_path: Path) -> None:
    for length in range(1, len(small)):
        message = refusal_of(small[:length], tmp_path)
        assert "is damaged" in message or (length < 4 and "is not a checkpoint" in message)


@pytest.mark.parametrize("writer", ["ours", "torch's"])
def test_a_flipped_bit_is_noticed_or_changes_nothing(small: bytes, tmp_path: Path, writer: str) -> None:
    """Every bit of a small file of ours; of PyTorch's larger one, one bit of every byte."""
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
                told(error, path)
                noticed += 1
            else:
                check_same(found, wanted)
    assert noticed > len(content) * len(bits) / 4
