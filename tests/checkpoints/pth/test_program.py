from __future__ import annotations

import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.checkpoints.pth.encode import encode
from n2n_cli.checkpoints.pth.limits import Refused
from n2n_cli.checkpoints.pth.names import StorageRef
from n2n_cli.checkpoints.pth.program import decode
from n2n_cli.nn.functional import Array
from tests.checkpoints.pth.programs import TORCH_OPCODES, no_tensor, refusal
from tests.pickles import (
    HOOKS,
    call,
    check_same,
    group,
    keep,
    number,
    numbers,
    program,
    recall,
    storage,
    tensor,
    text,
)

# Programs of other writers


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b"K\xff", 255),
        (b"M\xfe\xff", 65534),
        (b"J\xfe\xff\xff\xff", -2),
        (b"\x8a\x00", 0),
        (b"\x8a\x01\xff", -1),
        (b"\x8a\x05\x00\x00\x00\x00\x01", 2**32),
        (b"G\x40\x04\x00\x00\x00\x00\x00\x00", 2.5),
        (b"U\x03abc", "abc"),
        (b"U\x02\xc3\xa9", "é"),
        (text("é☃"), "é☃"),
        (b")", ()),
        (b"(t", ()),
        (b"N\x85", (None,)),
        (b"\x88\x89\x86", (True, False)),
        (b"K\x01K\x02K\x03\x87", (1, 2, 3)),
        (b"]K\x01aK\x02a", [1, 2]),
        (b"](K\x01K\x02e", [1, 2]),
        (b"}K\x01Ns", {1: None}),
        (b"}(K\x01NK\x02\x88u", {1: None, 2: True}),
        (b"((K\x01tK\x02t", ((1,), 2)),
        (b"K\x07q\x05h\x05\x86", (7, 7)),
        (b"K\x07r\x00\x01\x00\x00j\x00\x01\x00\x00\x86", (7, 7)),
        (HOOKS, {}),
        (HOOKS + b"(K\x01Nu", {1: None}),
        (HOOKS + b"}" + text("_metadata") + b"}sb", {}),
        (b"ctorch\nSize\n" + numbers((2, 3)) + b"\x85R", (2, 3)),
    ],
    ids=repr,
)
def test_each_opcode_is_decoded(body: bytes, wanted: Any) -> None:
    check_same(decode(program(body), no_tensor), wanted)


def test_recalled_tensor_is_the_same_array() -> None:
    body = tensor(6, (2, 3), (3, 1)) + keep(1) + recall(1) + b"\x86"
    first, second = decode(program(body), lambda *_: np.zeros(1))
    assert first is second


def test_parameter_is_read_as_its_tensor() -> None:
    array = np.zeros(1)
    body = call("torch._utils _rebuild_parameter", tensor(1, (1,), (1,)), b"\x88", HOOKS)
    assert decode(program(body), lambda *_: array) is array
    with pytest.raises(Refused, match="_rebuild_parameter` in a way"):
        decode(program(call("torch._utils _rebuild_parameter", tensor(1, (1,), (1,)))), lambda *_: array)


@pytest.mark.parametrize(("kind", "itemsize"), [("uint16", 2), ("uint32", 4), ("uint64", 8)])
def test_untyped_storage_is_measured_in_bytes(kind: str, itemsize: int) -> None:
    asked: list[Any] = []

    def answer(*question: Any) -> Array:
        asked.append(question)
        return np.zeros(1)

    ref = storage(6 * itemsize, "torch.storage UntypedStorage")
    layout = number(1), numbers((2,)), numbers((2,))
    body = call("torch._utils _rebuild_tensor_v3", ref, *layout, b"\x89", HOOKS, f"ctorch\n{kind}\n".encode())
    decode(program(body), answer)
    assert asked == [(StorageRef("0", f"u{itemsize}", 6), 1, (2,), (2,))]


# Refusals


class MakesAFolder:
    """Pickled as a call of `os.mkdir`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_program_is_not_run(tmp_path: Path, protocol: int) -> None:
    code = pickle.dumps([MakesAFolder(tmp_path / "made")], protocol)
    message = refusal(code)
    assert not (tmp_path / "made").exists()
    if protocol == 2:
        assert f"{os.mkdir.__module__}.mkdir" in message
    pickle.loads(code)
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "name",
    [
        "os system",
        "posix system",
        "nt system",
        "subprocess Popen",
        "builtins eval",
        "builtins exec",
        "builtins getattr",
        "__builtin__ eval",
        "__builtin__ set",
        "_codecs encode",
        "collections Counter",
        "numpy.core.multiarray _reconstruct",
        "torch._utils _rebuild_sparse_tensor",
        "torch load",
        "torch OrderedDict",
        "torch QUInt8Storage",
        "torch.hub load",
        "torch.nn.modules.linear Linear",
        "n2n_cli.checkpoints.file write_checkpoint",
    ],
)
def test_other_names_are_refused_and_named(name: str) -> None:
    assert f"asks for `{name.replace(' ', '.')}`" in refusal(program(call(name, text("echo"))))


KNOWN_OPCODES = {opcode.code.encode("latin-1") for opcode in pickletools.opcodes if opcode.name in TORCH_OPCODES}


@pytest.mark.parametrize("opcode", sorted({bytes([i]) for i in range(256)} - KNOWN_OPCODES | {b"\x81", b"\x8f"}))
def test_other_opcodes_are_refused_and_named(opcode: bytes) -> None:
    """Opcodes that no checkpoint needs, and undefined opcodes.

    STACK_GLOBAL, INST, OBJ, NEWOBJ, EXT1, FRAME, MEMOIZE, DUP, and those of bytes and sets.
    """
    message = refusal(program(text("os") + text("system") + opcode + b"os\nsystem\n)R"))
    assert f"opcode 0x{opcode.hex()}" in message


@pytest.mark.parametrize("version", [0, 1, 3, 4, 5, 255])
def test_other_protocols_are_refused(version: int) -> None:
    assert f"protocol {version};" in refusal(b"\x80" + bytes([version]) + b"N.")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "does not end where it should"),
        (b"NN", "does not end where it should"),
        (b"N.N", "does not end where it should"),
        (b"(", "neither a plain value nor a tensor"),
        (b"a", "empty stack"),
        (b"]a", "appends to something that is not a list"),
        (b"N(\x85", "empty stack"),
        (b"N\x86", "empty stack"),
        (b"NNt", "empty stack"),
        (b"Ne", "empty stack"),
        (b"q\x00", "empty stack"),
        (b"R", "empty stack"),
        (b"Q", "empty stack"),
        (b")Na", "appends to something that is not a list"),
        (b"}(Ne", "appends to something that is not a list"),
        (b"](NNu", "sets items of something that is not a dict"),
        (b"}(Nu", "sets items of something that is not a dict"),
        (b"}NNs", "dict key"),
        (b"})Ns", "dict key"),
        (b"}\x88Ns", "dict key"),
        (b"}" + number(2**63) + b"Ns", "dict key"),
        (b"h\x00", "reads a value that it never stored"),
        (b"Nq\x01h\x00\x86", "reads a value that it never stored"),
        (b"N)R", "calls something that is not a known function"),
        (b"ccollections\nOrderedDict\n]R", "calls something that is not a known function"),
        (b"ccollections\nOrderedDict\n", "neither a plain value nor a tensor"),
        (storage(1), "neither a plain value nor a tensor"),
        (b"](" + storage(1) + b"e", "neither a plain value nor a tensor"),
        (b"}" + text("a") + storage(1) + b"s", "neither a plain value nor a tensor"),
        (call("collections OrderedDict", b"N"), "calls `collections.OrderedDict` in a way"),
        (call("torch Size", b"N"), "calls `torch.Size` in a way"),
        (call("torch FloatStorage", b"K\x05"), "calls `torch.FloatStorage` in a way"),
        (call("torch._utils _rebuild_parameter", b"N", b"\x88", HOOKS), "_rebuild_parameter` in a way"),
        (call("torch._utils _rebuild_tensor_v2", b"N"), "_rebuild_tensor_v2` in a way"),
        (HOOKS + b"}" + text("__class__") + b"Nsb", "sets attributes"),
        (HOOKS + b"}(" + text("_metadata") + b"}" + text("__class__") + b"Nub", "sets attributes"),
        (b"]}" + text("_metadata") + b"}sb", "sets attributes"),
        (HOOKS + b"Nb", "sets attributes"),
        (b"X\x04\x00\x00\x00abc", "ends too early"),
        (b"X\xff\xff\xff\xffabc", "more than 16,000,000 bytes of text"),
        (b"X\x02\x00\x00\x00\xff\xff", "malformed"),
        (b"U\x01\xe9", "malformed"),
        (b"cos", "without an end"),
        (b"c" + b"a" * 400 + b"\nb\n", "without an end"),
        (b"c\x1b[31mos\nsystem\n", "unprintable"),
        (b"cos\r\nsystem\n", "unprintable"),
    ],
    ids=repr,
)
def test_malformed_program_is_refused(body: bytes, message: str) -> None:
    assert message in refusal(program(body))


@pytest.mark.parametrize(
    "pid",
    [
        b"N",
        b"K\x00",
        group(text("module"), b"ctorch\nFloatStorage\n", text("0"), text("cpu"), b"K\x01"),
        group(text("storage"), text("FloatStorage"), text("0"), text("cpu"), b"K\x01"),
        group(text("storage"), b"ctorch\nFloatStorage\n", b"K\x00", text("cpu"), b"K\x01"),
        group(text("storage"), b"ctorch\nFloatStorage\n", text("../0"), text("cpu"), b"K\x01"),
        group(text("storage"), b"ctorch\nFloatStorage\n", text("0" * 20), text("cpu"), b"K\x01"),
        group(text("storage"), b"ctorch\nFloatStorage\n", text(""), text("cpu"), b"K\x01"),
        group(text("storage"), b"ctorch\nFloatStorage\n", text("0"), text("cpu"), b"\x88"),
        group(text("storage"), b"ctorch\nFloatStorage\n", text("0"), text("cpu"), number(-1)),
        group(text("storage"), b"ctorch\nFloatStorage\n", text("0"), text("cpu"), number(2**62)),
        group(text("storage"), b"ctorch\nFloatStorage\n", text("0"), text("cpu"), b"K\x01", b"N"),
    ],
    ids=repr,
)
def test_storage_named_otherwise_than_by_torch_is_refused(pid: bytes) -> None:
    assert "names a storage in a way that PyTorch does not" in refusal(program(pid + b"Q"))


def test_storage_of_another_class_is_refused() -> None:
    assert "a storage of type `OrderedDict`" in refusal(program(storage(1, "collections OrderedDict")))


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ((number(-1), numbers((1,)), numbers((1,))), "not a natural number"),
        ((number(0), numbers((-1,)), numbers((1,))), "not a natural number"),
        ((number(0), numbers((1,)), numbers((-1,))), "not a natural number"),
        ((number(2**62), numbers((1,)), numbers((1,))), "not a natural number"),
        ((number(0), numbers((2**200,)), numbers((1,))), "not a natural number"),
        ((b"N", numbers((1,)), numbers((1,))), "not a natural number"),
        ((b"\x88", numbers((1,)), numbers((1,))), "not a natural number"),
        ((number(0), group(text("1")), numbers((1,))), "not a natural number"),
        ((number(0), group(b"G\x3f\xf0\x00\x00\x00\x00\x00\x00"), numbers((1,))), "not a natural number"),
        ((number(0), numbers((1, 1)), numbers((1,))), "do not fit together"),
        ((number(0), numbers((1,)), numbers(())), "do not fit together"),
        ((number(0), numbers((1,) * 33), numbers((1,) * 33)), "do not fit together"),
        ((number(0), b"]", b"]"), "_rebuild_tensor_v2` in a way"),
    ],
    ids=repr,
)
def test_invalid_layout_is_refused(layout: tuple[bytes, ...], message: str) -> None:
    body = call("torch._utils _rebuild_tensor_v2", storage(1), *layout, b"\x89", HOOKS)
    assert message in refusal(program(body))


def test_lazy_conjugate_is_refused() -> None:
    flag = b"}" + text("conj") + b"\x88s"
    assert "`resolve_conj()`" in refusal(
        program(tensor(1, (1,), (1,), kind="torch ComplexFloatStorage", metadata=flag))
    )
    nothing = decode(program(tensor(1, (1,), (1,), metadata=b"}")), lambda *_: np.zeros(1))
    assert nothing == [0]


@pytest.mark.parametrize(
    ("dtype", "message"),
    [("float8_e5m2", "asks for `torch.float8_e5m2`"), ("FloatStorage", "_rebuild_tensor_v3` in a way")],
)
def test_untyped_storage_of_another_type_is_refused(dtype: str, message: str) -> None:
    ref = storage(4, "torch.storage UntypedStorage")
    layout = number(0), numbers((1,)), numbers((1,)), b"\x89", HOOKS
    body = call("torch._utils _rebuild_tensor_v3", ref, *layout, f"ctorch\n{dtype}\n".encode())
    assert message in refusal(program(body))


def test_truncated_program_is_refused() -> None:
    code, _ = encode({"a": [1, 2.5, "text", 2**40], 3: (None, True), "w": np.zeros((2, 3))})
    assert decode(code, lambda *_: np.zeros(1))
    for length in range(len(code)):
        with pytest.raises(Refused):
            decode(code[:length], lambda *_: np.zeros(1))
