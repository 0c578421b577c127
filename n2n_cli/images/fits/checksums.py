"""Checksums of FITS header and data units, from the standard's Appendix J."""

from __future__ import annotations

import numpy as np

_FORBIDDEN = {*range(0x3A, 0x41), *range(0x5B, 0x61)}
"""Codes of ASCII punctuation, which an encoded checksum must not contain."""
ALL_ONES = 0xFFFFFFFF
"""Sum of a whole unit with a correct checksum: -0."""


class Sum32:
    """Ones' complement sum of the 32-bit words of a unit, given in parts."""

    def __init__(self) -> None:
        self._total, self._rest = 0, b""

    def add(self, data: bytes | memoryview) -> None:
        """Add the next bytes."""
        if self._rest or len(data) % 4:
            data = self._rest + bytes(data)
        whole = len(data) // 4 * 4
        self._rest = bytes(data[whole:])
        self._total += int(np.frombuffer(data, ">u4", whole // 4).sum(dtype=np.uint64))

    @property
    def value(self) -> int:
        """Sum of all bytes so far, padded with zeros to a whole word."""
        total = self._total + int.from_bytes(self._rest.ljust(4, b"\0"), "big")
        while total > ALL_ONES:
            total = (total & ALL_ONES) + (total >> 32)
        return total


def encoded(value: int) -> str:
    """Encode a checksum as 16 ASCII characters.

    The sum of a unit becomes -0 when they replace 16 zeros in its header.
    """
    columns = []
    for byte in (~value & ALL_ONES).to_bytes(4, "big"):
        quarters = [byte // 4 + 0x30] * 4
        quarters[0] += byte % 4
        while _FORBIDDEN & set(quarters):
            for low in (0, 2):
                if _FORBIDDEN & set(quarters[low : low + 2]):
                    quarters[low] += 1
                    quarters[low + 1] -= 1
        columns.append(quarters)
    text = "".join(chr(columns[byte][quarter]) for quarter in range(4) for byte in range(4))
    return text[-1] + text[:-1]
