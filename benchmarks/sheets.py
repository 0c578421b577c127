"""Contact sheets of real noisy pictures.

`python -m benchmarks.sheets FOLDER OUT` makes them.

The pictures are those of `PICTURES`, as their cameras wrote them: docs/sheets/README.md names sources, authors and
licences. Each sheet shows a part at its full size, noisy and as `n2n denoise` makes it. The README's two pictures show
parts before and after.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from n2n_cli.system import blas

PICTURES = {
    "cup": ("05-sony-rx100m4-iso6400.jpg", 150, 400),
    "floor": ("02-canon-sd600-indoor.jpg", 900, 150),
    "snow": ("03-nexus4-iso1200.jpg", 1500, 1000),
    "painting": ("04-olympus-ep3-iso1600.jpg", 1050, 2000),
    "wall": ("01-samsung-s7edge-iso640.jpg", 1300, 2800),
    "cells": ("m3-cellprofiler-coloc-16bit.png", 300, 500),
}
"""Names of files, and first row and column of the part that is shown, by name of the sheet."""
SIDE = 384
"""Side of the parts, in pixels."""
SHOWN = {"cup": ("before-after", 1), "cells": ("microscope", 2)}
"""Names of the README's pictures, and their magnification, by name of the sheet."""
SHADES = 0.5, 99.8
"""Percentiles of the values that are black and white in the README's pictures of more than 8 bits."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sheets", description=__doc__)
    parser.add_argument("pictures", type=Path, metavar="FOLDER", help="the noisy pictures")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the sheets")
    options = parser.parse_args()
    blas.prepare_blas()

    import numpy as np

    from n2n_cli.denoising.arrays import denoise
    from n2n_cli.evaluation.comparison import compare
    from n2n_cli.images import Picture, read_picture, write_picture

    options.out.mkdir(parents=True, exist_ok=True)
    for name, (file, top, left) in PICTURES.items():
        noisy = np.ascontiguousarray(read_picture(options.pictures / file).pixels[top : top + SIDE, left : left + SIDE])
        both = [noisy, denoise(noisy, axes="YXS")]
        compared = compare(
            [(Path(f"{name}, {which}"), Picture(part)) for which, part in zip(("noisy", "denoised"), both, strict=True)]
        )
        write_picture(options.out / f"{name}.jpg", Picture(compared.draw()), quality=80)
        if name in SHOWN:
            shown, factor = SHOWN[name]
            parts = np.concatenate([part[: SIDE // factor, : SIDE // factor] for part in both], axis=1)
            if parts.dtype != np.uint8:
                low, high = np.percentile(noisy, SHADES)
                parts = np.rint(255 * np.clip((parts - low) / (high - low), 0, 1)).astype(np.uint8)
            parts = parts.repeat(factor, axis=0).repeat(factor, axis=1)
            write_picture(options.out / f"{shown}.jpg", Picture(parts), quality=90)
        print(json.dumps({"picture": name, **{f.picture: asdict(f) for f in compared.metrics}}), flush=True)


if __name__ == "__main__":
    main()
