"""Trainings in worker processes."""

from __future__ import annotations

import json
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
from n2n_cli.training.records import Epoch, Finished, Started, Step, Stopped
from n2n_cli.training.run_folder import Run

PATIENCE = 10.0
"""Maximum time for a process to exit after its training, in seconds."""
_STEP_INTERVAL = 0.5
"""Minimum interval between two reported steps, in seconds."""


@dataclass(frozen=True)
class Ended:
    """End of a training.

    Attributes
    ----------
    status : "done", "diverged", "failed" or "unfinished"
    reason, hint : str or None
        Reason why the training has diverged or failed, and a hint.
    trace : str
        Traceback of the error, if there was one.
    """

    status: str
    reason: str | None = None
    hint: str | None = None
    trace: str = ""


Message: TypeAlias = Started | Step | Epoch | Ended
_KINDS = {kind.__name__: kind for kind in (Started, Step, Epoch, Ended)}


class Worker(WorkerProcess):
    """A process that trains the network of a configuration.

    It resumes a run in the folder, if there is one. It saves and stops when the parent process hangs up or ends.

    Parameters
    ----------
    config : Config
    run : Run
        An existing folder.
    threads : int
        Number of computing threads.
    """

    def __init__(self, config: Config, run: Run, threads: int) -> None:
        super().__init__(train_and_report, config.tables(), str(run.folder), threads)

    def message(self) -> Message:
        """Wait for the next message; the last one is `Ended`.

        A process that exits without `Ended` has failed; the system may have killed it.
        """
        line = self.receive()
        if line is None:
            code = self.end(PATIENCE)
            why = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            return Ended("failed", f"its process {why}", "if memory is short: fewer `--jobs`")
        name, values = json.loads(line)
        if "notes" in values:
            values["notes"] = tuple(values["notes"])
        message: Message = _KINDS[name](**values)
        return message


def train_and_report(parent: Connection, tables: dict[str, Any], folder: str, threads: int) -> None:
    """Train in a worker process until the parent hangs up."""

    def report(message: Message) -> None:
        parent.send(json.dumps([type(message).__name__, asdict(message)]).encode())

    reported = 0.0
    try:
        config = Config.from_tables(tables, "sweep")
        for record in train(config, Run(Path(folder)), threads, resume=True, stop=parent.has_news):
            if isinstance(record, Step):
                if time.monotonic() < reported + _STEP_INTERVAL:
                    continue
                reported = time.monotonic()
            if isinstance(record, Finished | Stopped):
                report(Ended("done" if isinstance(record, Finished) else "unfinished"))
            else:
                report(record)
    except Exception as error:  # also unexpected errors: the other trainings continue
        report(ended_by(error))


def ended_by(error: Exception) -> Ended:
    """Make the end of a training that raised an error."""
    reason, hint = f"{type(error).__name__}: {error}", None
    if isinstance(error, N2NError):
        reason, hint = error.message, error.hint
    elif isinstance(error, MemoryError):
        reason, hint = "out of memory", "fewer `--jobs`, or a smaller `train.batch_size`"
    if isinstance(error, DivergenceError):
        return Ended("diverged", reason)
    return Ended("failed", reason, hint, "".join(traceback.format_exception(error)))
