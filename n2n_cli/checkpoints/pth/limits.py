"""Limits on the contents of a file."""

from __future__ import annotations

MAX_PROGRAM_BYTES = 64_000_000
MAX_STEPS = 1_000_000
"""Maximum opcodes of a program, which then takes about half a second."""
MAX_DEPTH = 100
MAX_NODES = 1_000_000
"""Maximum values in a tree; a shared value counts once for every path to it."""
MAX_TEXT_BYTES = 16_000_000
MAX_STORAGES = 20_000
MAX_DIRECTORY_BYTES = 2_650_000
"""Maximum bytes of the zip file's directory, which is read before any check."""
ROOM = 32_000_000
"""Memory for reading a file in addition to its length, in bytes; about 50 MB together with the interpreter."""


class Refused(Exception):  # noqa: N818 - describes what happened to the file
    """The contents of a file are not those of a file of tensors."""


class Room:
    """Memory left for reading a file, in bytes: a short program can request a lot."""

    def __init__(self, size: int) -> None:
        self.left = size

    def take(self, size: int) -> None:
        """Take `size` bytes.

        Raises
        ------
        Refused
            If fewer bytes are left.
        """
        self.left -= size
        if self.left < 0:
            raise Refused("it needs far more memory than the file has bytes")
