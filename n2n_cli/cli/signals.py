"""Handling of SIGINT, SIGTERM and SIGHUP.

The first lets a training save and ends other commands at once; a second ends all.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

from n2n_cli.cli.console import InterruptionError, tell

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class StopSignals:
    """Context that catches SIGINT, SIGTERM and SIGHUP.

    Signals that the caller ignores, as nohup does, stay ignored. A signal that does not wait raises KeyboardInterrupt,
    which no `except Exception` takes for something else.

    Attributes
    ----------
    received : signal.Signals or None
        The first that came.
    saves : bool
        Whether there is something to save, so that the first signal waits for it.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.saves = False
        self._told = False
        self._before: dict[signal.Signals, Any] = {}
        self._terminals = [number for number in (1, 2) if os.isatty(number)]

    def __enter__(self) -> Self:
        for name in _NAMES:
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: not Python's
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """True after a signal.

        It is reported here and not in the handler, which may have interrupted a print.
        """
        if self.received is None:
            return False
        if not self._told and threading.current_thread() is threading.main_thread():
            self._told = True
            with suppress(OSError):  # what is to be saved is worth more than who reads of it
                tell(f"{self.received.name}: the step is finished and saved; once more ends at once")
        return True

    def interruption(self, hint: str, *, done: str = "") -> InterruptionError:
        """Make the error that ends the program; its exit code is that of shells, as 130.

        Parameters
        ----------
        done : str
            How far it has come, appended to the message.
        """
        self._leave_terminal()
        number = self.received or signal.SIGINT
        message = "interrupted" if number == signal.SIGINT else f"stopped by {number.name}"
        error = InterruptionError(f"{message}: {done}" if done else message, hint=hint)
        error.exit_code = 128 + number
        return error

    def _take(self, number: int, frame: FrameType | None) -> None:
        again = self.received is not None
        if not again:
            self.received = signal.Signals(number)
        self._leave_terminal()
        if again or not self.saves:
            raise KeyboardInterrupt

    def _leave_terminal(self) -> None:
        """Discard what is written to a terminal that has gone."""
        for number in self._terminals:
            if not os.isatty(number):
                with suppress(OSError):
                    nowhere = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(nowhere, number)
                    os.close(nowhere)
