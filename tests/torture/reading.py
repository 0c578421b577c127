"""Read a checkpoint and report outcome, memory and time as JSON.

`python -m tests.torture.reading FILE`
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from n2n_cli.checkpoints.file import read_checkpoint
from n2n_cli.errors import CheckpointError


def peak_memory() -> int:
    """Peak memory of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def main(path: str) -> None:
    """Read the file, and print one line of JSON for any outcome."""
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
