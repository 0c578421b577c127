"""The `data.pkl` of a PyTorch file <-> plain values and arrays, by a small machine of our own.

The format is a program for a stack machine. Python's own machine can be told to call any function; this one knows the
opcodes and the names in the tables below, calls nothing, and refuses everything else.

References
----------
CPython, Lib/pickletools.py: the opcodes. PyTorch, torch/_weights_only_unpickler.py: which of them its files need.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from n2n_cli.nn.functional import Array

MAX_OPCODES = 2_000_000
MAX_DEPTH = 100
MAX_NODES = 10_000_000
"""Values in a tree, counted as often as they can be reached: shared lists can make few bytes look like very many."""

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
_STORAGE_OF = {np.dtype(code): name for name, code in STORAGES.items() if code != "bfloat16"}

# Newer element types have no storage class: bytes, and a type beside them.
_DTYPES = {"uint16": "u2", "uint32": "u4", "uint64": "u8"}

_GLOBALS = {
    "collections OrderedDict",
    "torch Size",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor_v3",
    "torch._utils _rebuild_parameter",
    "torch.storage UntypedStorage",
    *(f"torch {name}" for name in STORAGES),
    *(f"torch {name}" for name in _DTYPES),
}


class Refused(Exception):  # noqa: N818 - it says what happened to the file
    """The program asks for something that a file of tensors has no need of."""


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass(frozen=True)
class StorageRef:
    """A storage that the program names: its entry's key, its element type and how many elements it claims."""

    key: str
    code: str
    numel: int


class _Mark:
    pass


def encode(tree: Any) -> tuple[bytes, list[Array]]:
    """The program that builds `tree`, and the storages that it names "0", "1", ...

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


def _encode(value: Any, storages: list[Array], depth: int = 0) -> bytes:
    # PyTorch's reader knows exact types only, so a subclass (np.float64 is a float) would come back as its base.
    if value is None:
        return b"N"
    if value is True or value is False:
        return b"\x88" if value else b"\x89"
    if type(value) is int:
        if -(2**31) <= value < 2**31:
            return b"J" + struct.pack("<i", value)
        size = value.bit_length() // 8 + 1
        if size > 255:
            raise TypeError(f"an integer of {size} bytes does not fit into a checkpoint")
        return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
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
            if not _is_key(key):
                raise TypeError(f"a checkpoint cannot hold the key {key!r} of type {type(key).__name__}")
        items = (_encode(key, storages) + _encode(item, storages, depth + 1) for key, item in value.items())
        return b"}(" + b"".join(items) + b"u"
    if isinstance(value, np.ndarray) and value.dtype.newbyteorder("=") in _STORAGE_OF:
        return _encode_tensor(value, storages)
    raise TypeError(f"a checkpoint cannot hold a value of type {type(value).__name__}")


def _is_key(key: Any) -> bool:
    # Python hashes integers without a secret: beyond 64 bits one can choose as many of one hash as one likes, and a
    # dict of them takes hours to fill.
    return type(key) is str or (type(key) is int and -(2**63) <= key < 2**63)


def _encode_tensor(array: Array, storages: list[Array]) -> bytes:
    native = array.dtype.newbyteorder("=")
    storage = np.ascontiguousarray(array, dtype=native.newbyteorder("<")).reshape(-1)
    key = str(len(storages))
    storages.append(storage)
    strides = tuple(math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim))  # in elements, C order
    reference = b"".join(
        [
            b"(" + _encode("storage", storages),
            f"ctorch\n{_STORAGE_OF[native]}\n".encode(),
            _encode(key, storages) + _encode("cpu", storages) + _encode(array.size, storages),
            b"tQ",
        ]
    )
    layout = _encode(0, storages) + _encode(array.shape, storages) + _encode(strides, storages)
    hooks = b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + reference + layout + b"\x89" + hooks + b"tR"


def decode(program: bytes, tensor: Callable[[StorageRef, int, tuple[int, ...], tuple[int, ...]], Array]) -> Any:
    """Run `program` and give what it builds.

    Parameters
    ----------
    program : bytes
    tensor : function
        (storage, offset, size, stride), all in elements and unchecked -> array.

    Raises
    ------
    Refused
        When the program leaves the allowed opcodes, names or limits.
    """
    try:
        tree = _Machine(program, tensor).run()
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise Refused(f"its data.pkl is malformed ({error})") from None
    _measure(tree, {}, 0)
    return tree


class _Machine:
    def __init__(self, program: bytes, tensor: Callable[..., Array]) -> None:
        self.program, self.tensor = program, tensor
        self.at = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(MAX_OPCODES):
            opcode = self._take(1)
            if opcode == b".":
                if len(self.stack) != 1 or self.at != len(self.program):
                    raise Refused("its data.pkl does not end where it should")
                return self.stack[0]
            action = _ACTIONS.get(opcode)
            if action is None:
                raise Refused(f"its data.pkl uses the opcode 0x{opcode.hex()}, which a file of tensors does not need")
            action(self)
        raise Refused(f"its data.pkl has more than {MAX_OPCODES:,} steps")

    # Reading the program

    def _take(self, count: int) -> bytes:
        part = self.program[self.at : self.at + count]
        if len(part) < count:
            raise Refused("its data.pkl ends too early")
        self.at += count
        return part

    def _number(self, layout: str) -> Any:
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def _line(self) -> str:
        end = self.program.find(b"\n", self.at, self.at + 300)
        if end < 0:
            raise Refused("its data.pkl has a name without an end")
        text, self.at = self.program[self.at : end].decode(), end + 1
        if not text.isprintable():  # it may end up in a message on a terminal
            raise Refused("its data.pkl has a name of unprintable characters")
        return text

    # The stack

    def _pop(self) -> Any:
        if not self.stack or isinstance(self.stack[-1], _Mark):
            raise Refused("its data.pkl takes from an empty stack")
        return self.stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        at = len(self.stack) - 1
        while at >= 0 and not isinstance(self.stack[at], _Mark):
            at -= 1
        if at < 0:
            raise Refused("its data.pkl takes from an empty stack")
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    # The opcodes

    def protocol(self) -> None:
        version = self._take(1)[0]
        if version != 2:
            raise Refused(f"its data.pkl is of protocol {version}; PyTorch writes protocol 2")

    def push_long(self) -> None:
        self.stack.append(int.from_bytes(self._take(self._take(1)[0]), "little", signed=True))

    def push_text(self) -> None:
        self.stack.append(self._take(self._number("<I")).decode("utf-8", "surrogatepass"))

    def push_short_text(self) -> None:
        self.stack.append(self._take(self._take(1)[0]).decode("utf-8"))

    def push_global(self) -> None:
        name = f"{self._line()} {self._line()}"
        if name not in _GLOBALS:
            raise Refused(f"it asks for `{name.replace(' ', '.')}`, which a file of tensors does not need")
        self.stack.append(_Global(name))

    def put(self, layout: str) -> None:
        if not self.stack:
            raise Refused("its data.pkl takes from an empty stack")
        self.memo[self._number(layout)] = self.stack[-1]

    def get(self, layout: str) -> None:
        number = self._number(layout)
        if number not in self.memo:
            raise Refused("its data.pkl recalls what it never kept")
        self.stack.append(self.memo[number])

    def tuple_of(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self.stack.append(tuple(reversed(items)))

    def append(self) -> None:
        self._extend([self._pop()])

    def _extend(self, items: list[Any]) -> None:
        if not self.stack or type(self.stack[-1]) is not list:
            raise Refused("its data.pkl appends to what is no list")
        self.stack[-1].extend(items)

    def set_item(self) -> None:
        item, key = self._pop(), self._pop()
        self._update([key, item])

    def _update(self, items: list[Any]) -> None:
        if not self.stack or type(self.stack[-1]) is not dict or len(items) % 2:
            raise Refused("its data.pkl sets items of what is no dict")
        for key, item in zip(items[::2], items[1::2], strict=True):
            if not _is_key(key):
                raise Refused("its data.pkl has a dict key that is neither text nor a whole number of 64 bits")
            self.stack[-1][key] = item

    def build(self) -> None:
        state = self._pop()
        # A state dict carries the versions of its modules as an attribute; nothing here needs it.
        if type(state) is not dict or set(state) != {"_metadata"} or not self.stack or type(self.stack[-1]) is not dict:
            raise Refused("its data.pkl sets attributes of an object")

    def storage(self) -> None:
        match self._pop():
            case ("storage", _Global(name), str(key), str(), int(numel)) if _is_storage_key(key) and _is_natural(numel):
                kind = name.rpartition(" ")[2]
                code = "u1" if name == "torch.storage UntypedStorage" else STORAGES.get(kind)
                if code is None:
                    raise Refused(f"it has a storage of type `{kind}`")
                self.stack.append(StorageRef(key, code, numel))
            case _:
                raise Refused("its data.pkl names a storage in a way that PyTorch does not")

    def call(self) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, _Global) or type(arguments) is not tuple:
            raise Refused("its data.pkl calls what is no known function")
        self.stack.append(self._called(function.name, arguments))

    def _called(self, name: str, arguments: tuple[Any, ...]) -> Any:
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
                return self._tensor(ref, offset, size, stride)
            case "torch._utils _rebuild_tensor_v3", (
                StorageRef(key, "u1", numel),
                offset,
                tuple(size),
                tuple(stride),
                bool(),
                dict(),
                _Global(dtype),
                *metadata,
            ) if code := _DTYPES.get(dtype.rpartition(" ")[2]):
                _check_metadata(metadata)
                # An untyped storage counts bytes.
                return self._tensor(StorageRef(key, code, numel // np.dtype(code).itemsize), offset, size, stride)
        raise Refused(f"it calls `{name.replace(' ', '.')}` in a way that PyTorch does not")

    def _tensor(self, ref: StorageRef, offset: Any, size: tuple[Any, ...], stride: tuple[Any, ...]) -> Array:
        if not all(map(_is_natural, (offset, *size, *stride))):
            raise Refused("it has a tensor whose size, stride or offset is no natural number")
        if len(size) != len(stride) or len(size) > 32:
            raise Refused("it has a tensor whose size and stride do not fit together")
        return self.tensor(ref, offset, size, stride)


def _is_natural(number: Any) -> bool:
    return type(number) is int and 0 <= number < 2**62


def _is_storage_key(key: str) -> bool:
    return key.isascii() and key.isdigit() and len(key) < 20


def _check_metadata(metadata: list[Any]) -> None:
    if any(metadata):  # the tensor is minus, or the conjugate of, what its storage holds
        raise Refused("it has a tensor that waits for `resolve_neg()` or `resolve_conj()`")


_ACTIONS: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": _Machine.protocol,
    b"(": lambda m: m.stack.append(_Mark()),
    b"N": lambda m: m.stack.append(None),
    b"\x88": lambda m: m.stack.append(True),
    b"\x89": lambda m: m.stack.append(False),
    b"J": lambda m: m.stack.append(m._number("<i")),
    b"K": lambda m: m.stack.append(m._number("<B")),
    b"M": lambda m: m.stack.append(m._number("<H")),
    b"\x8a": _Machine.push_long,
    b"G": lambda m: m.stack.append(m._number(">d")),
    b"X": _Machine.push_text,
    b"U": _Machine.push_short_text,
    b"c": _Machine.push_global,
    b"q": lambda m: m.put("<B"),
    b"r": lambda m: m.put("<I"),
    b"h": lambda m: m.get("<B"),
    b"j": lambda m: m.get("<I"),
    b")": lambda m: m.stack.append(()),
    b"]": lambda m: m.stack.append([]),
    b"}": lambda m: m.stack.append({}),
    b"\x85": lambda m: m.tuple_of(1),
    b"\x86": lambda m: m.tuple_of(2),
    b"\x87": lambda m: m.tuple_of(3),
    b"t": lambda m: m.stack.append(tuple(m._pop_to_mark())),
    b"a": _Machine.append,
    b"e": lambda m: m._extend(m._pop_to_mark()),
    b"s": _Machine.set_item,
    b"u": lambda m: m._update(m._pop_to_mark()),
    b"b": _Machine.build,
    b"Q": _Machine.storage,
    b"R": _Machine.call,
}


def _measure(tree: Any, known: dict[int, tuple[int, int] | None], depth: int) -> tuple[int, int]:
    """Count the values that a walk over `tree` meets, and the levels below its own.

    `Refused` for cycles, deep nesting and very many values, and for what is no value.
    """
    if isinstance(tree, _Global | StorageRef | _Mark):
        raise Refused("it holds something that is neither a plain value nor a tensor")
    if not isinstance(tree, dict | list | tuple):
        return 1, -1
    count, levels = 1, 0
    if id(tree) in known:
        size = known[id(tree)]
        if size is None:
            raise Refused("it contains itself")
        count, levels = size
    if depth + levels > MAX_DEPTH:  # also of what was met before, nearer to the root
        raise Refused(f"it is nested more than {MAX_DEPTH} deep")
    if id(tree) not in known:
        known[id(tree)] = None
        for item in tree.values() if isinstance(tree, dict) else tree:
            more, below = _measure(item, known, depth + 1)
            count, levels = count + more, max(levels, below + 1)
            if count > MAX_NODES:
                raise Refused(f"it unfolds to more than {MAX_NODES:,} values")
        known[id(tree)] = count, levels
    return count, levels
