"""Run folders: names, files and locks."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from n2n_cli.errors import TrainingError, UsageError
from n2n_cli.models.choice import RUNS
from n2n_cli.training.run_folder import Run, create_run, resumed_run


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(run: Run, seconds: int, *, best: bool = True) -> Run:
    """Create the checkpoints of a run.

    The last one is modified `seconds` after the epoch of the clock.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    if best:
        run.best.touch()
    run.last.touch()
    os.utime(run.last, (seconds, seconds))
    return run


def refused(folder: Path | None) -> UsageError:
    with pytest.raises(UsageError) as caught:
        create_run(folder, name="default")
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return caught.value


def test_run_has_four_file_names() -> None:
    run = Run(Path("a"))
    names = [run.last, run.best, run.config, run.metrics]
    assert names == [Path("a", name) for name in ("last.pth", "best.pth", "config.toml", "metrics.jsonl")]


def test_run_without_a_folder_gets_the_next_free_one() -> None:
    made = [create_run(None, name=name).folder for name in ("default", "default", "ee559", "default")]
    assert made == [RUNS / name for name in ("default-1", "default-2", "ee559-1", "default-3")]
    assert all(folder.is_dir() for folder in made)


def test_names_of_files_are_not_free() -> None:
    RUNS.mkdir()
    (RUNS / "default-1").touch()
    assert create_run(None, name="default").folder == RUNS / "default-2"


def test_runs_that_start_at_once_get_different_folders() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: create_run(None, name="default").folder, range(40)))
    assert sorted(made) == sorted(RUNS / f"default-{i}" for i in range(1, 41))


@pytest.mark.parametrize("link", [False, True])
def test_runs_folder_that_is_no_folder_is_refused(link: bool) -> None:
    if link:
        RUNS.symlink_to("nowhere")
    else:
        RUNS.touch()
    assert refused(None).message.startswith("the run folder `runs` cannot be written: ")


def test_given_folder_is_created_with_its_parents() -> None:
    run = create_run(Path("a/b/c"), name="default")
    assert run == Run(Path("a/b/c"))
    assert run.folder.is_dir()
    assert list(run.folder.iterdir()) == []


def test_folder_without_a_run_is_used_and_its_files_kept() -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("keep me")
    assert create_run(Path("mine"), name="default") == Run(Path("mine"))
    assert Path("mine/notes.txt").read_text() == "keep me"


@pytest.mark.parametrize("name", ["last.pth", "best.pth", "config.toml", "metrics.jsonl"])
def test_run_is_not_overwritten_unless_forced(name: str) -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("keep me")
    Path("mine", name).write_text("old")
    error = refused(Path("mine"))
    assert error.message == "`mine` holds a run already"
    assert error.hint == "another `--out`, or `--force` to replace that run"
    assert Path("mine", name).read_text() == "old"
    run = create_run(Path("mine"), name="default", force=True)
    assert Path("mine", name).read_text() == "old"  # removed only when the new training can start
    run.clear()
    assert [path.name for path in Path("mine").iterdir()] == ["notes.txt"]


def test_earlier_run_that_cannot_be_removed_is_reported() -> None:
    run = Run(Path("mine"))
    run.clear()  # without a folder
    run.best.mkdir(parents=True)
    run.last.touch()
    with pytest.raises(UsageError) as caught:
        run.clear()
    assert caught.value.message == "`mine/best.pth` of an earlier run cannot be removed: Is a directory"
    assert caught.value.hint == "another folder: `--out FOLDER`"


def test_run_is_removed_in_a_safe_order(monkeypatch: pytest.MonkeyPatch) -> None:
    run, unlink, seen = trained(Run(Path("mine")), 1), Path.unlink, []
    run.config.touch()
    run.metrics.touch()

    def watched(path: Path, **extra: bool) -> None:
        unlink(path, **extra)
        seen.append((run.last.exists(), run.config.exists()))

    monkeypatch.setattr(Path, "unlink", watched)
    run.clear()
    assert seen == [(True, False), (False, False), (False, False), (False, False)]


def test_file_in_place_of_the_folder_is_refused() -> None:
    Path("mine").touch()
    assert refused(Path("mine")).message == "the run folder `mine` cannot be written: File exists"
    assert refused(Path("mine/x")).message == "the run folder `mine/x` cannot be written: Not a directory"


def test_unwritable_folder_is_refused_before_anything_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", deny)
    run = trained(Run(Path("mine")), 1)
    with pytest.raises(UsageError) as caught:
        create_run(Path("mine"), name="default", force=True)
    assert caught.value.message == "the run folder `mine` cannot be written: Permission denied"
    assert run.last.exists()
    assert run.best.exists()


# Writing


@pytest.mark.parametrize("room", [10, 13, 15])
def test_line_is_appended_whole_or_not_at_all(room: int) -> None:
    resource = pytest.importorskip("resource")
    run = Run(Path.cwd())
    run.append(run.metrics, '{"a": 1}\n')
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(TrainingError) as caught:
            run.append(run.metrics, '{"b": 2}\n')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.message == f"`{run.metrics}` cannot be written: File too large"
    assert caught.value.hint == "check that its folder exists, is writable and has space left"
    assert run.metrics.read_text() == '{"a": 1}\n'
    run.append(run.metrics, '{"b": 2}\n')
    assert run.metrics.read_text() == '{"a": 1}\n{"b": 2}\n'


def test_interrupted_line_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(Path.cwd())
    run.append(run.metrics, "1\n")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.append(run.metrics, "2\n")
    assert run.metrics.read_text() == "1\n"


def test_text_is_replaced_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(Path.cwd())
    run.write(run.config, "a = 1\n")
    number = run.config.stat().st_ino
    run.write(run.config, "a = 1\n")
    assert run.config.stat().st_ino == number  # not written again
    run.write(run.config, "b = 2\n")
    assert run.config.read_text() == "b = 2\n"

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError) as caught:
        run.write(run.config, "c = 3\n")
    assert caught.value.message == f"`{run.config}` cannot be written: No space left on device"
    assert run.config.read_text() == "b = 2\n"
    assert [path.name for path in Path.cwd().iterdir()] == ["config.toml"]


def test_lock_removes_temporary_files_of_a_killed_training() -> None:
    run = Run(Path.cwd())
    for name in (".last.pth.x.tmp", ".best.pth.y.tmp", ".config.toml.z.tmp", ".metrics.jsonl.0.tmp", ".a.pth.x.tmp"):
        Path(name).touch()
    with run.locked():
        assert {path.name for path in Path.cwd().iterdir()} == {".a.pth.x.tmp", "lock"}
    assert [path.name for path in Path.cwd().iterdir()] == [".a.pth.x.tmp"]


# Resuming


@pytest.mark.parametrize("name", ["last.pth", "config.toml"])
def test_run_with_a_checkpoint_or_a_configuration_can_be_resumed(name: str) -> None:
    Path("mine").mkdir()
    Path("mine", name).touch()
    assert resumed_run(Path("mine")) == Run(Path("mine"))


@pytest.mark.parametrize(
    "make",
    [lambda: None, Path("mine").mkdir, Path("mine").touch, lambda: Path("mine/last.pth").mkdir(parents=True)],
)
def test_folder_without_a_run_cannot_be_resumed(make: Any) -> None:
    make()
    with pytest.raises(UsageError) as caught:
        resumed_run(Path("mine"))
    assert caught.value.message == "`mine` holds no `last.pth` to resume from"
    assert (
        caught.value.hint
        == "name a run's folder, as `runs/default-1`; `n2n train` without `--resume` starts a new training"
    )
