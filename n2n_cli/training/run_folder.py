"""Run folders, each with the checkpoints, configuration and metrics of a training."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from n2n_cli.config import Config
from n2n_cli.config.reading import RUN_CONFIG
from n2n_cli.errors import TrainingError, UsageError
from n2n_cli.models.choice import BEST, LAST, RUNS
from n2n_cli.system.atomic_files import replacing, sync, writing
from n2n_cli.system.locks import locked
from n2n_cli.system.overwriting import check_inputs_kept
from n2n_cli.system.plain_files import check_plain, open_plain, read_plain


@dataclass(frozen=True)
class Run:
    """A run folder and the names of the files in it."""

    folder: Path

    @property
    def last(self) -> Path:
        """Checkpoint to resume from, written during and after every epoch."""
        return self.folder / LAST

    @property
    def best(self) -> Path:
        """Checkpoint of the epoch with the highest validation PSNR."""
        return self.folder / BEST

    @property
    def config(self) -> Path:
        """Resolved configuration; training with it again gives the same run."""
        return self.folder / RUN_CONFIG

    @property
    def metrics(self) -> Path:
        """Metrics, one JSON object per epoch."""
        return self.folder / "metrics.jsonl"

    @property
    def lock(self) -> Path:
        """Lock file, present while a training writes to the folder."""
        return self.folder / "lock"

    def check(self) -> None:
        """Check that the run's existing files are regular files.

        Raises
        ------
        UsageError
            When one of them is a symbolic link, a pipe or a device, which another user may have made.
        """
        check_plain([*self._files(), self.lock])

    def check_inputs_kept(self, config: Config) -> None:
        """Check that a new training with this configuration replaces none of its inputs.

        Raises
        ------
        UsageError
            When one of the run's files is the configuration, the initial weights or the pairs.
        """
        named = (config.origin, config.train.init, config.data.source, config.data.second)
        inputs = [Path(name) for name in named if name]
        check_inputs_kept(self._files(), inputs, hint="another folder: `--out FOLDER`")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder inside the block.

        Also removes temporary files that a killed training left.

        Raises
        ------
        UsageError
            When another training holds the lock, or the run's files are not regular files.
        """
        self.check()
        with locked(self.lock):
            for path in self._files():
                for left in self.folder.glob(f".{path.name}.*.tmp"):
                    with suppress(OSError):
                        left.unlink()
            yield

    def write(self, path: Path, text: str) -> None:
        """Replace a text file of the run atomically, by rename.

        A file that already holds the text is not touched, unless it has a second name (hard link).

        Raises
        ------
        TrainingError
            When the file cannot be written; its old content is then intact.
        """
        content = text.encode()
        with suppress(OSError):
            if path.lstat().st_nlink == 1 and read_plain(path, len(content)) == content:
                return
        with writing(path, TrainingError), replacing(path, follow_links=False) as file:
            file.write(content)

    def append(self, path: Path, text: str) -> None:
        """Append the whole text to a text file of the run, or nothing.

        Raises
        ------
        TrainingError
            When the file cannot be written; its old content is then intact.
        """
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        with writing(path, TrainingError), os.fdopen(open_plain(path, flags), "ab", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            try:
                left = memoryview(text.encode())
                while left:  # a nearly full disk may accept only part of it
                    left = left[file.write(left) :]
                sync(file.fileno(), path.parent)
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
        # In order of removal. As long as the last checkpoint exists, the run can be resumed; a configuration without a
        # checkpoint would be that of a run that has just started.
        return self.config, self.last, self.best, self.metrics


def create_run(folder: Path | None, *, name: str = "run", force: bool = False) -> Run:
    """Create a run folder.

    Without `folder`, it is the first free one of `runs/NAME-1`, `runs/NAME-2`, ...

    Parameters
    ----------
    folder : path, optional
    name : str
        NAME of the new folder, if `folder` is None.
    force : bool
        Accept a `folder` with an earlier run. Its files stay until `Run.clear` is called.

    Raises
    ------
    UsageError
        When `folder` already holds a run or files that are not regular, or cannot be created or written to.
    """
    try:
        if folder is None:
            return Run(_next_free(name))
        folder.mkdir(parents=True, exist_ok=True)
        run = Run(folder)
        run.check()
        if not force and any(path.exists() for path in run._files()):
            raise UsageError(
                f"`{folder}` holds a run already", hint="another `--out`, or `--force` to replace that run"
            )
        tempfile.TemporaryFile(dir=folder).close()  # fails now, not after an epoch, if not writable
    except OSError as error:
        raise UsageError(
            f"the run folder `{folder or RUNS}` cannot be written: {error.strerror}",
            hint="another folder: `--out FOLDER`",
        ) from None
    return run


def resumed_run(folder: Path) -> Run:
    """Find the run to resume in a folder.

    The run continues from its last checkpoint or, if there is none yet, starts with its configuration.

    Raises
    ------
    UsageError
        When the folder holds neither checkpoint nor configuration, or its files are not regular files.
    """
    run = Run(folder)
    run.check()
    if not run.last.is_file() and not run.config.is_file():
        raise UsageError(
            f"`{folder}` holds no `{run.last.name}` to resume from",
            hint="name a run's folder, as `runs/default-1`; `n2n train` without `--resume` starts a new training",
        )
    return run


def _next_free(name: str) -> Path:
    number = 1
    while True:
        try:
            (RUNS / f"{name}-{number}").mkdir(parents=True)
        except FileExistsError:  # perhaps just created by another process
            if not RUNS.is_dir():  # a file, or a broken link
                raise
            number += 1
        else:
            return RUNS / f"{name}-{number}"
