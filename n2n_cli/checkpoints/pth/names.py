"""Names of the format: element types and the globals that a program may use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
    "ComplexFloatStorage": "c8",
    "ComplexDoubleStorage": "c16",
    "BFloat16Storage": "bfloat16",
}
STORAGE_OF = {np.dtype(code): name for name, code in STORAGES.items() if code != "bfloat16"}
DTYPES = {"uint16": "u2", "uint32": "u4", "uint64": "u8"}
"""Newer element types, which have no storage class: stored as bytes with a dtype."""
UNTYPED = "torch.storage UntypedStorage"
GLOBALS = {
    "collections OrderedDict",
    "torch Size",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor_v3",
    "torch._utils _rebuild_parameter",
    UNTYPED,
    *(f"torch {name}" for name in STORAGES),
    *(f"torch {name}" for name in DTYPES),
}


@dataclass(frozen=True, slots=True)
class Global:
    """A global of the program: "module name"."""

    name: str


@dataclass(frozen=True, slots=True)
class StorageRef:
    """A storage in the program: key of its entry, element type, number of elements."""

    key: str
    code: str
    numel: int

    @property
    def itemsize(self) -> int:
        """Bytes of an element in the file."""
        return 2 if self.code == "bfloat16" else np.dtype(self.code).itemsize
