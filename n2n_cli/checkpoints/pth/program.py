"""Interpreter for `data.pkl`, the pickle program of a PyTorch file.

The format is a program for a stack machine. A program can make Python's own interpreter call any function. This one
knows only the opcodes in the table below and the names in `names`, calls no function, and refuses everything else.

References
----------
CPython, Lib/pickletools.py: the opcodes. PyTorch, torch/_weights_only_unpickler.py: the opcodes that its files need.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from typing import Any

from n2n_cli.checkpoints.pth import limits
from n2n_cli.checkpoints.pth.encode import is_key
from n2n_cli.checkpoints.pth.limits import Refused, Room
from n2n_cli.checkpoints.pth.measure import Mark, measure
from n2n_cli.checkpoints.pth.names import GLOBALS, Global
from n2n_cli.checkpoints.pth.rebuild import MakeTensor, result_of_call, storage_named
from n2n_cli.nn.functional import Array

_MARK = Mark()
_SLOT = 16  # bytes of an item of a list, including spare capacity
_ITEM = 100  # bytes of an item of a dict, including spare capacity
_TEXT_OVERHEAD = 80  # bytes of a str besides its characters
_INTERNED = 64  # maximum bytes of a text that is stored once, because keys repeat


def decode(program: bytes, tensor: MakeTensor, *, room: int = limits.ROOM) -> Any:
    """Run `program` and return what it builds.

    Parameters
    ----------
    program : bytes
    tensor : function
        Returns the array for a tensor's storage and layout.
    room : int
        Maximum memory of the values, in bytes.

    Raises
    ------
    Refused
        If the program uses other opcodes or names, or exceeds a limit.
    """
    left = Room(room)
    try:
        tree = _Machine(program, tensor, left).run()
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise Refused(f"its data.pkl is malformed ({error})") from None
    measure(tree, left)
    return tree


class _Machine:
    def __init__(self, program: bytes, tensor: Callable[..., Array], room: Room) -> None:
        self.program, self.tensor, self.room = program, tensor, room
        self.at = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.texts: dict[bytes, str] = {}
        self.text_bytes = 0

    def run(self) -> Any:
        for _ in range(limits.MAX_STEPS):
            opcode = self.take(1)
            if opcode == b".":
                if len(self.stack) != 1 or self.at != len(self.program):
                    raise Refused("its data.pkl does not end where it should")
                return self.stack[0]
            action = _ACTIONS.get(opcode)
            if action is None:
                raise Refused(f"its data.pkl uses the opcode 0x{opcode.hex()}, which a file of tensors does not need")
            action(self)
        raise Refused(f"its data.pkl has more than {limits.MAX_STEPS:,} steps")

    # Reading the program

    def take(self, count: int) -> bytes:
        part = self.program[self.at : self.at + count]
        if len(part) < count:
            raise Refused("its data.pkl ends too early")
        self.at += count
        return part

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        end = self.program.find(b"\n", self.at, self.at + 300)
        if end < 0:
            raise Refused("its data.pkl has a name without an end")
        text, self.at = self.program[self.at : end].decode(), end + 1
        if not text.isprintable():  # it may appear in a message on a terminal
            raise Refused("its data.pkl has a name of unprintable characters")
        return text

    # The stack

    def push(self, value: Any) -> None:
        """Push a new value on the stack."""
        self.room.take(sys.getsizeof(value) + _SLOT)
        self.stack.append(value)

    def push_known(self, value: Any) -> None:
        """Push a value that is already in memory."""
        self.room.take(_SLOT)
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise Refused("its data.pkl takes from an empty stack")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        at = len(self.stack) - 1
        while at >= 0 and self.stack[at] is not _MARK:
            at -= 1
        if at < 0:
            raise Refused("its data.pkl takes from an empty stack")
        items = self.stack[at + 1 :]
        del self.stack[at:]
        self.room.take(-_SLOT * len(items))
        return items

    # The opcodes

    def protocol(self) -> None:
        version = self.take(1)[0]
        if version != 2:
            raise Refused(f"its data.pkl is of protocol {version}; PyTorch writes protocol 2")

    def push_long(self) -> None:
        self.push(int.from_bytes(self.take(self.take(1)[0]), "little", signed=True))

    def push_text(self, layout: str) -> None:
        size = self.number(layout)
        self.text_bytes += size
        if self.text_bytes > limits.MAX_TEXT_BYTES:
            raise Refused(f"its data.pkl has more than {limits.MAX_TEXT_BYTES:,} bytes of text")
        encoded = self.take(size)
        text = self.texts.get(encoded)
        if text is None:
            self.room.take(_TEXT_OVERHEAD + (size if encoded.isascii() else 4 * size))  # before the allocation
            text = encoded.decode("utf-8", "surrogatepass")
            if size <= _INTERNED:
                self.room.take(_ITEM + sys.getsizeof(encoded))
                self.texts[encoded] = text
        self.push_known(text)

    def push_global(self) -> None:
        name = f"{self.line()} {self.line()}"
        if name not in GLOBALS:
            raise Refused(f"it asks for `{name.replace(' ', '.')}`, which a file of tensors does not need")
        self.push(Global(sys.intern(name)))

    def put(self, layout: str) -> None:
        if not self.stack:
            raise Refused("its data.pkl takes from an empty stack")
        number = self.number(layout)
        if number not in self.memo:
            self.room.take(_ITEM + sys.getsizeof(number))
        self.memo[number] = self.stack[-1]

    def get(self, layout: str) -> None:
        number = self.number(layout)
        if number not in self.memo:
            raise Refused("its data.pkl reads a value that it never stored")
        self.push_known(self.memo[number])

    def tuple_of(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(items)))

    def extend(self, items: list[Any]) -> None:
        if not self.stack or type(self.stack[-1]) is not list:
            raise Refused("its data.pkl appends to something that is not a list")
        self.room.take(_SLOT * len(items) + (32 if items else 0))
        self.stack[-1].extend(items)

    def set_item(self) -> None:
        item, key = self.pop(), self.pop()
        self.update([key, item])

    def update(self, items: list[Any]) -> None:
        if not self.stack or type(self.stack[-1]) is not dict or len(items) % 2:
            raise Refused("its data.pkl sets items of something that is not a dict")
        table = self.stack[-1]
        if items and not table:
            self.room.take(_ITEM)  # initial capacity
        for key, item in zip(items[::2], items[1::2], strict=True):
            if not is_key(key):
                raise Refused("its data.pkl has a dict key that is neither text nor a whole number of 64 bits")
            if key not in table:
                self.room.take(_ITEM // 2)
            table[key] = item

    def build(self) -> None:
        state = self.pop()
        # A state dict has an attribute with the versions of its modules, which is ignored.
        if type(state) is not dict or set(state) != {"_metadata"} or not self.stack or type(self.stack[-1]) is not dict:
            raise Refused("its data.pkl sets attributes of an object")

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Global) or type(arguments) is not tuple:
            raise Refused("its data.pkl calls something that is not a known function")
        result = result_of_call(function.name, arguments, self.tensor)
        if type(result) is dict:
            self.push(result)
        else:
            self.push_known(result)  # `Tensors` counts the memory of tensors


_ACTIONS: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": _Machine.protocol,
    b"(": lambda m: m.push_known(_MARK),
    b"N": lambda m: m.push_known(None),
    b"\x88": lambda m: m.push_known(True),
    b"\x89": lambda m: m.push_known(False),
    b"J": lambda m: m.push(m.number("<i")),
    b"K": lambda m: m.push_known(m.number("<B")),
    b"M": lambda m: m.push(m.number("<H")),
    b"\x8a": _Machine.push_long,
    b"G": lambda m: m.push(m.number(">d")),
    b"X": lambda m: m.push_text("<I"),
    b"U": lambda m: m.push_text("<B"),
    b"c": _Machine.push_global,
    b"q": lambda m: m.put("<B"),
    b"r": lambda m: m.put("<I"),
    b"h": lambda m: m.get("<B"),
    b"j": lambda m: m.get("<I"),
    b")": lambda m: m.push_known(()),
    b"]": lambda m: m.push([]),
    b"}": lambda m: m.push({}),
    b"\x85": lambda m: m.tuple_of(1),
    b"\x86": lambda m: m.tuple_of(2),
    b"\x87": lambda m: m.tuple_of(3),
    b"t": lambda m: m.push(tuple(m.pop_to_mark())),
    b"a": lambda m: m.extend([m.pop()]),
    b"e": lambda m: m.extend(m.pop_to_mark()),
    b"s": _Machine.set_item,
    b"u": lambda m: m.update(m.pop_to_mark()),
    b"b": _Machine.build,
    b"Q": lambda m: m.push(storage_named(m.pop())),
    b"R": _Machine.call,
}
