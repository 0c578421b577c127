"""Trials of `n2n train`: killed, stopped, with a full disk, and two at once."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from n2n_cli.checkpoints.file import read_checkpoint
from n2n_cli.training.run_folder import Run
from tests.torture import Note, Trial
from tests.torture.places import Place, check, failing, numbered, place, summary_of
from tests.trainings import left_by

SECONDS = 5.0
"""Time limit for a training to stop after a signal, in seconds."""
_FULL_DISK = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
from n2n_cli.cli.app import main
main()
"""
_REFUSED = r"error: (another training writes to `run`(: process \d+ on \S+)?|`run` holds a run already)\n\nhint: .+\n$"
_FULL = r"^error: `run/[a-z.]+` cannot be written: File too large\n\nhint: .+\n\Z"


@dataclass
class Ended:
    """Exit code and output of a training."""

    code: int
    out: str
    err: str


def kill(count: int) -> Iterator[str]:
    """Kill a training at a random moment, and resume it."""
    seen: Counter[str] = Counter()
    with place() as here:
        for i, rng in numbered(count):
            moment = rng.uniform(0.3 * here.ready, 0.95 * here.end)
            with failing(i, f"after {moment:.3f} s") as failures:
                process = here.begin()
                try:
                    process.communicate(timeout=moment)
                    seen["after its end"] += 1
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
                    seen["with a checkpoint" if here.run.last.exists() else "before the first checkpoint"] += 1
                    seen["while a file was written"] += any(here.run.folder.glob(".*.tmp"))
                here.check_files(whole=False)
                here.check_end()
            yield from failures
            here.clear()
    yield Note(summary_of(seen))


def sigterm(count: int) -> Iterator[str]:
    """Stop a training by a signal at a random moment, and resume it."""
    seen: Counter[str] = Counter()
    slowest = 0.0
    with place() as here:
        for i, rng in numbered(count):
            number = (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[i % 4]
            # Only after the handlers are installed; before, the program is still being loaded.
            moment = rng.uniform(0, 0.8 * (here.end - here.listening))
            with failing(i, f"{number.name} after {moment:.3f} s") as failures:
                process = here.begin()
                assert process.stderr is not None
                first_lines = process.stderr.readline() + process.stderr.readline()
                check("pictures: " in first_lines, f"it said {first_lines!r}")
                rest = ""
                try:
                    out, rest = process.communicate(timeout=moment)
                except subprocess.TimeoutExpired:
                    start = time.monotonic()
                    process.send_signal(number)
                    out, rest = process.communicate(timeout=120)
                    slowest = max(slowest, time.monotonic() - start)
                    check(time.monotonic() < start + SECONDS, f"it took {time.monotonic() - start:.1f} s to end")
                seen[_check_stopped(here, Ended(process.returncode, out, rest), number)] += 1
                here.check_end()
            yield from failures
            here.clear()
    yield Note(f"signalled {summary_of(seen)}; ended in {slowest:.2f} s or less")


def _check_stopped(here: Place, ended: Ended, number: signal.Signals) -> str:
    """Check the end of a training after a signal; return the stage at which it came."""
    here.check_files(whole=True)
    if ended.code in (0, -number):  # the latter if the handlers were already removed
        check(left_by(here.run) == here.left, f"it ended with {ended.code}, and is not finished: {ended.err}")
        check(ended.out in ("", here.result.replace("whole/", "run/")), f"it printed {ended.out!r}")
        return "after its last step"
    check(ended.code == 128 + number, f"it ended with {ended.code}: {ended.err}")
    check(ended.out == "", f"it printed {ended.out!r}")
    saved = re.search(
        r"\n\nhint: step (\d+) of epoch (\d+) is saved: `n2n train --resume run` continues it\n$", ended.err
    )
    if saved is None:
        check("\n\nhint: nothing was saved yet" in ended.err, f"it said {ended.err!r}")
        check(not here.run.last.exists(), "it has saved, and says that it has not")
        check("parameters" not in ended.err, "it was ready, and did not save")
        return "before the data were ready"
    progress = read_checkpoint(here.run.last)["progress"]
    check((progress["step"], progress["epoch"]) == tuple(map(int, saved.groups())), f"it said {saved[0]!r}")
    return "with a checkpoint"


def full_disk(count: int) -> Iterator[str]:
    """Limit the size of files in a new or resumed training."""
    seen: Counter[str] = Counter()
    with place() as here:
        most = 1.02 * (here.folder / "whole" / "last.pth").stat().st_size
        for i, rng in numbered(count):
            room = int(rng.uniform(0, most))
            with failing(i, f"{room} bytes") as failures:
                words: tuple[str, ...] = ("--config", "small.toml", "--out", "run")
                if i % 2:
                    here.half_way(rng)
                    words = ("--resume", "run") if here.run.config.exists() else words
                before = _how_far(here.run)
                process = here.start(*words, program=("-c", _FULL_DISK, str(room)))
                out, err = process.communicate(timeout=120)
                here.check_files(whole=True)
                if process.returncode == 0:
                    check(out == here.result.replace("whole/", "run/"), f"it printed {out!r}")
                else:
                    check(process.returncode == 1, f"it ended with {process.returncode}: {err}")
                    check(out == "", f"it printed {out!r}")
                    check(re.search(_FULL, err, re.MULTILINE) is not None, f"it said {err!r}")
                after = _how_far(here.run)
                check(after >= before, f"it was at {before}, and is at {after}")
                seen["of a new training" if before == (0, 0) else "of one that goes on"] += 1
                seen["enough room"] += process.returncode == 0
                here.check_end()
            yield from failures
            here.clear()
    yield Note(summary_of(seen))


def _how_far(run: Run) -> tuple[int, int]:
    """Epoch and step from which the run would resume."""
    if not run.last.exists():
        return 0, 0
    progress = read_checkpoint(run.last)["progress"]
    return progress["epoch"], progress["step"]


def two_trainers(count: int) -> Iterator[str]:
    """Start two trainings in one folder: new, resumed, or replacing a run."""
    seen: Counter[str] = Counter()
    with place() as here:
        for i, rng in numbered(count):
            delay = rng.choice((0.0, 0.01, rng.uniform(0, here.end)))
            with failing(i, f"{delay:.3f} s apart") as failures:
                words: tuple[str, ...] = ("--config", "small.toml", "--out", "run")
                if i % 3 == 1:
                    words = (*words, "--force")
                if i % 3 == 2:
                    here.half_way(rng)
                    words = ("--resume", "run") if here.run.config.exists() else words
                first = here.start(*words)
                time.sleep(delay)
                second = here.start(*words)
                ended = [Ended(p.wait(120), *p.communicate()) for p in (first, second)]
                check(0 in {one.code for one in ended}, f"both ended with errors: {[one.err for one in ended]}")
                for one in ended:
                    if one.code == 0:
                        check(one.out == here.result.replace("whole/", "run/"), f"it printed {one.out!r}")
                    else:
                        check(one.code == 2, f"it ended with {one.code}: {one.err}")
                        check(re.search(_REFUSED, one.err) is not None, f"it said {one.err!r}")
                seen["refused" if {one.code for one in ended} == {0, 2} else "one after the other"] += 1
                check(left_by(here.run) == here.left, "they left something else than one alone")
            yield from failures
            here.clear()
    yield Note(summary_of(seen))


TRIALS: dict[str, Trial] = {"kill": kill, "sigterm": sigterm, "full-disk": full_disk, "two-trainers": two_trainers}
COUNTS = {"kill": (200, 3), "sigterm": (100, 3), "full-disk": (100, 4), "two-trainers": (50, 2)}
