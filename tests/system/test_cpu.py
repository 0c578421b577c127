"""Cores, processor name and vector instructions."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path

import pytest

from n2n_cli.system import cpu
from tests.system.machines import AVX512, cpu_info, groups


def test_cores_of_the_affinity_mask() -> None:
    mask = os.sched_getaffinity(0)
    assert 1 <= cpu.available_cores() <= len(mask)
    os.sched_setaffinity(0, {min(mask)})
    try:
        assert cpu.available_cores() == 1
    finally:
        os.sched_setaffinity(0, mask)


@pytest.mark.parametrize(
    ("files", "own", "quota"),
    [
        ({}, "0::/\n", math.inf),
        ({"cpu.max": "max 100000\n"}, "0::/\n", math.inf),
        ({"cpu.max": "150000 100000\n"}, "0::/\n", 2),
        ({"cpu.max": "400000 100000", "a/cpu.max": "max 100000", "a/b/cpu.max": "300000 100000"}, "0::/a/b\n", 3),
        ({"a/cpu.max": "50000 100000", "a/b/cpu.max": "300000 100000"}, "0::/a/b\n", 1),
        ({"cpu.max": "nonsense"}, "0::/\n", math.inf),
        ({"cpu.max": "150000 100000\n"}, "0:/\n", math.inf),
        ({"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/docker/x\n", 3),
        ({"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"}, "4:cpu:/x\n", math.inf),
        ({"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, "4:memory:/x\n", math.inf),
    ],
)
def test_cores_are_limited_by_the_quota_rounded_up(
    files: dict[str, str], own: str, quota: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert cpu.available_cores(*groups(files, own, tmp_path)) == min(64, quota)


def test_processor_and_its_vector_instructions(tmp_path: Path) -> None:
    source = cpu_info({"model name": "AMD EPYC: 9", "flags": f"{AVX512} amx_tile", "empty": ""}, tmp_path)
    assert cpu.processor(source) == "AMD EPYC: 9"
    assert cpu.cpu_features(source) == ["sse2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "amx_tile"]


def test_facts_of_an_arm_processor_are_read(tmp_path: Path) -> None:
    source = cpu_info({"Features": "fp asimd sve", "CPU implementer": "0x41"}, tmp_path)
    assert cpu.processor(source) == platform.machine()
    assert cpu.cpu_features(source) == ["asimd", "sve"]


def test_missing_cpu_facts_are_empty(tmp_path: Path) -> None:
    assert cpu.cpu_facts(tmp_path / "missing") == {}
    assert cpu.processor(tmp_path / "missing") == platform.machine()
    assert cpu.cpu_features(tmp_path / "missing") == []
