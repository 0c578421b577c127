from __future__ import annotations

import errno
import os
import resource
import struct
import time
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.checkpoints.file import read_checkpoint, unwrap_state_dict, write_checkpoint
from n2n_cli.checkpoints.pth import limits
from n2n_cli.checkpoints.pth.tensors import Tensors
from n2n_cli.errors import CheckpointError
from n2n_cli.nn import Conv2d
from tests.checkpoints.pth.files import (
    checked_message,
    refusal,
    refusal_of,
)
from tests.pickles import check_same
from tests.system.test_atomic_files import open_folder, without_privileges

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
            "archive/sha256",
        ]
        for info in infos:
            name, extra = struct.unpack_from("<HH", content, info.header_offset + 26)
            start = info.header_offset + 30 + name + extra
            assert start % 64 == 0
            assert content[start : start + info.file_size] == written.read(info)
            assert info.compress_type == zipfile.ZIP_STORED
        assert written.read("archive/data/0") == np.arange(17, dtype="<f8").tobytes()
        assert (written.read("archive/byteorder"), written.read("archive/version")) == (b"little", b"3\n")


def test_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    for epoch in (1, 2):
        write_checkpoint(path, {"epoch": epoch})
    assert read_checkpoint(path) == {"epoch": 2}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("tree", [{"a": np.zeros(3), "b": object()}, [np.zeros(3, "U1")], OrderedDict(a=1)])
def test_unsupported_values_leave_the_old_file(tmp_path: Path, tree: Any) -> None:
    path = tmp_path / "a.pth"
    write_checkpoint(path, {"epoch": 1})
    with pytest.raises(TypeError, match="a checkpoint cannot hold"):
        write_checkpoint(path, tree)
    assert read_checkpoint(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("room", [0, 100, 2_000, 50_000])
def test_full_disk_leaves_the_old_file(tmp_path: Path, room: int) -> None:
    path = tmp_path / "a.pth"
    write_checkpoint(path, {"epoch": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(CheckpointError) as caught:
            write_checkpoint(path, {"epoch": 2, "weights": np.ones(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checked_message(caught.value, path).endswith(f"cannot be written: {os.strerror(errno.EFBIG)}")
    assert read_checkpoint(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("place", "number"),
    [("absent/a.pth", errno.ENOENT), ("folder", errno.EISDIR), ("file/a.pth", errno.ENOTDIR)],
)
def test_unwritable_place_is_refused(tmp_path: Path, place: str, number: int) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    path = tmp_path / place
    with pytest.raises(CheckpointError) as caught:
        write_checkpoint(path, {"epoch": 1})
    assert checked_message(caught.value, path).endswith(f"cannot be written: {os.strerror(number)}")
    assert sorted(part.name for part in tmp_path.rglob("*")) == ["file", "folder"]


def test_error_without_errno_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise OSError("the disk is on fire")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(CheckpointError, match="cannot be written: the disk is on fire"):
        write_checkpoint(tmp_path / "a.pth", {})


# Limits


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        ([None] * 1_000_000, "more than 1,000,000 steps"),
        ({"a" * 16_000_001: 1}, "more than 16,000,000 bytes of text"),
        ([np.zeros(1)] * 20_001, "more than 20,000 storages"),
        (["a" * 64_000_000], "data.pkl has more than 64,000,000 bytes"),
        (dict.fromkeys(range(490_000)), "more memory than the file has bytes"),
    ],
    ids=["steps", "text", "storages", "program", "memory"],
)
def test_tree_beyond_the_reader_s_limits_is_not_written(tmp_path: Path, tree: Any, reason: str) -> None:
    path = tmp_path / "a.pth"
    write_checkpoint(path, {"epoch": 1})
    with pytest.raises(CheckpointError) as caught:
        write_checkpoint(path, tree)
    assert f"`{path}` cannot be written, it could not be read again: " in caught.value.message
    assert reason in caught.value.message
    assert read_checkpoint(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_history_of_25000_epochs_round_trip(tmp_path: Path) -> None:
    record = {f"figure number {i}": 0.5 for i in range(12)}
    write_checkpoint(tmp_path / "a.pth", {"history": [record] * 25_000})
    assert len(read_checkpoint(tmp_path / "a.pth")["history"]) == 25_000


def test_largest_written_directory_is_within_the_reader_s_limit() -> None:
    """Compute the directory's size from that of its longest record.

    A record has a name, at most 63 bytes of padding, and a padding header of 4 bytes.
    """
    record = 46 + len(f"archive/data/{limits.MAX_STORAGES - 1}") + 4 + 63
    assert (limits.MAX_STORAGES + 4) * record <= limits.MAX_DIRECTORY_BYTES


def test_half_precision_weights_round_trip_and_load(tmp_path: Path, rng: np.random.Generator) -> None:
    network, other = Conv2d(3, 4, 3, rng=rng), Conv2d(3, 4, 3, rng=rng)
    halves = {name: value.astype(np.float16) for name, value in network.state_dict().items()}
    write_checkpoint(tmp_path / "a.pth", {"model": halves})
    found = unwrap_state_dict(read_checkpoint(tmp_path / "a.pth"), halves, path="a.pth")
    check_same(found, halves)
    other.load_state_dict(found)
    check_same(other.state_dict(), {name: value.astype(np.float32) for name, value in halves.items()})


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
        {"state_dict": {f"model.{name}": value for name, value in STATE.items()}, "epoch": 3},  # PyTorch Lightning
        {f"generator.{name}": value for name, value in STATE.items()},
        {"model": {f"net.body.{name}": value for name, value in STATE.items()}},
    ],
    ids=lambda tree: " ".join(tree),
)
def test_state_dicts_are_unwrapped(tree: Any) -> None:
    found = unwrap_state_dict(tree, STATE, path="a.pth")
    assert list(found) == list(STATE)
    assert all(found[name] is value for name, value in STATE.items())


def test_prefix_of_some_names_is_kept() -> None:
    tree = {"module.0.weight": np.ones(1), "gain": np.ones(1)}
    assert list(unwrap_state_dict(tree, ["0.weight", "gain"], path="a.pth")) == list(tree)


def test_container_of_all_layers_is_not_a_prefix() -> None:
    tree = {"0.0.weight": np.ones(1), "0.1.weight": np.ones(1)}
    assert list(unwrap_state_dict(tree, tree, path="a.pth")) == list(tree)
    wrapped = {f"0.{name}": value for name, value in tree.items()}
    assert list(unwrap_state_dict(wrapped, tree, path="a.pth")) == list(tree)
    alone = {"model.0.weight": np.ones(1)}
    assert list(unwrap_state_dict(alone, ["0.weight"], path="a.pth")) == ["0.weight"]


def test_names_of_another_network_keep_their_prefix() -> None:
    tree = {"net.conv1.weight": np.ones(1), "net.conv2.weight": np.ones(1)}
    assert list(unwrap_state_dict(tree, ["0.weight"], path="a.pth")) == list(tree)
    some = {"net.0.weight": np.ones(1), "net.conv2.weight": np.ones(1)}
    assert list(unwrap_state_dict(some, ["0.weight"], path="a.pth")) == ["0.weight", "conv2.weight"]


@pytest.mark.parametrize(
    "tree",
    [
        *(None, 3, [], {}, np.ones(1), [np.ones(1)], {"a": 1}, {"a": np.ones(1), "epoch": 1}),
        *({"model": 1}, {"model": {}}, {"model": {"a": [np.ones(1)]}}, {"model": {"model": STATE}}),
    ],
    ids=repr,
)
def test_tree_without_a_state_dict_is_refused(tree: Any) -> None:
    with pytest.raises(CheckpointError, match="holds no state dict") as caught:
        unwrap_state_dict(tree, STATE, path="a.pth")
    checked_message(caught.value, "a.pth")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (1, "the name 1"),
        ("a\x1b[2J", r"the name 'a\\x1b\[2J'"),
        ("a\nb", r"the name 'a\\nb'"),
        ("a" * 1001, "the name 'a{50}'\\.\\.\\."),
    ],
    ids=["number", "escape", "line", "long"],
)
def test_invalid_tensor_name_is_refused(name: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        unwrap_state_dict({"1": np.ones(1), name: np.zeros(1)}, ["1"], path="a.pth")


def test_many_repeated_prefixes_are_removed_quickly() -> None:
    names = ["module." * 142 + f"{i}" for i in range(10_000)]
    state = dict.fromkeys(names, np.ones(1))
    began = time.monotonic()
    found = unwrap_state_dict(state, [name.removeprefix("module." * 8) for name in names], path="a.pth")
    assert next(iter(found)) == "module." * 134 + "0"
    assert time.monotonic() - began < 2


# Unreadable paths


def test_missing_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a.pth").startswith("there is no checkpoint")


def test_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path).endswith("is a folder, not a checkpoint")


def test_empty_file_is_refused(tmp_path: Path) -> None:
    assert refusal_of(b"", tmp_path).endswith("is empty")


def test_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert refusal(tmp_path / "file" / "a.pth").endswith(f"cannot be read: {os.strerror(errno.ENOTDIR)}")


def test_file_without_permission_is_refused() -> None:
    with open_folder() as folder:
        path = folder / "a.pth"
        write_checkpoint(path, {})
        path.chmod(0)
        with without_privileges():
            assert refusal(path).endswith(f"cannot be read: {os.strerror(errno.EACCES)}")


def test_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.pth")
    assert "is a pipe or a device" in refusal(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n", b"{}", b"\x00" * 100, b"P", b"PK\x05\x06" + bytes(18), b"\x80\x02N."], ids=repr
)
def test_other_file_formats_are_refused(tmp_path: Path, content: bytes) -> None:
    assert "is not a checkpoint" in refusal_of(content, tmp_path)


def test_lack_of_memory_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*_: object) -> None:
        raise MemoryError

    write_checkpoint(tmp_path / "a.pth", {"a": np.ones(1)})
    monkeypatch.setattr(Tensors, "make", greedy)
    assert refusal(tmp_path / "a.pth").endswith("needs more memory than there is")


def test_damage_is_reported_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_: object) -> None:
        raise ValueError("a\nb\x1b[2J" + "c" * 300)

    write_checkpoint(tmp_path / "a.pth", {"a": np.ones(1)})
    monkeypatch.setattr(Tensors, "make", damaged)
    assert r"is damaged: 'a\nb\x1b[2Jc" in refusal(tmp_path / "a.pth")
