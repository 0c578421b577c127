"""Handling of SIGINT, SIGTERM and SIGHUP.

After the first signal, a training saves and ends; every other command ends at once. A second signal ends any command.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

from n2n_cli.cli.console import InterruptionError, log

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class StopSignals:
    """Context that catches SIGINT, SIGTERM and SIGHUP.

    Signals that the calling process ignores, as under nohup, stay ignored. A signal that ends the command at once
    raises KeyboardInterrupt, which no `except Exception` catches.

    Attributes
    ----------
    received : signal.Signals or None
        The first signal received.
    saves : bool
        True while there is something to save: the first signal then does not end the command at once.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.saves = False
        self._reported = False
        self._before: dict[signal.Signals, Any] = {}
        self._terminals = [number for number in (1, 2) if os.isatty(number)]

    def __enter__(self) -> Self:
        for name in _NAMES:
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: set by C code
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """True after a signal.

        The signal is reported here and not in the handler, which may have interrupted a print.
        """
        if self.received is None:
            return False
        if not self._reported and threading.current_thread() is threading.main_thread():
            self._reported = True
            with suppress(OSError):  # saving matters more than this message
                log(f"{self.received.name}: the step is finished and saved; a second signal ends at once")
        return True

    def interruption(self, hint: str, *, done: str = "") -> InterruptionError:
        """Make the error that ends the program, with exit code 128 + N after signal N.

        Parameters
        ----------
        done : str
            Progress until then, appended to the message.
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
        """Discard output to a terminal that has been closed."""
        for number in self._terminals:
            if not os.isatty(number):
                with suppress(OSError):
                    nowhere = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(nowhere, number)
                    os.close(nowhere)
