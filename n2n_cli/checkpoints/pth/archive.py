"""The zip file of a checkpoint; refuses files that PyTorch would not write."""

from __future__ import annotations

import hashlib
import os
import struct
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from n2n_cli.checkpoints.pth import limits
from n2n_cli.checkpoints.pth.limits import Refused

CHECKSUM = "sha256"
"""Name of the entry with the SHA-256 of all other entries; PyTorch ignores it."""

_CHUNK = 2**20
_END = struct.Struct("<4s8xLL2x")  # size and offset of the directory
_LOCATOR = struct.Struct("<4s16x")
_END_64 = struct.Struct("<4s36xQ8x")


class Checksum:
    """SHA-256 of the names and bytes of entries, each preceded by its length."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def begin(self, name: str, size: int) -> None:
        """Start an entry of `size` bytes."""
        encoded = name.encode()
        self._hash.update(struct.pack("<QQ", len(encoded), size) + encoded)

    def add(self, content: bytes | memoryview) -> None:
        """Add the next bytes of the entry."""
        self._hash.update(content)

    def text(self) -> bytes:
        """Content of the entry `CHECKSUM`."""
        return self._hash.hexdigest().encode() + b"\n"


class Archive:
    """Entries of an open file, in order, by their names below the top folder.

    Raises
    ------
    Refused
        For entries that PyTorch does not write: compressed, encrypted, duplicate or overlapping ones, in several top
        folders, or with names that lead out of the folder.
    Exception
        For damaged files `zipfile` may raise any exception: BadZipFile, ValueError, struct.error, ...
    """

    def __init__(self, file: BinaryIO) -> None:
        self.size = os.fstat(file.fileno()).st_size
        _check_directory_size(file, self.size)
        self._zip = zipfile.ZipFile(file)
        infos = sorted(self._zip.infolist(), key=lambda info: info.header_offset)
        self._entries = _checked(infos, self._zip.start_dir)
        for info in infos:
            self._zip.open(info).close()  # checks that the entry's header agrees with the directory

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def entry_size(self, name: str) -> int:
        """Size of an entry, in bytes.

        Raises
        ------
        Refused
            If there is no such entry.
        """
        if name not in self._entries:
            raise Refused(f"it has no entry `{name}`")
        return self._entries[name].file_size

    def read(self, name: str, limit: int) -> bytes:
        """Bytes of an entry, at most `limit`; the CRC is checked."""
        if self.entry_size(name) > limit:
            raise Refused(f"its entry `{name}` has more than {limit:,} bytes")
        return self._zip.read(self._entries[name])

    def chunks(self, name: str) -> Iterator[bytes]:
        """Bytes of an entry in chunks; the CRC is checked after the last one."""
        with self._zip.open(self._entries[name]) as file:
            while chunk := file.read(_CHUNK):  # raises EOFError if the file ends too early
                yield chunk

    def verify(self, truth_values: frozenset[str]) -> None:
        """Check every CRC, boolean entries, and the checksum if there is one.

        Parameters
        ----------
        truth_values : set of str
            Entries whose bytes must be 0 or 1.

        Raises
        ------
        Refused
            If such a byte has another value, or the checksum is wrong.
        """
        checksum = Checksum()
        for name, info in self._entries.items():
            if name == CHECKSUM:
                continue
            checksum.begin(name, info.file_size)
            for chunk in self.chunks(name):
                checksum.add(chunk)
                if name in truth_values and chunk.translate(None, b"\x00\x01"):
                    raise Refused(f"its entry `{name}` holds truth values that are neither 0 nor 1")
        if CHECKSUM in self and self.read(CHECKSUM, 100) != checksum.text():
            raise Refused("its checksum does not match its contents")


def _check_directory_size(file: BinaryIO, size: int) -> None:
    """Check the size of the directory, because `zipfile` reads all of it at once."""

    def record(layout: struct.Struct, behind: int) -> tuple[int | bytes, ...]:
        start = size - behind - layout.size
        file.seek(max(0, start))
        content = file.read(layout.size)
        return layout.unpack(content) if start >= 0 and len(content) == layout.size else (b"",)

    _, length, _ = record(_END, 0)
    if record(_LOCATOR, _END.size)[0] == b"PK\x06\x07":
        end = record(_END_64, _END.size + _LOCATOR.size)
        if end[0] == b"PK\x06\x06":
            length = end[1]
    file.seek(0)
    if isinstance(length, int) and length > limits.MAX_DIRECTORY_BYTES:
        raise Refused(f"its directory has {length:,} bytes, at most {limits.MAX_DIRECTORY_BYTES:,} are read")


def _checked(infos: list[zipfile.ZipInfo], start_of_directory: int) -> dict[str, zipfile.ZipInfo]:
    entries: dict[str, zipfile.ZipInfo] = {}
    tops = set()
    end = 0
    if any(info.orig_filename.endswith("/constants.pkl") for info in infos):
        raise Refused("it is a TorchScript program, not a file of tensors")
    for info in infos:
        name = info.orig_filename
        top, _, rest = name.partition("/")
        tops.add(top)
        parts = rest.split("/")
        if "\\" in name or not name.isprintable() or {"", ".", ".."} & {top, *parts}:
            raise Refused(f"it has an entry with the name {name[:100]!r}")
        shown = rest[:100]
        if rest in entries:
            raise Refused(f"it has two entries `{shown}`")
        if info.flag_bits & 1:
            raise Refused(f"its entry `{shown}` is encrypted")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise Refused(f"its entry `{shown}` is compressed")
        if info.header_offset < end or (end == 0 and info.header_offset != 0):
            raise Refused(f"its entry `{shown}` is not where it must be")
        end = info.header_offset + 30 + len(name.encode()) + info.compress_size
        entries[rest] = info
    if len(tops) != 1:
        raise Refused(f"it has {len(tops)} top folders")
    if end > start_of_directory:
        raise Refused("its entries overlap its directory")
    return entries
