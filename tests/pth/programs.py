"""Programs, and what is told of those that are refused."""

from __future__ import annotations

import pytest

from n2n_cli.nn.functional import Array
from n2n_cli.pth.limits import Refused
from n2n_cli.pth.names import StorageRef
from n2n_cli.pth.program import decode


def no_tensor(ref: StorageRef, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Array:
    raise AssertionError("a tensor was asked for")


def refusal(code: bytes) -> str:
    with pytest.raises(Refused) as caught:
        decode(code, no_tensor)
    return str(caught.value)
