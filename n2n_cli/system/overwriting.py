"""Protection of the files that a command reads from those that it writes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, TypeAlias

from n2n_cli.errors import UsageError

File: TypeAlias = Path | BinaryIO
Identity: TypeAlias = tuple[int, int | str]


def identity(file: File) -> Identity | None:
    """Device and inode number of a regular file; None for anything else.

    They are equal for all names of a file: through links, relative paths and, on a disk that ignores case, other
    spellings.
    """
    try:
        status = file.stat() if isinstance(file, Path) else os.fstat(file.fileno())
    except (OSError, ValueError):  # no such file, an impossible name, or a stream without a descriptor
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    if status.st_ino == 0 and isinstance(file, Path):  # a file system without inode numbers
        return status.st_dev, os.path.realpath(file)
    return status.st_dev, status.st_ino


def check_inputs_kept(
    outputs: Iterable[Path], inputs: Iterable[Path], *, hint: str = "another name for the output"
) -> None:
    """Refuse to write over a file that the same command reads.

    Raises
    ------
    UsageError
    """
    own = {known: path for path in inputs if (known := identity(path)) is not None}
    for path in outputs:
        read = own.get(identity(path) or (-1, -1))
        if read is not None:
            same = "" if read == path else f", which is `{path}`"
            raise UsageError(f"the command would overwrite its own input `{read}`{same}", hint=hint)
