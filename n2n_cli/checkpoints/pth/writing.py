"""Writing of files in PyTorch's zip format."""

from __future__ import annotations

import struct
import zipfile
from typing import Any, BinaryIO

import numpy as np

from n2n_cli.checkpoints.pth import limits
from n2n_cli.checkpoints.pth.archive import CHECKSUM, Checksum
from n2n_cli.checkpoints.pth.encode import encode
from n2n_cli.checkpoints.pth.limits import Refused
from n2n_cli.checkpoints.pth.program import decode
from n2n_cli.nn.functional import Array

_ALIGNMENT = 64


class Content:
    """Contents of the file for a `tree`, which `checkpoints.file` can read again.

    Raises
    ------
    TypeError
        If `tree` contains a value of another type.
    Refused
        If it exceeds the limits of reading.
    """

    def __init__(self, tree: Any) -> None:
        self._program, self._storages = encode(tree)
        if len(self._program) > limits.MAX_PROGRAM_BYTES:
            raise Refused(f"its data.pkl has more than {limits.MAX_PROGRAM_BYTES:,} bytes")
        if len(self._storages) > limits.MAX_STORAGES:
            raise Refused(f"it has more than {limits.MAX_STORAGES:,} storages")
        nothing = np.empty(0)
        size = len(self._program) + sum(storage.nbytes for storage in self._storages)
        decode(self._program, lambda *_: nothing, room=size + limits.ROOM)  # checks that it can be read again

    def write(self, file: BinaryIO) -> None:
        """Write the file; equal contents give equal bytes."""
        checksum = Checksum()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, content in self._entries():
                checksum.begin(name, content.nbytes)
                checksum.add(content)
                _add(archive, name, content)
            _add(archive, CHECKSUM, memoryview(checksum.text()))

    def _entries(self) -> list[tuple[str, memoryview]]:
        return [
            ("data.pkl", memoryview(self._program)),
            ("byteorder", memoryview(b"little")),
            *((f"data/{key}", _bytes(storage)) for key, storage in enumerate(self._storages)),
            ("version", memoryview(b"3\n")),
        ]


def _bytes(storage: Array) -> memoryview:
    return storage.view(np.uint8).data


def _add(archive: zipfile.ZipFile, name: str, content: memoryview) -> None:
    entry = zipfile.ZipInfo(f"archive/{name}", date_time=(1980, 1, 1, 0, 0, 0))
    assert archive.fp is not None
    start = archive.fp.tell() + 30 + len(entry.filename) + 4  # local header, name, header of the padding
    padding = -start % _ALIGNMENT
    entry.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    entry.file_size = len(content)
    with archive.open(entry, "w") as file:
        file.write(content)
