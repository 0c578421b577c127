"""Environments filled by pip, and commands with a time limit."""

from __future__ import annotations

import os
import sys
import time
import zipfile
from pathlib import Path

import pytest

from benchmarks.environments import FailedError, downloads_of, install, last_line, megabytes, new_environment, run


def test_downloads_of_pip_are_summed() -> None:
    output = """\
Collecting numpy>=2.0 (from n2n-cli==0.1.0)
  Downloading numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl (16.5 MB)
Processing /wheels/torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl
  Downloading rich-15.0.0-py3-none-any.whl.metadata (500 kB)
  Downloading triton-3.6.0.whl (1.5 GB)
  Downloading tiny-1-py3-none-any.whl (900 bytes)
  Downloading words that are no size
"""
    assert downloads_of(output) == pytest.approx(16.5 + 0.5 + 1500 + 0.0009)


def test_installed_packages_have_version_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    wheels = [_wheel(tmp_path, name, f"1.{i}") for i, name in enumerate(("toy", "torch", "helper"))]
    environment = new_environment(tmp_path / "environment")
    before = megabytes(environment)
    found = install(environment, ["toy"])
    assert found.versions == {"toy": "1.0", "torch": "1.1"}
    assert found.archives == found.from_disk == sum(wheel.stat().st_size for wheel in wheels) / 1e6
    assert megabytes(environment) - before == pytest.approx(6.0, abs=0.1)


def _wheel(folder: Path, name: str, version: str) -> Path:
    """Package of two megabytes that compresses well; `toy` depends on the others."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    needs = "Requires-Dist: torch\nRequires-Dist: helper\n" if name == "toy" else ""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}/data", bytes(2_000_000))
        about = f"{name}-{version}.dist-info"
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return path


def test_megabytes_exclude_linked_files(tmp_path: Path) -> None:
    within = tmp_path / "environment"
    (within / "lib").mkdir(parents=True)
    (within / "lib" / "a").write_bytes(bytes(1_500_000))
    (within / "b").write_bytes(bytes(500_000))
    (tmp_path / "elsewhere").write_bytes(bytes(4_000_000))
    (within / "c").symlink_to(tmp_path / "elsewhere")
    (within / "lib64").symlink_to(within / "lib")
    assert megabytes(within) == 2


def test_output_of_a_command_has_stdout_and_stderr() -> None:
    program = "import sys; print('one', flush=True); print('two', file=sys.stderr)"
    assert run([sys.executable, "-c", program]) == "one\ntwo\n"


def test_command_finds_neither_this_checkout_nor_inherited_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    program = "import os; print(os.environ.get('PYTHONPATH'), os.environ.get('OPENBLAS_CORETYPE'), os.environ['HOME'])"
    assert run([sys.executable, "-c", program], variables={"HOME": "/new"}) == "None None /new\n"
    assert not Path(run([sys.executable, "-c", "import os; print(os.getcwd())"]).strip(), "n2n_cli").exists()


def test_failing_command_is_reported_in_one_line() -> None:
    with pytest.raises(FailedError) as caught:
        run([sys.executable, "-c", "import sys; print('first'); print('the cause\\n'); sys.exit(3)"])
    assert str(caught.value) == f"`{Path(sys.executable).name}` ended with 3: the cause"


def test_missing_command_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match=r"^`rembg` cannot be started: No such file or directory$"):
        run([str(tmp_path / "rembg"), "i"])


def test_command_is_killed_at_its_time_limit_with_its_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    program = (
        "import pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(pid_file)!r}).write_text(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    began = time.monotonic()
    with pytest.raises(FailedError, match=r"did not end in 2 s$"):
        run([sys.executable, "-c", program], limit=2)
    assert time.monotonic() - began < 30  # does not wait for the child that holds the output open
    child = int(pid_file.read_text())
    for _ in range(100):
        if not _alive(child):
            break
        time.sleep(0.05)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    """Test if a process runs; a zombie that its parent has not reaped does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


def test_last_line_skips_empty_lines() -> None:
    assert last_line("one\n two three \n\n", 5) == "two t"
    assert last_line("\n") == ""
