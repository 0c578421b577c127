"""Functions that run in worker processes and exchange lines with their parent.

A worker is a fresh interpreter: it finds the same packages and loads the same plugins as its parent, but knows nothing
else of the parent's program. It runs one function, which is found by its module and name; what that prints goes to
stderr. Parent and worker each notice when the other is gone: the pipe from there then ends.
"""

from __future__ import annotations

import json
import os
import pkgutil
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import IO, Any, Concatenate, cast

from n2n_cli.system.plugins import load_plugin, loaded_plugins

_PROGRAM = "import sys; sys.path[:] = {path!r}; from {module} import run_worker; run_worker()"


class Connection:
    """Lines to and from another process.

    Parameters
    ----------
    incoming, outgoing : unbuffered binary files
    """

    def __init__(self, incoming: IO[bytes], outgoing: IO[bytes]) -> None:
        self._incoming, self._outgoing = incoming, outgoing

    def fileno(self) -> int:
        """The file descriptor that can be read when a line has arrived."""
        return self._incoming.fileno()

    def send(self, line: bytes = b"") -> None:
        """Send a line without line breaks; does nothing when nobody receives it."""
        with suppress(BrokenPipeError):
            self._outgoing.write(line + b"\n")

    def receive(self) -> bytes | None:
        """Wait for the next line; None when the other process is gone."""
        line = self._incoming.readline()
        return line[:-1] if line.endswith(b"\n") else None

    def has_news(self, seconds: float | None = 0, *, spinning: float = 0) -> bool:
        """Wait until `receive` returns at once.

        Parameters
        ----------
        seconds : float or None
            Maximum waiting time; None for no maximum.
        spinning : float
            Seconds before it in which the pipe is checked again and again, which notices a line sooner.
        """
        poll = select.poll()
        poll.register(self, select.POLLIN)
        until = time.perf_counter() + spinning
        while time.perf_counter() < until:
            if poll.poll(0):
                return True
        return bool(poll.poll(None if seconds is None else seconds * 1000))


class WorkerProcess(Connection):
    """A process that runs `work(parent, *arguments)`; `parent` is a Connection.

    Signals that ask a whole group of processes to end do not reach it, nor do those of a terminal: they are for the
    parent, which decides.

    Parameters
    ----------
    work : function
        Found by its module and name in the worker.
    arguments : plain values
        Numbers, texts, None, and lists and tables of these, as JSON can hold them. A tuple arrives as a list.
    files : sequence of int
        File descriptors that the worker inherits, under the same numbers.
    quiet : bool
        Drop what the worker writes to stderr.

    Attributes
    ----------
    pid : int

    Raises
    ------
    OSError
        When the process cannot be started.
    """

    def __init__(
        self,
        work: Callable[Concatenate[Connection, ...], None],
        *arguments: Any,
        files: Sequence[int] = (),
        quiet: bool = False,
    ) -> None:
        program = _PROGRAM.format(path=sys.path, module=__name__)
        for_parent = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, for_parent)  # the worker inherits it
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if quiet else None,
                pass_fds=files,
                start_new_session=True,
                bufsize=0,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.pid = self._process.pid
        super().__init__(cast("IO[bytes]", self._process.stdout), cast("IO[bytes]", self._process.stdin))
        self.send(json.dumps([loaded_plugins(), function_name(work), arguments]).encode())

    def hang_up(self) -> None:
        """Send no more lines, which the worker notices; its own still arrive."""
        self._outgoing.close()

    def end(self, patience: float = 0) -> int:
        """Hang up, let the worker end, and kill it after `patience` seconds.

        Returns
        -------
        int
            Its exit code; if a signal ended it, minus the signal's number.
        """
        self.hang_up()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        self._process.kill()
        self._incoming.close()
        return self._process.wait()


def function_name(function: Callable[..., object]) -> str:
    """The name by which `pkgutil.resolve_name` finds a function in another process."""
    return f"{function.__module__}:{function.__qualname__}"


def run_worker() -> None:
    """Run the function that the parent's first line names."""
    pipes = os.fdopen(0, "rb", buffering=0), os.fdopen(1, "wb", buffering=0)
    with pipes[0] as words, pipes[1] as answers, redirect_stdout(sys.stderr):
        parent = Connection(words, answers)
        line = parent.receive()
        if line is not None:
            plugins, name, arguments = json.loads(line)
            for path in plugins:
                load_plugin(Path(path))
            pkgutil.resolve_name(name)(parent, *arguments)
