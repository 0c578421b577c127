"""Trainings in worker processes."""

from __future__ import annotations

import json
import os
import signal
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from n2n_cli.config import Config
from n2n_cli.errors import DivergenceError, N2NError
from n2n_cli.system.worker_process import Connection, WorkerProcess
from n2n_cli.training.loop import train
from n2n_cli.training.records import Epoch, Finished, Record, Started, Step, Stopped
from n2n_cli.training.run_folder import Run

_STEP_INTERVAL = 0.5
"""Least time between two reported steps, in seconds."""
_PATIENCE = 10.0
"""Time, in seconds, that a process has to end once its training has."""


@dataclass(frozen=True)
class Diverged:
    """The loss or the weights were not finite."""

    reason: str


@dataclass(frozen=True)
class Failed:
    """The training could not be done. `trace` is the traceback of the error, where there is one."""

    reason: str
    hint: str | None = None
    trace: str = ""


Message: TypeAlias = Record | Diverged | Failed
_KINDS = {kind.__name__: kind for kind in (Started, Step, Epoch, Finished, Stopped, Diverged, Failed)}


class Worker:
    """A process that trains the network that a configuration describes, resuming what its run folder holds.

    It stops, saving first, when it is asked to or when the process that started it is gone.

    Parameters
    ----------
    config : Config
    run : Run
        A folder that exists.
    threads : int
        Number of threads that compute.

    Attributes
    ----------
    pid : int
        Of the process.
    """

    def __init__(self, config: Config, run: Run, threads: int) -> None:
        self._process = WorkerProcess(train_and_report, config.tables(), str(run.folder), threads)
        self.pid = self._process.pid

    def fileno(self) -> int:
        """The file descriptor to wait for, together with those of other workers."""
        return self._process.fileno()

    def receive(self) -> Message:
        """Wait for the next message. The last is a Finished, Stopped, Diverged or Failed.

        A process that ends without one has failed: the system may have ended it.
        """
        line = self._process.receive()
        if line is None:
            code = self._process.stop(_PATIENCE)
            why = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            return Failed(f"its process {why}", "perhaps there is too little memory: fewer `--jobs`")
        return _message(line)

    def stop(self) -> None:
        """Ask it to save and end."""
        self._process.send()

    def close(self, patience: float = 0.0) -> None:
        """Let it end, and kill it after `patience` seconds."""
        self._process.stop(patience)


def train_and_report(parent: Connection, tables: dict[str, Any], folder: str, threads: int) -> None:
    """Train in a worker process until the parent sends a line or is gone."""
    reported = 0.0
    try:
        config = Config.from_tables(tables, "sweep")
        for record in train(config, Run(Path(folder)), threads, resume=True, stop=parent.has_news):
            if isinstance(record, Step):
                if time.monotonic() < reported + _STEP_INTERVAL:
                    continue
                reported = time.monotonic()
            parent.send(_line(record))
    except Exception as error:  # also what nobody foresaw: the other trainings are not to blame
        parent.send(_line(failure(error)))


def failure(error: Exception) -> Diverged | Failed:
    """The message that says why a training ended."""
    if isinstance(error, DivergenceError):
        return Diverged(error.message)
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, N2NError):
        return Failed(error.message, error.hint, trace)
    if isinstance(error, MemoryError):
        return Failed("out of memory", "fewer `--jobs`, or a smaller `train.batch_size`", trace)
    return Failed(f"{type(error).__name__}: {error}", None, trace)


def _line(message: Message) -> bytes:
    return json.dumps([type(message).__name__, asdict(message)], default=os.fspath).encode()


def _message(line: bytes) -> Message:
    name, values = json.loads(line)
    if "notes" in values:
        values["notes"] = tuple(values["notes"])
    if "checkpoint" in values:
        values["checkpoint"] = Path(values["checkpoint"])
    message: Message = _KINDS[name](**values)
    return message
