"""Checkpoint files that try to run code, or to exhaust memory and time."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import zipfile
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from tests.pickles import HOOKS, archive, call, group, keep, number, program, recall, storage, tensor, text, torch_file

_DATA = bytes(8)
_FLOAT = b"G\x40\x04\x00\x00\x00\x00\x00\x00"
_STEPS = 900_000


class _Calls:
    """Object that calls a function when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


def forms(made: Path) -> dict[str, bytes]:
    """Hostile files by name; code that runs creates a file or folder `made`."""
    return _running(made) | bombs() | _lying_tensors() | _lying_archives()


def _running(made: Path) -> dict[str, bytes]:
    command, python = f"touch {made}", f"open({str(made)!r}, 'w').close()"
    shell, code = text(command), text(python)
    found = {}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        found[f"os.mkdir by pickle {protocol}"] = _file(pickle.dumps(_Calls(os.mkdir, str(made)), protocol))
        found[f"Popen by pickle {protocol}"] = _file(
            pickle.dumps(_Calls(subprocess.Popen, ["touch", str(made)]), protocol)
        )
    names: tuple[str, ...] = (
        "os system",
        "posix system",
        "nt system",
        "subprocess call",
        "subprocess getoutput",
        "os popen",
        "pty spawn",
    )
    found |= {name: torch_file(call(name, shell)) for name in names}
    names = (
        "builtins eval",
        "builtins exec",
        "__builtin__ eval",
        "__builtin__ exec",
        "__builtin__ execfile",
        "runpy _run_code",
    )
    found |= {name: torch_file(call(name, code)) for name in (*names, "code interact", "timeit timeit", "cProfile run")}
    attribute = call("builtins getattr", call("builtins __import__", text("os")), text("system"))
    found |= {
        "getattr chain": torch_file(attribute + group(shell) + b"R"),
        "getattr of what is allowed": torch_file(call("builtins getattr", b"ctorch\nSize\n", text("__class__"))),
        "import": torch_file(call("builtins __import__", text("os"))),
        "operator.attrgetter": torch_file(call("operator attrgetter", text("system")) + b"cposix\nx\n\x85R"),
        "dotted name": torch_file(call("torch Size.__class__", text("a"))),
        "name below an allowed one": torch_file(call("torch._utils _rebuild_tensor_v2.__globals__", text("os"))),
        "STACK_GLOBAL": _file(b"\x80\x04\x8c\x02os\x8c\x06system\x93" + group(shell) + b"R."),
        "STACK_GLOBAL in protocol 2": _file(program(text("os") + text("system") + b"\x93" + group(shell) + b"R")),
        "INST": _file(program(b"(" + shell + b"ios\nsystem\n")),
        "OBJ": _file(program(b"(cos\nsystem\n" + shell + b"o")),
        "NEWOBJ": _file(program(b"cos\nsystem\n" + group(shell) + b"\x81")),
        "NEWOBJ_EX": _file(program(b"cos\nsystem\n" + group(shell) + b"}\x92")),
        "EXT1": _file(program(b"\x82\x01" + group(shell) + b"R")),
        "EXT4": _file(program(b"\x84\x01\x00\x00\x00" + group(shell) + b"R")),
        "BUILD with a state": torch_file(HOOKS + b"}" + text("__setstate__") + b"cos\nsystem\nsb"),
        "BUILD of a pair": torch_file(HOOKS + b"N}" + text("_metadata") + b"cos\nsystem\ns\x86b"),
        "a global for a dict's value": torch_file(b"}" + text("model") + b"cos\nsystem\ns"),
        "a global that is kept": torch_file(b"cos\nsystem\n" + keep(0) + b"0" + recall(0) + group(shell) + b"R"),
        "a global for a hook": torch_file(
            b"ctorch._utils\n_rebuild_tensor_v2\n("
            + storage(2) + number(0) + group(number(2)) + group(number(1)) + b"\x89cos\nsystem\ntR",
            _DATA,
        ),
        "PERSID": _file(program(b"Pos.system\n")),
        "a second program behind the first": _file(program(b"N") + program(call("os system", shell))),
        "a call with a list": torch_file(b"cos\nsystem\n](" + shell + b"eR"),
        "torch.load": torch_file(call("torch load", text(str(made)))),
        "torch.hub.load": torch_file(call("torch.hub load", text("a"), text("b"))),
        "numpy.load": torch_file(call("numpy load", text(str(made)), b"N", b"\x88")),
        "numpy reconstruct": torch_file(
            call("numpy.core.multiarray _reconstruct", b"cnumpy\nndarray\n", group(number(0)), text("b"))
        ),
        "numpy.testing": torch_file(call("numpy.testing._private.utils runstring", code, b"}")),
        "pickle in a pickle": torch_file(call("pickle loads", text("cos\nsystem\n(S'true'\ntR."))),
        "marshal": torch_file(call("marshal loads", text("a"))),
        "types.CodeType": torch_file(call("types CodeType", number(0))),
        "webbrowser.open": torch_file(call("webbrowser open", text("file:///"))),
        "shutil.rmtree": torch_file(call("shutil rmtree", text(str(made)))),
        "ctypes": torch_file(call("ctypes CDLL", text("libc.so.6"))),
        "socket": torch_file(call("socket create_connection", group(text("127.0.0.1"), number(9)))),
        "our own writer": torch_file(call("n2n_cli.checkpoints.file write_checkpoint", text(str(made)), b"N")),
        "the old format": program(number(0x1950A86A20F9469CFC6C)) + program(call("os system", shell)),
        "a bare pickle": program(call("os system", shell)),
        "a name that a terminal obeys": torch_file(call("\x1b[2Jos system", shell)),
        "TorchScript": archive(("archive/constants.pkl", program(call("os system", shell))), ("archive/version", b"3")),
    }  # fmt: skip
    return found


@cache
def bombs() -> dict[str, bytes]:
    """Files that take a second or 100 MB to create and to read."""
    wide = "\U0001f600"  # a string with it takes four bytes per character
    shared = b"]" + keep(0)
    for level in range(30):
        shared += b"](" + recall(level) * 10 + b"e" + keep(level + 1)
    return {
        "MARK bomb": torch_file(b"(" * _STEPS),
        "memo bomb": torch_file(b"N" + b"".join(map(keep, range(_STEPS)))),
        "lists": torch_file(b"]" * _STEPS),
        "dicts": torch_file(b"}" * _STEPS),
        "filled dicts": torch_file(b"}K\x00Ns" * (_STEPS // 4)),
        "nested tuples": torch_file(b"N" + b"\x85" * _STEPS),
        "nested lists": torch_file(b"]" * 300_000 + b"a" * 299_999),
        "floats": torch_file(_FLOAT * _STEPS),
        "a list of lists, then a call": torch_file(b"](" + b"]Na" * 299_000 + b"e" + call("os system", text("true"))),
        "lists that unfold": torch_file(b"(" + shared + b"t"),
        "a list in itself": torch_file(b"]" + keep(0) + recall(0) + b"a"),
        "wide texts": torch_file(b"(" + text(wide + "a" * 999_990) * 15),
        "a wide text": torch_file(text(wide + "a" * 15_900_000)),
        "short texts": torch_file(b"".join(text(f"{i:08d}") for i in range(_STEPS))),
        "a text longer than the file": torch_file(b"X\xff\xff\xff\xffabc"),
        "a number of 255 bytes, often": torch_file(b"".join(number(2**1990 + i) for i in range(100_000))),
        "keys of one hash": torch_file(b"}(" + b"".join(number(k << 61) + b"N" for k in range(99_999)) + b"u"),
        "a million empty dicts by call": torch_file(HOOKS * (_STEPS // 3)),
        "storages without tensors": torch_file(b"](" + storage(1) * 90_000, _DATA),
        "a program of 65 MB": torch_file(b"N" * 65_000_000),
    }  # fmt: skip


def _lying_tensors() -> dict[str, bytes]:
    bodies = {
        "10^18 elements": tensor(10**18, (10**9, 10**9), (10**9, 1)),
        "10^18 elements of one": tensor(2, (10**9, 10**9), (0, 0)),
        "a gigabyte of one element": tensor(2, (268_435_456,), (0,)),
        "many times 20 MB of one element": b"](" + tensor(2, (5_000_000,), (0,)) * 50 + b"e",
        "overlapping strides": tensor(2, (2, 2), (1, 1)),
        "negative strides": tensor(2, (2,), (-1,), offset=1),
        "a negative offset": tensor(2, (1,), (1,), offset=-1),
        "an offset beyond": tensor(2, (1,), (1,), offset=2),
        "a negative size": tensor(2, (-1,), (1,)),
        "a size that overflows": tensor(2, (2**61, 2**61, 0), (0, 0, 0)),
        "a stride that overflows": tensor(2, (2, 2), (2**61, 1)),
        "more elements than the entry": tensor(3, (3,), (1,)),
        "33 axes": tensor(2, (1,) * 33, (1,) * 33),
        "another storage": tensor(2, (2,), (1,), key="7"),
        "a storage with a path for a name": tensor(2, (2,), (1,), key="../../etc/passwd"),
        "truth values of 7": tensor(8, (8,), (1,), kind="torch BoolStorage"),
    }
    return {name: torch_file(body, b"\x07" * 8) for name, body in bodies.items()}


def _lying_archives() -> dict[str, bytes]:
    usual = {"data.pkl": program(tensor(2, (2,), (1,))), "version": b"3\n", "data/0": _DATA}
    entries = [(f"archive/{name}", content) for name, content in usual.items()]
    whole = archive(*entries)
    directory = whole.index(b"PK\x01\x02")
    end = whole.rindex(b"PK\x05\x06")
    record = whole.rindex(b"PK\x01\x02")

    def patched(at: int, layout: str, *values: int) -> bytes:
        content = bytearray(whole)
        struct.pack_into(layout, content, at, *values)
        return bytes(content)

    overlapping = bytearray(whole)
    struct.pack_into("<I", overlapping, record + 42, 0)  # the storage overlaps the program
    many = struct.pack("<HH", 2000, 2000)
    quine = whole[:directory] + whole[directory:end] * 1000
    quine += whole[end : end + 8] + many + struct.pack("<LLH", 1000 * (end - directory), directory, 0)
    return {
        "deflated zeros": _zip({**usual, "data/0": bytes(100_000_000)}, zipfile.ZIP_DEFLATED),
        "deflated program": _zip({**usual, "data.pkl": program(b"N" * 900_000)}, zipfile.ZIP_DEFLATED),
        "bzip2": _zip(usual, zipfile.ZIP_BZIP2),
        "encrypted": patched(record + 8, "<H", 1),
        "sizes beyond the file": patched(record + 20, "<II", 2**31, 2**31),
        "entries over each other": bytes(overlapping),
        "the same entries a thousand times": quine,
        "100,000 entries": archive(*entries, *((f"archive/{i}", b"") for i in range(100_000))),
        "a directory of 4 GB": patched(end + 12, "<I", 2**32 - 2),
        "a directory before the file": patched(end + 16, "<I", 2**31),
        "names that lead elsewhere": archive(*entries, ("archive/../../../tmp/x", b"x")),
        "a whole path for a name": archive(*entries, ("/etc/passwd", b"x")),
        "two top folders": archive(*entries, ("other/data/0", b"x")),
        "something in front": b"PK\x03\x04" + whole,
        "something behind": whole + b"x",
        "a wrong CRC": patched(record + 16, "<I", 1),
        "a symbolic link": _link(entries),
        "a wrong checksum": archive(*entries, ("archive/sha256", b"0" * 64 + b"\n")),
    }  # fmt: skip


def _file(code: bytes) -> bytes:
    return archive(("archive/data.pkl", code), ("archive/version", b"3\n"))


def _zip(entries: dict[str, bytes], method: int) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        for name, content in entries.items():
            written.writestr(f"archive/{name}", content, method)
    return file.getvalue()


def _link(entries: list[tuple[str, bytes]]) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        for name, content in entries[:-1]:
            written.writestr(zipfile.ZipInfo(name), content)
        link = zipfile.ZipInfo(entries[-1][0])
        link.create_system, link.external_attr = 3, 0o120777 << 16
        written.writestr(link, "/dev/zero")
    return file.getvalue()
