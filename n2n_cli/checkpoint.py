""".pth file <-> nested dicts of plain values and arrays: PyTorch's zip format, read and written without PyTorch.

Nothing in a file is run: see `opcodes`. What a file claims is checked before memory is spent on it.

References
----------
PyTorch, torch/serialization.py and caffe2/serialize/inline_container.cc.
"""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import as_strided

from n2n_cli import opcodes
from n2n_cli.errors import CheckpointError
from n2n_cli.files import replacing
from n2n_cli.nn.functional import Array
from n2n_cli.opcodes import Refused, StorageRef

MAX_PROGRAM_BYTES = 64_000_000
_ALIGNMENT = 64
_END_OF_ZIP = b"PK\x05\x06"
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # the magic number of torch.save before 1.6
_FORMAT_VERSIONS = range(1, 11)  # as PyTorch's reader
_PREFIXES = ("module.", "_orig_mod.")
_WEIGHT_KEYS = ("model", "params_ema", "params", "state_dict")
_OTHER_COPY = "take another copy of it; a run of `n2n train` keeps `last.pth` and `best.pth`"
_STATE_DICT = 'save the tensors alone, where PyTorch is: `torch.save(model.state_dict(), "weights.pth")`'


def write_checkpoint(path: Path | str, tree: Any) -> None:
    """Write `tree` so that `torch.load(path, weights_only=True)` gives it back; the file appears whole, by rename.

    Equal trees, their keys in the same order, make equal bytes.

    Parameters
    ----------
    tree : dict, list, tuple, str, int, float, bool, None or array
        Nested at most `opcodes.MAX_DEPTH` deep; dict keys are str or int.

    Raises
    ------
    TypeError
        When `tree` holds anything else.
    CheckpointError
        When the file cannot be written; an older one is then intact.
    """
    program, storages = opcodes.encode(tree)
    entries = {"data.pkl": program, "byteorder": b"little"}
    try:
        with replacing(Path(path)) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, content in entries.items():
                _add(archive, name, memoryview(content))
            for key, storage in enumerate(storages):
                _add(archive, f"data/{key}", storage.view(np.uint8).data)
            _add(archive, "version", memoryview(b"3\n"))
    except OSError as error:
        raise CheckpointError(
            f"`{path}` cannot be written: {error.strerror or error}",
            hint="see that its folder exists, may be written and has space",
        ) from None


def read_checkpoint(path: Path | str) -> Any:
    """What a file in PyTorch's zip format holds; nothing in it is run.

    Returns
    -------
    dict, list, tuple, str, int, float, bool, None or array
        Nested. Arrays are C-contiguous, writable and of this machine's byte order; bfloat16 becomes float32.

    Raises
    ------
    CheckpointError
        When the file is missing, damaged, of another format, or asks for anything but plain values and tensors.
    """
    try:
        with Path(path).open("rb") as file:
            _check_ends(path, file.read(len(_LEGACY)), _tail(file))
            with zipfile.ZipFile(file) as archive:
                return _Reader(archive, os.fstat(file.fileno()).st_size).read()
    except Refused as error:
        raise CheckpointError(f"`{path}` is refused, nothing in it was run: {error}", hint=_STATE_DICT) from None
    except FileNotFoundError:
        raise CheckpointError(
            f"there is no checkpoint `{path}`", hint="`n2n train --out runs/a` makes `runs/a/best.pth`"
        ) from None
    except IsADirectoryError:
        raise CheckpointError(
            f"`{path}` is a folder, not a checkpoint", hint=f"perhaps `{Path(path) / 'best.pth'}`"
        ) from None
    except OSError as error:
        raise CheckpointError(
            f"`{path}` cannot be read: {error.strerror or error}",
            hint="see that it is a plain file and that you may read it",
        ) from None
    except CheckpointError:
        raise
    except Exception as error:  # zipfile raises nearly anything on damaged files: BadZipFile, ValueError, struct.error
        reason = str(error)[:200] or "it ends too early"
        raise CheckpointError(f"`{path}` is damaged: {reason}", hint=_OTHER_COPY) from None


def unwrap_state_dict(tree: Any, *, path: Path | str) -> dict[str, Array]:
    """The weights in what `read_checkpoint` gave, whether they stand alone or under one of the usual keys.

    Raises
    ------
    CheckpointError
        When there are none.
    """
    for key in _WEIGHT_KEYS:
        if isinstance(tree, Mapping) and isinstance(tree.get(key), Mapping):
            tree = tree[key]
            break
    if not isinstance(tree, Mapping) or not tree or not all(isinstance(value, np.ndarray) for value in tree.values()):
        raise CheckpointError(f"`{path}` holds no state dict: a table of names and tensors", hint=_STATE_DICT)
    state = {str(name): value for name, value in tree.items()}
    # What DataParallel and torch.compile put before each name, in the order in which they were wrapped.
    while prefix := next((p for p in _PREFIXES if all(name.startswith(p) for name in state)), None):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _add(archive: zipfile.ZipFile, name: str, content: memoryview) -> None:
    entry = zipfile.ZipInfo(f"archive/{name}", date_time=(1980, 1, 1, 0, 0, 0))
    assert archive.fp is not None
    start = archive.fp.tell() + 30 + len(entry.filename) + 4  # local header, name, header of the padding
    padding = -start % _ALIGNMENT
    entry.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    entry.file_size = len(content)
    with archive.open(entry, "w") as file:
        file.write(content)


def _tail(file: Any) -> bytes:
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - 22))
    tail: bytes = file.read(22)  # not all: a device has no end
    file.seek(0)
    return tail


def _check_ends(path: Path | str, head: bytes, tail: bytes) -> None:
    if head == _LEGACY:
        raise CheckpointError(
            f"`{path}` is in PyTorch's format of before 2020, which is not read",
            hint='convert it where PyTorch is: `torch.save(torch.load("old.pth"), "new.pth")`',
        )
    if not head:
        raise CheckpointError(f"`{path}` is empty", hint=_OTHER_COPY)
    if not head.startswith(b"PK\x03\x04"):
        raise CheckpointError(
            f"`{path}` is not a checkpoint: it is not in PyTorch's zip format",
            hint="name a `.pth` file that `n2n train` or `torch.save` wrote",
        )
    if not tail.startswith(_END_OF_ZIP):
        raise CheckpointError(
            f"`{path}` is damaged: it is cut off, or something stands behind its end", hint=_OTHER_COPY
        )


class _Reader:
    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self.archive = archive
        self.entries = self._checked_entries()
        self.budget = 2 * size + 50_000_000  # bytes of tensors; sharing and strides can make few bytes many
        self.order: Literal["<", ">"] = "<"
        self.storages: dict[str, Array] = {}
        self.given: set[str] = set()

    def read(self) -> Any:
        for name in ("data.pkl", "version"):
            if name not in self.entries:
                raise Refused(f"it has no entry `{name}`")
        version = self._bytes("version", 16).removesuffix(b"\n")
        if not version.isdigit() or int(version) not in _FORMAT_VERSIONS:
            raise Refused(f"its format has the version {version!r}, known are 1 to {_FORMAT_VERSIONS[-1]}")
        order = self._bytes("byteorder", 16) if "byteorder" in self.entries else b"little"
        if order not in (b"little", b"big"):
            raise Refused(f"its byte order is {order!r}")
        self.order = "<" if order == b"little" else ">"
        return opcodes.decode(self._bytes("data.pkl", MAX_PROGRAM_BYTES), self._tensor)

    def _checked_entries(self) -> dict[str, zipfile.ZipInfo]:
        """Entries by name below the one top folder; `Refused` for all that PyTorch does not write."""
        entries: dict[str, zipfile.ZipInfo] = {}
        tops = set()
        infos = sorted(self.archive.infolist(), key=lambda info: info.header_offset)
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
            if rest in entries:
                raise Refused(f"it has two entries `{rest}`")
            if info.flag_bits & 1:
                raise Refused(f"its entry `{rest}` is encrypted")
            if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
                raise Refused(f"its entry `{rest}` is compressed")
            if info.header_offset < end or (end == 0 and info.header_offset != 0):
                raise Refused(f"its entry `{rest}` does not stand where it should")
            end = info.header_offset + 30 + len(name.encode()) + info.compress_size
            entries[rest] = info
        if len(tops) != 1:
            raise Refused(f"it has {len(tops)} top folders")
        if end > self.archive.start_dir:
            raise Refused("its entries overlap its directory")
        for info in infos:
            self.archive.open(info).close()  # its own header has to agree with the directory
        return entries

    def _bytes(self, name: str, limit: int) -> bytes:
        if self.entries[name].file_size > limit:
            raise Refused(f"its entry `{name}` has more than {limit:,} bytes")
        return self.archive.read(self.entries[name])  # checks the CRC

    def _storage(self, ref: StorageRef) -> Array:
        """The elements of a storage, read and checked once."""
        itemsize = 2 if ref.code == "bfloat16" else np.dtype(ref.code).itemsize
        if f"data/{ref.key}" not in self.entries:
            raise Refused(f"it has no entry for the storage {ref.key!r}")
        entry = self.entries[f"data/{ref.key}"]
        if entry.file_size != ref.numel * itemsize:
            raise Refused(f"its storage {ref.key!r} has {entry.file_size} bytes for {ref.numel} elements of {itemsize}")
        if ref.key not in self.storages:
            raw = np.empty(entry.file_size, np.uint8)
            with self.archive.open(entry) as file:
                at = 0
                while chunk := file.read(2**20):  # to the end, where the CRC is checked
                    raw[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
                    at += len(chunk)
            if at != entry.file_size:
                raise Refused(f"its storage {ref.key!r} is cut off")
            self.storages[ref.key] = raw
        raw = self.storages[ref.key]
        if ref.code == "bfloat16":
            return raw.view(np.dtype("u2").newbyteorder(self.order))
        if ref.code == "?" and raw.size and raw.max() > 1:
            raise Refused(f"its storage {ref.key!r} holds truth values that are neither 0 nor 1")
        return raw.view(np.dtype(ref.code).newbyteorder(self.order))

    def _tensor(self, ref: StorageRef, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Array:
        storage = self._storage(ref)
        numel = math.prod(size)
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if numel and last >= storage.size:
            raise Refused(f"it has a tensor of size {size} that reaches beyond its storage {ref.key!r}")
        self.budget -= numel * max(4, storage.itemsize)
        if self.budget < 0:
            raise Refused("its tensors need far more memory than the file has bytes")
        if not numel:
            view = np.empty(size, storage.dtype)
        else:
            view = as_strided(storage[offset:], size, [s * storage.itemsize for s in stride])
        if ref.code == "bfloat16":
            wide = view.astype(np.uint32, order="C")
            wide <<= 16  # in place: out of place, an array without axes would become a scalar
            return wide.view(np.float32)
        native = view.dtype.newbyteorder("=")
        # A whole storage is given away without a copy, once.
        alone = ref.key not in self.given and numel == storage.size
        self.given.add(ref.key)
        return view.astype(native, order="C", copy=not alone)
