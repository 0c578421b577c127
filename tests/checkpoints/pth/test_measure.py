from __future__ import annotations

import sys

import pytest

from n2n_cli.checkpoints.pth.encode import encode
from n2n_cli.checkpoints.pth.limits import MAX_DEPTH, MAX_STEPS, MAX_TEXT_BYTES
from n2n_cli.checkpoints.pth.program import decode
from tests.checkpoints.pth.programs import no_tensor, refusal
from tests.pickles import (
    check_same,
    keep,
    number,
    program,
    recall,
    text,
)

MEGABYTE = 1_000_000


def test_number_of_steps_has_a_limit() -> None:
    values = MAX_STEPS - 5  # less the protocol, the list, the mark, the end of the list, and the end
    assert len(decode(program(b"](" + b"N" * values + b"e"), no_tensor)) == values
    assert "more than 1,000,000 steps" in refusal(program(b"](" + b"N" * (values + 1) + b"e"))


def test_exponentially_unfolding_lists_are_refused() -> None:
    """Thirty lists, each with ten copies of the one before.

    They expand from a kilobyte to 10^30 values.
    """
    body = b"]" + keep(0)
    for level in range(30):
        body += b"](" + recall(level) * 10 + b"e" + keep(level + 1)
    body = b"(" + body + b"t"
    assert "expands to more than" in refusal(program(body))


def test_number_of_values_has_a_limit() -> None:
    def shared(count: int, more: bytes) -> bytes:
        """List with a list of 999 values, `count` times, followed by `more`."""
        return b"](](" + b"N" * 999 + b"e" + keep(0) + recall(0) * (count - 1) + more + b"e"

    assert len(decode(program(shared(999, b"N" * 999)), no_tensor)) == 1998  # 1,000,000 values with the lists
    assert "more than 1,000,000 values" in refusal(program(shared(999, b"N" * 1000)))
    assert "more than 1,000,000 values" in refusal(program(shared(1000, b"")))


@pytest.mark.parametrize(
    ("opening", "closing"),
    [(b"]", b"a"), (b"(", b"t"), (b"}K\x00", b"s"), (b"](", b"e")],
    ids=["lists", "tuples", "dicts", "lists by mark"],
)
def test_nesting_has_a_limit(opening: bytes, closing: bytes) -> None:
    for levels, innermost in ((MAX_DEPTH, b"]"), (MAX_DEPTH + 1, b"N")):  # an empty list is a level, None is not
        assert decode(program(opening * levels + innermost + closing * levels), no_tensor)
    for levels in (MAX_DEPTH + 1, 100_000):
        message = refusal(program(opening * levels + b"]" + closing * levels))
        assert message == f"it is nested more than {MAX_DEPTH} deep"


def test_nesting_cannot_hide_behind_sharing() -> None:
    """List of lists, each of which holds the one before.

    Thus each list is first met just below the root.
    """
    body = b"](]" + keep(1)
    for level in range(2, 2_000):
        body += b"]" + recall(level - 1) + b"a" + keep(level)
    assert f"more than {MAX_DEPTH} deep" in refusal(program(body + b"e"))


@pytest.mark.parametrize(
    "body",
    [
        b"]" + keep(0) + recall(0) + b"a",
        b"}" + keep(0) + b"K\x00" + recall(0) + b"s",
        b"]" + keep(0) + b"(" + recall(0) + b"ta",
        b"]" + keep(0) + b"]" + keep(1) + recall(0) + b"aa",
    ],
    ids=["list", "dict", "tuple", "two lists"],
)
def test_tree_that_contains_itself_is_refused(body: bytes) -> None:
    assert refusal(program(body)) == "it contains itself"


def test_keys_with_equal_hashes_are_refused() -> None:
    same_hash = [k * sys.hash_info.modulus for k in range(5, 100_000)]
    assert {hash(key) for key in same_hash[:100]} == {0}
    assert "dict key" in refusal(program(b"}(" + b"".join(number(key) + b"N" for key in same_hash) + b"u"))


def test_keys_of_64_bits_are_read() -> None:
    tree = {-(2**63): 1, 2**63 - 1: 2}
    check_same(decode(encode(tree)[0], no_tensor), tree)


def test_length_of_strings_has_a_limit() -> None:
    long = text("a" * (MAX_TEXT_BYTES - 5))
    assert decode(program(b"(" + long + b"U\x0512345t"), no_tensor)[1] == "12345"
    assert "more than 16,000,000 bytes of text" in refusal(program(b"(" + long + b"U\x06123456t"))


@pytest.mark.parametrize(
    ("bomb", "size"),
    [
        (b"]", 72),  # bytes per repetition: sys.getsizeof and a place on the stack
        (b"}", 80),
        (b"N\x85", 64 + 16),
        (b"G\x40\x04\x00\x00\x00\x00\x00\x00", 24 + 16),
        (b"(", 16),
        (b"N", 16),
        (text("\U0001f600" + "a" * 999), 4 * 1000 + 16),
        (b"}K\x00Ns", 64 + 232 - 64 + 16),
    ],
    ids=repr,
)
def test_memory_estimate_of_each_opcode(bomb: bytes, size: int) -> None:
    """The estimate is right within a factor of two.

    0.4 MB are accepted, and 2 MB are refused.
    """
    assert "far more memory" in refusal(program(bomb * (2 * MEGABYTE // size)), room=MEGABYTE)
    assert "far more memory" not in refusal(program(bomb * (400_000 // size)), room=MEGABYTE)


def test_memo_counts_as_memory() -> None:
    assert "far more memory" in refusal(program(b"N" + b"".join(map(keep, range(8_000)))), room=MEGABYTE)
    assert decode(program(b"N" + b"".join(map(keep, range(4_000)))), no_tensor, room=MEGABYTE) is None
    assert "far more memory" in refusal(program(b"](" + b"]Na" * 6_000 + b"e"), room=MEGABYTE)
    assert len(decode(program(b"](" + b"]Na" * 3_000 + b"e"), no_tensor, room=MEGABYTE)) == 3_000


def test_dict_items_count_as_memory() -> None:
    items = [b"M" + i.to_bytes(2, "little") + b"N" for i in range(256, 15_000)]
    assert "far more memory" in refusal(program(b"}(" + b"".join(items) + b"u"), room=MEGABYTE)
    assert len(decode(program(b"}(" + b"".join(items[:5_000]) + b"u"), no_tensor, room=MEGABYTE)) == 5_000


def test_memory_has_a_limit() -> None:
    code = program(b"](" + b"G\x40\x04\x00\x00\x00\x00\x00\x00" * 1000 + b"e")
    assert len(decode(code, no_tensor, room=100_000)) == 1000
    assert "far more memory" in refusal(code, room=20_000)


def test_repeated_keys_share_memory() -> None:
    first, second = decode(program(b"](" + text("epoch") + text("epoch") + b"e"), no_tensor)
    assert first is second
