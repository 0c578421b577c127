"""Training history, read from a run's `metrics.jsonl`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, TypeAlias

from n2n_cli.errors import DataError
from n2n_cli.system.plain_files import read_plain
from n2n_cli.training.records import is_number
from n2n_cli.training.run_folder import Run

History: TypeAlias = list[dict[str, float]]
"""Finished epochs in order; each holds at least the names in `NEEDED`."""

_LONGEST = 100_000_000
"""Maximum size of a run's metrics, in bytes: enough for 300,000 epochs."""

NEEDED = ("epoch", "loss", "noisy_psnr", "psnr", "lr")
"""Names that every line has. `noisy_psnr` and `psnr` are in dB, before and after denoising; `lr` is the learning rate
of the epoch's last step."""


def read_history(source: Path) -> History:
    """Read the epochs of a run folder, or of a file like its `metrics.jsonl`.

    Returns
    -------
    list of dict
        The numbers of each line. A null means an infinite PSNR (of equal pictures), and NaN for other numbers.

    Raises
    ------
    DataError
        When the file does not exist, cannot be read, holds no epoch, or has a damaged line.
    """
    path = Run(source).metrics if source.is_dir() else source
    try:
        content = read_plain(path, _LONGEST) if source.is_dir() else path.read_bytes()
        lines = content.decode().splitlines()
    except FileNotFoundError:
        runs = sorted(folder.parent.name for folder in source.glob(f"*/{path.name}"))
        raise DataError(
            f"`{source}` holds no `{path.name}`" if source.is_dir() else f"there is no run `{source}`",
            hint=f"name a run in it, as `{source / runs[0]}`" if runs else "name a run's folder, as `runs/default-1`",
        ) from None
    except OSError as error:
        raise DataError(f"`{path}` cannot be read: {error.strerror}") from None
    except ValueError:
        raise DataError(f"`{path}` is not text", hint="a run's `metrics.jsonl` has a line of JSON an epoch") from None
    if not lines:
        raise DataError(f"`{path}` holds no epoch yet", hint="wait for the training's first epoch to end")
    return [_numbers(line, f"line {number} of `{path}`") for number, line in enumerate(lines, 1)]


def _numbers(line: str, where: str) -> dict[str, float]:
    try:
        record: Any = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    named = record.items() if isinstance(record, dict) else ()
    numbers = {name: _of_null(name) if value is None else value for name, value in named if _fits(name, value)}
    missing = [name for name in NEEDED if name not in numbers]
    if missing:
        raise DataError(
            f"{where} is not an epoch of a training: it has no number " + ", ".join(f"`{name}`" for name in missing),
            hint="a run's `metrics.jsonl` has a line of JSON an epoch",
        )
    return numbers


def _fits(name: str, value: Any) -> bool:
    """True for a number, which must be an integer for the epoch."""
    if name == "epoch":
        return is_number(value) and isinstance(value, int)
    return value is None or is_number(value)


def _of_null(name: str) -> float:
    """Value that null stands for, because JSON cannot hold it."""
    return math.inf if name.endswith("psnr") else math.nan
