"""`python -m tests.torture.reading FILE`: read a checkpoint, and say in JSON what came of it and what it took."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from n2n_cli.checkpoints.file import read_checkpoint
from n2n_cli.errors import CheckpointError


def peak_memory() -> int:
    """Most bytes that this process has had in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def main(path: str) -> None:
    """Read the file; whatever it is, there is one line of JSON on stdout."""
    before, started = peak_memory(), time.process_time()
    message = None
    try:
        read_checkpoint(path)
    except CheckpointError as error:
        message = error.message
    seconds = time.process_time() - started
    print(json.dumps({"refused": message, "memory": peak_memory() - before, "seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1])
