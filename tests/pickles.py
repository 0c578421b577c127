"""Hand-made pickle programs and archives, as by PyTorch or hostile."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterable
from typing import Any

import numpy as np

HOOKS = b"ccollections\nOrderedDict\n)R"


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def number(value: int) -> bytes:
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def numbers(values: Iterable[int]) -> bytes:
    return group(*map(number, values))


def group(*items: bytes) -> bytes:
    """Program that makes a tuple."""
    return b"(" + b"".join(items) + b"t"


def call(name: str, *arguments: bytes) -> bytes:
    """Program that calls `name`, given as "module function"."""
    return b"c" + name.replace(" ", "\n").encode() + b"\n" + group(*arguments) + b"R"


def keep(index: int) -> bytes:
    return b"r" + struct.pack("<I", index)


def recall(index: int) -> bytes:
    return b"j" + struct.pack("<I", index)


def storage(numel: int, kind: str = "torch FloatStorage", key: str = "0") -> bytes:
    name = b"c" + kind.replace(" ", "\n").encode() + b"\n"
    return group(text("storage"), name, text(key), text("cpu"), number(numel)) + b"Q"


def tensor(
    numel: int,
    size: Iterable[int],
    stride: Iterable[int],
    *,
    offset: int = 0,
    kind: str = "torch FloatStorage",
    key: str = "0",
    metadata: bytes = b"",
) -> bytes:
    where = number(offset), numbers(size), numbers(stride)
    return call("torch._utils _rebuild_tensor_v2", storage(numel, kind, key), *where, b"\x89", HOOKS, metadata)


def archive(*entries: tuple[str, bytes]) -> bytes:
    """Zip file of `entries` with full names, uncompressed and in this order."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        for name, content in entries:
            written.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def torch_file(body: bytes, *storages: bytes, **others: bytes) -> bytes:
    """A complete checkpoint file; an entry of `others` replaces the usual one."""
    entries = {"data.pkl": program(body), "byteorder": b"little", "version": b"3\n"} | others
    entries |= {f"data/{key}": content for key, content in enumerate(storages)}
    return archive(*((f"archive/{name}", content) for name, content in entries.items()))


def check_same(found: Any, wanted: Any) -> None:
    """Compare two trees to the last bit, including the types of all values."""
    assert type(found) is type(wanted)
    match wanted:
        case dict():
            assert list(found) == list(wanted)
            for key in wanted:
                check_same(found[key], wanted[key])
        case list() | tuple():
            assert len(found) == len(wanted)
            for one, other in zip(found, wanted, strict=True):
                check_same(one, other)
        case np.ndarray():
            assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
            assert found.tobytes() == wanted.tobytes()
        case float():
            assert struct.pack("d", found) == struct.pack("d", wanted)
        case _:
            assert found == wanted
