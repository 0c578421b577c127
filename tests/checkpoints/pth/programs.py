"""Reading of pickle programs, and messages of refusals."""

from __future__ import annotations

import pytest

from n2n_cli.checkpoints.pth.limits import ROOM, Refused
from n2n_cli.checkpoints.pth.names import StorageRef
from n2n_cli.checkpoints.pth.program import decode
from n2n_cli.nn.functional import Array

# Known to torch.load(weights_only=True): torch/_weights_only_unpickler.py.
TORCH_OPCODES = {
    *("PROTO", "STOP", "GLOBAL", "NEWOBJ", "REDUCE", "BUILD", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "MARK"),
    *("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET", "NONE"),
    *("NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING"),
    *("BINPERSID", "BINGET", "LONG_BINGET", "BINPUT", "LONG_BINPUT"),
}


def no_tensor(ref: StorageRef, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Array:
    raise AssertionError("a tensor was asked for")


def refusal(code: bytes, *, room: int = ROOM) -> str:
    with pytest.raises(Refused) as caught:
        decode(code, no_tensor, room=room)
    return str(caught.value)
