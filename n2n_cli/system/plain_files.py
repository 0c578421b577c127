"""Files with fixed names in untrusted folders.

With a symbolic link of that name, the author of a folder could choose which of the user's files is overwritten; opening
a pipe would block, and reading a device may never end.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from n2n_cli.errors import UsageError

_KINDS = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
_SAFE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def check_plain(paths: Iterable[Path]) -> None:
    """Check that all existing paths are plain files or folders.

    Raises
    ------
    UsageError
        For the first symbolic link, pipe or device.
    """
    for path in paths:
        with suppress(OSError):  # does not exist, or fails again, and is reported, when it is used
            found = _odd_kind(path.lstat().st_mode)
            if found is not None:
                raise UsageError(
                    f"`{path}` is {found}, not a plain file or folder",
                    hint=f"check where the folder `{path.parent}` comes from, then remove or rename `{path.name}`",
                )


def open_plain(path: Path, flags: int) -> int:
    """Open a plain file as `os.open`; links are not followed.

    Raises
    ------
    OSError
        Also if the path is a symbolic link, a pipe, a device or a folder.
    """
    with suppress(FileNotFoundError):
        _check(path.lstat().st_mode, path)  # before opening, because that alone may rewind a tape device
    descriptor = os.open(path, flags | _SAFE, 0o666)
    try:
        _check(os.fstat(descriptor).st_mode, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_plain(path: Path, most: int) -> bytes:
    """Content of a plain file of at most `most` bytes.

    Raises
    ------
    OSError
        As `open_plain`, and if the file is longer.
    """
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        content = file.read(min(most, os.fstat(file.fileno()).st_size) + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is longer than {most:,} bytes", str(path))
    return content


def _odd_kind(mode: int) -> str | None:
    """Description of the file type; None for plain files and folders."""
    kind = stat.S_IFMT(mode)
    return None if kind in (stat.S_IFREG, stat.S_IFDIR) else _KINDS.get(kind, "a device")


def _check(mode: int, path: Path) -> None:
    found = _odd_kind(mode)
    if found is not None:
        raise OSError(errno.EINVAL, f"it is {found}, not a plain file", str(path))
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
