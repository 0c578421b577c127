"""How much a file may ask for before it is refused."""

from __future__ import annotations

MAX_PROGRAM_BYTES = 64_000_000
MAX_STEPS = 1_000_000
"""Opcodes of a program: about half a second."""
MAX_DEPTH = 100
MAX_NODES = 1_000_000
"""Values in a tree, counted as often as they can be reached: shared lists can make few bytes look like very many."""
MAX_TEXT_BYTES = 16_000_000
MAX_STORAGES = 20_000
MAX_DIRECTORY_BYTES = 2_650_000
"""Of the zip file's directory, which is in memory before any of it can be checked."""
ROOM = 32_000_000
"""Bytes of memory that a file gets beside those for its own length; with what Python needs to start, 50 MB."""


class Refused(Exception):  # noqa: N818 - it says what happened to the file
    """A file asks for something that a file of tensors has no need of."""


class Room:
    """Memory that is left to a file, in bytes; few bytes of a program can ask for very many."""

    def __init__(self, size: int) -> None:
        self.left = size

    def take(self, size: int) -> None:
        """Count `size` bytes.

        Raises
        ------
        Refused
            When they are not left.
        """
        self.left -= size
        if self.left < 0:
            raise Refused("it needs far more memory than the file has bytes")
