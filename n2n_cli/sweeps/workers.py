"""A training in a process of its own: what it tells, how it is asked to stop, and how it may end."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

from n2n_cli.config import Config
from n2n_cli.errors import DivergenceError, N2NError
from n2n_cli.training.loop import train
from n2n_cli.training.records import Record, Step
from n2n_cli.training.run_folder import Run

_MOMENT = 0.5  # seconds: steps are told no more often
_HELD_BACK = ("SIGINT", "SIGTERM", "SIGHUP")


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


class Worker:
    """A process that trains the network that a configuration describes, going on from what its run folder holds.

    It stops, saving first, when it is asked to or when the process that started it is gone. Signals that ask a group
    of processes to end do not reach it: whoever started it decides.

    Parameters
    ----------
    config : Config
    run : Run
        A folder that exists.
    threads : int
        That compute.

    Attributes
    ----------
    messages : multiprocessing.connection.Connection
        To wait for, together with others.
    """

    def __init__(self, config: Config, run: Run, threads: int) -> None:
        context = get_context("spawn")  # a forked process would have this one's locks, but not its threads
        self.messages, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other, config.tables(), str(run.folder), threads))
        with _signals_held_back():
            self._process.start()
        other.close()

    def receive(self) -> Message:
        """Its next message, which is waited for. The last is a Finished, Stopped, Diverged or Failed.

        A process that ends without having told how has failed: the system may have ended it.
        """
        try:
            message: Message = self.messages.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode or 0
            why = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            return Failed(f"its process {why}", "perhaps there is too little memory: fewer `--jobs`")
        return message

    def stop(self) -> None:
        """Ask it to save and end."""
        with suppress(OSError):  # it has ended
            self.messages.send(None)

    def close(self, patience: float = 0.0) -> None:
        """Let it end; after so many seconds, end it."""
        self._process.join(patience)
        self._process.kill()
        self._process.join()
        self.messages.close()


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Let a process that is started inside the block not get them; this one gets them after it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # started below, it would let the signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [getattr(signal, name) for name in _HELD_BACK])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(messages: Connection, tables: dict[str, Any], folder: str, threads: int) -> None:
    """What the process does: train, and tell of it."""

    def tell(message: Message) -> None:
        with suppress(OSError):  # nobody is left to hear it; what is to be saved is saved all the same
            messages.send(message)

    told = 0.0
    try:
        config = Config.from_tables(tables, "sweep")
        # A word to stop and the end of whoever could say it are alike: there is something to be read.
        for record in train(config, Run(Path(folder)), threads, resume=True, stop=messages.poll):
            if isinstance(record, Step):
                if time.monotonic() < told + _MOMENT:
                    continue
                told = time.monotonic()
            tell(record)
    except Exception as error:  # also what nobody foresaw: the other trainings are not to blame
        tell(_ending(error))


def _ending(error: Exception) -> Diverged | Failed:
    if isinstance(error, DivergenceError):
        return Diverged(error.message)
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, N2NError):
        return Failed(error.message, error.hint, trace)
    if isinstance(error, MemoryError):
        return Failed("out of memory", "fewer `--jobs`, or a smaller `train.batch_size`", trace)
    return Failed(f"{type(error).__name__}: {error}", None, trace)
