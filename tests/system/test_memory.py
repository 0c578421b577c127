"""Available memory, and release of freed memory."""

from __future__ import annotations

import math
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from n2n_cli.system import memory
from tests.system.machines import groups


@pytest.mark.parametrize(
    ("files", "own", "left"),
    [
        ({}, "0::/\n", math.inf),
        ({"memory.max": "max\n", "memory.current": "5\n"}, "0::/\n", math.inf),
        ({"memory.max": "900\n", "memory.current": "200\n"}, "0::/\n", 700),
        ({"a/memory.max": "900", "a/memory.current": "200", "a/b/memory.max": "max"}, "0::/a/b\n", 700),
        ({"a/memory.max": "900", "a/memory.current": "200"}, "0::/other\n", math.inf),
        ({"memory/x/memory.limit_in_bytes": "50", "memory/x/memory.usage_in_bytes": "20"}, "9:memory:/x\n", 30),
        ({"memory/memory.limit_in_bytes": "50", "memory/memory.usage_in_bytes": "20"}, "9:memory:/docker/x\n", 30),
        ({"memory/memory.limit_in_bytes": "50", "memory/memory.usage_in_bytes": "20"}, "4:cpu:/x\n", math.inf),
        ({"memory.max": "nonsense", "memory.current": "5"}, "0::/\n", math.inf),
        ({"memory.max": "9", "memory.current": "5", "memory.stat": "anon 1\ninactive_file 3\n"}, "0::/\n", 7),
        ({"memory.max": "9", "memory.current": "5", "memory.stat": "inactive_file x\n"}, "0::/\n", 4),
        ({}, "0:/\n", math.inf),
        ({"memory.max": "5", "memory.current": "9"}, "0::/\n", 0),  # the system is about to kill a process
    ],
)
def test_memory_is_limited_by_the_control_group(files: dict[str, str], own: str, left: float, tmp_path: Path) -> None:
    machine, limits = tmp_path / "meminfo", groups(files, own, tmp_path)
    machine.write_text("MemTotal:       2 kB\nMemAvailable:   1 kB\n")
    assert memory.available_memory(machine, *limits) == min(1024, left)
    assert memory.available_memory(tmp_path / "missing", *limits) == min(4_000_000_000, left)


def test_available_memory_of_this_machine() -> None:
    before = memory.available_memory()
    assert 10**7 < before < 10**14
    ballast = np.ones(40_000_000)
    assert memory.available_memory() < before + 10**9  # other processes start and end, too
    assert ballast.all()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_freed_memory_is_returned_to_the_system() -> None:
    program = """
import numpy as np
from n2n_cli.system.memory import give_memory_back

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

arrays = [np.ones(12_000) for _ in range(1000)]  # 96 kB each, below what is mapped by itself
last = arrays[-1]
del arrays
before = resident()
give_memory_back()
print(before - resident())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 50_000_000
