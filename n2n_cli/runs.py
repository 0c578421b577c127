"""Run folders: where a training puts what it makes, and where `denoise` finds it again."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from n2n_cli.errors import CheckpointError, UsageError

RUNS = Path("runs")
"""The folder, in the current one, of runs that were given no folder of their own."""


@dataclass(frozen=True)
class Run:
    """A run folder and the names of the files in it."""

    folder: Path

    @property
    def last(self) -> Path:
        """The checkpoint of the last epoch."""
        return self.folder / "last.pth"

    @property
    def best(self) -> Path:
        """The checkpoint of the epoch with the highest validation PSNR."""
        return self.folder / "best.pth"

    @property
    def config(self) -> Path:
        """The resolved configuration; training with it again makes the same run."""
        return self.folder / "config.toml"

    @property
    def metrics(self) -> Path:
        """One JSON object per epoch."""
        return self.folder / "metrics.jsonl"

    def clear(self) -> None:
        """Remove the files of an earlier run, and no others.

        Raises
        ------
        UsageError
            When one of them cannot be removed.
        """
        for path in self._files():
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise UsageError(
                    f"`{path}` of an earlier run cannot be removed: {error.strerror}",
                    hint="another folder: `--out FOLDER`",
                ) from None

    def _files(self) -> tuple[Path, ...]:
        return self.last, self.best, self.config, self.metrics


def create_run(folder: Path | None, name: str, *, force: bool = False) -> Run:
    """Make a run folder: `folder`, or the next free `runs/NAME-1`, `runs/NAME-2`, ...

    Parameters
    ----------
    folder : path, optional
    name : str
        Names the folder where none is given.
    force : bool
        Whether `folder` may hold an earlier run. Its files stay until the new one calls `Run.clear`.

    Raises
    ------
    UsageError
        When `folder` holds a run already, or cannot be made or written to.
    """
    try:
        if folder is None:
            return Run(_next_free(name))
        folder.mkdir(parents=True, exist_ok=True)
        run = Run(folder)
        if not force and any(path.exists() for path in run._files()):
            raise UsageError(
                f"`{folder}` holds a run already", hint="another `--out`, or `--force` to replace what is there"
            )
        tempfile.TemporaryFile(dir=folder).close()  # a folder that cannot be written is told of now, not after an epoch
    except OSError as error:
        raise UsageError(
            f"the run folder `{folder or RUNS}` cannot be written: {error.strerror}",
            hint="another folder: `--out FOLDER`",
        ) from None
    return run


def newest_checkpoint(runs: Path = RUNS) -> Path:
    """The best checkpoint of the run that wrote one last.

    Raises
    ------
    CheckpointError
        When no run has a checkpoint.
    """
    found = []
    with suppress(OSError):  # no runs, or not ours to see
        for run in map(Run, runs.iterdir()):
            with suppress(OSError):  # the same for one of them
                found.append((run.last.stat().st_mtime, run))
    if not found:
        raise CheckpointError(
            f"there is no model: no run in `{runs}` has a checkpoint",
            hint="make one with `n2n train`, or name one with `--model CHECKPOINT`",
        )
    _, run = max(found, key=lambda item: item[0])
    return run.best if run.best.is_file() else run.last


def _next_free(name: str) -> Path:
    number = 1
    while True:
        try:
            (RUNS / f"{name}-{number}").mkdir(parents=True)
        except FileExistsError:  # also another process's, made a moment ago
            if not RUNS.is_dir():  # a file, or a link to nowhere
                raise
            number += 1
        else:
            return RUNS / f"{name}-{number}"
