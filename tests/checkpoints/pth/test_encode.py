from __future__ import annotations

import pickle
import pickletools
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.checkpoints.pth.encode import encode
from n2n_cli.checkpoints.pth.limits import MAX_DEPTH
from n2n_cli.checkpoints.pth.names import StorageRef
from n2n_cli.checkpoints.pth.program import decode
from n2n_cli.nn.functional import Array
from tests.checkpoints.pth.programs import TORCH_OPCODES, no_tensor
from tests.nn.cases import some_examples
from tests.pickles import (
    check_same,
)

integers = st.integers() | st.integers(-(2**33), 2**33) | st.sampled_from([2**31 - 1, 2**31, -(2**31), -(2**31) - 1])
texts = st.text(st.characters(exclude_categories=()), max_size=8)
leaves = st.none() | st.booleans() | integers | st.floats() | texts
keys = texts | st.integers(-(2**63), 2**63 - 1)
trees = st.recursive(
    leaves,
    lambda tree: (
        st.lists(tree, max_size=4) | st.lists(tree, max_size=4).map(tuple) | st.dictionaries(keys, tree, max_size=4)
    ),
    max_leaves=20,
)


def nested(depth: int) -> Any:
    """Lists nested `depth` levels below the outermost."""
    tree: list[Any] = []
    for _ in range(depth):
        tree = [tree]
    return tree


# Writing


@some_examples
@given(trees)
def test_plain_trees_keep_their_types(tree: Any) -> None:
    code, storages = encode(tree)
    check_same(decode(code, no_tensor), tree)
    assert storages == []


@some_examples
@given(trees)
def test_python_reads_the_program(tree: Any) -> None:
    check_same(pickle.loads(encode(tree)[0]), tree)


@some_examples
@given(trees)
def test_program_has_only_opcodes_that_torch_allows(tree: Any) -> None:
    code, _ = encode([tree, np.zeros((2, 3), np.float32)])
    assert {opcode.name for opcode, _, _ in pickletools.genops(code)} <= TORCH_OPCODES


def test_tensor_is_written_as_storage_and_layout() -> None:
    code, storages = encode([np.arange(6, dtype=">i2").reshape(2, 3).T, np.zeros(0)])
    asked: list[Any] = []

    def answer(*question: Any) -> Array:
        asked.append(question)
        return np.zeros(0)

    decode(code, answer)
    assert asked == [
        (StorageRef("0", "i2", 6), 0, (3, 2), (2, 1)),
        (StorageRef("1", "f8", 0), 0, (0,), (1,)),
    ]
    assert [part.tobytes() for part in storages] == [struct.pack("<6h", 0, 3, 1, 4, 2, 5), b""]


@pytest.mark.parametrize(
    ("tree", "named"),
    [
        (np.float64(1), "float64"),
        (np.int64(1), "int64"),
        (np.bool_(True), "bool"),
        (b"bytes", "bytes"),
        ({1}, "set"),
        (1j, "complex"),
        (OrderedDict(a=1), "OrderedDict"),
        (Path("a"), "Path"),
        (np.array(["a"]), "ndarray"),
        (np.array([None]), "ndarray"),
        (np.zeros(2, np.uint16), "ndarray"),
        (np.zeros(2, "datetime64[s]"), "ndarray"),
        ({None: 1}, "the key None of type NoneType"),
        ({True: 1}, "the key True of type bool"),
        ({np.int64(3): 1}, "of type int64"),
        ({2**63: 1}, str(2**63)),
        (2 ** (8 * 255), "256 bytes"),
    ],
    ids=str,
)
def test_unsupported_types_are_not_written(tree: Any, named: str) -> None:
    with pytest.raises(TypeError, match=r"a checkpoint") as caught:
        encode({"epoch": 1, "deep": [(tree,)]})
    assert named in str(caught.value)


def test_nesting_has_the_reader_s_limit() -> None:
    deepest = nested(MAX_DEPTH)
    check_same(decode(encode(deepest)[0], no_tensor), deepest)
    with pytest.raises(TypeError, match=f"more than {MAX_DEPTH} deep"):
        encode([deepest])


def test_tree_that_contains_itself_is_not_written() -> None:
    tree: dict[str, Any] = {}
    tree["self"] = [tree]
    with pytest.raises(TypeError, match="nested"):
        encode(tree)
