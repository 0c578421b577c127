"""The manifest: whole lines, also after a crash and with several writers."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from n2n_cli.denoising.manifest import Manifest
from n2n_cli.errors import N2NError, UsageError

RECORD = {"input": "in/\udcff\n.png", "seconds": 0.5, "sigma_before": float("nan")}


def lines(path: Path) -> list[Any]:
    text = path.read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_line_is_written_as_soon_as_it_is_appended(tmp_path: Path) -> None:
    with Manifest(tmp_path / "m.jsonl") as manifest:
        manifest.append(RECORD)
        assert lines(tmp_path / "m.jsonl") == [{"input": "in/\udcff\n.png", "seconds": 0.5, "sigma_before": None}]


def test_existing_manifest_is_continued(tmp_path: Path) -> None:
    for _ in range(2):
        with Manifest(tmp_path / "m.jsonl") as manifest:
            manifest.append(RECORD)
    assert len(lines(tmp_path / "m.jsonl")) == 2


def test_manifest_works_without_file_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("n2n_cli.system.locks.fcntl", None)
    path = tmp_path / "m.jsonl"
    for torn in (b'{"input": "a', b""):
        with Manifest(path) as manifest:
            manifest.append(RECORD)
        with path.open("ab") as file:
            file.write(torn)
    assert len(lines(path)) == 2


@pytest.mark.parametrize("whole", [0, 2])
def test_partial_line_left_by_a_crash_is_removed(tmp_path: Path, whole: int) -> None:
    path = tmp_path / "m.jsonl"
    with Manifest(path) as manifest:
        manifest.append(RECORD)
    line = path.read_bytes()
    for length in range(len(line)):
        path.write_bytes(line * whole + line[:length])
        with Manifest(path) as manifest:
            manifest.append({"input": "new"})
        assert [record["input"] for record in lines(path)[-1:]] == ["new"]
        # If only the line break is missing, the line is whole.
        assert len(lines(path)) == whole + 1 + (length == len(line) - 1)


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n", b"notes\n", b"[1]\n", b'{"output": 1}\n', b"notes", b"\n", b"[" * 100_000]
)
def test_file_that_is_no_manifest_is_refused_and_unchanged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"file` is not a manifest$"):
        Manifest(path)
    assert path.read_bytes() == content


def test_lines_of_concurrent_writers_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"

    def write(number: int) -> None:
        with Manifest(path) as manifest:
            for i in range(50):
                manifest.append({"input": f"{number}-{i}" + 2000 * "x"})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert len({record["input"] for record in lines(path)}) == 200


def test_partially_written_line_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write = tmp_path / "m.jsonl", os.write
    with Manifest(path) as manifest:
        manifest.append({"input": "first"})
        monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:7]))
        with pytest.raises(N2NError, match=r"m.jsonl` cannot be written: only a part of a line could be written$"):
            manifest.append({"input": "second"})
    assert lines(path) == [{"input": "first"}]


def test_full_disk_is_reported() -> None:
    with Manifest(Path("/dev/full")) as manifest, pytest.raises(N2NError, match="No space left on device") as caught:
        manifest.append(RECORD)
    assert caught.value.hint == "see that its disk has space"


@pytest.mark.parametrize(("name", "reason"), [("no/m.jsonl", "No such file or directory"), ("", "Is a directory")])
def test_path_that_cannot_be_written_is_reported(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(N2NError, match=rf"cannot be written: {reason}$") as caught:
        Manifest(tmp_path / name)
    assert "--manifest FILE" in str(caught.value.hint)
