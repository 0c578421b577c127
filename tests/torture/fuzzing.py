"""Fuzzer: a reader must read or refuse randomly changed files, in limited time."""

from __future__ import annotations

import random
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from n2n_cli.errors import N2NError

LIMIT = 1.0
"""Maximum processor time for an input, in seconds."""
_STOP = 20  # wall-clock seconds after which an input is aborted
_BYTES = bytes(range(256))
_WEIGHTS = {"bit": 5, "bytes": 5, "number": 5, "word": 4, "other": 2, "again": 1, "less": 1, "end": 1}
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


class _TookTooLong(BaseException):
    pass


def fuzz(
    read: Callable[[bytes], object],
    corpus: Sequence[bytes],
    count: int,
    *,
    words: Sequence[bytes] = (),
    alphabet: bytes = _BYTES,
    mend: Callable[[bytes], bytes] = lambda content: content,
    seed: int = 0,
) -> Iterator[str]:
    """Yield the failures of a reader, with the number and seed of the input.

    Parameters
    ----------
    read : function
        Reads an input; may raise nothing but `N2NError`.
    corpus : sequence of bytes
        Valid inputs to change.
    count : int
        Number of inputs.
    words : sequence of bytes
        Tokens of the format, to insert.
    alphabet : bytes
        Values of random bytes.
    mend : function
        Corrects the checksums of most inputs, as otherwise all would be refused for them.
    seed : int
    """
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        content = mutated(rng, corpus, words, alphabet)
        if rng.random() < 0.8:
            content = mend(content)
        started = time.process_time()
        problem = None
        try:
            with _stopped():
                read(content)
        except N2NError as error:
            text = error.message + (error.hint or "")
            if "\n" in text or "\x1b" in text or len(text) > 100_000:
                problem = f"a message with line breaks or escape sequences, or too long: {text[:300]!r}"
        except _TookTooLong:
            problem = f"not done after {_STOP} s"
        except BaseException:
            problem = traceback.format_exc(limit=-4)
        seconds = time.process_time() - started
        if problem is None and seconds > LIMIT:
            problem = f"took {seconds:.1f} s"
        if problem is not None:
            yield f"input {number} of seed {seed} ({len(content)} bytes): {problem}"


def mutated(rng: random.Random, corpus: Sequence[bytes], words: Sequence[bytes], alphabet: bytes = _BYTES) -> bytes:
    """Change a random input in one to six places, mostly keeping its length."""
    content = bytearray(rng.choice(corpus))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        at = rng.randrange(len(content) + 1)
        length = min(rng.choice((1, 1, 2, 4, 4, 8, 32)), len(content) - at)
        kind = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        if kind == "bit" and length:
            content[at] ^= 1 << rng.randrange(8)
        elif kind == "bytes":
            content[at : at + length] = bytes(rng.choices(alphabet, k=length))
        elif kind == "number":
            size = rng.choice((1, 2, 4, 8))
            number = rng.choice([number for number in _NUMBERS if number < 256**size])
            content[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
        elif kind == "word" and words:
            content[at : at + rng.choice((0, length))] = rng.choice(words)
        elif kind == "other":
            other = rng.choice(corpus)
            start = rng.randrange(len(other) + 1)
            content[at : at + length] = other[start : start + rng.choice((length, 40, 400))]
        elif kind == "again":
            content[at:at] = content[at : at + length] * rng.choice((1, 2, 50))
        elif kind == "less":
            del content[at : at + length]
        elif kind == "end":
            del content[at:]
    return bytes(content)


@contextmanager
def _stopped() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise _TookTooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, _STOP)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
