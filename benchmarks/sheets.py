"""Contact sheets of the bundled model: `python -m benchmarks.sheets OUT`.

The six photographs, in the public domain, come with scikit-image (extra `dev`). Gaussian noise of 25 grey levels is
added to their central squares, clipped and rounded to 8 bits. The README shows the first one before and after.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from n2n_cli.system import blas

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "retina", "hubble_deep_field")
SIGMA = 25  # grey levels of 255
SIDE = 288  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sheets", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the sheets")
    folder: Path = parser.parse_args().out
    blas.prepare_blas()

    from skimage import data

    from n2n_cli.denoising.picture import denoise_picture
    from n2n_cli.evaluation.comparison import compare
    from n2n_cli.images import Picture, write_picture
    from n2n_cli.models.choice import choose_model
    from n2n_cli.models.model import Model

    model = Model.from_checkpoint(choose_model("photo").path)
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(PHOTOGRAPHS):
        whole = getattr(data, name)()  # (H, W, 3) uint8
        top, left = ((size - SIDE) // 2 for size in whole.shape[:2])
        clean = np.ascontiguousarray(whole[top : top + SIDE, left : left + SIDE])
        noise = SIGMA * np.random.default_rng([0, i]).standard_normal(clean.shape, dtype=np.float32)
        noisy = Picture(np.rint(np.clip(clean + noise, 0, 255)).astype(np.uint8))
        pictures = [("noisy", noisy), ("denoised", denoise_picture(model, noisy)), ("clean", Picture(clean))]
        compared = compare([(Path(f"{name}, {which}"), picture) for which, picture in pictures])
        write_picture(folder / f"{name}.jpg", Picture(compared.draw()), quality=80)
        if name == PHOTOGRAPHS[0]:
            both = np.concatenate([picture.pixels for _, picture in pictures[:2]], axis=1)
            write_picture(folder / "before-after.jpg", Picture(both), quality=90)
        print(json.dumps({"photograph": name, **{f.picture: asdict(f) for f in compared.metrics}}), flush=True)


if __name__ == "__main__":
    main()
