from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkpoints.pth.files import refusal_of
from tests.torture.hostile import bombs, forms


@pytest.fixture(scope="module")
def hostile(folder: Path) -> dict[str, bytes]:
    return forms(folder / "made")


def test_hostile_files_are_neither_run_nor_read(hostile: dict[str, bytes], folder: Path) -> None:
    assert len(hostile) >= 100
    for name, content in hostile.items():
        if name not in bombs():
            refusal_of(content, folder)
            assert not (folder / "made").exists(), name


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("name", ["filled dicts", "wide texts", "memo bomb", "100,000 entries", "deflated zeros"])
def test_refusal_takes_less_memory_than_twice_the_file_and_50_mb(
    hostile: dict[str, bytes], folder: Path, name: str
) -> None:
    path = folder / "bomb.pth"
    path.write_bytes(hostile[name])
    command = [sys.executable, "-m", "tests.torture.reading", str(path)]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert found["refused"]
    assert found["memory"] < 2 * len(hostile[name]) + 50_000_000
