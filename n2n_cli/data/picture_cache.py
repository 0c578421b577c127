"""Cache of generated pictures, in the user's cache folder.

A file is used only if it belongs to the user, no other user may write to it, and its checksum is right. Otherwise the
pictures are generated again.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from n2n_cli.nn.functional import Array, Shape
from n2n_cli.system.atomic_files import replacing
from n2n_cli.system.plain_files import open_plain

_OTHERS_MAY_WRITE = 0o022
_CHECKSUM = 32
"""Length of the checksum at the beginning of a file, in bytes."""


def cache_folder() -> Path | None:
    """Path of the cache folder: `$XDG_CACHE_HOME/n2n`, or `~/.cache/n2n`.

    None for a user without a home folder, as in some containers.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    with suppress(RuntimeError):
        base = named if named.is_absolute() else Path.home() / ".cache"
        return base / "n2n" if base.is_absolute() else None
    return None


def read_pictures(path: Path, shape: Shape) -> Array | None:
    """Read uint8 pictures of one shape; None if they are missing or not trustworthy."""
    with suppress(OSError), os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        status = os.fstat(file.fileno())
        if _is_own(status) and status.st_size == _CHECKSUM + math.prod(shape):
            checksum, content = file.read(_CHECKSUM), bytearray(file.read())
            if _checksum(content, shape) == checksum:
                return np.frombuffer(content, np.uint8).reshape(shape)
    return None


def write_pictures(path: Path, pictures: Array) -> None:
    """Write pictures for `read_pictures`.

    Raises
    ------
    OSError
        When the file cannot be written, or another user may write to its folder.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _keep_others_out(path.parent)
    path.unlink(missing_ok=True)  # replacing the file would keep its permissions
    content = np.ascontiguousarray(pictures).data
    with replacing(path, mode=0o600) as file:
        file.write(_checksum(content, pictures.shape))
        file.write(content)


def _keep_others_out(folder: Path) -> None:
    status = folder.stat()
    if not _is_own(status) and status.st_uid == os.geteuid():
        folder.chmod(status.st_mode & 0o7777 & ~_OTHERS_MAY_WRITE)
    if not _is_own(folder.stat()):
        raise PermissionError(errno.EPERM, "another user may write to the folder", str(folder))


def _is_own(status: os.stat_result) -> bool:
    """True if a file or folder is this user's and no other user may write to it."""
    if not hasattr(os, "geteuid"):  # Windows, where no other user may write to a profile
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & _OTHERS_MAY_WRITE


def _checksum(content: bytearray | memoryview, shape: Shape) -> bytes:
    found = hashlib.sha256(repr(shape).encode())
    found.update(content)
    return found.digest()
