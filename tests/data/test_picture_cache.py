"""Cache of generated images."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

from n2n_cli.data.picture_cache import cache_folder, read_pictures, write_pictures
from tests.pictures import colour
from tests.torture import Note
from tests.torture.cache import damaged, headers

PICTURES = colour(12, 5).reshape(3, 4, 5, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "cache" / "pictures"
    write_pictures(path, PICTURES)
    return path


def test_round_trip_and_other_shapes(path: Path) -> None:
    found = read_pictures(path, PICTURES.shape)
    assert found is not None
    np.testing.assert_array_equal(found, PICTURES)
    assert found.flags.writeable
    assert read_pictures(path, (4, 3, 5, 3)) is None
    assert read_pictures(path.with_name("other"), PICTURES.shape) is None


def test_cache_writable_by_others_is_not_used(path: Path) -> None:
    before = os.umask(0)
    try:
        for place in (path.parent, path):
            place.chmod(0o777)
        assert read_pictures(path, PICTURES.shape) is None
        write_pictures(path, PICTURES)
    finally:
        os.umask(before)
    assert (path.parent.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o755, 0o600)
    assert read_pictures(path, PICTURES.shape) is not None


@pytest.mark.skipif(getattr(os, "geteuid", int)() != 0, reason="only the superuser can give files to others")
def test_files_and_folders_of_another_user_are_not_used(path: Path) -> None:
    os.chown(path, 65534, 65534)
    assert read_pictures(path, PICTURES.shape) is None
    write_pictures(path, PICTURES)  # replaces the file, as the folder is the user's own
    assert read_pictures(path, PICTURES.shape) is not None
    os.chown(path.parent, 65534, 65534)
    before = path.stat()
    with pytest.raises(PermissionError, match="another user may write to the folder"):
        write_pictures(path, PICTURES)
    assert path.stat() == before


def test_link_or_pipe_is_not_read(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")
    assert read_pictures(path, PICTURES.shape) is None
    path.unlink()
    os.mkfifo(path)
    assert read_pictures(path, PICTURES.shape) is None


def test_damaged_headers_are_never_used() -> None:
    assert [line for line in headers(3_000) if not isinstance(line, Note)] == []


def test_damage_differs_from_the_file() -> None:
    content = bytes(range(200))
    assert all(damaged(content, random.Random(seed)) != content for seed in range(500))


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/where")
    assert cache_folder() == Path("/some/where/n2n")
    monkeypatch.setenv("HOME", "/home/me")
    for unusable in ("", "relative"):  # invalid by the XDG standard
        monkeypatch.setenv("XDG_CACHE_HOME", unusable)
        assert cache_folder() == Path("/home/me/.cache/n2n")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("/home/me/.cache/n2n")
    monkeypatch.setenv("HOME", "relative")
    assert cache_folder() is None

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder() is None
