"""Checkpoint files for the reader's tests: by PyTorch, by hand, and random."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from n2n_cli.checkpoints.file import read_checkpoint
from n2n_cli.errors import CheckpointError
from n2n_cli.nn.functional import Array
from tests.pickles import archive, program, tensor

# Written by torch.save of PyTorch 2.13.0; its values are those of `golden_tree`.
GOLDEN = """
eNqtV0tsG0UYnrUdx1napA8aGiClpZQ6kDp+O6FNk27LpnRDm2wbuhSC2dgbe+nG698etwpSpEqo6UNCSD1xQnBCIG5IcIMKJJAQl3JGIMEJCYkTEiCh
MDO7dnY2D1PCRPbu2vM9/n9m/t+ZUoIhhCIRtGb0oN2oZFtFozJU1LEeq162ZKkHXeLHtcASoKjWQQALdtGwQCgUbMsyCti0K3XxXK1o1IziKbOARQgM
qBCMalQrHrtqmKUyhlAB27VCOZZvYNOqi/maMdcwrWIeG5W6XctfSYrQEY1qnQRTJzP1kgFhByLKlq3j886HInRqAuWFiBYk10K1AV1KAIM4raCoElAE
+ofhgahzR++33SpTR9sxdKvQo4WZrTlTr8OOMtEsh8sOZwJ2lhnXLsKlBK7DbkW4Dg866D0YelV4qLEEe7UuMjm/YGCd5gv62PcPRzWaTHhkCR5lUVwx
anWSGuhXhLpred8SPFamz436HCOp6jWd8Bg12L9BelozRDjQNFt2bT7u2jxIbT7h2DyE4UkVDt9kD9EbQN6f0kQihWt6pV6160YRnnaI3OxO2pVSK7mD
zGkSjhCFMIYYVQgqgWUYIqkMLkPcUUlgSKqQ0kJODBjSrrfBsovMTCsh6i1LveUc1DCGERWeYftibp4uaiILRzkzkux83DJ0jBlKwSihJUt5nBgaGHDo
xjCMq3CCbUljoYoXQeK4TuvWfIvnJONJwynCgzA8SwNDNCKZxCcsw4TDeRrDcyqcYZzzll6qg8L7s22rxTnJODPwvLMcZ93lOEdDnnL4pjGoKpxne65h
VmjAF9ochJQIM6uKMfcwiDMVvFg1ii3xF5h4Fi4S8RAGzRV/kYpfcsRfck07wiK8jGFWhVfcVTNrkOdjW8RGi/5VRp8D3YltjtILdCMU6BlbhqIjYWCY
V6F05s+VlZVlKLO8VS3drIA5C69Fz96cGA85VUYLkLcvP4DLt8PsWVgCy2jEppTOyO+//vXjRTKNvqY2LFO96FCzTMXm7dqCjvPuEZOlA/5qtXYkqNKn
v33/Bo2LvjZW6kPDLSU3/XndMkuVBaOCZSndXmydkU1TA2NX4ReaiMCmBnag8aaBObIoNq2tsnTsP+k2h2VibBnUw/XRn/voGoQ39bAdjXm7wlBclo5u
xQChHEPo3c+pg29+uv0xlYy0cTDKOUjI0gjagv74OGJ6nZHJN28l718/uUV9ZwjuNeBeg+7VPSaow71Sn9u+/uq9OO0cbXzu4XymZGnnWp93WeY/uvz3
PX7/oXUZT3KMaVka29LmI+Pf+8+s619gGfns4Bda+/Pj95/9H/wLaGWFOlj+8IfDIXe9NnNwgnOQk6XRrTkQAlT9jvTtJ+3j70ZSU71VIo9vMQEpkerf
e6c0016/H6VaBZSFXzdqJqmgr+v0x2LeLMrS0P3aiQ8ns8PZdC6XymTj6Uwul4vHE8l0JkPus7nheCIVz4yMpHKsvry1fyJKfESZS4EdtaZPb7PpWePc
9zvYD/b2j14O+H4IbdCd/BzeFtDHcezsQBv3HT+Nt4rv4GjurNK0uocf7a3A2/k2G0Z83fdDvcWTh77tgyb8UG8946F7O3lo0g/1Fi4eetcHTTWh61c2
79gV4aFpv6q33PDQaz5oxg/11gke+p0PmvVDvYech17o4qE5P9R7Prt51VXoBhvTe2r6Oawqos3P85QSDg+6k/cFj3gKEX813G73h9hscmH6rxKa7V5t
jlNKR9jBdLP5ztx/AKumXV8=
"""

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "?", "c8", "c16"]


def floats(*values: float) -> Array:
    return np.array(values, np.float32)


def golden_tree() -> Any:
    whole = np.arange(6).reshape(2, 3)
    weight, bias = floats(0.5, -1.25).reshape(2, 1, 1, 1), floats(3, 0)
    return {
        "model": {"0.weight": weight, "0.bias": bias},
        "parameter": bias,
        "transposed": np.ascontiguousarray(whole.T),
        "part": whole[1, 1:],
        "bfloat16": np.array(-1.5, np.float32),
        "empty": np.zeros((0, 3), np.float16),
        "flags": np.array([True, False]),
        "uint16": np.array([1, 65535], np.uint16),
        "pair": (np.array([[1, 2]], np.uint8), -7),
        "plain": [None, True, 2.5, "é", 2**40, {}],
    }


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    """Random arrays of any type, with up to three axes, in any memory layout.

    Their bits are arbitrary; some arrays are empty.
    """
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(st.lists(st.integers(0, 3), max_size=3).map(tuple))
    bits = np.random.default_rng(draw(st.integers(0, 99))).bytes(int(np.prod(shape)) * dtype.itemsize)
    array = np.frombuffer(bits, "u1").copy()
    array = (array % 2 if dtype == "?" else array).view(dtype).reshape(shape)
    match draw(st.sampled_from(["plain", "transposed", "backwards", "every other", "other byte order"])):
        case "transposed":
            return array.T
        case "backwards":
            return array[::-1] if array.ndim else array
        case "every other":
            return np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array
        case "other byte order":
            return array.astype(array.dtype.newbyteorder("S"))
    return array


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | arrays()
trees = st.recursive(
    leaves,
    lambda tree: (
        st.lists(tree, max_size=4)
        | st.lists(tree, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=5) | st.integers(-9, 9), tree, max_size=4)
    ),
    max_leaves=12,
)


def as_read(tree: Any) -> Any:
    """`tree` with contiguous arrays of this machine's byte order."""
    match tree:
        case dict():
            return {key: as_read(value) for key, value in tree.items()}
        case list() | tuple():
            return type(tree)(as_read(value) for value in tree)
        case np.ndarray():
            native = tree.dtype.newbyteorder("=")
            return np.frombuffer(tree.astype(native).tobytes(), native).reshape(tree.shape)
    return tree


def refusal(path: Path | str) -> str:
    """Message of the error that reading `path` raises."""
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    return checked_message(caught.value, path)


def checked_message(error: CheckpointError, path: Path | str) -> str:
    assert f"`{path}`" in error.message
    assert error.hint
    assert (error.message + error.hint).isprintable()  # one line without terminal control characters
    assert len(error.message) < len(str(path)) + 400
    return error.message


def refusal_of(content: bytes, folder: Path) -> str:
    path = folder / "hostile.pth"
    path.write_bytes(content)
    return refusal(path)


def read_bytes(content: bytes, folder: Path) -> Any:
    path = folder / "given.pth"
    path.write_bytes(content)
    return read_checkpoint(path)


def arrays_of(tree: Any) -> Iterator[Array]:
    match tree:
        case dict():
            yield from arrays_of(list(tree.values()))
        case list() | tuple():
            for value in tree:
                yield from arrays_of(value)
        case np.ndarray():
            yield tree


BODY = tensor(2, (2,), (1,))
DATA = floats(1, 2).tobytes()
USUAL = {"data.pkl": program(BODY), "byteorder": b"little", "version": b"3\n", "data/0": DATA}


def entries(**changed: bytes) -> list[tuple[str, bytes]]:
    return [(f"archive/{name}", content) for name, content in (USUAL | changed).items()]


def central(content: bytes, name: str) -> int:
    """Offset of an entry's record in the directory."""
    return content.rindex(b"PK\x01\x02", 0, content.rindex(name.encode()))


def patched(name: str, offset: int, layout: str, value: int) -> bytes:
    """The usual file with one field of a directory record changed."""
    content = bytearray(archive(*entries()))
    struct.pack_into(layout, content, central(bytes(content), name) + offset, value)
    return bytes(content)
