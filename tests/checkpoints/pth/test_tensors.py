from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from n2n_cli.checkpoints.file import read_checkpoint
from n2n_cli.checkpoints.pth import limits
from n2n_cli.checkpoints.pth.archive import Archive
from n2n_cli.checkpoints.pth.limits import ROOM, Refused
from n2n_cli.checkpoints.pth.names import StorageRef
from n2n_cli.checkpoints.pth.tensors import Tensors
from tests.checkpoints.pth.files import (
    DATA,
    floats,
    read_bytes,
    refusal,
    refusal_of,
)
from tests.pickles import HOOKS, call, check_same, number, numbers, storage, tensor, torch_file


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (tensor(3, (3,), (1,)), "has 8 bytes for 3 elements of 4"),
        (tensor(1, (1,), (1,)), "has 8 bytes for 1 elements of 4"),
        (tensor(2, (2,), (1,), kind="torch DoubleStorage"), "has 8 bytes for 2 elements of 8"),
        (tensor(0, (0,), (1,)), "has 8 bytes for 0 elements"),
        (tensor(2**61, (2,), (1,)), "has 8 bytes for"),
        (tensor(2, (2,), (1,), key="1"), "no entry `data/1`"),
        (tensor(2, (3,), (1,)), "size (3,) that reaches beyond its storage '0'"),
        (tensor(2, (2,), (1,), offset=1), "beyond its storage"),
        (tensor(2, (), (), offset=2), "beyond its storage"),
        (tensor(2, (2,), (2,)), "beyond its storage"),
        (tensor(2, (2, 2), (1, 1)), "beyond its storage"),
        (tensor(2, (2**61, 2**61), (1, 1)), "beyond its storage"),
        (tensor(2, (10**9,), (0,)), "far more memory"),
        (tensor(2, (2**61, 2**61), (0, 0)), "far more memory"),
        (b"](" + tensor(2, (6_000_000,), (0,)) * 3 + b"e", "far more memory"),
        (tensor(2, (2**61, 2**61, 0), (0, 0, 0)), "which no array can have"),
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
def test_inconsistent_tensor_is_refused_before_memory_is_allocated(tmp_path: Path, body: bytes, reason: str) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(torch_file(body, DATA))
    tracemalloc.start()
    try:
        message = refusal(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reason in message
    assert peak < 100_000_000


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [((2,), (1,), 0), ((1,), (5,), 1), ((2, 2), (0, 1), 0), ((), (), 1), ((0,), (9,), 9), ((1,), (2**61,), 1)],
)
def test_tensor_within_its_storage_is_read(
    tmp_path: Path, size: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> None:
    found = read_bytes(torch_file(tensor(2, size, stride, offset=offset), DATA), tmp_path)
    wanted = np.empty(size, np.float32)
    for place in np.ndindex(*size):
        wanted[place] = floats(1, 2)[offset + sum(i * s for i, s in zip(place, stride, strict=True))]
    check_same(found, wanted)


def test_booleans_must_be_0_or_1(tmp_path: Path) -> None:
    body = tensor(2, (2,), (1,), kind="torch BoolStorage")
    check_same(read_bytes(torch_file(body, b"\x00\x01"), tmp_path), np.array([False, True]))
    assert "neither 0 nor 1" in refusal_of(torch_file(body, b"\x00\x02"), tmp_path)


def test_view_of_a_storage_is_copied(tmp_path: Path) -> None:
    found = read_bytes(torch_file(tensor(1000, (2,), (1,)), bytes(4000)), tmp_path)
    assert found.base is None


# Memory


def test_memory_limit_counts_the_element_size(tmp_path: Path) -> None:
    """A file of bytes (the course's pairs) needs as much memory as it has bytes."""
    stored = np.arange(200_000, dtype="u1")
    content = torch_file(tensor(200_000, (200_000,), (1,), kind="torch ByteStorage"), stored.tobytes())
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with path.open("rb") as file:
        tensors = Tensors(Archive(file), "<")
        ref = StorageRef("0", "u1", 200_000)
        tensors.check(ref, 0, (200_000,), (1,))
        tensors.check(ref, 0, (200_000 + ROOM,), (0,))
        with pytest.raises(Refused, match="far more memory"):
            tensors.check(ref, 0, (10_000,), (0,))


def test_number_of_storages_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b"](" + tensor(2, (2,), (1,)) + tensor(2, (2,), (1,), key="1") + tensor(2, (2,), (1,)) + b"e"
    monkeypatch.setattr(limits, "MAX_STORAGES", 2)
    check_same(read_bytes(torch_file(body, DATA, DATA), tmp_path), [floats(1, 2)] * 3)
    monkeypatch.setattr(limits, "MAX_STORAGES", 1)
    assert "more than 1 storages" in refusal_of(torch_file(body, DATA, DATA), tmp_path)


def test_storages_are_freed_after_use(tmp_path: Path) -> None:
    """Read ten storages of 1 MB that are stored in another memory order.

    Memory holds ten results, and one storage at a time.
    """
    many = b"](" + b"".join(tensor(250_000, (500, 500), (1, 500), key=str(i)) for i in range(10)) + b"e"
    path = tmp_path / "a.pth"
    path.write_bytes(torch_file(many, *[bytes(1_000_000)] * 10))
    tracemalloc.start()
    try:
        found = read_checkpoint(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == 10
    assert peak < 14_000_000


def test_contiguous_tensor_is_read_without_a_copy(tmp_path: Path) -> None:
    """Reading without a copy takes the 8 MB of the tensor and a chunk of the file."""
    path = tmp_path / "a.pth"
    path.write_bytes(torch_file(tensor(2_000_000, (1000, 2000), (2000, 1)), bytes(8_000_000)))
    tracemalloc.start()
    try:
        read_checkpoint(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 13_000_000
