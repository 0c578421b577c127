"""Signal handling and time limit of the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.signals import default_signals, signals_as_usual, time_limit

PROGRAM = "import signal; print([signal.getsignal(n) is not signal.SIG_IGN for n in (signal.SIGINT, signal.SIGHUP)])"


def test_child_receives_signals_that_its_parent_ignores() -> None:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    try:
        for preparing, wanted in ((None, "[False, False]\n"), (default_signals, "[True, True]\n")):
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, preexec_fn=preparing
            )
            assert done.stdout == wanted
        with signals_as_usual(), pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_forever(seconds: float) -> None:
    with (
        time_limit(seconds),
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
    ):
        assert process.stdout is not None
        try:
            process.stdout.read()
        finally:
            process.kill()


def test_time_limit_ends_a_wait() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"^not done after 0\.2 s$"):
        wait_forever(0.2)
    with time_limit(60):
        time.sleep(0)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
