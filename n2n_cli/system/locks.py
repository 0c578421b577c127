"""A file that keeps other processes out; the lock goes with the process, however it ends."""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from n2n_cli.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(path: Path, what: str = "training") -> Iterator[None]:
    """Hold the lock inside the block. The file is there as long, and says who holds it.

    Parameters
    ----------
    path : path
        The lock's file, in the folder that is written to.
    what : str
        Who writes, for the user.

    Raises
    ------
    UsageError
        When another one holds it, or the file cannot be made.
    """
    descriptor = _take(path, what)
    try:
        with suppress(OSError):  # on a full disk it is a lock without a name
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _take(path: Path, what: str) -> int:
    """The file, open and locked."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o666)
        except OSError as error:
            raise UsageError(
                f"`{path}` cannot be written: {error.strerror}", hint="another folder: `--out FOLDER`"
            ) from None
        try:
            if not _is_ours(descriptor):
                raise UsageError(
                    f"another {what} writes to `{path.parent}`{_holder(descriptor)}",
                    hint="wait for it to end, or take another folder: `--out FOLDER`",
                )
            with suppress(OSError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder removed it when it was open here, but not yet locked: there may be a new one


def _is_ours(descriptor: int) -> bool:
    """Whether the lock was free, and is this process's now. Where the system has no such locks, as if it were."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)  # some network file systems know no locks
    return True


def _holder(descriptor: int) -> str:
    with suppress(OSError):
        os.lseek(descriptor, 0, os.SEEK_SET)
        holder = os.read(descriptor, 200).decode("utf-8", "replace").strip()
        return f": {holder}" if holder else ""
    return ""
