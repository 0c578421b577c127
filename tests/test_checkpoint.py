from __future__ import annotations

import ast
import base64
import errno
import os
import resource
import struct
import tracemalloc
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import n2n_cli
from n2n_cli import checkpoint
from n2n_cli.checkpoint import read_checkpoint, unwrap_state_dict, write_checkpoint
from n2n_cli.errors import CheckpointError
from n2n_cli.nn import Conv2d, ReLU, Sequential
from n2n_cli.nn.functional import Array
from tests.nn.cases import some_examples
from tests.pickles import HOOKS, archive, call, check_same, number, numbers, program, storage, tensor, text, torch_file

# Written by torch.save of PyTorch 2.13.0; its values are those of `golden_tree`.
GOLDEN = """
eNqtV0tsG0UYnrUdx1napA8aGiClpZQ6kDp+O6FNk27LpnRDm2wbuhSC2dgbe+nG698etwpSpEqo6UNCSD1xQnBCIG5IcIMKJJAQl3JGIMEJCYkTEiCh
MDO7dnY2D1PCRPbu2vM9/n9m/t+ZUoIhhCIRtGb0oN2oZFtFozJU1LEeq162ZKkHXeLHtcASoKjWQQALdtGwQCgUbMsyCti0K3XxXK1o1IziKbOARQgM
qBCMalQrHrtqmKUyhlAB27VCOZZvYNOqi/maMdcwrWIeG5W6XctfSYrQEY1qnQRTJzP1kgFhByLKlq3j886HInRqAuWFiBYk10K1AV1KAIM4raCoElAE
+ofhgahzR++33SpTR9sxdKvQo4WZrTlTr8OOMtEsh8sOZwJ2lhnXLsKlBK7DbkW4Dg866D0YelV4qLEEe7UuMjm/YGCd5gv62PcPRzWaTHhkCR5lUVwx
anWSGuhXhLpred8SPFamz436HCOp6jWd8Bg12L9BelozRDjQNFt2bT7u2jxIbT7h2DyE4UkVDt9kD9EbQN6f0kQihWt6pV6160YRnnaI3OxO2pVSK7mD
zGkSjhCFMIYYVQgqgWUYIqkMLkPcUUlgSKqQ0kJODBjSrrfBsovMTCsh6i1LveUc1DCGERWeYftibp4uaiILRzkzkux83DJ0jBlKwSihJUt5nBgaGHDo
xjCMq3CCbUljoYoXQeK4TuvWfIvnJONJwynCgzA8SwNDNCKZxCcsw4TDeRrDcyqcYZzzll6qg8L7s22rxTnJODPwvLMcZ93lOEdDnnL4pjGoKpxne65h
VmjAF9ochJQIM6uKMfcwiDMVvFg1ii3xF5h4Fi4S8RAGzRV/kYpfcsRfck07wiK8jGFWhVfcVTNrkOdjW8RGi/5VRp8D3YltjtILdCMU6BlbhqIjYWCY
V6F05s+VlZVlKLO8VS3drIA5C69Fz96cGA85VUYLkLcvP4DLt8PsWVgCy2jEppTOyO+//vXjRTKNvqY2LFO96FCzTMXm7dqCjvPuEZOlA/5qtXYkqNKn
v33/Bo2LvjZW6kPDLSU3/XndMkuVBaOCZSndXmydkU1TA2NX4ReaiMCmBnag8aaBObIoNq2tsnTsP+k2h2VibBnUw/XRn/voGoQ39bAdjXm7wlBclo5u
xQChHEPo3c+pg29+uv0xlYy0cTDKOUjI0gjagv74OGJ6nZHJN28l718/uUV9ZwjuNeBeg+7VPSaow71Sn9u+/uq9OO0cbXzu4XymZGnnWp93WeY/uvz3
PX7/oXUZT3KMaVka29LmI+Pf+8+s619gGfns4Bda+/Pj95/9H/wLaGWFOlj+8IfDIXe9NnNwgnOQk6XRrTkQAlT9jvTtJ+3j70ZSU71VIo9vMQEpkerf
e6c0016/H6VaBZSFXzdqJqmgr+v0x2LeLMrS0P3aiQ8ns8PZdC6XymTj6Uwul4vHE8l0JkPus7nheCIVz4yMpHKsvry1fyJKfESZS4EdtaZPb7PpWePc
9zvYD/b2j14O+H4IbdCd/BzeFtDHcezsQBv3HT+Nt4rv4GjurNK0uocf7a3A2/k2G0Z83fdDvcWTh77tgyb8UG8946F7O3lo0g/1Fi4eetcHTTWh61c2
79gV4aFpv6q33PDQaz5oxg/11gke+p0PmvVDvYech17o4qE5P9R7Prt51VXoBhvTe2r6Oawqos3P85QSDg+6k/cFj3gKEX813G73h9hscmH6rxKa7V5t
jlNKR9jBdLP5ztx/AKumXV8=
"""

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "?", "c8", "c16"]


def floats(*values: float) -> Array:
    return np.array(values, np.float32)


def golden_tree() -> Any:
    whole = np.arange(6).reshape(2, 3)
    weight, bias = floats(0.5, -1.25).reshape(2, 1, 1, 1), floats(3, 0)
    return {
        "model": {"0.weight": weight, "0.bias": bias},
        "parameter": bias,
        "transposed": np.ascontiguousarray(whole.T),
        "part": whole[1, 1:],
        "bfloat16": np.array(-1.5, np.float32),
        "empty": np.zeros((0, 3), np.float16),
        "flags": np.array([True, False]),
        "uint16": np.array([1, 65535], np.uint16),
        "pair": (np.array([[1, 2]], np.uint8), -7),
        "plain": [None, True, 2.5, "é", 2**40, {}],
    }


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    """Any bits of any element type, in up to three axes, some of them empty; in memory as they come."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(st.lists(st.integers(0, 3), max_size=3).map(tuple))
    bits = np.random.default_rng(draw(st.integers(0, 99))).bytes(int(np.prod(shape)) * dtype.itemsize)
    array = np.frombuffer(bits, "u1").copy()
    array = (array % 2 if dtype == "?" else array).view(dtype).reshape(shape)
    match draw(st.sampled_from(["plain", "transposed", "backwards", "every other", "other byte order"])):
        case "transposed":
            return array.T
        case "backwards":
            return array[::-1] if array.ndim else array
        case "every other":
            return np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array
        case "other byte order":
            return array.astype(array.dtype.newbyteorder("S"))
    return array


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | arrays()
trees = st.recursive(
    leaves,
    lambda tree: (
        st.lists(tree, max_size=4)
        | st.lists(tree, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=5) | st.integers(-9, 9), tree, max_size=4)
    ),
    max_leaves=12,
)


def as_read(tree: Any) -> Any:
    """`tree` with its arrays contiguous and of this machine's byte order."""
    match tree:
        case dict():
            return {key: as_read(value) for key, value in tree.items()}
        case list() | tuple():
            return type(tree)(as_read(value) for value in tree)
        case np.ndarray():
            native = tree.dtype.newbyteorder("=")
            return np.frombuffer(tree.astype(native).tobytes(), native).reshape(tree.shape)
    return tree


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of a property."""
    return tmp_path_factory.mktemp("checkpoints")


def refusal(path: Path | str) -> str:
    """What the user reads when `path` is not accepted."""
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    return told(caught.value, path)


def told(error: CheckpointError, path: Path | str) -> str:
    assert f"`{path}`" in error.message
    assert error.hint
    assert (error.message + error.hint).isprintable()  # one line, and nothing that a terminal obeys
    assert len(error.message) < len(str(path)) + 400
    return error.message


def refusal_of(content: bytes, folder: Path) -> str:
    path = folder / "hostile.pth"
    path.write_bytes(content)
    return refusal(path)


def read_bytes(content: bytes, folder: Path) -> Any:
    path = folder / "given.pth"
    path.write_bytes(content)
    return read_checkpoint(path)


def arrays_of(tree: Any) -> Iterator[Array]:
    match tree:
        case dict():
            yield from arrays_of(list(tree.values()))
        case list() | tuple():
            for value in tree:
                yield from arrays_of(value)
        case np.ndarray():
            yield tree


# Round trip


@some_examples
@given(trees)
def test_a_tree_comes_back(folder: Path, tree: Any) -> None:
    write_checkpoint(folder / "a.pth", tree)
    found = read_checkpoint(folder / "a.pth")
    check_same(found, as_read(tree))
    for array in arrays_of(found):
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert array.dtype.isnative


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_element_type_comes_back(tmp_path: Path, dtype: str) -> None:
    array = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    tree = [array, array.T, array[:, ::2], array[0, 1], array.astype(array.dtype.newbyteorder(">"))[1:]]
    tree = [np.asarray(part) for part in tree]
    write_checkpoint(tmp_path / "a.pth", tree)
    check_same(read_checkpoint(tmp_path / "a.pth"), as_read(tree))


@some_examples
@given(trees)
def test_equal_trees_make_equal_bytes(folder: Path, tree: Any) -> None:
    write_checkpoint(folder / "one.pth", tree)
    write_checkpoint(str(folder / "other name"), as_read(tree))
    assert (folder / "one.pth").read_bytes() == (folder / "other name").read_bytes()


def test_arrays_of_one_file_do_not_share_memory(tmp_path: Path) -> None:
    body = b"](" + tensor(4, (4,), (1,)) + tensor(4, (2, 2), (2, 1)) + tensor(4, (2,), (1,), offset=2) + b"e"
    found = read_bytes(torch_file(body, np.arange(4, dtype="<f4").tobytes()), tmp_path)
    for array in found:
        array += 100
    check_same(found, [floats(100, 101, 102, 103), floats(100, 101, 102, 103).reshape(2, 2), floats(102, 103)])


# The file


def test_payloads_are_stored_and_aligned(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    write_checkpoint(path, {"a" * 50: np.arange(17.0), "empty": np.zeros(0), "b": np.ones(3, "u1"), "c": np.ones(5)})
    content = path.read_bytes()
    with zipfile.ZipFile(path) as written:
        infos = written.infolist()
        assert [info.filename for info in infos] == [
            *("archive/data.pkl", "archive/byteorder"),
            *(f"archive/data/{key}" for key in range(4)),
            "archive/version",
        ]
        for info in infos:
            name, extra = struct.unpack_from("<HH", content, info.header_offset + 26)
            start = info.header_offset + 30 + name + extra
            assert start % 64 == 0
            assert content[start : start + info.file_size] == written.read(info)
            assert info.compress_type == zipfile.ZIP_STORED
        assert written.read("archive/data/0") == np.arange(17, dtype="<f8").tobytes()
        assert (written.read("archive/byteorder"), written.read("archive/version")) == (b"little", b"3\n")


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    for epoch in (1, 2):
        write_checkpoint(path, {"epoch": epoch})
    assert read_checkpoint(path) == {"epoch": 2}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("tree", [{"a": np.zeros(3), "b": object()}, [np.zeros(3, "U1")], OrderedDict(a=1)])
def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path, tree: Any) -> None:
    path = tmp_path / "a.pth"
    write_checkpoint(path, {"epoch": 1})
    with pytest.raises(TypeError, match="a checkpoint cannot hold"):
        write_checkpoint(path, tree)
    assert read_checkpoint(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("room", [0, 100, 2_000, 50_000])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, room: int) -> None:
    path = tmp_path / "a.pth"
    write_checkpoint(path, {"epoch": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(CheckpointError) as caught:
            write_checkpoint(path, {"epoch": 2, "weights": np.ones(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert told(caught.value, path).endswith(f"cannot be written: {os.strerror(errno.EFBIG)}")
    assert read_checkpoint(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pth"
    write_checkpoint(path, {"epoch": 1})

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "_add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(path, {"epoch": 2})
    assert read_checkpoint(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("place", "number"),
    [("absent/a.pth", errno.ENOENT), ("folder", errno.EISDIR), ("file/a.pth", errno.ENOTDIR)],
)
def test_a_place_that_cannot_be_written(tmp_path: Path, place: str, number: int) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    path = tmp_path / place
    with pytest.raises(CheckpointError) as caught:
        write_checkpoint(path, {"epoch": 1})
    assert told(caught.value, path).endswith(f"cannot be written: {os.strerror(number)}")
    assert sorted(part.name for part in tmp_path.rglob("*")) == ["file", "folder"]


def test_an_error_without_words_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise OSError("the disk is on fire")

    monkeypatch.setattr(checkpoint, "_add", failing)
    with pytest.raises(CheckpointError, match="cannot be written: the disk is on fire"):
        write_checkpoint(tmp_path / "a.pth", {})


# PyTorch


def test_a_file_of_torch_is_read_where_torch_is_absent(tmp_path: Path) -> None:
    check_same(read_bytes(zlib.decompress(base64.b64decode(GOLDEN)), tmp_path), golden_tree())


def test_a_file_of_a_machine_of_the_other_byte_order(tmp_path: Path) -> None:
    parts = [
        (tensor(2, (2,), (1,), key="0"), np.array([1.5, -2], ">f4"), floats(1.5, -2)),
        (tensor(1, (), (), kind="torch LongStorage", key="1"), np.array(-3, ">i8"), np.array(-3)),
        (tensor(2, (2,), (1,), kind="torch BoolStorage", key="2"), np.array([True, False]), np.array([True, False])),
        (tensor(1, (1,), (1,), kind="torch BFloat16Storage", key="3"), np.array([0x3FC0], ">u2"), floats(1.5)),
    ]
    content = torch_file(
        b"(" + b"".join(body for body, _, _ in parts) + b"t",
        *(stored.tobytes() for _, stored, _ in parts),
        byteorder=b"big",
    )
    check_same(read_bytes(content, tmp_path), tuple(wanted for _, _, wanted in parts))


def test_without_a_byte_order_a_file_is_little_endian(tmp_path: Path) -> None:
    content = archive(
        ("any name/data.pkl", program(tensor(1, (1,), (1,)))),
        ("any name/version", b"3"),
        ("any name/data/0", np.array([1.5], "<f4").tobytes()),
    )
    check_same(read_bytes(content, tmp_path), floats(1.5))


@pytest.mark.torch
def test_torch_opens_ours(torch: Any, tmp_path: Path) -> None:
    values = np.arange(24).reshape(2, 3, 4)
    tree = {
        "model": {dtype: (values % 2).astype(dtype) for dtype in DTYPES},
        "transposed": values.T,
        "other byte order": values.astype(">f4"),
        "none": np.zeros((0, 3)),
        "one": np.array(2.5),
        "epoch": 3,
        "plain": [None, True, False, -1, 2**31, -(2**40), 2.5, float("inf"), "é☃\ud800", (), [], {}, (1, (2,))],
        7: "a number for a key",
    }
    write_checkpoint(tmp_path / "a.pth", tree)
    found = torch.load(tmp_path / "a.pth", weights_only=True)
    check_same(numpy_of(torch, found), as_read(tree))
    mapped = torch.load(tmp_path / "a.pth", weights_only=True, mmap=True)
    check_same(numpy_of(torch, mapped), as_read(tree))


@pytest.mark.torch
@some_examples
@given(tree=trees)
def test_torch_opens_any_of_ours(torch: Any, folder: Path, tree: Any) -> None:
    write_checkpoint(folder / "a.pth", tree)
    check_same(numpy_of(torch, torch.load(folder / "a.pth", weights_only=True)), as_read(tree))


def numpy_of(torch: Any, tree: Any) -> Any:
    """What torch read, its tensors as arrays; that they are plain leaf tensors is checked."""
    match tree:
        case dict():
            return {key: numpy_of(torch, value) for key, value in tree.items()}
        case list() | tuple():
            return type(tree)(numpy_of(torch, value) for value in tree)
        case torch.Tensor():
            assert tree.is_contiguous()
            assert not tree.requires_grad
            assert tree.device.type == "cpu"
            return tree.numpy()
    return tree


@pytest.mark.torch
def test_weights_go_to_torch_and_back(torch: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    ours = Sequential(Conv2d(3, 4, (3, 2), rng=rng), ReLU(), Conv2d(4, 1, 1, bias=False, rng=rng))
    theirs = torch.nn.Sequential(torch.nn.Conv2d(3, 4, (3, 2)), torch.nn.ReLU(), torch.nn.Conv2d(4, 1, 1, bias=False))
    write_checkpoint(tmp_path / "ours.pth", {"model": ours.state_dict()})
    theirs.load_state_dict(torch.load(tmp_path / "ours.pth", weights_only=True)["model"])
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    check_same(read_checkpoint(tmp_path / "theirs.pth"), ours.state_dict())


def views(torch: Any) -> Any:
    whole = torch.arange(24.0).reshape(2, 3, 4)
    return [whole, whole.permute(2, 0, 1), whole[:, ::2, 1:], whole[1, 2, 3], whole[0, 0, 0].expand(5, 2), whole[1:1]]


TORCH_TREES: dict[str, Callable[[Any], Any]] = {
    "views of one storage": views,
    "no axes": lambda torch: torch.tensor(2.5),
    "nothing": lambda torch: [torch.zeros(0), torch.zeros(2, 0, 3)],
    "half": lambda torch: torch.tensor([1.5, -2, 65504], dtype=torch.half),
    "complex": lambda torch: [torch.tensor([1 + 2j]), torch.tensor([1 + 2j], dtype=torch.complex128)],
    "whole numbers": lambda torch: [
        torch.tensor([-1, 7], dtype=dtype) for dtype in (torch.int8, torch.int16, torch.int32, torch.int64)
    ],
    "bool": lambda torch: torch.tensor([True, False]),
    "unsigned": lambda torch: [
        torch.tensor([1, 200], dtype=dtype) for dtype in (torch.uint8, torch.uint16, torch.uint32, torch.uint64)
    ],
    "part of unsigned": lambda torch: torch.arange(12).to(torch.uint16).reshape(3, 4).T[1:, 1],
    "parameters": lambda torch: {"w": torch.nn.Parameter(torch.ones(2)), "b": torch.ones(2, requires_grad=True)},
    "state dict": lambda torch: torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 3, 1, bias=False)
    ).state_dict(),
    "channels last": lambda torch: torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last),
    "the course's pairs": lambda torch: (
        torch.arange(48, dtype=torch.uint8).reshape(1, 3, 4, 4),
        torch.arange(48, 96, dtype=torch.uint8).reshape(1, 3, 4, 4),
    ),
    "plain values": lambda torch: {"a": [1, 2.5, None, True, "é", 2**70, -1, 255, 256, 65536, (1, 2), ()], 3: {}},
    "the same thing twice": lambda torch: [[1, "a"]] * 2,
}


@pytest.mark.torch
@pytest.mark.parametrize("name", TORCH_TREES)
def test_ours_opens_what_torch_saves(torch: Any, tmp_path: Path, name: str) -> None:
    tree = TORCH_TREES[name](torch)
    torch.save(tree, tmp_path / "a.pth")
    found = read_checkpoint(tmp_path / "a.pth")
    check_same(found, as_read(detached(torch, tree)))
    assert all(array.flags.c_contiguous and array.flags.writeable for array in arrays_of(found))


def detached(torch: Any, tree: Any) -> Any:
    match tree:
        case dict():
            return {key: detached(torch, value) for key, value in tree.items()}
        case list() | tuple():
            return type(tree)(detached(torch, value) for value in tree)
        case torch.Tensor():
            return tree.detach().numpy()
    return tree


@pytest.mark.torch
@pytest.mark.parametrize("view", ["whole", "transposed", "strided", "no axes", "nothing"])
def test_bfloat16_becomes_float32(torch: Any, tmp_path: Path, view: str) -> None:
    whole = torch.linspace(-3, 1e30, 12).reshape(3, 4).bfloat16()
    part = {
        "whole": whole,
        "transposed": whole.T,
        "strided": whole[1:, ::2],
        "no axes": whole[1, 2],
        "nothing": whole[:0],
    }[view]
    torch.save({"a": part}, tmp_path / "a.pth")
    found = read_checkpoint(tmp_path / "a.pth")["a"]
    check_same(found, as_read(part.float().numpy()))
    assert found.flags.c_contiguous
    assert found.flags.writeable


@pytest.mark.torch
@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda torch: torch.tensor([1 + 2j]).conj(), "resolve_conj"),
        (lambda torch: torch.tensor([1 + 2j]).conj().imag, "resolve_neg"),
        (lambda torch: torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        (lambda torch: torch.eye(2).to_sparse(), "_rebuild_sparse_tensor"),
        (lambda torch: torch.ones(2).to(torch.float8_e5m2), "torch.float8_e5m2"),
        (lambda torch: {"lr": np.float64(1)}, "scalar"),
        (lambda torch: print, "print"),
    ],
    ids=["conjugate", "negative", "module", "sparse", "float8", "numpy", "function"],
)
def test_what_torch_saves_beyond_tensors_is_refused(
    torch: Any, tmp_path: Path, make: Callable[[Any], Any], named: str
) -> None:
    torch.save({"a": make(torch)}, tmp_path / "a.pth")
    assert named in refusal(tmp_path / "a.pth")


@pytest.mark.torch
def test_the_format_of_before_2020_has_a_way_to_convert_it(torch: Any, tmp_path: Path) -> None:
    old, new = tmp_path / "old.pth", tmp_path / "new.pth"
    torch.save({"a": torch.ones(2)}, old, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match="before 2020") as caught:
        read_checkpoint(old)
    assert caught.value.hint
    assert 'torch.save(torch.load("old.pth"), "new.pth")' in caught.value.hint
    torch.save(torch.load(old), new)
    check_same(read_checkpoint(new), {"a": floats(1, 1)})


def test_the_format_of_before_2020_is_known_without_torch(tmp_path: Path) -> None:
    magic = program(number(0x1950A86A20F9469CFC6C))
    assert "before 2020" in refusal_of(magic + program(b"M\xe9\x03"), tmp_path)


# State dicts


STATE = {"0.weight": np.ones((2, 1, 1, 1)), "0.bias": np.zeros(2)}


@pytest.mark.parametrize(
    "tree",
    [
        STATE,
        {"model": STATE, "epoch": 3},
        {"params_ema": STATE, "params": {"0.weight": np.zeros(1)}},
        {"params": STATE},
        {"state_dict": STATE, "optimizer": {}},
        {"state_dict": {f"module.{name}": value for name, value in STATE.items()}},
        {f"_orig_mod.{name}": value for name, value in STATE.items()},
        {f"module._orig_mod.{name}": value for name, value in STATE.items()},
        {f"_orig_mod.module.{name}": value for name, value in STATE.items()},
    ],
    ids=lambda tree: " ".join(tree),
)
def test_state_dicts_are_unwrapped(tree: Any) -> None:
    found = unwrap_state_dict(tree, path="a.pth")
    assert list(found) == list(STATE)
    assert all(found[name] is value for name, value in STATE.items())


def test_a_prefix_that_only_some_names_have_is_part_of_the_name() -> None:
    tree = {"module.0.weight": np.ones(1), "gain": np.ones(1)}
    assert list(unwrap_state_dict(tree, path="a.pth")) == list(tree)


@pytest.mark.parametrize(
    "tree",
    [
        *(None, 3, [], {}, np.ones(1), [np.ones(1)], {"a": 1}, {"a": np.ones(1), "epoch": 1}),
        *({"model": 1}, {"model": {}}, {"model": {"a": [np.ones(1)]}}, {"model": {"model": STATE}}),
    ],
    ids=repr,
)
def test_what_holds_no_state_dict(tree: Any) -> None:
    with pytest.raises(CheckpointError, match="holds no state dict") as caught:
        unwrap_state_dict(tree, path="a.pth")
    told(caught.value, "a.pth")


# No such file


def test_a_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a.pth").startswith("there is no checkpoint")


def test_a_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path).endswith("is a folder, not a checkpoint")


def test_an_empty_file(tmp_path: Path) -> None:
    assert refusal_of(b"", tmp_path).endswith("is empty")


def test_a_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert refusal(tmp_path / "file" / "a.pth").endswith(f"cannot be read: {os.strerror(errno.ENOTDIR)}")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pth"
    write_checkpoint(path, {})
    if os.geteuid() == 0:  # who may read everything

        def forbidden(*_: object, **__: object) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

        monkeypatch.setattr(Path, "open", forbidden)
    else:
        path.chmod(0)
    assert refusal(path).endswith(f"cannot be read: {os.strerror(errno.EACCES)}")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
def test_a_file_without_an_end() -> None:
    assert "not in PyTorch's zip format" in refusal("/dev/zero")


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n", b"{}", b"\x00" * 100, b"P", b"PK\x05\x06" + bytes(18), b"\x80\x02N."], ids=repr
)
def test_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    assert "is not a checkpoint" in refusal_of(content, tmp_path)


# Hostile and damaged archives

BODY = tensor(2, (2,), (1,))
DATA = floats(1, 2).tobytes()
USUAL = {"data.pkl": program(BODY), "byteorder": b"little", "version": b"3\n", "data/0": DATA}


def entries(**changed: bytes) -> list[tuple[str, bytes]]:
    return [(f"archive/{name}", content) for name, content in (USUAL | changed).items()]


def central(content: bytes, name: str) -> int:
    """Where the directory's record of an entry starts."""
    return content.rindex(b"PK\x01\x02", 0, content.rindex(name.encode()))


def patched(name: str, offset: int, layout: str, value: int) -> bytes:
    """The usual file with one field of a record of its directory changed."""
    content = bytearray(archive(*entries()))
    struct.pack_into(layout, content, central(bytes(content), name) + offset, value)
    return bytes(content)


def test_the_usual_file_is_read(tmp_path: Path) -> None:
    check_same(read_bytes(archive(*entries()), tmp_path), floats(1, 2))
    check_same(read_bytes(patched("archive/data/0", 10, "<H", 0), tmp_path), floats(1, 2))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("archive/../data/1", "name 'archive/../data/1'"),
        ("archive/data/../../x", "name 'archive/data/../../x'"),
        ("archive/./x", "name 'archive/./x'"),
        ("../x", "name '../x'"),
        ("/archive/x", "name '/archive/x'"),
        ("archive//x", "name 'archive//x'"),
        ("archive/data/", "name 'archive/data/'"),
        ("archive", "name 'archive'"),
        ("archive/a\\x", "name 'archive/a\\\\x'"),
        ("archive/a\nb", "name 'archive/a\\nb'"),
        ("archive/\x1b[2J", "name 'archive/\\x1b[2J'"),
        ("other/x", "2 top folders"),
        ("archive/data/0", "two entries `data/0`"),
        ("archive/data.pkl", "two entries `data.pkl`"),
        ("archive/constants.pkl", "TorchScript"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_torch_does_not_write(tmp_path: Path, name: str, told: str) -> None:
    assert told in refusal_of(archive(*entries(), (name, b"more")), tmp_path)


@pytest.mark.parametrize("name", ["data.pkl", "version", "data/0"])
def test_an_entry_that_is_absent(tmp_path: Path, name: str) -> None:
    less = [entry for entry in entries() if entry[0] != f"archive/{name}"]
    assert "no entry" in refusal_of(archive(*less), tmp_path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("name", ["archive/data.pkl", "archive/data/0"])
def test_a_compressed_entry(tmp_path: Path, name: str, method: int) -> None:
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as written:
        for entry, content in entries():
            written.writestr(entry, content, method if entry == name else zipfile.ZIP_STORED)
    assert f"`{name.removeprefix('archive/')}` is compressed" in refusal(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (patched("archive/data/0", 8, "<H", 1), "`data/0` is encrypted"),
        (patched("archive/data/0", 8, "<H", 0x40), "damaged"),
        (patched("archive/data/0", 10, "<H", 8), "`data/0` is compressed"),
        (patched("archive/data/0", 24, "<I", 4), "`data/0` is compressed"),
        (patched("archive/data/0", 16, "<I", 0), "CRC"),
        (patched("archive/data.pkl", 16, "<I", 0), "CRC"),
        (patched("archive/version", 16, "<I", 0), "CRC"),
        (patched("archive/data/0", 42, "<I", 0), "does not stand where it should"),
        (patched("archive/data/0", 42, "<I", 60), "does not stand where it should"),
        (patched("archive/data.pkl", 42, "<I", 10), "does not stand where it should"),
        (patched("archive/version", 46 + len("archive/"), "<B", ord("b")), "damaged"),
        (b"PK\x03\x04 in front" + archive(*entries()), "does not stand where it should"),
        (archive(*entries()) + b"behind", "cut off, or something stands behind its end"),
        (archive(*entries(version=b"0")), "version b'0', known are 1 to 10"),
        (archive(*entries(version=b"11\n")), "version b'11'"),
        (archive(*entries(version=b"three")), "version b'three'"),
        (archive(*entries(version=b"3" * 17)), "`version` has more than 16 bytes"),
        (archive(*entries(byteorder=b"middle")), "byte order is b'middle'"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_an_archive_that_lies(tmp_path: Path, content: bytes, told: str) -> None:
    assert told in refusal_of(content, tmp_path)


def test_both_sizes_of_an_entry_beyond_the_file(tmp_path: Path) -> None:
    content = bytearray(archive(*entries()))
    struct.pack_into("<II", content, central(bytes(content), "archive/data/0") + 20, 2**30, 2**30)
    assert "overlap" in refusal_of(bytes(content), tmp_path)


def test_a_program_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "MAX_PROGRAM_BYTES", 10)
    assert "`data.pkl` has more than 10 bytes" in refusal_of(torch_file(BODY, DATA), tmp_path)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (tensor(3, (3,), (1,)), "has 8 bytes for 3 elements of 4"),
        (tensor(1, (1,), (1,)), "has 8 bytes for 1 elements of 4"),
        (tensor(2, (2,), (1,), kind="torch DoubleStorage"), "has 8 bytes for 2 elements of 8"),
        (tensor(0, (0,), (1,)), "has 8 bytes for 0 elements"),
        (tensor(2**61, (2,), (1,)), "has 8 bytes for"),
        (tensor(2, (2,), (1,), key="1"), "no entry for the storage '1'"),
        (tensor(2, (3,), (1,)), "size (3,) that reaches beyond its storage '0'"),
        (tensor(2, (2,), (1,), offset=1), "beyond its storage"),
        (tensor(2, (), (), offset=2), "beyond its storage"),
        (tensor(2, (2,), (2,)), "beyond its storage"),
        (tensor(2, (2, 2), (1, 1)), "beyond its storage"),
        (tensor(2, (2**61, 2**61), (1, 1)), "beyond its storage"),
        (tensor(2, (10**9,), (0,)), "far more memory"),
        (tensor(2, (2**61, 2**61), (0, 0)), "far more memory"),
        (b"](" + tensor(2, (6_000_000,), (0,)) * 3 + b"e", "far more memory"),
        (tensor(2, (2**61, 2**61, 0), (0, 0, 0)), "damaged"),
        (tensor(2, (1,), (2**61,)), "damaged"),
        (
            call(
                "torch._utils _rebuild_tensor_v3",
                storage(7, "torch.storage UntypedStorage"),
                *(number(0), numbers((3,)), numbers((1,)), b"\x89", HOOKS, b"ctorch\nuint16\n"),
            ),
            "has 8 bytes for 3 elements of 2",
        ),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_a_tensor_that_lies_is_refused_before_memory_is_spent(tmp_path: Path, body: bytes, told: str) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(torch_file(body, DATA))
    tracemalloc.start()
    try:
        message = refusal(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert told in message
    assert peak < 100_000_000


@pytest.mark.parametrize(
    ("size", "stride", "offset"), [((2,), (1,), 0), ((1,), (5,), 1), ((2, 2), (0, 1), 0), ((), (), 1), ((0,), (9,), 9)]
)
def test_a_tensor_within_its_storage_is_read(
    tmp_path: Path, size: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> None:
    found = read_bytes(torch_file(tensor(2, size, stride, offset=offset), DATA), tmp_path)
    wanted = np.empty(size, np.float32)
    for place in np.ndindex(*size):
        wanted[place] = floats(1, 2)[offset + sum(i * s for i, s in zip(place, stride, strict=True))]
    check_same(found, wanted)


@pytest.mark.parametrize("version", [b"1", b"3\n", b"10\n"])
def test_the_versions_of_the_format_that_are_known(tmp_path: Path, version: bytes) -> None:
    check_same(read_bytes(archive(*entries(version=version)), tmp_path), floats(1, 2))


def test_truth_values_are_0_or_1(tmp_path: Path) -> None:
    body = tensor(2, (2,), (1,), kind="torch BoolStorage")
    check_same(read_bytes(torch_file(body, b"\x00\x01"), tmp_path), np.array([False, True]))
    assert "neither 0 nor 1" in refusal_of(torch_file(body, b"\x00\x02"), tmp_path)


def test_a_part_does_not_keep_its_whole_storage_in_memory(tmp_path: Path) -> None:
    found = read_bytes(torch_file(tensor(1000, (2,), (1,)), bytes(4000)), tmp_path)
    assert found.base is None


def test_a_program_is_not_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    message = refusal_of(torch_file(call("posix system", text(f"touch {made}"))), tmp_path)
    assert "nothing in it was run: it asks for `posix.system`" in message
    assert not made.exists()


# Damage

SMALL = {"weight": floats(1.5, -2), "epoch": 3, "flag": True}


@pytest.fixture(scope="module")
def small(folder: Path) -> bytes:
    write_checkpoint(folder / "small.pth", SMALL)
    return (folder / "small.pth").read_bytes()


def test_a_file_that_is_cut_off_is_never_read(small: bytes, tmp_path: Path) -> None:
    for length in range(1, len(small)):
        message = refusal_of(small[:length], tmp_path)
        assert "is damaged" in message or (length < 4 and "is not a checkpoint" in message)


@pytest.mark.parametrize("writer", ["ours", "torch's"])
def test_a_flipped_bit_is_noticed_or_changes_nothing(small: bytes, tmp_path: Path, writer: str) -> None:
    """Every bit of a small file of ours; of PyTorch's larger one, one bit of every byte."""
    if writer == "ours":
        content, wanted, bits = bytearray(small), SMALL, [1 << bit for bit in range(8)]
    else:
        content, wanted, bits = bytearray(zlib.decompress(base64.b64decode(GOLDEN))), golden_tree(), [0]
    path, noticed = tmp_path / "a.pth", 0
    for place in range(len(content)):
        for mask in bits:
            flip = mask or 1 << place % 8
            content[place] ^= flip
            path.write_bytes(content)
            content[place] ^= flip
            try:
                found = read_checkpoint(path)
            except CheckpointError as error:
                told(error, path)
                noticed += 1
            else:
                check_same(found, wanted)
    assert noticed > len(content) * len(bits) / 4


# The promise


def unsafe(source: str) -> list[str]:
    """What in a program can run what a file says."""
    modules = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle"}
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names):
                found += [name.name for name in names if name.name.split(".")[0] in modules]
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in modules:
                found.append(module)
            case ast.Call(func=ast.Name(("eval" | "exec" | "compile" | "__import__") as name)):
                found.append(name)
            case ast.Call(func=ast.Attribute(ast.Name("builtins"), name)):
                found.append(name)
            case ast.keyword(arg="allow_pickle", value=value) if getattr(value, "value", None) is not False:
                found.append("allow_pickle")
    return found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import pickle", ["pickle"]),
        ("import os, pickle as p", ["pickle"]),
        ("from pickle import loads", ["pickle"]),
        ("x = eval('1')", ["eval"]),
        ("def f():\n    exec('1')", ["exec"]),
        ("builtins.eval('1')", ["eval"]),
        ("np.load(f, allow_pickle=True)", ["allow_pickle"]),
        ("np.load(f, allow_pickle=flag)", ["allow_pickle"]),
        ("np.load(f, allow_pickle=False)\nnetwork.eval()\nre.compile('a')  # pickle", []),
    ],
)
def test_what_is_unsafe_is_found(source: str, found: list[str]) -> None:
    assert unsafe(source) == found


def test_nothing_in_the_package_can_run_what_a_file_says() -> None:
    root = Path(n2n_cli.__file__).parent
    files = sorted(root.rglob("*.py"))
    assert root / "checkpoint.py" in files
    assert {str(file): unsafe(file.read_text()) for file in files if unsafe(file.read_text())} == {}
