"""Run and sweep folders from untrusted sources.

Links to the user's files are not followed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from n2n_cli.checkpoints.file import read_checkpoint, write_checkpoint
from n2n_cli.errors import TrainingError, UsageError
from n2n_cli.training.run_folder import Run, create_run, resumed_run
from tests.cli import n2n
from tests.torture.links import KINDS, NAMES, attacked, link_to_a_file, link_to_nothing, make_template, pipe


def run(words: Sequence[str]) -> tuple[int, str]:
    answer = n2n(*words)
    return answer.code, answer.err


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("n2n_cli.plots.style.available", lambda: False)
        make_template(folder, run)
    return folder


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", NAMES, ids=str)
def test_link_in_a_run_folder_is_refused(
    name: Path, kind: Callable[[Path, Path], None], template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("n2n_cli.plots.style.available", lambda: False)
    assert list(attacked(name, kind, run, template, tmp_path)) == []


@pytest.mark.parametrize("name", ["sweep", "sweep/train.lr=0.5", "sweep/lock", "sweep/sweep.png"])
def test_sweep_writes_only_into_its_own_folder(
    name: str, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    path, home = Path(name), tmp_path / "home"
    if path.is_dir():
        path.rename("before")
    path.symlink_to(home)
    home.mkdir()
    points = "--param", "train.lr", "--values", "0.5,1"
    answer = n2n("sweep", "--config", "tiny.toml", "--epochs", "1", *points, "--out", "sweep")
    if name == "sweep":  # the user names this folder, which may be a link
        assert answer.code == 0
    else:
        assert (answer.code, list(home.iterdir())) == (2, [])
        assert answer.err.startswith(f"error: `{name}` is a symbolic link, not a plain file or folder\n")


def test_new_run_in_a_folder_with_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "best.pth").symlink_to("nowhere")
    for begin in (create_run, resumed_run):
        with pytest.raises(UsageError) as caught:
            begin(tmp_path)
        assert caught.value.message == f"`{tmp_path / 'best.pth'}` is a symbolic link, not a plain file or folder"
        assert caught.value.hint


def test_hard_linked_metrics_are_copied_before_appending(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.metrics.write_text("1\n")
    (tmp_path / "backup").hardlink_to(run.metrics)
    run.write(run.metrics, "1\n")
    run.append(run.metrics, "2\n")
    assert run.metrics.read_text() == "1\n2\n"
    assert (tmp_path / "backup").read_text() == "1\n"


@pytest.mark.parametrize("write", [Run.write, Run.append])
@pytest.mark.parametrize("kind", [link_to_a_file, link_to_nothing, pipe])
def test_link_created_during_training_is_not_followed(
    write: Callable[[Run, Path, str], None], kind: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    run = Run(tmp_path)
    (tmp_path / "mine").write_text("mine")
    kind(run.metrics, tmp_path)
    with pytest.raises(TrainingError, match=r"metrics.jsonl` cannot be written: it is a (symbolic link|pipe), not a"):
        write(run, run.metrics, "text")
    assert (tmp_path / "mine").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "metrics.jsonl"}


def test_metrics_take_only_scores_of_epochs_from_a_checkpoint(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    tree = read_checkpoint("run/last.pth")
    tree["progress"]["history"][0]["$(touch made)"] = 1.0
    write_checkpoint("run/last.pth", tree)
    before = Path("run/metrics.jsonl").read_bytes()
    answer = n2n("train", "--resume", "run", "--epochs", "2")
    assert answer.code == 1
    assert "error: `run/last.pth` holds no training progress\n" in answer.err
    assert Path("run/metrics.jsonl").read_bytes() == before
