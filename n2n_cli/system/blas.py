"""The BLAS library that NumPy uses for matrix products.

BLAS libraries start their own threads. All threads of this program call BLAS, so BLAS has to use one thread per call:
two levels of threads would compete for the cores, and multi-threaded OpenBLAS serves only one caller at a time.
"""

from __future__ import annotations

import ctypes
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

from n2n_cli.system.cpu import CPU_INFO, cpu_facts

_SKYLAKE_X = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}
_SMALL_KERNELS = {"SkylakeX", "Cooperlake", "Sapphirerapids", "SapphireRapids"}


def prepare_blas(cpu_info: Path = CPU_INFO) -> None:
    """Set environment variables for OpenBLAS, before NumPy is imported.

    Variables that the user has set are kept.

    OpenBLAS gets one thread: see the module's docstring. On AMD processors with AVX-512, older versions of OpenBLAS
    choose kernels without AVX-512, which reach half the rate; newer versions choose the kernels that are set here.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    facts = cpu_facts(cpu_info)
    if facts.get("vendor_id") == "AuthenticAMD" and set(facts.get("flags", "").split()) >= _SKYLAKE_X:
        os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")


def sgemm_rate(size: int = 1024, seconds: float = 0.3, *, threads: int = 1) -> float:
    """Measure the rate of float32 matrix products, in FLOP/s.

    Parameters
    ----------
    size : int
        Rows and columns of the matrices.
    seconds : float
        Time to measure for; the fastest product counts.
    threads : int
        Number of threads that multiply at the same time. Each has its own matrices and one BLAS thread.
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


class OpenBlas:
    """The OpenBLAS library in this process.

    Attributes
    ----------
    version : str
    kernel : str
        Processor type of its kernels: "SkylakeX" and "Cooperlake" use AVX-512, "Haswell" and "Zen" AVX2.
    """

    def __init__(self, library: ctypes.CDLL, prefix: str, suffix: str) -> None:
        self._library, self._prefix, self._suffix = library, prefix, suffix
        self._lock, self._limits, self._before = Lock(), 0, 1
        self.version = " ".join(self._text("get_config").split()[:2])
        self.kernel = self._text("get_corename")

    @property
    def threads(self) -> int:
        """Number of threads per call."""
        return int(self._function("get_num_threads")())

    @threads.setter
    def threads(self, number: int) -> None:
        self._function("set_num_threads")(ctypes.c_int(number))

    @contextmanager
    def one_thread(self) -> Iterator[None]:
        """Context that limits calls to one thread.

        If contexts overlap, the last one to end restores the number of threads.
        """
        with self._lock:
            if self._limits == 0:
                self._before, self.threads = self.threads, 1
            self._limits += 1
        try:
            yield
        finally:
            with self._lock:
                self._limits -= 1
                if self._limits == 0:
                    self.threads = self._before

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
        # A lookup in the extension module also finds the symbols of the libraries that it is linked with.
        library = ctypes.CDLL(str(import_module("numpy._core._multiarray_umath").__file__))
        for prefix in ("scipy_", ""):
            for suffix in ("64_", ""):
                if hasattr(library, f"{prefix}openblas_set_num_threads{suffix}"):
                    return OpenBlas(library, prefix, suffix)
    return None


@cache
def small_product() -> int:
    """Maximum size of a matrix product that BLAS computes without packing.

    The size is the number of multiplications; 0 if BLAS always packs. OpenBLAS has such kernels with AVX-512
    (interface/gemm.c and kernel/x86_64/sgemm_small_kernel_permit_*.c). Threads take turns in using the memory for
    packed matrices, so larger products are faster in pieces.
    """
    library = open_blas()
    return 1_000_000 if library is not None and library.kernel in _SMALL_KERNELS else 0


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Context that limits BLAS to one thread per call."""
    library = open_blas()
    with nullcontext() if library is None else library.one_thread():
        yield
