"""`n2n export`: output and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli import failure, n2n

pytestmark = pytest.mark.usefixtures("here")


def test_file_and_its_size_are_printed() -> None:
    answer = n2n("export", "tiny.pth", "small.pth")
    assert answer == (0, f"small.pth: {Path('small.pth').stat().st_size:,} bytes\n", "")


def test_output_does_not_overwrite_its_inputs() -> None:
    Path("other.pth").write_bytes(Path("tiny.pth").read_bytes())
    before = Path("other.pth").read_bytes()
    for words in (["other.pth", "other.pth"], ["--average", "other.pth", "tiny.pth", "./other.pth"]):
        assert failure("export", *words)[:2] == (2, "the command would overwrite its own input `other.pth`")
    assert Path("other.pth").read_bytes() == before
