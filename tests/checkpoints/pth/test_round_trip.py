from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from n2n_cli.checkpoints.file import read_checkpoint, write_checkpoint
from tests.checkpoints.pth.files import (
    DTYPES,
    arrays_of,
    as_read,
    floats,
    read_bytes,
    trees,
)
from tests.nn.cases import some_examples
from tests.pickles import check_same, tensor, torch_file


@some_examples
@given(trees)
def test_tree_round_trip(folder: Path, tree: Any) -> None:
    write_checkpoint(folder / "a.pth", tree)
    found = read_checkpoint(folder / "a.pth")
    check_same(found, as_read(tree))
    for array in arrays_of(found):
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert array.dtype.isnative


@pytest.mark.parametrize("dtype", DTYPES)
def test_element_type_round_trip(tmp_path: Path, dtype: str) -> None:
    array = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    tree = [array, array.T, array[:, ::2], array[0, 1], array.astype(array.dtype.newbyteorder(">"))[1:]]
    tree = [np.asarray(part) for part in tree]
    write_checkpoint(tmp_path / "a.pth", tree)
    check_same(read_checkpoint(tmp_path / "a.pth"), as_read(tree))


@some_examples
@given(trees)
def test_equal_trees_give_equal_bytes(folder: Path, tree: Any) -> None:
    write_checkpoint(folder / "one.pth", tree)
    write_checkpoint(str(folder / "other name"), as_read(tree))
    assert (folder / "one.pth").read_bytes() == (folder / "other name").read_bytes()


def test_arrays_of_one_file_do_not_share_memory(tmp_path: Path) -> None:
    body = b"](" + tensor(4, (4,), (1,)) + tensor(4, (2, 2), (2, 1)) + tensor(4, (2,), (1,), offset=2) + b"e"
    found = read_bytes(torch_file(body, np.arange(4, dtype="<f4").tobytes()), tmp_path)
    for array in found:
        array += 100
    check_same(found, [floats(100, 101, 102, 103), floats(100, 101, 102, 103).reshape(2, 2), floats(102, 103)])
