from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from n2n_cli import machine
from n2n_cli.nn.functional import Array


def test_cores_are_those_of_the_affinity_mask() -> None:
    mask = os.sched_getaffinity(0)
    assert 1 <= machine.available_cores() <= len(mask)
    os.sched_setaffinity(0, {min(mask)})
    try:
        assert machine.available_cores() == 1
    finally:
        os.sched_setaffinity(0, mask)


def groups(files: dict[str, str], own: str, folder: Path) -> tuple[Path, Path]:
    """A tree of control groups, and the file that names a process's own."""
    root, own_file = folder / "cgroup", folder / "own"
    root.mkdir()
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    own_file.write_text(own)
    return root, own_file


@pytest.mark.parametrize(
    ("files", "own", "quota"),
    [
        ({}, "0::/\n", math.inf),
        ({"cpu.max": "max 100000\n"}, "0::/\n", math.inf),
        ({"cpu.max": "150000 100000\n"}, "0::/\n", 1.5),
        ({"cpu.max": "400000 100000", "a/cpu.max": "max 100000", "a/b/cpu.max": "300000 100000"}, "0::/a/b\n", 3),
        ({"a/cpu.max": "50000 100000", "a/b/cpu.max": "300000 100000"}, "0::/a/b\n", 0.5),
        ({"cpu.max": "nonsense"}, "0::/\n", math.inf),
        ({"cpu.max": "150000 100000\n"}, "0:/\n", math.inf),
        ({"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/docker/x\n", 2.5),
        ({"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"}, "4:cpu:/x\n", math.inf),
        ({"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, "4:memory:/x\n", math.inf),
    ],
)
def test_quota_of_the_control_group(files: dict[str, str], own: str, quota: float, tmp_path: Path) -> None:
    root, own_file = groups(files, own, tmp_path)
    assert machine._quota(root, own_file) == quota


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
    ],
)
def test_memory_that_the_control_group_still_grants(
    files: dict[str, str], own: str, left: float, tmp_path: Path
) -> None:
    root, own_file = groups(files, own, tmp_path)
    assert machine._memory_left(root, own_file) == left


def test_available_memory_is_at_most_what_the_control_group_grants(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = machine.available_memory()
    monkeypatch.setattr(machine, "_memory_left", lambda: 12_345)
    assert everything > machine.available_memory() == 12_345
    monkeypatch.setattr(machine, "_memory_left", lambda: -5)  # the system is about to end something
    assert machine.available_memory() == 0


def test_cores_are_at_most_the_quota_rounded_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    for quota, cores in ((math.inf, 64), (1.5, 2), (0.2, 1), (8, 8)):
        monkeypatch.setattr(machine, "_quota", lambda quota=quota: quota)
        assert machine.available_cores() == cores


# The processor

AVX2 = "fpu sse2 avx fma avx2"
AVX512 = f"{AVX2} avx512f avx512cd avx512bw avx512dq avx512vl"


def cpu(facts: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine be one that says so about its two processors."""
    text = "".join(f"{name}\t: {value}\n" for name, value in facts.items())
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\n{text}power management:\n\nprocessor\t: 1\nmodel name\t: another\n\n")
    found = machine._cpu_facts(path)
    monkeypatch.setattr(machine, "_cpu_facts", lambda: found)


def test_the_processor_and_its_vector_instructions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu({"model name": "AMD EPYC: 9", "flags": f"{AVX512} amx_tile", "empty": ""}, tmp_path, monkeypatch)
    assert machine.processor() == "AMD EPYC: 9"
    assert machine.cpu_features() == ["sse2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "amx_tile"]


def test_a_processor_of_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu({"Features": "fp asimd sve", "CPU implementer": "0x41"}, tmp_path, monkeypatch)
    assert machine.processor() == platform.machine()
    assert machine.cpu_features() == ["asimd", "sve"]


def test_a_system_that_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine._cpu_facts(tmp_path / "missing")
    assert found == {}
    monkeypatch.setattr(machine, "_cpu_facts", lambda: found)
    assert machine.processor() == platform.machine()
    assert machine.cpu_features() == []


def test_memory_that_can_still_be_had() -> None:
    memory = machine.available_memory()
    assert 10**7 < memory < 10**14
    ballast = np.ones(40_000_000)
    assert machine.available_memory() < memory + 10**9  # others come and go, too
    assert ballast.all()


def test_memory_of_a_system_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert machine.available_memory() == 4_000_000_000


# BLAS


@pytest.mark.parametrize(
    ("vendor_id", "flags", "wanted"),
    [
        ("AuthenticAMD", AVX512, "SkylakeX"),
        ("AuthenticAMD", AVX512.replace(" avx512dq", ""), None),
        ("AuthenticAMD", AVX2, None),
        ("GenuineIntel", AVX512, None),
        ("", "", None),
    ],
)
def test_blas_is_told_of_avx_512_on_amd_alone(
    vendor_id: str, flags: str, wanted: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu({"vendor_id": vendor_id, "flags": flags}, tmp_path, monkeypatch)
    for variables in ({}, {"OPENBLAS_NUM_THREADS": "7", "OPENBLAS_CORETYPE": "Zen"}):
        own = dict(variables)
        monkeypatch.setattr(os, "environ", own)
        machine.prepare_blas()
        added = {"OPENBLAS_NUM_THREADS": "1"} | ({"OPENBLAS_CORETYPE": wanted} if wanted else {})
        assert own == (variables or added)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_rate_is_that_of_the_fastest_try_of_all_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 4.0, 5.0, 5.0, 7.0, 8.0, 8.0, 11.0, 12.0])  # tries of 4, 2 and 3 seconds
    products: list[tuple[int, ...]] = []

    inside: list[bool] = []

    @contextmanager
    def one_blas_thread() -> Iterator[None]:
        inside.append(True)
        yield
        inside.clear()

    def product(a: Array, b: Array, *, out: Array) -> None:
        assert inside
        assert out.dtype == a.dtype == b.dtype == np.float32
        products.append((*a.shape, *b.shape, *out.shape))

    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    monkeypatch.setattr(np, "matmul", product)
    monkeypatch.setattr(machine, "one_blas_thread", one_blas_thread)
    assert machine.sgemm_rate(10, 12.0, threads=threads) == threads * 2 * 10**3 / 2
    assert products == [(10,) * 6] * 3 * threads


def test_the_rate_of_this_machine() -> None:
    assert 1e7 < machine.sgemm_rate(64, 0) < 1e14
    assert 1e7 < machine.sgemm_rate(64, 0.001, threads=2) < 1e14


def test_one_blas_thread_inside_and_as_before_outside() -> None:
    blas = machine.open_blas()
    if blas is None:
        pytest.skip("NumPy uses another library than OpenBLAS")
    assert blas.version.startswith("OpenBLAS ")
    assert blas.kernel
    before = blas.threads
    blas.threads = 2
    try:
        with suppress(RuntimeError), machine.one_blas_thread():
            assert blas.threads == 1
            raise RuntimeError
        assert blas.threads == 2
    finally:
        blas.threads = before


def test_another_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "open_blas", lambda: None)
    with machine.one_blas_thread():
        pass


@pytest.mark.parametrize(("kernel", "wanted"), [("SkylakeX", 1_000_000), ("Haswell", 0), ("Zen", 0)])
def test_small_products_are_taken_as_they_are_by_avx_512_kernels(
    kernel: str, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Library:
        pass

    library = Library()
    library.kernel = kernel  # type: ignore[attr-defined]
    monkeypatch.setattr(machine, "open_blas", lambda: library)
    assert machine.small_product() == wanted
    monkeypatch.setattr(machine, "open_blas", lambda: None)
    assert machine.small_product() == 0


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_memory_that_the_allocator_keeps_goes_back_to_the_system() -> None:
    program = """
import numpy as np
from n2n_cli.machine import give_memory_back

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
