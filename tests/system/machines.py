"""Files that describe control groups and processors, for tests."""

from __future__ import annotations

from pathlib import Path

AVX2 = "fpu sse2 avx fma avx2"
AVX512 = f"{AVX2} avx512f avx512cd avx512bw avx512dq avx512vl"


def groups(files: dict[str, str], own: str, folder: Path) -> tuple[Path, Path]:
    """Write a tree of control groups, and the file that names the process's own group."""
    root, own_file = folder / "cgroup", folder / "own"
    root.mkdir()
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    own_file.write_text(own)
    return root, own_file


def cpu_info(facts: dict[str, str], tmp_path: Path) -> Path:
    """Write a file like /proc/cpuinfo of two processors.

    The given facts are those of the first one.
    """
    text = "".join(f"{name}\t: {value}\n" for name, value in facts.items())
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\n{text}power management:\n\nprocessor\t: 1\nmodel name\t: another\n\n")
    return path
