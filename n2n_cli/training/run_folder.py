"""Run folders: where a training puts what it makes, and where `denoise` finds it again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from n2n_cli.config.reading import RUN_CONFIG
from n2n_cli.errors import TrainingError, UsageError
from n2n_cli.models.choice import BEST, LAST, RUNS
from n2n_cli.system.atomic_files import replacing, writing
from n2n_cli.system.locks import locked


@dataclass(frozen=True)
class Run:
    """A run folder and the names of the files in it."""

    folder: Path

    @property
    def last(self) -> Path:
        """The checkpoint of the last epoch."""
        return self.folder / LAST

    @property
    def best(self) -> Path:
        """The checkpoint of the epoch with the highest validation PSNR."""
        return self.folder / BEST

    @property
    def config(self) -> Path:
        """The resolved configuration; training with it again makes the same run."""
        return self.folder / RUN_CONFIG

    @property
    def metrics(self) -> Path:
        """One JSON object per epoch."""
        return self.folder / "metrics.jsonl"

    @property
    def lock(self) -> Path:
        """Is there while a training writes to the folder."""
        return self.folder / "lock"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other trainings out of the folder inside the block; what a killed one left half written is removed.

        Raises
        ------
        UsageError
            When another training writes to it.
        """
        with locked(self.lock):
            for path in self._files():
                for left in self.folder.glob(f".{path.name}.*.tmp"):
                    with suppress(OSError):
                        left.unlink()
            yield

    def write(self, path: Path, text: str) -> None:
        """Give one of its text files this text, whole, by rename; a file that has it already is not touched.

        Raises
        ------
        TrainingError
            When it cannot be written; an older one is then intact.
        """
        content = text.encode()
        with suppress(OSError):
            if path.read_bytes() == content:
                return
        with writing(path, TrainingError), replacing(path) as file:
            file.write(content)

    def append(self, path: Path, text: str) -> None:
        """Add a text to the end of one of its text files, whole or not at all.

        Raises
        ------
        TrainingError
            When it cannot be written; the file is then as it was.
        """
        with writing(path, TrainingError), path.open("ab", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            try:
                left = memoryview(text.encode())
                while left:  # a disk that becomes full takes a part
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            except BaseException:
                with suppress(OSError):
                    file.truncate(end)
                raise

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
        # The order in which they are removed: as long as the last checkpoint is there, the run can be gone on with; and
        # a configuration without it is that of a run that has just begun.
        return self.config, self.last, self.best, self.metrics


def create_run(folder: Path | None, *, name: str = "run", force: bool = False) -> Run:
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


def resumed_run(folder: Path) -> Run:
    """The run in a folder, to go on with: from its last checkpoint or, where it has none yet, from its configuration.

    Raises
    ------
    UsageError
        When the folder holds neither.
    """
    run = Run(folder)
    if not run.last.is_file() and not run.config.is_file():
        raise UsageError(
            f"`{folder}` holds no `{run.last.name}` to go on from",
            hint="name a run's folder, as `runs/default-1`; without `--resume` a training begins anew",
        )
    return run


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
