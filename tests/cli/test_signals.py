"""Signals that end a command."""

from __future__ import annotations

import os
import signal
import time
from signal import SIGHUP, SIGTERM

import pytest

from n2n_cli.cli.signals import StopSignals

pytestmark = pytest.mark.usefixtures("usual_signals")


def catch_every_error() -> None:
    """Treat every error as damage of a file, as the checkpoint reader does."""
    try:
        os.kill(os.getpid(), SIGTERM)
        time.sleep(5)
    except Exception as error:
        raise AssertionError from error


def test_signal_is_not_caught_as_an_error() -> None:
    before = signal.getsignal(SIGTERM)
    with StopSignals() as signals, pytest.raises(KeyboardInterrupt):
        catch_every_error()
    assert signals.received is SIGTERM
    ending = signals.interruption("go on")
    assert (ending.exit_code, ending.message, ending.hint) == (143, "stopped by SIGTERM", "go on")
    assert signal.getsignal(SIGTERM) is before


def test_delayed_signal_is_reported_once_when_polled(capsys: pytest.CaptureFixture[str]) -> None:
    with StopSignals() as signals:
        signals.saves = True
        assert not signals()
        os.kill(os.getpid(), SIGHUP)
        time.sleep(0.01)
        assert capsys.readouterr().err == ""  # the signal may have interrupted another print
        assert signals()
        assert signals()
    assert capsys.readouterr().err == "SIGHUP: the step is finished and saved; a second signal ends at once\n"
    assert signals.interruption("").exit_code == 129
