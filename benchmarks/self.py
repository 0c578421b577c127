"""Speed and quality of learning from one picture: `python -m benchmarks.self`.

Without `--data`, times a training step of Zero-Shot Noise2Noise in n2n and in PyTorch (eager and channels-last), each
in a process of its own. With it, prints a table of mean PSNR and SSIM: of the noisy pictures, the bundled models, and
the network that learns from each picture. Synthetic noise is drawn once per picture, in floats, clipped only with
`--clip`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from n2n_cli.system import blas, cpu

WAYS = ("n2n", "eager", "channels_last")
METHODS = ("n2n denoise", "photo", "white", "photo --pd 2", "--self", "--self --pd 2")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.self", description=__doc__)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="clean pictures; with --noisy, of those names")
    parser.add_argument("--noisy", type=Path, metavar="FOLDER", help="real noisy pictures; else noise is drawn")
    parser.add_argument("--noise", default="gaussian:25", help="as `n2n eval --noise`, without --noisy")
    parser.add_argument("--clip", action="store_true", help="round noisy pictures to 8 bits, as `n2n eval --clip`")
    parser.add_argument("--crop", type=int, metavar="N", help="crop the central N x N pixels of each picture")
    parser.add_argument("--count", type=int, metavar="N", help="only the first N pictures")
    parser.add_argument("--only", action="append", choices=METHODS, help="written as --only=--self; may be repeated")
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()
    blas.prepare_blas()
    if options.data is None:
        _speed(options.rounds)
    else:
        _quality(options)


def _speed(rounds: int) -> None:
    from benchmarks.timing import take_turns
    from benchmarks.workers import workers

    for threads in sorted({1, cpu.available_cores()}):
        with workers(steps, {way: (way, threads) for way in WAYS}) as running:
            timings = take_turns(running, rounds=rounds)
        best = min(WAYS[1:], key=lambda way: timings[way].median)
        times = ", ".join(f"{way} {t.median / STEPS * 1e3:.2f} ms ({t.spread:.0%})" for way, t in timings.items())
        ratio = timings[best].median / timings["n2n"].median
        print(f"a step on {threads} threads: {times}; {ratio:.2f}x PyTorch's best, {best}", flush=True)


STEPS = 20
"""Number of steps that are timed together."""
_UNTIL_EXIT = ExitStack()
"""Contexts that stay open until the process ends."""


def steps(way: str, threads: int) -> Callable[[], None]:
    """Prepare a function that takes `STEPS` steps, on the same crops for every way."""
    blas.prepare_blas()
    import numpy as np

    from n2n_cli.images import Picture
    from n2n_cli.single_image.learner import Crops
    from n2n_cli.single_image.zero_shot import ZeroShotLearner

    pixels = np.random.default_rng(0).random((256, 256, 3), dtype=np.float32)
    rng = np.random.default_rng(0)
    learner = ZeroShotLearner(Crops([Picture(pixels)], rng=rng), rng=rng, threads=threads)
    step: Callable[[], object] = learner.step
    if way == "n2n":
        _UNTIL_EXIT.enter_context(learner.in_processes())
    else:
        step = _twin(learner, way, threads)

    def run() -> None:
        for _ in range(STEPS):
            step()

    return run


def _twin(learner: Any, way: str, threads: int) -> Callable[[], object]:
    """Prepare a step in PyTorch, as its user would write it, on crops of `learner`."""
    import torch
    from torch.nn import functional

    from benchmarks.twins import tensor
    from n2n_cli.data.neighbour_sampling import cells
    from n2n_cli.single_image.zero_shot import BATCH, BETAS, LEARNING_RATE, SIDE, SLOPE, WIDTH

    torch.set_num_threads(threads)
    memory_format = torch.channels_last if way == "channels_last" else torch.contiguous_format
    network = torch.nn.Sequential(
        *(torch.nn.Conv2d(3, WIDTH, 3), torch.nn.LeakyReLU(SLOPE, inplace=True)),
        *(torch.nn.Conv2d(WIDTH, WIDTH, 3), torch.nn.LeakyReLU(SLOPE, inplace=True)),
        torch.nn.Conv2d(WIDTH, 3, 1),
    ).to(memory_format=memory_format)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, betas=BETAS)
    diagonals = [torch.tensor(kernel).expand(3, 1, 2, 2) for kernel in ([[0, 0.5], [0.5, 0]], [[0.5, 0], [0, 0.5]])]

    def halves(x: Any) -> Any:
        return torch.cat([functional.conv2d(x, kernel, stride=2, groups=3) for kernel in diagonals])

    def step() -> float:
        crops, learned = learner.crops.at(learner.crops.draw(BATCH, SIDE), SIDE)
        x, mask = tensor(crops, memory_format), tensor(cells(learned)[:, :, 2:-2, 2:-2], torch.contiguous_format)
        optimizer.zero_grad()
        y, whole = halves(x), x[:, :, 2:-2, 2:-2]
        denoised = y[:, :, 2:-2, 2:-2] - network(y)
        whole = halves(whole[:, :, 2:-2, 2:-2] - network(whole))
        first, second = y[:, :, 2:-2, 2:-2].chunk(2)
        residual = denoised - torch.cat([second, first])
        loss = (residual.square() + (denoised - whole).square()).mul(mask.repeat(2, 1, 1, 1)).mean()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def _quality(options: argparse.Namespace) -> None:
    import numpy as np

    from n2n_cli.evaluation.metrics import psnr, ssim

    pairs = list(_pairs(options))
    print(f"\n{options.data}, {len(pairs)} pictures, noise drawn once\n")
    print("| method | PSNR dB | SSIM | s a picture |\n|---|---|---|---|")
    for name in ("noisy", *METHODS):
        if name != "noisy" and options.only and name not in options.only:
            continue
        scores, seconds = [], 0.0
        for noisy, clean in pairs:
            began = time.perf_counter()
            denoised = noisy if name == "noisy" else _denoised(name, noisy)
            seconds += time.perf_counter() - began
            scores.append((psnr(denoised, clean), ssim(denoised, clean)))
        mean_psnr, mean_ssim = np.mean(scores, axis=0)
        print(f"| {name} | {mean_psnr:.2f} | {mean_ssim:.4f} | {seconds / len(pairs):.1f} |", flush=True)


def _pairs(options: argparse.Namespace) -> Iterator[tuple[Any, Any]]:
    """Iterate over noisy and clean pictures, (C, H, W) float32."""
    import numpy as np

    from benchmarks.tools import middle
    from n2n_cli.data.folders import image_files
    from n2n_cli.images import read_picture
    from n2n_cli.images.pixels import to_float, to_integer
    from n2n_cli.noise import parse_noise

    noise = parse_noise(options.noise)
    for i, path in enumerate(image_files(options.data)[: options.count]):
        clean = middle(read_picture(path).pixels, options.crop)  # (H, W, C)
        if options.noisy is None:
            noisy = noise.draw(clean, rng=np.random.default_rng([0, i]))
            noisy = to_float(to_integer(noisy, np.uint8)) if options.clip else noisy
        else:
            noisy = to_float(middle(read_picture(options.noisy / path.name).pixels, options.crop))
        yield np.moveaxis(noisy, -1, 0), np.moveaxis(to_float(clean), -1, 0)


@cache
def _model(name: str) -> Any:
    from n2n_cli.models.choice import bundled_models
    from n2n_cli.models.model import Model

    return Model.from_checkpoint(bundled_models()[name])


def _denoised(name: str, noisy: Any) -> Any:
    """Denoise as `n2n denoise` with the model or options `name`, but in floats."""
    import numpy as np

    from n2n_cli.denoising.model_choice import BundledModels
    from n2n_cli.denoising.picture import denoise
    from n2n_cli.images import Picture
    from n2n_cli.noise.correlation import shuffled_down, shuffled_up
    from n2n_cli.single_image.denoiser import learn_to_denoise

    picture = Picture(np.ascontiguousarray(np.moveaxis(noisy, 0, -1)))
    factor = 2 if "--pd 2" in name else 1
    parts = shuffled_down(picture, factor)
    model: Any = None
    if "--self" in name:
        model = learn_to_denoise(parts).model
    elif name == "n2n denoise":
        model = BundledModels().choose(picture).model
    else:
        model = _model(name.partition(" ")[0])
    done = [Picture(np.moveaxis(denoise(model, np.moveaxis(part.pixels, -1, 0)), 0, -1)) for part in parts]
    return np.moveaxis(shuffled_up(picture, done, factor).pixels, -1, 0)


if __name__ == "__main__":
    main()
