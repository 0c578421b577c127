"""Contact sheets of real noisy pictures.

`python -m benchmarks.sheets OUT --pictures FOLDER` makes them.

The pictures are those of `PICTURES`, as their cameras wrote them: docs/sheets/README.md names sources, authors and
licences. Each sheet shows a part at its full size, noisy and as `n2n denoise` makes it. Without FOLDER, Gaussian noise
of 25 grey levels is added to photographs in the public domain that come with scikit-image (extra `dev`), clipped and
rounded to 8 bits, and the sheets also show the clean pictures. The README shows the first picture before and after.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from n2n_cli.system import blas

Array = np.ndarray[Any, Any]

PICTURES = {
    "cup": ("05-sony-rx100m4-iso6400.jpg", 150, 400),
    "floor": ("02-canon-sd600-indoor.jpg", 900, 150),
    "snow": ("03-nexus4-iso1200.jpg", 1500, 1000),
    "painting": ("04-olympus-ep3-iso1600.jpg", 1050, 2000),
    "wall": ("01-samsung-s7edge-iso640.jpg", 1300, 2800),
    "cells": ("m3-cellprofiler-coloc-16bit.png", 300, 500),
}
"""Names of files, and first row and column of the part that is shown, by name of the sheet."""
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "retina", "hubble_deep_field")
SIGMA = 25
"""Noise that is added, in grey levels of 255."""
SIDE = 384
"""Side of the parts, in pixels."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sheets", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the sheets")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="real noisy pictures")
    options = parser.parse_args()
    blas.prepare_blas()

    from n2n_cli.denoising.arrays import denoise
    from n2n_cli.evaluation.comparison import compare
    from n2n_cli.images import Picture, write_picture

    options.out.mkdir(parents=True, exist_ok=True)
    made = _synthetic() if options.pictures is None else _real(options.pictures)
    for number, (name, noisy, clean) in enumerate(made):
        pictures = [("noisy", Picture(noisy)), ("denoised", Picture(denoise(noisy, axes="YXS")))]
        pictures += [] if clean is None else [("clean", Picture(clean))]
        compared = compare([(Path(f"{name}, {which}"), picture) for which, picture in pictures])
        write_picture(options.out / f"{name}.jpg", Picture(compared.draw()), quality=80)
        if number == 0:
            both = np.concatenate([picture.pixels for _, picture in pictures[:2]], axis=1)
            write_picture(options.out / "before-after.jpg", Picture(both), quality=90)
        print(json.dumps({"picture": name, **{f.picture: asdict(f) for f in compared.metrics}}), flush=True)


def _real(folder: Path) -> Iterator[tuple[str, Array, None]]:
    """Parts of noisy pictures, (H, W, C)."""
    from n2n_cli.images import read_picture

    for name, (file, top, left) in PICTURES.items():
        pixels = read_picture(folder / file).pixels
        yield name, np.ascontiguousarray(pixels[top : top + SIDE, left : left + SIDE]), None


def _synthetic() -> Iterator[tuple[str, Array, Array]]:
    """Central parts of photographs with and without noise, (H, W, 3)."""
    from skimage import data

    for i, name in enumerate(PHOTOGRAPHS):
        whole = getattr(data, name)()  # (H, W, 3) uint8
        top, left = ((size - SIDE) // 2 for size in whole.shape[:2])
        clean = np.ascontiguousarray(whole[top : top + SIDE, left : left + SIDE])
        noise = SIGMA * np.random.default_rng([0, i]).standard_normal(clean.shape, dtype=np.float32)
        yield name, np.rint(np.clip(clean + noise, 0, 255)).astype(np.uint8), clean


if __name__ == "__main__":
    main()
