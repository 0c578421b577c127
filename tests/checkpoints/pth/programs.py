"""Programs, and what is told of those that are refused."""

from __future__ import annotations

import pytest

from n2n_cli.checkpoints.pth.limits import ROOM, Refused
from n2n_cli.checkpoints.pth.names import StorageRef
from n2n_cli.checkpoints.pth.program import decode
from n2n_cli.nn.functional import Array


def no_tensor(ref: StorageRef, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Array:
    raise AssertionError("a tensor was asked for")


def refusal(code: bytes, *, room: int = ROOM) -> str:
    with pytest.raises(Refused) as caught:
        decode(code, no_tensor, room=room)
    return str(caught.value)
