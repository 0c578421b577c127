"""A small fuzzer: known good files, changed at random, given to a reader that must answer or refuse, and soon."""

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
"""Seconds of one core that an input may take."""
_STOP = 20  # seconds of the clock, after which an input is given up
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
    """Yield what went wrong; the number of an input and the seed make it again.

    Parameters
    ----------
    read : function
        Takes an input; may raise `N2NError`, and nothing else.
    corpus : sequence of bytes
        Good inputs.
    words : sequence of bytes
        What the format is made of.
    alphabet : bytes
        What random bytes are drawn from.
    mend : function
        Makes checksums right again, without which all changes would end at the same place.
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
            told = error.message + (error.hint or "")
            if "\n" in told or "\x1b" in told or len(told) > 100_000:
                problem = f"a message of more than one line, or with what a terminal obeys: {told[:300]!r}"
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
    """One of the inputs with one to six changes, most of which keep its length."""
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
