"""Processor cores, the processor's name and its vector instructions."""

from __future__ import annotations

import math
import os
import platform
from contextlib import suppress
from functools import cache
from itertools import takewhile
from pathlib import Path

from n2n_cli.system.control_groups import GROUPS, OWN_GROUPS, control_groups

CPU_INFO = Path("/proc/cpuinfo")
_VECTORS = (
    *("sse2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "amx_tile"),
    *("asimd", "sve", "sve2"),  # ARM
)


def affinity() -> frozenset[int]:
    """Numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def available_cores(groups: Path = GROUPS, own_groups: Path = OWN_GROUPS) -> int:
    """Number of cores available to this process, by its affinity and quota."""
    quota = min((_cores_of(group) for group in control_groups("cpu", groups, own_groups)), default=math.inf)
    return max(1, math.ceil(min(len(affinity()), quota)))


def processor(source: Path = CPU_INFO) -> str:
    """The processor's name, as the system reports it."""
    return cpu_facts(source).get("model name", platform.machine())


def cpu_features(source: Path = CPU_INFO) -> list[str]:
    """The processor's vector instructions, oldest first; empty except on Linux."""
    facts = cpu_facts(source)
    flags = facts.get("flags", facts.get("Features", "")).split()  # x86, ARM
    return [name for name in _VECTORS if name in flags]


@cache
def cpu_facts(source: Path = CPU_INFO) -> dict[str, str]:
    """Entries of Linux's `/proc/cpuinfo` about the first core."""
    with suppress(OSError), source.open(encoding="utf-8", errors="replace") as file:
        # Only the first paragraph: on a large machine, reading all of them is slow.
        lines = [line.partition(":") for line in takewhile(str.strip, file)]
        return {name.strip(): value.strip() for name, _, value in lines}
    return {}


def _cores_of(group: Path) -> float:
    """CPU quota of a control group, in cores; infinite if it has no limit."""
    for read in (_cores_2, _cores_1):
        with suppress(OSError, ValueError):
            return read(group)
    return math.inf


def _cores_2(group: Path) -> float:
    limit, period = (group / "cpu.max").read_text().split()
    return int(limit) / int(period) if limit != "max" else math.inf


def _cores_1(group: Path) -> float:
    limit = int((group / "cpu.cfs_quota_us").read_text())
    return limit / int((group / "cpu.cfs_period_us").read_text()) if limit > 0 else math.inf
