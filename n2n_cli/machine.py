"""What this machine is: its cores, and the BLAS library that NumPy multiplies with.

BLAS libraries have threads of their own. This program's threads each call BLAS, so it has to keep to one thread a call:
two levels of threads would fight for the cores, and OpenBLAS lets only one caller in at a time.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any

_SKYLAKE_X = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}
_SMALL_KERNELS = {"SkylakeX", "Cooperlake", "Sapphirerapids", "SapphireRapids"}
_VECTORS = (
    *("sse2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "amx_tile"),
    *("asimd", "sve", "sve2"),  # ARM
)
_UNKNOWN_MEMORY = 4_000_000_000
_GROUPS, _OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def available_cores() -> int:
    """Cores that this process may use: of its affinity mask, and of its control group's quota (rounded up)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota())))


def available_memory() -> int:
    """Bytes that this process can still get without swapping: of the machine, and of its control group's limit."""
    free = math.inf
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    free = min(free, _memory_left())
    return _UNKNOWN_MEMORY if math.isinf(free) else max(0, int(free))


def processor() -> str:
    """The processor's name, as the system gives it."""
    return _cpu_facts().get("model name", platform.machine())


def cpu_features() -> list[str]:
    """The processor's vector instructions, from the oldest to the newest, as Linux names them; empty elsewhere."""
    facts = _cpu_facts()
    flags = facts.get("flags", facts.get("Features", "")).split()  # x86, ARM
    return [name for name in _VECTORS if name in flags]


def prepare_blas() -> None:
    """Set what OpenBLAS reads when it is loaded; to be called before NumPy is imported. A user's own settings stay.

    Its own threads would only be in the way. And older versions, on AMD processors with AVX-512, choose kernels that do
    not use it and reach half the rate; newer ones choose as is done here.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    facts = _cpu_facts()
    if facts.get("vendor_id") == "AuthenticAMD" and set(facts.get("flags", "").split()) >= _SKYLAKE_X:
        os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")


@cache
def _cpu_facts(path: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """What Linux says about the first processor."""
    with suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
        # The first paragraph alone: on a large machine, the system takes its time for the others.
        lines = [line.partition(":") for line in takewhile(str.strip, file)]
        return {name.strip(): value.strip() for name, _, value in lines}
    return {}


def sgemm_rate(size: int = 1024, seconds: float = 0.3, *, threads: int = 1) -> float:
    """Floating-point operations a second of products of two float32 squares, the best of several tries.

    Parameters
    ----------
    size : int
        Of the squares' sides.
    seconds : float
        To try for; there is at least one try.
    threads : int
        Each makes the product of squares of its own, at the same time; BLAS uses one thread for each.
    """
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    squares = np.random.default_rng(0).random((threads, 2, size, size), dtype=np.float32)
    outs = np.empty((threads, size, size), np.float32)
    best, start = math.inf, time.perf_counter()
    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        while best == math.inf or time.perf_counter() < start + seconds:
            began = time.perf_counter()
            list(pool.map(lambda pair, out: np.matmul(pair[0], pair[1], out=out), squares, outs))
            best = min(best, time.perf_counter() - began)
    return threads * 2 * size**3 / best


def _quota(root: Path = _GROUPS, own: Path = _OWN_GROUPS) -> float:
    """Cores' worth of time that the control group grants, of the tightest group on the way up; infinite if no limit."""
    return min((_cores_of(folder) for folder in _groups("cpu", root, own)), default=math.inf)


def _memory_left(root: Path = _GROUPS, own: Path = _OWN_GROUPS) -> float:
    """Bytes that the control group still grants, of the tightest group on the way up; infinite if no limit."""
    return min((_bytes_of(folder) for folder in _groups("memory", root, own)), default=math.inf)


def _groups(controller: str, root: Path, own: Path) -> Iterator[Path]:
    """The folders of this process's control groups that may limit what a controller shares out, up to the root's."""
    with suppress(OSError, ValueError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            version_2 = controllers == ""
            if version_2 or controller in controllers.split(","):
                base = root if version_2 else root / controller
                folder = base / path.lstrip("/")
                # The base at last, where the path is not there: a container's own group is its root.
                yield from (group for group in (folder, *folder.parents) if group.is_relative_to(base))


def _cores_of(group: Path) -> float:
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


def small_product() -> int:
    """Multiplications up to which BLAS takes a product as it is, without packing it first; 0 if it always packs.

    OpenBLAS does so where it has AVX-512 kernels (interface/gemm.c and kernel/x86_64/sgemm_small_kernel_permit_*.c).
    """
    library = open_blas()
    return 1_000_000 if library is not None and library.kernel in _SMALL_KERNELS else 0


def give_memory_back() -> None:
    """Let the system have what the allocator keeps of freed memory, where that is GNU's; it may be hundreds of MB."""
    with suppress(OSError, AttributeError, TypeError):  # other systems' libraries
        ctypes.CDLL(None).malloc_trim(0)


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
