"""Stacking, bursts and learning from one picture: `python -m benchmarks.bursts`.

Draws exposures of fluorescent beads in 16 bits of which they use few, and prints a table of root mean squared errors in
counts: of one exposure and of the mean of all, as they are and denoised by the bundled model, by `--self`, and by a
model that `n2n train --bursts` fitted to the exposures.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from n2n_cli import denoise
from n2n_cli.images import Picture, write_picture
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array
from n2n_cli.system import blas
from n2n_cli.training.initial_model import config_to_tune
from n2n_cli.training.loop import train
from n2n_cli.training.run_folder import Run

_OFFSET, _READ_NOISE = 100, 3.0  # counts


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bursts", description=__doc__)
    parser.add_argument("--exposures", type=int, default=20)
    parser.add_argument("--side", type=int, default=128, help="height and width, in pixels")
    parser.add_argument("--photons", type=float, default=60, help="peak of a bead")
    parser.add_argument("--steps", type=int, default=100, help="of the training on bursts")
    options = parser.parse_args()
    blas.prepare_blas()
    rng = np.random.default_rng(0)
    clean = _beads(options.side, options.photons, rng)
    noise = rng.normal(_OFFSET, _READ_NOISE, (options.exposures, *clean.shape))
    exposures = np.rint(rng.poisson(clean, noise.shape) + noise).astype(np.uint16)
    mean = exposures.mean(axis=0, dtype=np.float32)
    began = time.perf_counter()
    model = _trained(exposures, options.steps)
    seconds = time.perf_counter() - began
    print("| denoiser | one exposure | seconds | mean of all |\n| --- | --- | --- | --- |", flush=True)
    methods: dict[str, Callable[[Array], Array]] = {
        "none": lambda picture: picture,
        "bundled": lambda picture: denoise(picture, "white"),
        "`--self`": lambda picture: denoise(picture, method="self"),
        f"`--bursts`, {seconds:.0f} s": lambda picture: denoise(picture, model),
    }
    for name, method in methods.items():
        began = time.perf_counter()
        one = _error(method(exposures[0]), clean)
        taken = time.perf_counter() - began
        print(f"| {name} | {one:.2f} | {taken:.0f} | {_error(method(mean), clean):.2f} |", flush=True)


def _beads(side: int, photons: float, rng: np.random.Generator) -> Array:
    y, x = np.mgrid[:side, :side]
    scene = np.zeros((side, side))
    for _ in range(side**2 // 250):
        (row, column), size = rng.uniform(0, side, 2), rng.uniform(1.2, 2.2)
        scene += rng.uniform(0.3, 1) * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * size**2))
    return np.asarray(photons * scene + 2)


def _trained(exposures: Array, steps: int) -> Model:
    config = config_to_tune("white")
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder, "bursts", "scene")
        scene.mkdir(parents=True)
        for i, exposure in enumerate(exposures):
            write_picture(scene / f"{i:02}.tif", Picture(exposure[..., None]))
        keys = {"kind": "bursts", "source": str(scene.parent), "size": 24, "pairs": 8 * steps // 4}
        assignments = [(f"data.{key}", value, key) for key, value in keys.items()]
        learning = {"epochs": 4, "lr": 0.0002, "average": 0.98}
        assignments += [(f"train.{key}", value, key) for key, value in learning.items()]
        run = Run(Path(folder, "run"))
        run.folder.mkdir()
        for _ in train(config.override_all(assignments), run):
            pass
        return Model.from_checkpoint(run.best)


def _error(found: Array, clean: Array) -> float:
    return math.sqrt(float(np.mean(np.square(found.astype(np.float64) - _OFFSET - clean))))


if __name__ == "__main__":
    main()
