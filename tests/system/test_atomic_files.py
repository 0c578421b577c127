from __future__ import annotations

import errno
import io
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from n2n_cli.system.atomic_files import mode_of_copies, replacing
from n2n_cli.system.notes import noted_to
from n2n_cli.training.run_folder import Run


@contextmanager
def without_privileges() -> Iterator[None]:
    """Run the block as a user without root's privileges.

    File permissions then also hold if the tests run as root.
    """
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def open_folder() -> Iterator[Path]:
    """Folder that every user may enter and change, unlike `tmp_path`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


def write(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_file_appears_complete_at_the_end_of_the_block(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert not path.exists()
        (hidden,) = tmp_path.iterdir()
        assert hidden.name.startswith(".")
    assert [path] == list(tmp_path.iterdir())
    assert path.read_bytes() == b"new"


def test_old_file_is_kept_until_the_end_of_the_block(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old and longer")
    with path.open("rb") as reader:
        with replacing(path) as file:
            file.write(b"new")
            file.flush()
            assert path.read_bytes() == b"old and longer"
        assert reader.read() == b"old and longer"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("old", [b"old", None])
def test_error_keeps_the_old_file(tmp_path: Path, error: type[BaseException], old: bytes | None) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)

    def fail() -> None:
        with replacing(path) as file:
            file.write(b"new")
            raise error

    with pytest.raises(error):
        fail()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == ({} if old is None else {"file": old})


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os if name == "fsync" else Path, name, fail)
    with pytest.raises(OSError, match="No space left"):
        write(path, b"new")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"file": b"old"}


def test_content_is_synced_before_the_rename_and_the_folder_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, steps, sync, rename = tmp_path / "file", list[str](), os.fsync, Path.replace

    def noted_sync(descriptor: int) -> None:
        what = os.fstat(descriptor)
        steps.append("folder" if stat.S_ISDIR(what.st_mode) else f"{what.st_size} bytes")
        sync(descriptor)

    def noted_rename(self: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "replace", noted_rename)
    write(path, b"new")
    assert steps == ["3 bytes", "rename", "folder"]


@pytest.mark.parametrize("old", [b"old", None], ids=["there", "dangling"])
def test_target_of_a_symbolic_link_is_written(tmp_path: Path, old: bytes | None) -> None:
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    link.symlink_to(Path("folder") / "target")
    if old is not None:
        target.write_bytes(old)
    write(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert not target.is_symlink()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_permissions_of_a_replaced_file_are_kept(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    write(path, b"new")
    assert permissions(path) == mode


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_new_file_has_the_permissions_of_the_umask(tmp_path: Path, mask: int) -> None:
    earlier = os.umask(mask)
    try:
        write(tmp_path / "file", b"new")
        assert os.umask(mask) == mask
    finally:
        os.umask(earlier)
    assert permissions(tmp_path / "file") == 0o666 & ~mask


def test_file_is_written_where_permissions_cannot_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "chmod", refuse)
    write(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EPERM])
@pytest.mark.parametrize(("place", "name", "expected"), [(Path, "chmod", "permissions"), (os, "fsync", "fsync")])
def test_missing_features_of_a_file_system_are_noted_once(
    place: Any, name: str, expected: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(place, name, refuse)
    notes: list[str] = []
    with noted_to(notes.append):
        for content in (b"1", b"2"):
            write(tmp_path / "file", content)
            assert (tmp_path / "file").read_bytes() == content
        Run(tmp_path).append(tmp_path / "lines", "1\n")
    (note,) = notes
    assert note.startswith(f"`{tmp_path}`: its file system ")
    assert expected in note
    assert len(list(tmp_path.iterdir())) == 2


def test_copy_is_no_more_public_than_its_sources(tmp_path: Path) -> None:
    def source(name: str, mode: int) -> Path:
        path = tmp_path / name
        path.touch()
        path.chmod(mode)
        return path

    private, group, public, fixed = (source(*it) for it in (("a", 0o600), ("b", 0o640), ("c", 0o755), ("d", 0o400)))
    os.mkfifo(tmp_path / "pipe", 0o600)
    for sources, mode in (
        ([private], 0o600),
        ([fixed], 0o600),
        ([group], 0o640),
        ([public], 0o644),
        ([public, group], 0o640),
        ([tmp_path / "pipe"], 0o666),
        ([tmp_path / "absent"], 0o666),
        ([], 0o666),
    ):
        assert mode_of_copies(*sources) == mode, sources
    with private.open("rb") as stream:
        assert mode_of_copies(stream) == 0o600
    assert mode_of_copies(io.BytesIO()) == 0o666


@pytest.mark.parametrize("name", ["a" * 255, "ä" * 127, "." * 9])
def test_files_of_longest_and_unusual_names_are_written(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, b"new")
    assert [name] == [path.name for path in tmp_path.iterdir()]


def test_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write(tmp_path / "folder", b"new")
    assert (tmp_path / "folder").is_dir()
    assert len(list(tmp_path.iterdir())) == 1


def test_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a plain file"):
        write(tmp_path / "pipe", b"new")
    assert (tmp_path / "pipe").is_fifo()


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "missing" / "file", b"new")
    assert not list(tmp_path.iterdir())


def test_write_protected_file_is_not_replaced() -> None:
    with open_folder() as folder:
        path = folder / "file"
        path.write_bytes(b"old")
        path.chmod(0o444)
        with pytest.raises(PermissionError), without_privileges():
            write(path, b"new")
        assert {p.name: p.read_bytes() for p in folder.iterdir()} == {"file": b"old"}


def test_write_protected_folder_is_an_error() -> None:
    with open_folder() as folder:
        folder.chmod(0o555)
        with pytest.raises(PermissionError), without_privileges():
            write(folder / "file", b"new")
        assert not list(folder.iterdir())


def test_folder_with_write_but_no_read_permission() -> None:
    with open_folder() as folder:
        folder.chmod(0o333)
        with without_privileges():
            write(folder / "file", b"new")
        folder.chmod(0o777)
        assert (folder / "file").read_bytes() == b"new"
