"""Memory that the process may still take, and giving freed memory back."""

from __future__ import annotations

import ctypes
import math
from contextlib import suppress
from pathlib import Path

from n2n_cli.system.control_groups import GROUPS, OWN_GROUPS, control_groups

_UNKNOWN_MEMORY = 4_000_000_000
"""Memory that is assumed to be free, in bytes, where the system does not report it."""


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
    """Return freed memory, which GNU's allocator may keep, to the system."""
    with suppress(OSError, AttributeError, TypeError):  # other systems' libraries
        ctypes.CDLL(None).malloc_trim(0)


def _bytes_of(group: Path) -> float:
    """Bytes that a control group still grants; infinite if it has no limit."""
    for limit, used, reclaimable in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError):  # "max" is no limit
            left = int((group / limit).read_text()) - int((group / used).read_text())
            return left + _cached(group, reclaimable)
    return math.inf


def _cached(group: Path, name: str) -> int:
    """Bytes of cached files, which count as used and are freed when needed."""
    with suppress(OSError, ValueError):
        for line in (group / "memory.stat").read_text().splitlines():
            if line.startswith(f"{name} "):
                return int(line.split()[1])
    return 0
