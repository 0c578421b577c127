"""Facts about this machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import n2n_cli
from n2n_cli.info.machine import blas_of_build, describe_system
from n2n_cli.system import blas, cpu


def test_machine_is_described_by_versions_processor_and_libraries() -> None:
    system = describe_system()
    versions = (n2n_cli.__version__, platform.python_version(), np.__version__)
    assert (system.n2n, system.python, system.numpy) == versions
    assert (system.processor, system.vector_instructions) == (cpu.processor(), tuple(cpu.cpu_features()))
    assert system.cores == cpu.available_cores()
    assert 0.1 < system.sgemm_gflops < 100_000
    assert 0.1 < system.sgemm_gflops_all_cores < 100_000
    library = blas.open_blas()
    if library is not None:
        found = (library.version, library.kernel, library.threads)
        assert (system.blas, system.blas_kernel, system.blas_threads) == found


@pytest.fixture
def one_core() -> Iterator[None]:
    """Bind this thread to one core."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system does not bind a process to cores")
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


@pytest.mark.usefixtures("one_core")
def test_one_core_is_measured_once() -> None:
    system = describe_system()
    assert system.cores == 1
    assert system.sgemm_gflops_all_cores == system.sgemm_gflops


@pytest.mark.parametrize(
    ("build", "name"),
    [
        ({"Build Dependencies": {"blas": {"name": "accelerate", "version": "3"}}}, "accelerate 3"),
        ({"Build Dependencies": {"blas": {"name": "mkl"}}}, "mkl"),
        ({}, "unknown"),
    ],
)
def test_blas_name_of_the_numpy_build(build: Any, name: str) -> None:
    assert blas_of_build(build) == name


def test_unknown_blas_library_is_named_by_the_numpy_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "open_blas", lambda: None)
    system = describe_system()
    build: Any = np.show_config(mode="dicts")
    assert (system.blas, system.blas_kernel, system.blas_threads) == (blas_of_build(build), None, None)
