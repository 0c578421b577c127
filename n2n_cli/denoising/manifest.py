"""Manifest: a file of JSON lines that several processes append to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from n2n_cli.errors import N2NError, UsageError
from n2n_cli.system.json_lines import json_line
from n2n_cli.system.locks import file_locked

_BEGINNING = b'{"input": '
_LONGEST_LINE = 1_000_000


class Manifest:
    """JSON records that are appended to a file.

    A line is written in one piece and under a lock. An incomplete last line, left by a crash or a full disk, is removed
    by the next process that opens the file. Thus every line is complete, also when several processes write. Without
    such locks (Windows), only one process may write at a time.

    Parameters
    ----------
    path : path
        A manifest, to which records are added, or a new file.

    Raises
    ------
    UsageError
        When the file is not a manifest.
    N2NError
        When the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            binary = getattr(os, "O_BINARY", 0)  # Windows
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | binary, 0o666)
        except OSError as error:
            hint = "name another file, in a folder that exists: `--manifest FILE`"
            raise N2NError(f"the manifest `{path}` cannot be written: {error.strerror}", hint=hint) from None
        try:
            self._mend()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a record as a line.

        Raises
        ------
        N2NError
            When the record cannot be written; the file is then unchanged.
        """
        line = json_line(record).encode() + b"\n"
        try:
            with file_locked(self._file):
                written = os.write(self._file, line)
                if written < len(line):
                    _cut_end(self._file, written)
                    raise OSError(None, "only a part of a line could be written")
        except OSError as error:
            raise N2NError(
                f"the manifest `{self._path}` cannot be written: {error.strerror}", hint="see that its disk has space"
            ) from None

    def _mend(self) -> None:
        """Check that the file is a manifest, and remove an incomplete last line."""
        if not os.path.isfile(self._path):  # noqa: PTH113 - a device such as /dev/stderr, or a pipe
            return
        with file_locked(self._file):
            size = os.fstat(self._file).st_size
            first = self._read(_LONGEST_LINE, 0).partition(b"\n")
            if size and not (_is_record(first[0]) or (not first[1] and _is_beginning(first[0]))):
                raise UsageError(f"`{self._path}` is not a manifest", hint="name a new file: `--manifest FILE`")
            start = max(0, size - _LONGEST_LINE)
            last = self._read(size - start, start).rpartition(b"\n")[2]
            if last and _is_record(last):
                os.write(self._file, b"\n")
            elif last and _is_beginning(last):
                _cut_end(self._file, len(last))

    def _read(self, length: int, start: int) -> bytes:
        os.lseek(self._file, start, os.SEEK_SET)  # writing appends all the same
        return os.read(self._file, length)


def _is_record(line: bytes) -> bool:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and "input" in record


def _is_beginning(line: bytes) -> bool:
    return line.startswith(_BEGINNING) or _BEGINNING.startswith(line)


def _cut_end(file: int, length: int) -> None:
    os.ftruncate(file, os.fstat(file).st_size - length)
