"""Functions that run in worker processes and exchange lines with their parent.

A worker is a fresh interpreter with the import path and the plugins of its parent, but without its state. It runs one
function, which is found by module and name. Parent and worker each notice when the other exits, because the pipe from
it then ends.
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
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Concatenate, cast

from n2n_cli.system.plugins import load_plugin, loaded_plugins

_PROGRAM = "import sys; sys.path[:] = {path!r}; from {module} import run_worker; run_worker()"


class Connection:
    """Exchange of lines with another process.

    Parameters
    ----------
    incoming, outgoing : unbuffered binary files
    """

    def __init__(self, incoming: IO[bytes], outgoing: IO[bytes]) -> None:
        self._incoming, self._outgoing = incoming, outgoing

    def fileno(self) -> int:
        """File descriptor that becomes readable when a line arrives."""
        return self._incoming.fileno()

    def send(self, line: bytes = b"") -> None:
        """Send a line without line breaks; ignored if the other process has exited."""
        with suppress(BrokenPipeError):
            self._outgoing.write(line + b"\n")

    def receive(self) -> bytes | None:
        """Wait for the next line; None if the other process has exited."""
        line = self._incoming.readline()
        return line[:-1] if line.endswith(b"\n") else None

    def has_news(self, seconds: float | None = 0, *, spinning: float = 0) -> bool:
        """Wait until a line can be received; return False on timeout.

        Parameters
        ----------
        seconds : float or None
            Maximum waiting time; None for no maximum.
        spinning : float
            Time of busy waiting before that, in seconds; notices a line sooner than sleeping.
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

    Signals to the process group or from the terminal, such as Ctrl-C, do not reach the worker: the parent handles them.

    Parameters
    ----------
    work : function
        A function that the worker can import by module and name.
    arguments : plain values
        Values that JSON can hold: numbers, strings, None, and lists and dicts of these. A tuple arrives as a list.
    files : sequence of int
        File descriptors that the worker inherits, under the same numbers.
    quiet : bool
        Discard the worker's stderr.

    Attributes
    ----------
    pid : int

    Raises
    ------
    OSError
        If the process cannot be started.
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
        """Close the pipe to the worker, which notices; lines from it still arrive."""
        self._outgoing.close()

    def end(self, patience: float = 0) -> int:
        """Hang up, let the worker end, and kill it after `patience` seconds.

        Returns
        -------
        int
            The exit code, or minus the number of the signal that ended the worker.
        """
        self.hang_up()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        self._process.kill()
        self._incoming.close()
        return self._process.wait()


def function_name(function: Callable[..., object]) -> str:
    """Name with which `pkgutil.resolve_name` finds a function in another process."""
    return f"{function.__module__}:{function.__qualname__}"


def run_worker() -> None:
    """Run the function that the first line from the parent names."""
    with os.fdopen(0, "rb", buffering=0) as words, os.fdopen(os.dup(1), "wb", buffering=0) as answers:
        os.dup2(2, 1)  # print() must not write to the pipe
        parent = Connection(words, answers)
        line = parent.receive()
        if line is not None:
            plugins, name, arguments = json.loads(line)
            for path in plugins:
                load_plugin(Path(path))
            pkgutil.resolve_name(name)(parent, *arguments)
