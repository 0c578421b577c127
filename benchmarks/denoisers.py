"""Quality and speed of classical denoisers and of n2n models, in one table.

`python -m benchmarks.denoisers --data FOLDER --model CHECKPOINT`. All denoise the same float pictures, whose noise is
not clipped. The classical denoisers get the true noise level, the models do not. PSNR and SSIM are those of
`n2n_cli.evaluation.metrics`; times are wall-clock seconds in this process. The licence of the package `bm3d` allows
only non-commercial research, so it is no dependency: `pip install bm3d PyWavelets`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from n2n_cli.system import blas


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.denoisers", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="clean pictures")
    parser.add_argument("--sigma", type=float, nargs="+", default=[25.0], help="grey levels of 255")
    parser.add_argument("--count", type=int, help="only the first N pictures", metavar="N")
    parser.add_argument("--model", nargs="*", default=[], metavar="CHECKPOINT")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the methods whose name contains TEXT")
    options = parser.parse_args()
    blas.prepare_blas()

    from n2n_cli.data.folders import image_files
    from n2n_cli.data.set_values import read_pixels
    from n2n_cli.evaluation.metrics import psnr, ssim
    from n2n_cli.images.pixels import to_float

    files = image_files(options.data)[: options.count]
    cleans = [to_float(read_pixels(path, 3)) for path in files]  # (H, W, C)
    for sigma_255 in options.sigma:
        print(f"\n{options.data.name}, {len(files)} pictures, sigma {sigma_255:g}\n")
        print("| method | PSNR dB | SSIM | s a megapixel |\n|---|---|---|---|")
        for name, method in _methods(sigma_255 / 255, options.model):
            if options.only not in name:
                continue
            scores, seconds, pixels = [], 0.0, 0
            for i, clean in enumerate(cleans):
                noise = np.random.default_rng([0, i]).standard_normal(clean.shape, dtype=np.float32)
                noisy = clean + noise * np.float32(sigma_255 / 255)
                began = time.perf_counter()
                denoised = np.clip(method(noisy), 0, 1)
                seconds += time.perf_counter() - began
                pixels += clean.shape[0] * clean.shape[1]
                pair = [np.moveaxis(picture, -1, 0) for picture in (denoised, clean)]
                scores.append((psnr(*pair), ssim(*pair)))
            mean_psnr, mean_ssim = np.mean(scores, axis=0)
            print(f"| {name} | {mean_psnr:.2f} | {mean_ssim:.4f} | {seconds / pixels * 1e6:.2f} |", flush=True)


def _methods(sigma: float, models: list[str]) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Iterate over names and functions (H, W, C) -> (H, W, C); white is 1."""
    from n2n_cli.models.model import Model

    yield "noisy", lambda noisy: noisy
    restoration = import_module("skimage.restoration")
    yield (
        "non-local means (scikit-image)",
        lambda noisy: restoration.denoise_nl_means(
            noisy, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, fast_mode=True, channel_axis=-1
        ),
    )
    yield (
        "total variation (scikit-image)",
        lambda noisy: restoration.denoise_tv_chambolle(noisy, weight=1.2 * sigma, channel_axis=-1),
    )
    if _is_installed("pywt"):
        yield (
            "wavelets, BayesShrink (scikit-image)",
            lambda noisy: restoration.denoise_wavelet(
                noisy, sigma=sigma, convert2ycbcr=True, channel_axis=-1, rescale_sigma=True
            ),
        )
    if _is_installed("bm3d"):
        bm3d = import_module("bm3d")
        yield "CBM3D (bm3d)", lambda noisy: bm3d.bm3d_rgb(noisy, sigma)
    for path in models:
        yield f"n2n {Path(path).parent.name}/{Path(path).name}", partial(_ours, Model.from_checkpoint(path))


def _ours(model: Any, noisy: Any) -> Any:
    return np.moveaxis(model.predict(np.moveaxis(noisy, -1, 0)[None])[0], 0, -1)


def _is_installed(package: str) -> bool:
    try:
        import_module(package)
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    main()
