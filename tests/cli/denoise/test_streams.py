"""A picture from stdin and to stdout: pipes, terminals, full disks."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from tests.cli import N2N, environment, failure, n2n, photo, start

DENOISE = ("denoise", "--model", "tiny.pth")


pytestmark = pytest.mark.usefixtures("here")


def shell(command: str) -> tuple[int, bytes, bytes]:
    """Exit code, stdout and stderr of a shell command; `n2n` is this program."""
    line = command.replace("n2n", " ".join(N2N))
    done = subprocess.run(line, shell=True, capture_output=True, check=False, env=environment())
    return done.returncode, done.stdout, done.stderr


def test_pipes_are_read_and_written() -> None:
    assert n2n(*DENOISE, "photos/0.png", "wanted.png").code == 0
    assert shell("cat photos/0.png | n2n -q denoise --model tiny.pth - out.png") == (0, b"", b"")
    assert Path("out.png").read_bytes() == Path("wanted.png").read_bytes()
    assert shell("n2n -q denoise --model tiny.pth photos/0.png - | cat") == (0, Path("wanted.png").read_bytes(), b"")


def test_input_that_is_also_the_output_stream_is_refused() -> None:
    before = Path("photos/0.png").read_bytes()
    code, _, err = shell("n2n denoise --model tiny.pth - photos/0.png < photos/0.png")
    assert code == 2
    assert b"error: `-` would be overwritten by its own output: `photos/0.png` is the same file\n" in err
    for words in ("photos/0.png - >> photos/0.png", "- - < photos/0.png >> photos/0.png"):
        code, _, err = shell(f"n2n denoise --model tiny.pth {words}")
        assert (code, err.splitlines()[0][:45]) == (2, b"error: stdout goes to the picture to denoise;")
    assert Path("photos/0.png").read_bytes() == before


@pytest.mark.parametrize(("name", "wanted"), [("png", "PNG"), ("JPG", "JPEG"), ("tiff", "TIFF"), ("webp", "WEBP")])
def test_format_option_sets_the_format_of_stdout(name: str, wanted: str) -> None:
    code, out, _ = shell(f"n2n denoise --model tiny.pth - - --format {name} < photos/0.png")
    assert code == 0
    assert Image.open(io.BytesIO(out)).format == wanted


def test_closed_reader_of_stdout_ends_the_command_silently() -> None:
    photo(Path("large.png"), (600, 700, 3))  # larger than a pipe's buffer, as BMP
    with start("-q", *DENOISE, "large.png", "-", "--format", "bmp") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_full_disk_behind_stdout_is_reported() -> None:
    code, _, err = shell("n2n -q denoise --model tiny.pth photos/0.png - > /dev/full")
    wanted = (
        b"error: the result cannot be written to stdout: No space left on device\n\nhint: see that its disk has space\n"
    )
    assert (code, err) == (1, wanted)


def test_closed_stdin_or_stdout_is_reported() -> None:
    for command, message in (
        ("n2n denoise --model tiny.pth photos/0.png - >&-", b"error: stdout, which `-` stands for, is closed\n"),
        ("n2n denoise --model tiny.pth - out.png <&-", b"error: stdin, which `-` stands for, is closed\n"),
    ):
        code, out, err = shell(command)
        assert (code, out) == (1, b"")
        assert err.startswith(message)
        assert b"\nhint: " in err


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("photos/0.png", "-"), b"a picture is to be written to stdout", b"`n2n denoise in.png - > out.png`"),
        (("-", "out.png"), b"a picture is to be read from stdin", b"`n2n denoise - out.png < in.png`"),
    ],
)
def test_terminal_as_stdin_or_stdout_is_refused(words: tuple[str, ...], message: bytes, hint: bytes) -> None:
    leader, follower = os.openpty()
    try:
        done = subprocess.run(
            [*N2N, *DENOISE, *words],
            stdin=follower,
            stdout=follower,
            stderr=subprocess.PIPE,
            check=False,
            env=environment(),
        )
        os.set_blocking(leader, False)
        with pytest.raises(BlockingIOError):
            os.read(leader, 1)
    finally:
        os.close(leader)
        os.close(follower)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: " + message + b", which is a terminal\n\nhint: ")
    assert hint in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.png", "-", "--report"], "the picture and `--report` cannot both go to stdout"),
        (["a.png", "-", "--manifest", "-"], "the picture and `--manifest -` cannot both go to stdout"),
        (["a.png", "b.png", "--report", "--manifest", "-"], "`--report` and `--manifest -` cannot both go to stdout"),
        (["a.png", "b.png", "--json"], "`--json` requires `--report` or `--dry-run`"),
    ],
)
def test_several_uses_of_stdout_are_refused(words: list[str], message: str) -> None:
    assert failure(*DENOISE, *words)[:2] == (2, message)


def test_dry_run_prints_only_the_plan_on_stdout() -> None:
    answer = n2n(*DENOISE, "a.png", "-", "--report", "--manifest", "-", "--json", "--dry-run")
    assert answer == (0, '{"input": "a.png", "output": "-"}\n', "")
