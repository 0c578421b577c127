"""Number of values that a walk over a tree visits.

Sharing can make it far larger than the number of values in memory.
"""

from __future__ import annotations

from typing import Any

from n2n_cli.checkpoints.pth import limits
from n2n_cli.checkpoints.pth.limits import MAX_DEPTH, Refused, Room
from n2n_cli.checkpoints.pth.names import Global, StorageRef

_LEVELS = 1 << 8  # more than MAX_DEPTH: count * _LEVELS + levels stores both in one integer
_OPEN = -1
_NOTE = 150  # bytes of one entry in `known`


class Mark:
    """The object that the opcode MARK pushes on the stack."""


def measure(tree: Any, room: Room) -> None:
    """Check that a walk over `tree` is short.

    Raises
    ------
    Refused
        For cycles, deep nesting, too many values, and objects that are neither plain values nor arrays.
    """
    _measure(tree, {}, 0, room)


def _measure(tree: Any, known: dict[int, int], depth: int, room: Room) -> tuple[int, int]:
    """Numbers of values that a walk over `tree` visits, and of levels below it."""
    if isinstance(tree, Global | StorageRef | Mark):
        raise Refused("it holds something that is neither a plain value nor a tensor")
    if not isinstance(tree, dict | list | tuple):
        return 1, -1
    count, levels = 1, 0
    if id(tree) in known:
        if known[id(tree)] == _OPEN:
            raise Refused("it contains itself")
        count, levels = divmod(known[id(tree)], _LEVELS)
    if depth + levels > MAX_DEPTH:  # also for a container that was visited nearer to the root
        raise Refused(f"it is nested more than {MAX_DEPTH} deep")
    if tree and id(tree) not in known:
        room.take(_NOTE)
        known[id(tree)] = _OPEN
        for item in tree.values() if isinstance(tree, dict) else tree:
            more, below = _measure(item, known, depth + 1, room)
            count, levels = count + more, max(levels, below + 1)
            if count > limits.MAX_NODES:
                raise Refused(f"it expands to more than {limits.MAX_NODES:,} values")
        known[id(tree)] = count * _LEVELS + levels
    return count, levels
