"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from n2n_cli.errors import N2NError
from n2n_cli.system.notes import note
from n2n_cli.system.plain_files import open_plain

_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES)
"""Error numbers of operations that a file system, such as that of a memory card or network share, does not support."""


@contextmanager
def writing(path: Path | str, error_type: type[N2NError]) -> Iterator[None]:
    """Convert operating system errors inside the block into errors with a hint.

    Raises
    ------
    error_type
        Instead of an OSError; names the file and has a hint.
    """
    try:
        yield
    except OSError as error:
        raise error_type(
            f"`{path}` cannot be written: {error.strerror or error}",
            hint="check that its folder exists, is writable and has space left",
        ) from None


@contextmanager
def replacing(path: Path, *, follow_links: bool = True, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Open a binary file that replaces `path`, by rename, at the end of the block.

    Until then the new file has a hidden name in the same folder. On an error it is removed, and the old file at `path`
    is unchanged. At the end, data and folder are flushed to disk (fsync). If the file system supports no permissions or
    no fsync, the file is still written, and a note is sent: see `notes`.

    Parameters
    ----------
    path : Path
    follow_links : bool
        If True, replace the file that a symbolic link leads to, as `cp` does. If False, refuse a link: for a fixed name
        in an untrusted folder (see `plain_files`).
    mode : int
        Permissions of a new file, before the umask; an existing file keeps its permissions.

    Raises
    ------
    OSError
        If the folder does not exist, permission or space is missing, or `path` is a folder, a device or
        write-protected.
    """
    if follow_links:
        path = Path(os.path.realpath(path))
    _check_replaceable(path)
    # The name is shortened: a long one with prefix and suffix could be too long for the file system.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:50]}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            with _optional(f"`{path.parent}`: its file system does not support permissions"):
                Path(temporary).chmod(_mode(path, mode))
            sync(file.fileno(), path.parent)
        Path(temporary).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
    _sync_folder(path.parent)


def sync(descriptor: int, folder: Path) -> None:
    """Flush a file to disk, or send a note if the file system cannot do so."""
    with _optional(f"`{folder}`: its file system cannot flush files (fsync); a power failure may lose them"):
        os.fsync(descriptor)


def mode_of_copies(*sources: Path | BinaryIO) -> int:
    """Permissions, before the umask, of a file that is made from other files.

    No wider than those of the sources, as with `cp`. Pipes, devices and missing files are ignored.
    """
    mode = 0o666
    for source in sources:
        with suppress(OSError):
            status = source.stat() if isinstance(source, Path) else os.fstat(source.fileno())
            if stat.S_ISREG(status.st_mode):
                mode &= status.st_mode | stat.S_IRUSR | stat.S_IWUSR
    return mode


@contextmanager
def _optional(message: str) -> Iterator[None]:
    """Context that sends a note instead of an error if an operation is unsupported."""
    try:
        yield
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        note(message)


def _check_replaceable(path: Path) -> None:
    """Refuse files that `cp` would not overwrite, and devices.

    Renaming a file to the name of a device would replace the device.
    """
    with suppress(FileNotFoundError):
        os.close(open_plain(path, os.O_WRONLY))


def _mode(path: Path, new: int) -> int:
    """Permissions of the replaced file, or those of a new file."""
    try:  # mkstemp sets 0600
        return path.stat().st_mode & 0o7777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return new & ~mask


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some network file systems cannot sync a folder, and some folders may not be read
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
