"""Messages and results on open, full and closed streams."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.cli import console
from n2n_cli.cli.console import complain, log, result, settings, shows_progress
from n2n_cli.errors import N2NError, printable
from tests.cli import Terminal
from tests.nn.cases import some_examples


def test_error_is_a_line_a_blank_line_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    complain("`a\nb` is \x1b[31mmissing", "make\r\nit")
    assert capsys.readouterr() == ("", "error: `a\\nb` is \\x1b[31mmissing\n\nhint: make\\r\\nit\n")
    complain("nothing")
    assert capsys.readouterr() == ("", "error: nothing\n")


def test_message_is_one_line_and_omitted_when_quiet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log("a\nb")
    assert capsys.readouterr() == ("", "a\\nb\n")
    monkeypatch.setattr(settings, "quiet", True)
    log("a")
    assert capsys.readouterr() == ("", "")


def test_messages_do_not_reach_stdout_when_stderr_is_closed(capsys: pytest.CaptureFixture[str]) -> None:
    with redirect_stderr(None):
        log("news")
        complain("error", "hint")
        result("result")
        assert not shows_progress()
    assert capsys.readouterr().out == "result\n"


def test_broken_stderr_does_not_stop_the_work() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    with redirect_stderr(Gone()):
        log("news")
        complain("error", "hint")


def test_result_that_cannot_be_written_is_an_error() -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    message = r"^the result cannot be written to stdout: No space left on device$"
    with redirect_stdout(Full()), pytest.raises(N2NError, match=message):
        result("x")


@given(st.text() | st.text(st.characters(categories=("Cs", "Cc", "Zl", "Zp"))))
@some_examples
def test_printable_text_is_one_line_without_control_characters(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    if text.isprintable():
        assert shown == text
    shown.encode()


@pytest.mark.parametrize(
    ("stream", "term", "quiet", "drawn"),
    [
        (Terminal(), "xterm", False, True),
        (Terminal(), "xterm", True, False),
        (Terminal(), "dumb", False, False),
        (io.StringIO(), "xterm", False, False),
    ],
)
def test_progress_is_drawn_only_on_a_terminal(
    stream: io.StringIO, term: str, quiet: bool, drawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(settings, "quiet", quiet)
    with redirect_stderr(stream):
        assert shows_progress() is drawn


@pytest.mark.parametrize("variable", ["NO_COLOR", "no variable"])
def test_no_color_is_honoured(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv(variable, "1")
    with redirect_stderr(Terminal()) as stream:
        console.stderr().print("[red]:heart:", style="red")
    assert ("\x1b[31m" in stream.getvalue()) == (variable != "NO_COLOR")
    assert "[red]:heart:" in stream.getvalue()
