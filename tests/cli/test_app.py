"""All commands: help, usage errors, tracebacks and exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from n2n_cli import __version__
from n2n_cli.cli.app import app
from n2n_cli.engine.executor import Executor
from n2n_cli.engine.kernel import Kernel
from n2n_cli.errors import ConfigError, N2NError
from n2n_cli.nn import Parameter
from n2n_cli.system.cpu import available_cores
from tests.cli import N2N, environment, failure, n2n, photo, start, workplace

COMMANDS = ("denoise", "train", "eval", "compare", "info", "models", "export", "sweep", "plot")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `n2n denoise` fail in the library."""

    def fail(path: object) -> None:
        try:
            raise ValueError("the cause")
        except ValueError:
            raise error from None

    monkeypatch.setattr("n2n_cli.images.format_of", fail)


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_on_stdout_lists_the_commands(flag: str) -> None:
    answer = n2n(flag)
    assert (answer.code, answer.err) == (0, "")
    listed = answer.out.partition("Commands")[2]
    assert re.findall(r"^│ (\w+)  +[A-Z].*[^.]\. +│$", listed, re.MULTILINE) == list(COMMANDS)  # untruncated


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str) -> None:
    answer = n2n(command, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert "Examples:" in answer.out


def test_version() -> None:
    assert n2n("--version") == (0, f"n2n {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ((), "missing command", "see `n2n --help`"),
        (("bogus",), "no such command 'bogus'", "see `n2n --help`"),
        (("denois",), "no such command 'denois'. Did you mean 'denoise'", "see `n2n --help`"),
        (("--bogus",), "no such option: --bogus", "see `n2n --help`"),
        (("train", "--epoch", "3"), "no such option: --epoch", "see `n2n train --help`"),
        (("train", "--set"), "option '--set' requires an argument", "see `n2n train --help`"),
        (("train", "--force=1"), "option '--force' does not take a value", "see `n2n train --help`"),
        (("train", "photos"), "got unexpected extra argument(s) (photos)", "see `n2n train --help`"),
        (("eval",), "missing argument 'CHECKPOINT|NAME'", "see `n2n eval --help`"),
        (("denoise",), "missing argument 'IN'", "see `n2n denoise --help`"),
        (("denoise", "a.png"), "missing argument 'OUT'", "see `n2n denoise --help`"),
        (("eval", "--version"), "no such option: --version", "use `--version` by itself: `n2n --version`"),
    ],
)  # fmt: skip
def test_wrong_usage_is_refused(words: tuple[str, ...], message: str, hint: str) -> None:
    code, *texts = failure(*words)
    assert (code, texts[1]) == (2, hint)
    assert texts[0].startswith(message)  # typer may append a suggestion


@pytest.mark.parametrize("words", [("-q", "eval"), ("eval", "-q"), ("eval", "--quiet")])
def test_global_options_before_or_after_the_command(words: tuple[str, ...], here: Path) -> None:
    workplace(here)
    assert n2n(*words, "tiny.pth", "--data", "photos").err == ""
    assert n2n("eval", "tiny.pth", "--data", "photos").err.startswith("PSNR of")
    assert "Traceback" in n2n("eval", "missing.pth", "--debug").err


@pytest.mark.parametrize(
    "words",
    [
        ("denoise", "--model", "tiny.pth", "photos", "new"),
        ("denoise", "--self", "--seconds", "0.1", "photos/0.png", "new.jpg"),
        ("train", "--config", "tiny.toml", "--epochs", "1"),
        ("sweep", "--config", "tiny.toml", "--epochs", "1", "--param", "train.lr", "--values", "0.5"),
        ("compare", "photos/0.png", "photos/1.png", "-o", "sheet.jpg"),
        ("export", "tiny.pth", "small.pth"),
        ("plot", "metrics.jsonl", "-o", "plot.svg"),
    ],
    ids=lambda words: words[0],
)
def test_quiet_commands_that_write_files_print_nothing(words: tuple[str, ...], here: Path) -> None:
    workplace(here)
    Path("metrics.jsonl").write_text('{"epoch": 1, "loss": 0.5, "noisy_psnr": 20.5, "psnr": 21.5, "lr": 0.1}\n')
    assert n2n(*words, "-q") == (0, "", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    script = (str(Path(sys.executable).with_name("n2n")),)

    def run(*words: str, **variables: str) -> str:
        done = subprocess.run(
            [*script, *words], capture_output=True, text=True, check=True, env=environment(**variables)
        )
        assert done.stderr == ""
        return done.stdout

    shown = run("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert f"_N2N_COMPLETE=complete_{shell}" in shown
    typed = "n2n denoise --rec"
    asked = {"COMP_WORDS": typed, "COMP_CWORD": "2", "_TYPER_COMPLETE_ARGS": typed}
    asked["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    answer = run(_N2N_COMPLETE=f"complete_{shell}", **asked)
    assert "--recursive" in answer
    assert "--report" not in answer


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("denoise --model ph", ["photo"]),
        ("denoise --config ee559-b", ["ee559-best"]),
        ("train --config unet-", ["unet-small"]),
        ("train --init ph", ["photo"]),
        ("sweep --config mov", ["movie"]),
        ("eval ph", ["photo"]),
        ("export ph", ["photo"]),
        ("export --average ph", ["photo"]),
        ("info ee559-", ["ee559-adam", "ee559-best"]),
        ("denoise --model runs/", []),  # the shell completes file names
    ],
)
def test_names_of_models_and_configurations_are_completed(
    typed: str, wanted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMP_WORDS", f"n2n {typed}")
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split())))
    shown = CliRunner().invoke(app, [], prog_name="n2n", env={"_N2N_COMPLETE": "complete_bash"})
    assert shown.stdout.split() == wanted


def test_error_without_a_hint_points_to_the_help(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(N2NError("no"), monkeypatch)
    assert failure("denoise", "a", "b") == (1, "no", "see `n2n denoise --help`")
    raising(ConfigError("no", hint="yes"), monkeypatch)
    assert failure("denoise", "a", "b") == (2, "no", "yes")


@pytest.mark.parametrize(
    ("error", "code", "message", "hint"),
    [
        (MemoryError(), 1, "out of memory", "`--max-memory 500MB`, fewer `--threads`, or a smaller picture"),
        (OSError(36, "File name too long", "x\ny"), 1, "`x\\ny`: File name too long", "`n2n --debug ...` shows where"),
        (OSError(5, "Input/output error"), 1, "Input/output error", "`n2n --debug ...` shows where"),
        (KeyError("x"), 1, "KeyError: 'x'", "this is a fault of n2n; `n2n --debug ...` shows where"),
        (KeyboardInterrupt(), 130, "interrupted", "no file is left half written"),
    ],
)  # fmt: skip
def test_unexpected_errors_have_a_message_and_a_hint(
    error: BaseException, code: int, message: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raising(error, monkeypatch)
    assert failure("denoise", "a", "b") == (code, message, hint)


@pytest.mark.parametrize("error", [N2NError("no", hint="yes"), ZeroDivisionError("no")])
def test_debug_prints_the_traceback_with_its_cause(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(error, monkeypatch)
    answer = n2n("--debug", "denoise", "a", "b")
    assert answer.code == 1
    assert answer.err.count("Traceback (most recent call last):") == 2
    assert "ValueError: the cause" in answer.err
    assert re.search(r"\nerror: .*no\n\nhint: [^\n]+\n$", answer.err)
    assert "Traceback" not in n2n("denoise", "a", "b").err  # `--debug` holds for one call


def test_debug_prints_the_traceback_of_wrong_usage() -> None:
    answer = n2n("--debug", "bogus")
    assert answer.code == 2
    assert "Traceback" in answer.err
    assert answer.err.endswith("error: no such command 'bogus'\n\nhint: see `n2n --help`\n")
    assert "Traceback" not in n2n("--bogus").err  # `--debug` holds for one call


def test_blas_threads_are_set_before_numpy_is_imported() -> None:
    variables = {name: value for name, value in environment().items() if not name.endswith("_NUM_THREADS")}
    script = str(Path(sys.executable).with_name("n2n"))
    done = subprocess.run([script, "info", "--json"], capture_output=True, text=True, check=True, env=variables)
    assert json.loads(done.stdout)["blas_threads"] in (1, None)  # None if BLAS does not report it


@pytest.mark.parametrize("threads", ["0", "-1", "1.5", "two", "1025"])
@pytest.mark.parametrize("words", [("train", "--config", "x.toml"), ("eval", "x.pth"), ("denoise", "a.png", "b.png")])
def test_wrong_number_of_threads_is_refused(words: tuple[str, ...], threads: str) -> None:
    code, message, hint = failure(*words, "--threads", threads)
    assert (code, message) == (2, f"`--threads` is '{threads}', it must be a whole number from 1 to 1024")
    assert hint == "without it, every core that this process may use has a thread"


@pytest.mark.parametrize(
    "words",
    [("train", "--config", "tiny.toml"), ("eval", "tiny.pth"), ("denoise", "--model", "tiny.pth", "a.png", "b.png")],
)
def test_threads_option_reaches_the_model_and_changes_no_result(
    words: tuple[str, ...], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workplace(here)
    photo(here / "a.png")
    used = []
    begin = Executor.__init__

    def spy(self: Executor, kernel: Kernel, parameters: Sequence[Parameter], *, threads: int = 1) -> None:
        used.append(threads)
        begin(self, kernel, parameters, threads=threads)

    monkeypatch.setattr(Executor, "__init__", spy)
    answers = [n2n("-q", *words, *extra) for extra in ([], ["--threads", "1"], ["--threads", "3"])]
    assert [answer.code for answer in answers] == [0, 0, 0]
    assert used == [available_cores(), 1, 3]
    assert len({answer.out.replace(f"tiny-{i}", "run") for i, answer in enumerate(answers, 1)}) == 1


def test_script_and_module_are_the_same_command() -> None:
    for words in ((str(Path(sys.executable).with_name("n2n")),), N2N):
        done = subprocess.run([*words, "--version"], capture_output=True, text=True, check=True, env=environment())
        assert (done.stdout, done.stderr) == (f"n2n {__version__}\n", "")
    done = subprocess.run([*N2N, "eval"], capture_output=True, text=True, check=False, env=environment())
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"error: missing argument 'CHECKPOINT\|NAME'\n\nhint: see `python.* -m n2n_cli eval --help`\n", done.stderr
    )


def test_closed_pipe_ends_the_command_silently(here: Path) -> None:
    workplace(here)
    with start("eval", "tiny.pth", "--data", "photos", "--json") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_full_and_closed_streams(here: Path) -> None:
    workplace(here)
    command = " ".join([*N2N, "eval tiny.pth --data photos"])
    full = subprocess.run(
        f"{command} >/dev/full", shell=True, capture_output=True, text=True, check=False, env=environment()
    )
    assert (full.returncode, full.stderr) == (
        1,
        "error: the result cannot be written to stdout: No space left on device\n\nhint: see that its disk has space\n",
    )
    closed = subprocess.run(
        f"{command} >&-", shell=True, capture_output=True, text=True, check=False, env=environment()
    )
    assert closed.returncode == 0
    assert closed.stderr.startswith("PSNR of the mean error")


def test_name_outside_the_terminal_s_encoding(here: Path) -> None:
    workplace(here)
    (here / "photos" / "0.png").rename(here / "photos" / "ö.png")
    command = [*N2N, "eval", "tiny.pth", "--data", "photos"]
    done = subprocess.run(
        command, capture_output=True, check=False, env=environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    )
    assert done.returncode == 0
    assert b"\n\\xf6.png\t" in done.stdout


def test_app_called_from_python() -> None:
    with pytest.raises(SystemExit) as caught:
        app(["bogus"])
    assert caught.value.code == 2
    with pytest.raises(Exception, match="No such command"):  # callers can ask for the exception
        app(["bogus"], standalone_mode=False)
