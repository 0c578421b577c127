"""Limits of what a file may contain."""

from __future__ import annotations

MAX_PROGRAM_BYTES = 64_000_000
MAX_STEPS = 1_000_000
"""Maximum opcodes of a program: about half a second."""
MAX_DEPTH = 100
MAX_NODES = 1_000_000
"""Maximum values in a tree; shared values count as often as they can be reached."""
MAX_TEXT_BYTES = 16_000_000
MAX_STORAGES = 20_000
MAX_DIRECTORY_BYTES = 2_650_000
"""Maximum bytes of the zip file's directory, which is read before any check."""
ROOM = 32_000_000
"""Memory of a file in addition to its length, in bytes; 50 MB with Python's start."""


class Refused(Exception):  # noqa: N818 - it says what happened to the file
    """A file asks for something that a file of tensors has no need of."""


class Room:
    """Memory left for a file, in bytes: a short program can ask for very much."""

    def __init__(self, size: int) -> None:
        self.left = size

    def take(self, size: int) -> None:
        """Take `size` bytes.

        Raises
        ------
        Refused
            When fewer are left.
        """
        self.left -= size
        if self.left < 0:
            raise Refused("it needs far more memory than the file has bytes")
