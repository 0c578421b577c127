"""What this machine is: its cores, and the BLAS library that NumPy multiplies with.

BLAS libraries have threads of their own. This program's threads each call BLAS, so it has to keep to one thread a call:
two levels of threads would fight for the cores, and OpenBLAS lets only one caller in at a time.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any


def available_cores() -> int:
    """Cores that this process may use: of its affinity mask, and of its control group's quota (rounded up)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota())))


def _quota(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """Cores' worth of time that the control group grants, of the tightest group on the way up; infinite if no limit."""
    quota = math.inf
    with suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":  # version 2
                folders = [root / path.lstrip("/"), *(root / path.lstrip("/")).parents]
                quota = min([quota, *(_limit_2(folder) for folder in folders if folder.is_relative_to(root))])
            elif "cpu" in controllers.split(","):
                for base in (root / "cpu" / path.lstrip("/"), root / "cpu"):  # inside a container its own is the root
                    quota = min(quota, _limit_1(base))
    return quota


def _limit_2(folder: Path) -> float:
    with suppress(OSError, ValueError):
        limit, period = (folder / "cpu.max").read_text().split()
        return int(limit) / int(period) if limit != "max" else math.inf
    return math.inf


def _limit_1(folder: Path) -> float:
    with suppress(OSError, ValueError):
        limit = int((folder / "cpu.cfs_quota_us").read_text())
        return limit / int((folder / "cpu.cfs_period_us").read_text()) if limit > 0 else math.inf
    return math.inf


class OpenBlas:
    """The OpenBLAS library in this process.

    Attributes
    ----------
    version : str
    kernel : str
        The processor that its kernels are made for: "SkylakeX" and "Cooperlake" use AVX-512, "Haswell" and "Zen" AVX2.
    """

    def __init__(self, library: ctypes.CDLL, prefix: str, suffix: str) -> None:
        self._library, self._prefix, self._suffix = library, prefix, suffix
        self.version = " ".join(self._text("get_config").split()[:2])
        self.kernel = self._text("get_corename")

    @property
    def threads(self) -> int:
        """Threads that a call uses."""
        return int(self._function("get_num_threads")())

    @threads.setter
    def threads(self, number: int) -> None:
        self._function("set_num_threads")(ctypes.c_int(number))

    def _function(self, name: str) -> Any:
        return getattr(self._library, f"{self._prefix}openblas_{name}{self._suffix}")

    def _text(self, name: str) -> str:
        function = self._function(name)
        function.restype = ctypes.c_char_p
        return str(function().decode())


@cache
def open_blas() -> OpenBlas | None:
    """The OpenBLAS that NumPy uses; None if it uses another library."""
    with suppress(OSError, ImportError):
        # A look-up in the extension module finds the symbols of the libraries that it was linked with.
        library = ctypes.CDLL(str(import_module("numpy._core._multiarray_umath").__file__))
        for prefix in ("scipy_", ""):
            for suffix in ("64_", ""):
                if hasattr(library, f"{prefix}openblas_set_num_threads{suffix}"):
                    return OpenBlas(library, prefix, suffix)
    return None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let BLAS use one thread a call inside the block."""
    library = open_blas()
    if library is None:
        yield
        return
    before = library.threads
    library.threads = 1
    try:
        yield
    finally:
        library.threads = before
