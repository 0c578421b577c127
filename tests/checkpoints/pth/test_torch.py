from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from n2n_cli.checkpoints.file import read_checkpoint, write_checkpoint
from n2n_cli.errors import CheckpointError
from tests.checkpoints.pth.files import (
    DTYPES,
    GOLDEN,
    arrays_of,
    as_read,
    floats,
    golden_tree,
    read_bytes,
    refusal,
    refusal_of,
    trees,
)
from tests.nn.cases import some_examples
from tests.pickles import archive, check_same, number, program, tensor, torch_file


def test_torch_file_is_read_without_torch(tmp_path: Path) -> None:
    check_same(read_bytes(zlib.decompress(base64.b64decode(GOLDEN)), tmp_path), golden_tree())


def test_big_endian_file_is_read(tmp_path: Path) -> None:
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


def test_byte_order_defaults_to_little_endian(tmp_path: Path) -> None:
    content = archive(
        ("any name/data.pkl", program(tensor(1, (1,), (1,)))),
        ("any name/version", b"3"),
        ("any name/data/0", np.array([1.5], "<f4").tobytes()),
    )
    check_same(read_bytes(content, tmp_path), floats(1.5))


@pytest.mark.torch
def test_torch_reads_a_file_of_n2n(torch: Any, tmp_path: Path) -> None:
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
def test_torch_reads_random_trees_of_n2n(torch: Any, folder: Path, tree: Any) -> None:
    write_checkpoint(folder / "a.pth", tree)
    check_same(numpy_of(torch, torch.load(folder / "a.pth", weights_only=True)), as_read(tree))


def numpy_of(torch: Any, tree: Any) -> Any:
    """The tree with arrays for its tensors, which must be plain leaf tensors."""
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
def test_n2n_reads_a_file_of_torch(torch: Any, tmp_path: Path, name: str) -> None:
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
def test_torch_objects_other_than_tensors_are_refused(
    torch: Any, tmp_path: Path, make: Callable[[Any], Any], named: str
) -> None:
    torch.save({"a": make(torch)}, tmp_path / "a.pth")
    assert named in refusal(tmp_path / "a.pth")


@pytest.mark.torch
def test_hint_converts_the_format_of_before_2020(torch: Any, tmp_path: Path) -> None:
    old, new = tmp_path / "old.pth", tmp_path / "new.pth"
    torch.save({"a": torch.ones(2)}, old, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match="before 2020") as caught:
        read_checkpoint(old)
    assert caught.value.hint
    assert 'torch.save(torch.load("old.pth"), "new.pth")' in caught.value.hint
    torch.save(torch.load(old), new)
    check_same(read_checkpoint(new), {"a": floats(1, 1)})


def test_format_of_before_2020_is_recognised_without_torch(tmp_path: Path) -> None:
    magic = program(number(0x1950A86A20F9469CFC6C))
    assert "before 2020" in refusal_of(magic + program(b"M\xe9\x03"), tmp_path)
