"""Control groups and processors that tests pretend to have."""

from __future__ import annotations

from pathlib import Path

import pytest

from n2n_cli.system import blas, cpu

AVX2 = "fpu sse2 avx fma avx2"
AVX512 = f"{AVX2} avx512f avx512cd avx512bw avx512dq avx512vl"


def groups(files: dict[str, str], own: str, folder: Path) -> tuple[Path, Path]:
    """A tree of control groups, and the file that names a process's own."""
    root, own_file = folder / "cgroup", folder / "own"
    root.mkdir()
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    own_file.write_text(own)
    return root, own_file


def processor_that_says(facts: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine be one that says so about its two processors."""
    text = "".join(f"{name}\t: {value}\n" for name, value in facts.items())
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\n{text}power management:\n\nprocessor\t: 1\nmodel name\t: another\n\n")
    found = cpu.cpu_facts(path)
    monkeypatch.setattr(cpu, "cpu_facts", lambda: found)
    monkeypatch.setattr(blas, "cpu_facts", lambda: found)
