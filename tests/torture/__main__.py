"""Run the trials and print one line per kind; exit code 1 when any failed."""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
import time

import tests.torture
from tests.torture import Note, Trial

DEFAULT_COUNTS = 100, 3


def find_trials() -> tuple[dict[str, Trial], dict[str, tuple[int, int]]]:
    """Collect the trials of all modules, and their counts: usual and short."""
    trials: dict[str, Trial] = {}
    counts: dict[str, tuple[int, int]] = {}
    for module in sorted(pkgutil.iter_modules(tests.torture.__path__), key=lambda module: module.name):
        if module.name == "__main__":
            continue
        found = importlib.import_module(f"{tests.torture.__name__}.{module.name}")
        for name, trial in getattr(found, "TRIALS", {}).items():
            if name in trials:
                raise ValueError(f"two kinds of trials are called `{name}`")
            trials[name] = trial
            counts[name] = getattr(found, "COUNTS", {}).get(name, DEFAULT_COUNTS)
    return trials, counts


def run_trials(name: str, trial: Trial, count: int) -> int:
    """Run trials, print their line and return the number of failures.

    An error of the trial itself counts as a failure.
    """
    failures, notes, start = 0, [], time.monotonic()
    try:
        for line in trial(count):
            if isinstance(line, Note):
                notes.append(line)
            else:
                failures += 1
                print(f"{name}: {line}", file=sys.stderr, flush=True)
    except Exception as error:
        failures += 1
        print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    facts = f" ({'; '.join(notes)})" if notes else ""
    print(f"{name}: {count:,} trials, {failures} failed, {time.monotonic() - start:.0f} s{facts}", flush=True)
    return failures


def main(
    words: list[str] | None = None, found: tuple[dict[str, Trial], dict[str, tuple[int, int]]] | None = None
) -> int:
    """Run the trials that the command line asks for; return the exit code.

    `found` are the trials to choose from, by default those of `find_trials`.
    """
    trials, counts = found or find_trials()
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"all by default; known are {', '.join(trials)}")
    parser.add_argument("--count", type=int, help="trials of each kind")
    parser.add_argument("--short", action="store_true", help="a few trials of each kind, in less than two minutes")
    given = parser.parse_args(words)
    unknown = [name for name in given.kinds if name not in trials]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known are {', '.join(trials)}")
    if given.count is not None and given.count < 1:
        parser.error(f"--count is {given.count}, it must be at least 1")
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # of the processes that the trials start
    failures = 0
    for name in given.kinds or trials:
        usual, short = counts[name]
        failures += run_trials(name, trials[name], given.count or (short if given.short else usual))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
