"""Trials of `n2n denoise`: killed, two at once, and very many pictures."""

from __future__ import annotations

import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from n2n_cli.denoising.picture_files import denoise_files
from n2n_cli.denoising.tasks import DenoiseOptions, DenoiseTask
from n2n_cli.images import Picture, write_picture
from n2n_cli.models.model import Model
from tests.cli import environment, photo, workplace
from tests.signals import default_signals
from tests.torture import Note, Trial

_PICTURES = 8
_GROWTH = 3_000_000
"""Maximum growth of memory over the second half of the pictures, in bytes."""


@contextmanager
def _workplace() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="n2n-torture-") as name:
        folder = Path(name)
        workplace(folder)
        yield folder


def _start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "n2n_cli", "denoise", "--model", "tiny.pth", "--threads", "1", *words]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=default_signals,
    )


def killed(count: int) -> Iterator[str]:
    """Kill `n2n denoise` at a random moment.

    Every other trial kills it while it writes the output.
    """
    with _workplace() as folder:
        pixels = np.random.default_rng(0).integers(0, 65536, (800, 1000, 3), np.uint16)  # takes long to write
        write_picture(folder / "in.png", Picture(pixels))
        out, done = folder / "out.png", 0
        began = time.monotonic()
        process = _start(folder, "in.png", "out.png")
        _wait_for_writing(process, folder)
        writing = time.monotonic() - began
        process.communicate()
        seconds = time.monotonic() - began
        whole = out.read_bytes()
        while_writing = 0
        for number in range(count):
            rng = random.Random(number)
            old = b"what was there before" if rng.random() < 0.5 else None
            out.unlink(missing_ok=True)
            if old is not None:
                out.write_bytes(old)
            process = _start(folder, "in.png", "out.png")
            if number % 2:
                _wait_for_writing(process, folder)
                time.sleep(rng.uniform(0, 0.5 * (seconds - writing)))
            else:
                time.sleep(rng.uniform(0, 1.2 * seconds))
            process.kill()
            process.communicate()
            found = out.read_bytes() if out.exists() else None
            done += found == whole
            for left in folder.glob(".out.png.*"):
                while_writing += 1
                left.unlink()
            if found not in (whole, old):
                yield f"trial {number}: the output is neither whole nor as it was"
        yield Note(f"{while_writing} killed while writing, {done} after it")


def _wait_for_writing(process: subprocess.Popen[bytes], folder: Path) -> None:
    while process.poll() is None and not list(folder.glob(".out.png.*")):
        time.sleep(0.001)


def two_at_once(count: int) -> Iterator[str]:
    """Denoise a folder by two processes at once, in every other trial as two shards."""
    with _workplace() as folder:
        for i in range(_PICTURES):
            photo(folder / "in" / f"{i}.png", (40 + i, 50, 3), seed=i)
        (folder / "whole").mkdir()
        _start(folder, "in", "whole").communicate()
        wanted = {path.name: path.read_bytes() for path in (folder / "whole").iterdir()}
        for number in range(count):
            out = folder / f"out{number}"
            out.mkdir()
            shards = ("1/2", "2/2") if number % 2 else ("1/1", "1/1")
            words = ("in", out.name, "--manifest", f"{out.name}.jsonl")
            processes = [_start(folder, *words, "--shard", shard) for shard in shards]
            errors = [process.communicate()[1].decode() for process in processes]
            for process, err in zip(processes, errors, strict=True):
                if process.returncode:
                    yield f"trial {number}: exit code {process.returncode}, {err[-300:]!r}"
            if {path.name: path.read_bytes() for path in out.iterdir()} != wanted:
                yield f"trial {number}: the outputs are not those of one process"
            records = [json.loads(line) for line in (folder / f"{out.name}.jsonl").read_text().splitlines()]
            if len(records) != _PICTURES * (1 if number % 2 else 2):
                yield f"trial {number}: {len(records)} lines in the manifest"


def many(count: int) -> Iterator[str]:
    """Denoise many pictures in one process; compare its memory at half and the end."""
    with _workplace() as folder:
        sources = [photo(folder / "many" / f"{i}.png", (16 + i, 40 - i, 3), seed=i) for i in range(20)]
        model = Model.from_checkpoint(folder / "tiny.pth", threads=1)
        tasks = (DenoiseTask(sources[number % len(sources)], folder / "out.png") for number in range(count))
        sizes = []
        for number, outcome in enumerate(denoise_files(model, tasks, DenoiseOptions(estimates=True)), 1):
            if outcome.error is not None:
                yield f"picture {number}: {outcome.error!r}"
            if number in (max(1, count // 2), count):
                gc.collect()
                sizes.append(_memory())
        grown = sizes[-1] - sizes[0]
        if grown > _GROWTH:
            yield f"{grown:,} bytes more memory at the end than after half of the pictures"
        yield Note(f"{sizes[0] / 1e6:.1f} MB after half of them, {sizes[-1] / 1e6:.1f} MB at the end")


def _memory() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


TRIALS: dict[str, Trial] = {"kill-denoise": killed, "two-denoisers": two_at_once, "many-pictures": many}
COUNTS = {"kill-denoise": (200, 4), "two-denoisers": (50, 2), "many-pictures": (10_000, 300)}
