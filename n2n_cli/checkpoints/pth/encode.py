"""Pickle programs for plain values and arrays, in opcodes that PyTorch reads."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np

from n2n_cli.checkpoints.pth.limits import MAX_DEPTH
from n2n_cli.checkpoints.pth.names import STORAGE_OF
from n2n_cli.nn.functional import Array


def encode(tree: Any) -> tuple[bytes, list[Array]]:
    """Program that builds `tree`, and its storages, named "0", "1", ...

    Parameters
    ----------
    tree : dict, list, tuple, str, int, float, bool, None or array
        Nested at most `MAX_DEPTH` deep; keys are str or int.

    Raises
    ------
    TypeError
        For any other value.
    """
    storages: list[Array] = []
    return b"\x80\x02" + _encode(tree, storages) + b".", storages


def is_key(key: Any) -> bool:
    """True if a dict in a file may have this key."""
    # Python's hash of integers is not randomised: beyond 64 bits an attacker can choose any number of keys with the
    # same hash, and filling a dict with them takes hours.
    return type(key) is str or (type(key) is int and -(2**63) <= key < 2**63)


def _encode(value: Any, storages: list[Array], depth: int = 0) -> bytes:
    # Exact types only: a subclass (np.float64 is a float) would be read as its base class.
    if value is None:
        return b"N"
    if value is True or value is False:
        return b"\x88" if value else b"\x89"
    if type(value) is int:
        return _encode_int(value)
    if type(value) is float:
        return b"G" + struct.pack(">d", value)
    if type(value) is str:
        text = value.encode("utf-8", "surrogatepass")
        return b"X" + struct.pack("<I", len(text)) + text
    if type(value) in (tuple, list, dict) and depth > MAX_DEPTH:
        raise TypeError(f"a checkpoint cannot be nested more than {MAX_DEPTH} deep")
    if type(value) is tuple:
        return b"(" + b"".join(_encode(item, storages, depth + 1) for item in value) + b"t"
    if type(value) is list:
        return b"](" + b"".join(_encode(item, storages, depth + 1) for item in value) + b"e"
    if type(value) is dict:
        for key in value:
            if not is_key(key):
                raise TypeError(f"a checkpoint cannot hold the key {key!r} of type {type(key).__name__}")
        items = (_encode(key, storages) + _encode(item, storages, depth + 1) for key, item in value.items())
        return b"}(" + b"".join(items) + b"u"
    if isinstance(value, np.ndarray) and value.dtype.newbyteorder("=") in STORAGE_OF:
        return _encode_tensor(value, storages)
    raise TypeError(f"a checkpoint cannot hold a value of type {type(value).__name__}")


def _encode_int(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    size = value.bit_length() // 8 + 1
    if size > 255:
        raise TypeError(f"an integer of {size} bytes does not fit into a checkpoint")
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def _encode_tensor(array: Array, storages: list[Array]) -> bytes:
    native = array.dtype.newbyteorder("=")
    storage = np.ascontiguousarray(array, dtype=native.newbyteorder("<")).reshape(-1)
    key = str(len(storages))
    storages.append(storage)
    strides = tuple(math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim))  # in elements, C order
    reference = b"".join(
        [
            b"(" + _encode("storage", storages),
            f"ctorch\n{STORAGE_OF[native]}\n".encode(),
            _encode(key, storages) + _encode("cpu", storages) + _encode(array.size, storages),
            b"tQ",
        ]
    )
    layout = _encode(0, storages) + _encode(array.shape, storages) + _encode(strides, storages)
    hooks = b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + reference + layout + b"\x89" + hooks + b"tR"
