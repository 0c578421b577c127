"""Facts about this machine and the libraries that n2n uses."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from n2n_cli import __version__
from n2n_cli.system import blas, cpu


@dataclass(frozen=True)
class System:
    """Versions, processor and BLAS library of this process.

    Attributes
    ----------
    n2n, python, numpy : str
        Versions.
    processor : str
    vector_instructions : tuple of str
    cores : int
        Number of cores that this process may use.
    blas : str
        Name and version of the library that multiplies matrices.
    blas_kernel : str or None
        Processor for which the library's kernels are optimised, if known.
    blas_threads : int or None
        Threads per call of the library, if known.
    sgemm_gflops, sgemm_gflops_all_cores : float
        Measured speed of a float32 matrix product on one thread, and on all cores, in 10^9 operations per second.
    """

    n2n: str
    python: str
    numpy: str
    processor: str
    vector_instructions: tuple[str, ...]
    cores: int
    blas: str
    blas_kernel: str | None
    blas_threads: int | None
    sgemm_gflops: float
    sgemm_gflops_all_cores: float


def describe_system() -> System:
    """Collect facts about this process and its machine; takes half a second."""
    library, cores = blas.open_blas(), cpu.available_cores()
    rate = blas.sgemm_rate()
    return System(
        __version__,
        platform.python_version(),
        np.__version__,
        cpu.processor(),
        tuple(cpu.cpu_features()),
        cores,
        library.version if library else blas_of_build(np.show_config(mode="dicts")),
        library.kernel if library else None,
        library.threads if library else None,
        rate / 1e9,
        (rate if cores == 1 else blas.sgemm_rate(threads=cores)) / 1e9,
    )


def blas_of_build(build: Mapping[str, Any]) -> str:
    """Name and version of the BLAS library in NumPy's build configuration."""
    facts = build.get("Build Dependencies", {}).get("blas", {})
    return " ".join(str(facts[key]) for key in ("name", "version") if facts.get(key)) or "unknown"
