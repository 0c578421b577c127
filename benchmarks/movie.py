"""Denoising of a synthetic movie: `python -m benchmarks.movie`.

Trains `configs/movie.toml` from the bundled model on the movie, once with single frames and once with several, and
prints a table: PSNR of what stands still, of what moves, and of flashing cells, against the range of the clean movie,
and the lowest correlation of a cell's mean over time with the truth. `--save FOLDER` keeps the movies as NumPy arrays.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.synthetic_movie import SyntheticMovie, synthetic_movie
from n2n_cli import denoise
from n2n_cli.config import load_config
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array
from n2n_cli.system import blas
from n2n_cli.training.loop import train
from n2n_cli.training.run_folder import Run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.movie", description=__doc__)
    parser.add_argument("--length", type=int, default=96, help="frames of the movie")
    parser.add_argument("--side", type=int, default=96, help="height and width, in pixels")
    parser.add_argument("--photons", type=float, default=50, help="mean of the brightest static structure")
    parser.add_argument("--frames", type=int, action="append", help="frames of a network; may be repeated")
    parser.add_argument("--size", type=int, default=48, help="side of a crop, in pixels")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--save", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    blas.prepare_blas()
    movie = synthetic_movie(options.length, options.side, photons=options.photons)
    print("| movie | static | moving | cells | correlation | seconds |\n| --- | --- | --- | --- | --- | --- |")
    _row("noisy", movie, movie.noisy, "")
    made = {"noisy": movie.noisy, "clean": movie.clean}
    for frames in options.frames or (1, 3):
        began = time.perf_counter()
        model = _trained(movie, frames, options.size, options.steps)
        seconds = time.perf_counter() - began
        made[f"frames-{frames}"] = denoise(movie.noisy, model, axes="TYX")
        _row(f"`frames = {frames}`", movie, made[f"frames-{frames}"], f"{seconds:.0f}")
    if options.save is not None:
        options.save.mkdir(parents=True, exist_ok=True)
        for name, array in made.items():
            np.save(options.save / f"{name}.npy", array)


def _trained(movie: SyntheticMovie, frames: int, size: int, steps: int) -> Model:
    config = load_config("movie")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "movie.tif")
        pages = [Image.fromarray(frame) for frame in movie.noisy]
        pages[0].save(path, save_all=True, append_images=pages[1:])
        keys = {"kind": "movie", "source": str(path), "frames": frames, "size": size}
        keys["pairs"] = steps * config.train.batch_size
        assignments = [(f"data.{key}", value, key) for key, value in keys.items()]
        config = config.override_all([*assignments, ("train.epochs", 1, "epochs"), ("train.init", "white", "init")])
        run = Run(Path(folder, "run"))
        run.folder.mkdir()
        for _ in train(config, run):
            pass
        return Model.from_checkpoint(run.best)


def _row(name: str, movie: SyntheticMovie, found: Array, seconds: str) -> None:
    flashing = np.broadcast_to(movie.cells.any(axis=0), movie.moving.shape) & ~movie.moving
    figures = [
        f"{_psnr(found[where], movie.clean[where], np.ptp(movie.clean)):.2f}"
        for where in (movie.static, movie.moving, flashing)
    ]
    traces = [np.corrcoef(found[:, cell].mean(axis=1), movie.clean[:, cell].mean(axis=1))[0, 1] for cell in movie.cells]
    print(f"| {' | '.join([name, *figures, f'{min(traces):.4f}', seconds])} |", flush=True)


def _psnr(found: Array, clean: Array, data_range: float) -> float:
    return 20 * math.log10(data_range / math.sqrt(float(np.mean(np.square(found - clean)))))


if __name__ == "__main__":
    main()
