"""Memory for a long movie: `python -m benchmarks.movie_memory`.

Writes a movie of 16-bit frames to a temporary folder, 4 GB by default, trains `configs/movie.toml` on it from the
bundled model for a few steps, and denoises its first pages to a file. Prints the peak resident memory of each process,
of which an import of the package takes some 40 MB.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from n2n_cli.images import Picture, write_pages
from n2n_cli.system import blas

_DIFFERENT = 32
"""Number of frames that are drawn; the movie repeats them."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.movie_memory", description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=4)
    parser.add_argument("--side", type=int, default=1024, help="height and width, in pixels")
    parser.add_argument("--steps", type=int, default=10, help="of the training")
    parser.add_argument("--pages", type=int, default=30, help="pages to denoise")
    options = parser.parse_args()
    blas.prepare_blas()
    page_bytes = 2 * options.side**2
    length = round(options.gigabytes * 1e9 / page_bytes)
    with tempfile.TemporaryDirectory() as folder:
        movie, run, out = (Path(folder, name) for name in ("movie.tif", "run", "out"))
        write_pages(movie, _frames(options.side, length))
        print(f"{length} frames of {options.side}x{options.side}, {movie.stat().st_size / 1e9:.2f} GB", flush=True)
        train = ["train", "--config", "movie", "--init", "white", "--movie", str(movie), "--out", str(run)]
        sizes = [f"data.pairs={8 * options.steps}", "data.validation_pairs=16", "train.epochs=1"]
        _report("n2n train", [*train, *itertools.chain(*(("--set", size) for size in sizes))])
        out.mkdir()
        denoise = ["denoise", "--model", str(run / "best.pth"), "--strength", "0.8", str(movie), str(out / "movie.tif")]
        _report("n2n denoise", denoise, folder=out, enough=options.pages * page_bytes)


def _frames(side: int, length: int) -> Iterator[Picture]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    scene = 40 * (2 + np.sin(x / 9) * np.cos(y / 13))
    frames = [rng.poisson(scene).astype(np.uint16)[..., None] for _ in range(min(_DIFFERENT, length))]
    for frame in itertools.islice(itertools.cycle(frames), length):
        yield Picture(frame)


def _report(name: str, arguments: list[str], folder: Path | None = None, enough: int = 0) -> None:
    """Run a command and print its peak memory.

    It is stopped when it has written enough bytes to a folder.
    """
    began, stopped = time.perf_counter(), False
    with subprocess.Popen(
        [sys.executable, "-m", "n2n_cli", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            if folder is not None and not stopped and sum(file.stat().st_size for file in folder.iterdir()) > enough:
                process.send_signal(signal.SIGTERM)
                stopped = True
            time.sleep(0.05)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    state = f"stopped after {enough / 1e6:.0f} MB" if stopped else f"ended with {process.returncode}"
    print(f"`{name}`: {state}, {seconds:.0f} s, peak of {peak:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
