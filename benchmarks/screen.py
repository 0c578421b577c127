"""Screenshot of a command's terminal, as SVG.

`python -m benchmarks.screen OUT.svg --seconds 60 -- n2n train --lr 1` runs the command in a pseudo-terminal. After the
given time, or when the command ends, the screen is written, and a command that still runs gets SIGTERM.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.text import Text


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.screen", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT.svg")
    parser.add_argument("--seconds", type=float, default=60, help="default: 60")
    parser.add_argument("--columns", type=int, default=100, help="default: 100")
    parser.add_argument("--rows", type=int, default=16, help="default: 16")
    parser.add_argument("command", nargs="+", help="after `--`")
    options = parser.parse_args()
    screen = shown(options.command, options.seconds, options.columns, options.rows)
    options.out.write_text(drawn(screen, " ".join(options.command)))


def shown(command: list[str], seconds: float, columns: int, rows: int) -> list[Text]:
    """Run a command in a terminal; return the lines on screen after some seconds."""
    import pyte

    screen = pyte.Screen(columns, rows)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([ours], [], [], left)[0]:
                break
            try:
                stream.feed(os.read(ours, 65536))
            except OSError:  # on Linux, the command has ended
                break
        lines = [_line(screen.buffer[row], columns) for row in range(rows)]
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            _drain(ours)
    os.close(ours)
    while len(lines) > 1 and not lines[-1].plain.strip():
        lines.pop()
    return lines


def _drain(terminal: int) -> None:
    """Read the rest of a command's output, so that writing does not block it."""
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:
        return


def _line(cells: dict[int, object], columns: int) -> Text:
    line = Text(no_wrap=True)
    for style, run in groupby((cells[column] for column in range(columns)), _style):
        line.append("".join(getattr(cell, "data") for cell in run), style)  # noqa: B009 - pyte has no types
    return line


def _style(cell: object) -> str:
    """Convert the style of a pyte cell to rich's notation."""
    words = [rich for rich, name in (("bold",) * 2, ("italic", "italics"), ("reverse",) * 2) if getattr(cell, name)]
    return " ".join([*words, _colour(getattr(cell, "fg")), "on", _colour(getattr(cell, "bg"))])  # noqa: B009


def _colour(name: str) -> str:
    """Convert a colour of pyte, a name or six hexadecimal digits, to rich's notation."""
    if len(name) == 6 and not name.isalpha():
        return f"#{name}"
    bright = name.removeprefix("bright")
    named = {"brown": "yellow"}.get(bright, bright)
    return f"bright_{named}" if bright != name else named


def drawn(lines: list[Text], title: str) -> str:
    """Draw the lines of a terminal as SVG."""
    console = Console(record=True, file=io.StringIO(), width=max(len(line) for line in lines), color_system="truecolor")
    for line in lines:
        console.print(line)
    return console.export_svg(title=title)


if __name__ == "__main__":
    main()
