"""File locks between processes; a lock ends with its process."""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from n2n_cli.errors import UsageError
from n2n_cli.system.plain_files import open_plain

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(path: Path, work: str = "training") -> Iterator[None]:
    """Hold a folder's lock inside the block.

    Meanwhile the lock file exists and names the process that holds the lock.

    Parameters
    ----------
    path : path
        The lock file, in the locked folder.
    work : str
        Noun for the work that writes to the folder, for the error message.

    Raises
    ------
    UsageError
        When another process holds the lock, or the file cannot be created or is not a plain file.
    """
    descriptor = _acquire(path, work)
    try:
        with suppress(OSError):  # on a full disk, the lock file does not name its holder
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


@contextmanager
def file_locked(descriptor: int) -> Iterator[None]:
    """Wait for the lock of an open file, and hold it inside the block."""
    _lock(descriptor, wait=True)
    try:
        yield
    finally:
        if fcntl is not None:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)


def _acquire(path: Path, work: str) -> int:
    """Open and lock the file; returns its descriptor."""
    while True:
        try:
            descriptor = open_plain(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        except OSError as error:
            raise _unwritable(path, error.strerror) from None
        try:
            if os.fstat(descriptor).st_nlink > 1:  # writing would also change the file under its other name
                raise _unwritable(path, "the file has a second name, a hard link")
            if not _lock(descriptor, wait=False):
                raise UsageError(
                    f"another {work} writes to `{path.parent}`{_holder(descriptor)}",
                    hint="wait for it to end, or take another folder: `--out FOLDER`",
                )
            with suppress(OSError):
                if os.path.samestat(os.fstat(descriptor), path.lstat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the file was removed between opening and locking: try again


def _unwritable(path: Path, reason: str | None) -> UsageError:
    return UsageError(f"`{path}` cannot be written: {reason}", hint="another folder: `--out FOLDER`")


def _lock(descriptor: int, *, wait: bool) -> bool:
    """Lock an open file; returns False if another process holds the lock.

    Always succeeds on systems and file systems without such locks.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)  # some network file systems have no locks
    return True


def _holder(descriptor: int) -> str:
    with suppress(OSError):
        os.lseek(descriptor, 0, os.SEEK_SET)
        holder = os.read(descriptor, 200).decode("utf-8", "replace").strip()
        return f": {holder}" if holder else ""
    return ""
