"""Arrays from storages; stated sizes are checked before memory is allocated."""

from __future__ import annotations

import math
from collections import Counter
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import as_strided

from n2n_cli.checkpoints.pth import limits
from n2n_cli.checkpoints.pth.archive import Archive
from n2n_cli.checkpoints.pth.limits import Refused, Room
from n2n_cli.checkpoints.pth.names import StorageRef
from n2n_cli.nn.functional import Array

_LARGEST = 2**62  # bytes of an array, not counting empty axes; NumPy's sizes are limited to 2**63 - 1
_PLACEHOLDER = np.empty(0)


class Tensors:
    """The tensors of an archive.

    A program is run twice: first with `check`, then with `make`.

    Parameters
    ----------
    archive : Archive
    order : "<" or ">"
        Byte order of its elements.
    """

    def __init__(self, archive: Archive, order: Literal["<", ">"]) -> None:
        self._archive, self._order = archive, order
        self._room = Room(2 * archive.size + limits.ROOM)  # shared and strided tensors exceed their storages
        self._uses: Counter[str] = Counter()
        self._storages: dict[str, Array] = {}
        self._truth_values: set[str] = set()

    @property
    def truth_values(self) -> frozenset[str]:
        """Entries of boolean storages."""
        return frozenset(self._truth_values)

    def check(self, ref: StorageRef, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Array:
        """Check that the archive can hold a tensor; returns a placeholder.

        Raises
        ------
        Refused
            If it cannot.
        """
        if ref.key not in self._uses and len(self._uses) == limits.MAX_STORAGES:
            raise Refused(f"it has more than {limits.MAX_STORAGES:,} storages")
        entry_size = self._archive.entry_size(_entry(ref.key))
        if entry_size != ref.numel * ref.itemsize:
            raise Refused(f"its storage {ref.key!r} has {entry_size} bytes for {ref.numel} elements of {ref.itemsize}")
        itemsize = 4 if ref.code == "bfloat16" else ref.itemsize
        if math.prod(max(1, n) for n in size) * itemsize > _LARGEST and 0 in size:
            raise Refused(f"it has a tensor of size {_shortened(size)}, which no array can have")
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if 0 not in size and last >= ref.numel:
            raise Refused(f"it has a tensor of size {_shortened(size)} that reaches beyond its storage {ref.key!r}")
        self._room.take(math.prod(size) * itemsize)
        self._uses[ref.key] += 1
        if ref.code == "?":
            self._truth_values.add(_entry(ref.key))
        return _PLACEHOLDER

    def make(self, ref: StorageRef, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Array:
        """A C-contiguous, writable array in this machine's byte order."""
        storage = self._storage(ref)
        self._uses[ref.key] -= 1
        last_use = self._uses[ref.key] == 0
        if last_use:
            del self._storages[ref.key]
        if 0 in size:
            view = np.empty(size, storage.dtype)
        else:
            steps = [s * storage.itemsize if n > 1 else 0 for n, s in zip(size, stride, strict=True)]
            view = as_strided(storage[offset:], size, steps)
        if ref.code == "bfloat16":
            wide = view.astype(np.uint32, order="C")
            wide <<= 16  # in place, because `wide << 16` of an array without axes is a scalar
            return wide.view(np.float32)
        # A whole storage is returned without a copy at its last use.
        whole = last_use and math.prod(size) == storage.size
        return view.astype(view.dtype.newbyteorder("="), order="C", copy=not whole)

    def _storage(self, ref: StorageRef) -> Array:
        """Elements of a storage, which is read once."""
        if ref.key not in self._storages:
            raw = np.empty(self._archive.entry_size(_entry(ref.key)), np.uint8)
            at = 0
            for chunk in self._archive.chunks(_entry(ref.key)):
                raw[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
                at += len(chunk)
            self._storages[ref.key] = raw
        code = "u2" if ref.code == "bfloat16" else ref.code
        return self._storages[ref.key].view(np.dtype(code).newbyteorder(self._order))


def _entry(key: str) -> str:
    return f"data/{key}"


def _shortened(size: tuple[int, ...]) -> str:
    return str(size) if len(size) <= 8 else f"({', '.join(map(str, size[:8]))}, ...)"
