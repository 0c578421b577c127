from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

import pytest

from n2n_cli import machine


def test_cores_are_those_of_the_affinity_mask() -> None:
    mask = os.sched_getaffinity(0)
    assert 1 <= machine.available_cores() <= len(mask)
    os.sched_setaffinity(0, {min(mask)})
    try:
        assert machine.available_cores() == 1
    finally:
        os.sched_setaffinity(0, mask)


@pytest.mark.parametrize(
    ("files", "own", "quota"),
    [
        ({}, "0::/\n", math.inf),
        ({"cpu.max": "max 100000\n"}, "0::/\n", math.inf),
        ({"cpu.max": "150000 100000\n"}, "0::/\n", 1.5),
        ({"cpu.max": "400000 100000", "a/cpu.max": "max 100000", "a/b/cpu.max": "300000 100000"}, "0::/a/b\n", 3),
        ({"a/cpu.max": "50000 100000", "a/b/cpu.max": "300000 100000"}, "0::/a/b\n", 0.5),
        ({"cpu.max": "nonsense"}, "0::/\n", math.inf),
        ({"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/docker/x\n", 2.5),
        ({"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"}, "4:cpu:/x\n", math.inf),
        ({"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, "4:memory:/x\n", math.inf),
    ],
)
def test_quota_of_the_control_group(files: dict[str, str], own: str, quota: float, tmp_path: Path) -> None:
    root, own_file = tmp_path / "cgroup", tmp_path / "own"
    root.mkdir()
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    own_file.write_text(own)
    assert machine._quota(root, own_file) == quota


def test_cores_are_at_most_the_quota_rounded_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    for quota, cores in ((math.inf, 64), (1.5, 2), (0.2, 1), (8, 8)):
        monkeypatch.setattr(machine, "_quota", lambda quota=quota: quota)
        assert machine.available_cores() == cores


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
