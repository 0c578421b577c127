"""Run and sweep folders whose files are links to a user's files, or pipes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TypeAlias

from n2n_cli.training.run_folder import Run
from tests.cli import environment, workplace
from tests.torture import Note, Trial

_RUN = Run(Path("run"))
_SWEEP = Path("sweep")
_SHORT = ["--config", "tiny.toml", "--epochs", "1"]
_TRAIN = ["train", *_SHORT, "--out", "run", "--force"]
_RESUME = ["train", "--resume", "run", "--epochs", "2"]
_TO_SWEEP = ["sweep", *_SHORT, "--param", "train.lr", "--values", "0.5", "--out", "sweep"]
NAMES: dict[Path, list[list[str]]] = {  # each with the commands that write to it
    **{path: [_RESUME, _TRAIN] for path in (_RUN.lock, _RUN.config, _RUN.last, _RUN.best, _RUN.metrics)},
    **{_SWEEP / name: [_TO_SWEEP] for name in ("sweep.json", "sweep.csv", "train.lr=0.5/ending.json")},
}
MINE = "the user's own\n"
Command: TypeAlias = Callable[[Sequence[str]], tuple[int, str]]
Attack: TypeAlias = Callable[[Path, Path], None]


def link_to_a_file(path: Path, home: Path) -> None:
    """Make a symbolic link to the user's file."""
    path.symlink_to(home / "mine")


def link_to_nothing(path: Path, home: Path) -> None:
    """Make a symbolic link to a file that does not exist."""
    path.symlink_to(home / "new")


def link_to_a_device(path: Path, home: Path) -> None:
    """Make a symbolic link to a file without an end."""
    path.symlink_to("/dev/zero")


def pipe(path: Path, home: Path) -> None:
    """Make a pipe that no process writes to."""
    os.mkfifo(path)


def second_name(path: Path, home: Path) -> None:
    """Give the user's file a second name, a hard link."""
    path.hardlink_to(home / "mine")


LINKS = (link_to_a_file, link_to_nothing)
KINDS = (*LINKS, link_to_a_device, pipe, second_name)


def make_template(folder: Path, run: Command) -> None:
    """Train a run and a sweep in a folder, which is the current one."""
    workplace(folder)
    for words in (_TRAIN, _TO_SWEEP):
        code, err = run(words)
        assert code == 0, err


def attacked(
    name: Path, kind: Callable[[Path, Path], None], run: Command, template: Path, folder: Path
) -> Iterator[str]:
    """Attack a copied run or sweep with a link, and yield the failures.

    One file is replaced, and the commands that write there are run.

    Parameters
    ----------
    name : Path
        One of `NAMES`.
    kind : function
        One of `KINDS`.
    run : function
        Runs a command in `folder`; returns its exit code and stderr.
    template : Path
        Folder made by `make_template`.
    folder : Path
        The current folder, empty.
    """
    home = folder / "home"
    for words in NAMES[name]:
        for left in folder.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        shutil.copytree(template, folder, dirs_exist_ok=True)
        home.mkdir()
        (home / "mine").write_text(MINE)
        (folder / name).unlink(missing_ok=True)
        kind(folder / name, home)
        code, err = run(words)
        attack = f"{name} as {kind.__name__}, {' '.join(words[:2])}"
        if [path.name for path in home.iterdir()] != ["mine"] or (home / "mine").read_text() != MINE:
            yield f"{attack}: wrote to the user's files"
        if kind is not second_name and (code != 2 or f"{name}` is a " not in err):
            yield f"{attack}: exit code {code}, {err[-300:]!r}"
        if "Traceback" in err or "fault of n2n" in err:
            yield f"{attack}: {err[-300:]!r}"


def links(count: int) -> Iterator[str]:
    """Replace each of `NAMES` by each of `KINDS`, and run the commands.

    Each command runs in a process of its own.
    """
    forms = list(product(KINDS, NAMES))
    forms = forms[:: max(1, len(forms) // count)][:count]
    with tempfile.TemporaryDirectory(prefix="n2n-torture-") as name:
        template, folder = Path(name, "template"), Path(name, "folder")
        folder.mkdir()

        def run(place: Path, words: Sequence[str]) -> tuple[int, str]:
            command = [sys.executable, "-m", "n2n_cli", *words]
            env = environment(MPLCONFIGDIR=name)
            done = subprocess.run(
                command, cwd=place, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
            )
            return done.returncode, done.stderr

        template.mkdir()
        make_template(template, lambda words: run(template, words))
        for kind, file in forms:
            yield from attacked(file, kind, lambda words: run(folder, words), template, folder)
    yield Note(f"{len(forms)} forms, {sum(kind in LINKS for kind, _ in forms)} of them symbolic links")


TRIALS: dict[str, Trial] = {"links": links}
COUNTS = {"links": (len(KINDS) * len(NAMES), 4)}
