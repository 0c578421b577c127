"""Results of the calls that a program may make, built without calling anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from n2n_cli.checkpoints.pth.limits import Refused
from n2n_cli.checkpoints.pth.names import DTYPES, STORAGES, UNTYPED, Global, StorageRef
from n2n_cli.nn.functional import Array

MakeTensor: TypeAlias = Callable[[StorageRef, int, tuple[int, ...], tuple[int, ...]], Array]
"""(storage, offset, size, stride), all in elements and unchecked -> array."""


def storage_named(identity: Any) -> StorageRef:
    """Storage with a persistent id.

    Raises
    ------
    Refused
        If the id is not as PyTorch writes it.
    """
    match identity:
        case ("storage", Global(name), str(key), str(), int(numel)) if _is_storage_key(key) and _is_natural(numel):
            kind = name.rpartition(" ")[2]
            code = "u1" if name == UNTYPED else STORAGES.get(kind)
            if code is None:
                raise Refused(f"it has a storage of type `{kind}`")
            return StorageRef(key, code, numel)
    raise Refused("its data.pkl names a storage in a way that PyTorch does not")


def result_of_call(name: str, arguments: tuple[Any, ...], tensor: MakeTensor) -> Any:
    """Result that PyTorch would get from calling the global `name`.

    Raises
    ------
    Refused
        If PyTorch does not write such a call.
    """
    match name, arguments:
        case "collections OrderedDict", ():
            return {}
        case "torch Size", (tuple(size),):
            return size
        case "torch._utils _rebuild_parameter", (np.ndarray() as data, bool(), dict()):
            return data
        case "torch._utils _rebuild_tensor_v2", (
            StorageRef() as ref,
            offset,
            tuple(size),
            tuple(stride),
            bool(),
            dict(),
            *metadata,
        ):
            _check_metadata(metadata)
            return _tensor(tensor, ref, offset, size, stride)
        case "torch._utils _rebuild_tensor_v3", (
            StorageRef(key, "u1", numel),
            offset,
            tuple(size),
            tuple(stride),
            bool(),
            dict(),
            Global(dtype),
            *metadata,
        ) if code := DTYPES.get(dtype.rpartition(" ")[2]):
            _check_metadata(metadata)
            # An untyped storage counts bytes.
            return _tensor(tensor, StorageRef(key, code, numel // np.dtype(code).itemsize), offset, size, stride)
    raise Refused(f"it calls `{name.replace(' ', '.')}` in a way that PyTorch does not")


def _tensor(make: MakeTensor, ref: StorageRef, offset: Any, size: tuple[Any, ...], stride: tuple[Any, ...]) -> Array:
    if not all(map(_is_natural, (offset, *size, *stride))):
        raise Refused("it has a tensor whose size, stride or offset is not a natural number")
    if len(size) != len(stride) or len(size) > 32:
        raise Refused("it has a tensor whose size and stride do not fit together")
    return make(ref, offset, size, stride)


def _is_natural(number: Any) -> bool:
    return type(number) is int and 0 <= number < 2**62


def _is_storage_key(key: str) -> bool:
    return key.isascii() and key.isdigit() and len(key) < 20


def _check_metadata(metadata: list[Any]) -> None:
    if any(metadata):  # the tensor is the negative or the conjugate of its storage
        raise Refused("it has a tensor that needs `resolve_neg()` or `resolve_conj()`")
