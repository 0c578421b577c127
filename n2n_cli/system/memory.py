"""Memory that the process may still take, and giving freed memory back."""

from __future__ import annotations

import ctypes
import math
from contextlib import suppress
from pathlib import Path

from n2n_cli.system.control_groups import GROUPS, OWN_GROUPS, control_groups

_UNKNOWN_MEMORY = 4_000_000_000


def available_memory() -> int:
    """Bytes that this process can still get without swapping: of the machine, and of its control group's limit."""
    free = math.inf
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    free = min(free, _memory_left())
    return _UNKNOWN_MEMORY if math.isinf(free) else max(0, int(free))


def give_memory_back() -> None:
    """Let the system have what the allocator keeps of freed memory, where that is GNU's; it may be hundreds of MB."""
    with suppress(OSError, AttributeError, TypeError):  # other systems' libraries
        ctypes.CDLL(None).malloc_trim(0)


def _memory_left(root: Path = GROUPS, own: Path = OWN_GROUPS) -> float:
    """Bytes that the control group still grants, of the tightest group on the way up; infinite if no limit."""
    return min((_bytes_of(folder) for folder in control_groups("memory", root, own)), default=math.inf)


def _bytes_of(group: Path) -> float:
    for limit, used, reclaimable in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError):  # "max" is no limit
            left = int((group / limit).read_text()) - int((group / used).read_text())
            return left + _cached(group, reclaimable)
    return math.inf


def _cached(group: Path, name: str) -> int:
    """Bytes of files that count as used and are given back when they are needed, as Kubernetes counts them."""
    with suppress(OSError, ValueError):
        for line in (group / "memory.stat").read_text().splitlines():
            if line.startswith(f"{name} "):
                return int(line.split()[1])
    return 0
