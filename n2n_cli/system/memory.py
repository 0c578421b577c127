"""Available memory, and return of freed memory to the system."""

from __future__ import annotations

import ctypes
import math
from contextlib import suppress
from pathlib import Path

from n2n_cli.system.control_groups import GROUPS, OWN_GROUPS, control_groups

_UNKNOWN_MEMORY = 4_000_000_000
"""Assumed available memory, in bytes, if the system does not report it."""


def available_memory(
    machine: Path = Path("/proc/meminfo"), groups: Path = GROUPS, own_groups: Path = OWN_GROUPS
) -> int:
    """Memory that this process can still get without swapping, in bytes."""
    free = min((_bytes_of(group) for group in control_groups("memory", groups, own_groups)), default=math.inf)
    with suppress(OSError, ValueError, IndexError):
        lines = machine.read_text().splitlines()
        free = min([free, *(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))])
    return _UNKNOWN_MEMORY if math.isinf(free) else max(0, int(free))


def give_memory_back() -> None:
    """Return freed memory, which the GNU allocator may keep, to the system."""
    with suppress(OSError, AttributeError, TypeError):  # other C libraries have no such function
        ctypes.CDLL(None).malloc_trim(0)


def _bytes_of(group: Path) -> float:
    """Remaining memory of a control group, in bytes; infinite without a limit."""
    for limit, used, reclaimable in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError):  # "max" is no limit
            left = int((group / limit).read_text()) - int((group / used).read_text())
            return left + _cached(group, reclaimable)
    return math.inf


def _cached(group: Path, name: str) -> int:
    """Size of cached files, in bytes: they count as used, but are freed on demand."""
    with suppress(OSError, ValueError):
        for line in (group / "memory.stat").read_text().splitlines():
            if line.startswith(f"{name} "):
                return int(line.split()[1])
    return 0
