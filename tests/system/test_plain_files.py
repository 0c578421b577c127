"""Files with fixed names in untrusted folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from n2n_cli.errors import UsageError
from n2n_cli.system.plain_files import check_plain, open_plain, read_plain


def odd_files(folder: Path) -> dict[str, Path]:
    """Files that are not plain, by their name in messages."""
    (folder / "file").write_bytes(b"text")
    (folder / "link").symlink_to("file")
    (folder / "broken").symlink_to("absent")
    os.mkfifo(folder / "pipe")
    odd = {"a symbolic link": folder / "link", "a pipe": folder / "pipe"}
    return {**odd, "a device": Path("/dev/null")} if Path("/dev/null").exists() else odd


def test_files_that_are_not_plain_are_refused(tmp_path: Path) -> None:
    for kind, path in odd_files(tmp_path).items():
        for flags in (os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_APPEND):
            with pytest.raises(OSError, match=f"it is {kind}, not a plain file"):
                open_plain(path, flags)
        with pytest.raises(UsageError) as caught:
            check_plain([tmp_path / "file", path])
        assert caught.value.message == f"`{path}` is {kind}, not a plain file or folder"
        assert caught.value.hint
    with pytest.raises(IsADirectoryError):
        open_plain(tmp_path, os.O_RDONLY)
    with pytest.raises(OSError, match="symbolic link"):
        open_plain(tmp_path / "broken", os.O_WRONLY | os.O_CREAT)
    assert not (tmp_path / "absent").exists()


def test_plain_files_folders_and_missing_names_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "file"
    os.close(open_plain(path, os.O_WRONLY | os.O_CREAT))
    check_plain([path, tmp_path, tmp_path / "absent", path / "below", tmp_path / ("x" * 300)])
    with pytest.raises(FileNotFoundError):
        open_plain(tmp_path / "absent", os.O_RDONLY)


def test_file_size_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_plain(path, 5) == b"12345"
    with pytest.raises(OSError, match="it is longer than 4 bytes"):
        read_plain(path, 4)
    os.truncate(path, 10**12)
    with pytest.raises(OSError, match="it is longer than 1,000 bytes"):
        read_plain(path, 1000)
