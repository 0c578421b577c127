"""Regret of automatic choices.

`python -m benchmarks.zoo --data cbsd68 mcmaster --out zoo.jsonl`

Denoises crops of pictures with many kinds of noise, once by each `--effort` and once by every combination of options
that a user could choose by hand, and compares the former with the best of the latter. The regret is the difference in
PSNR. Drawn noise is rounded to the depth of a file, and clipped as there. PSNR is measured on values as they would be
written, relative to white, or to the range of the clean picture for measured values; differences above `CAP` dB do not
count. Each result is appended to `--out`; another run computes only what is missing. `--noisy` and `--clean` add real
pictures.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tools import middle
from n2n_cli.system import blas

Array = np.ndarray[Any, Any]

CAP = 50.0
"""PSNR in dB above which a picture counts as unharmed."""
STRENGTHS = (0.0, 0.25, 0.5, 0.75)
"""Blend weights that a user could choose, besides 1."""


@dataclass(frozen=True)
class Kind:
    """A kind of noise.

    Attributes
    ----------
    noise : str
        Noise model, as `n2n eval --noise`.
    gray : bool
        Draw it on gray pictures.
    counts : (float, float), optional
        Black and white in counts of a 16-bit file; without it, files have 8 bits.
    """

    noise: str
    gray: bool = False
    counts: tuple[float, float] | None = None


KINDS = {
    "white, weak": Kind("gaussian:5"),
    "white": Kind("gaussian:25"),
    "white, strong": Kind("gaussian:50"),
    "white, gray": Kind("gaussian:25", gray=True),
    "camera, ISO 800": Kind("camera:0.0005"),
    "camera, ISO 6400": Kind("camera:0.006"),
    "grain": Kind("grain:15,0.8"),
    "grain, coarse": Kind("grain:20,1.2"),
    "few photons": Kind("poisson:10"),
    "few photons, 16 bits": Kind("poisson:30", gray=True, counts=(100, 130)),
    "microscope, 16 bits": Kind("poisson-gaussian:200,4", gray=True, counts=(100, 300)),
    "blurred, gray": Kind("blurred:30,0.8", gray=True),
    "rows": Kind("row:3,12"),
    "speckle": Kind("speckle:0.2"),
    "impulses": Kind("impulse:0.1"),
    "JPEG": Kind("jpeg:30,4"),
    "nearly clean": Kind("gaussian:1"),
    "clean": Kind("gaussian:0"),
}


@dataclass(frozen=True)
class Case:
    """A noisy picture and its ground truth.

    The pictures are (H, W, C) as in a file; `white` is the value of white above black.
    """

    kind: str
    name: str
    noisy: Array
    clean: Array
    white: float

    def psnr(self, denoised: Array) -> float:
        """PSNR in dB, at most `CAP`."""
        error = np.mean(np.square(denoised.astype(float) - self.clean))
        return min(CAP, float(10 * np.log10(self.white**2 / max(error, 1e-30))))


@dataclass(frozen=True)
class Way:
    """Options of `n2n denoise`; `model` or `effort`."""

    model: str = "photo"
    pd: int = 1
    ensemble: bool = False
    learn: bool = False
    effort: Any = None

    def __call__(self, noisy: Array) -> Array:
        """Denoise (H, W, C) pixels."""
        from n2n_cli.denoising.model_choice import FileModel
        from n2n_cli.denoising.page import denoise_page
        from n2n_cli.denoising.tasks import DenoiseOptions
        from n2n_cli.denoising.transforms import Transforms
        from n2n_cli.images import Picture

        model = None
        if self.effort is not None:
            model = _bundled(self.effort)
        elif not self.learn:
            model = _model(self.model, self.ensemble)
        options = DenoiseOptions(learn=self.learn, pd=self.pd)
        transforms = Transforms(lambda most, channel: (), "auto")
        pixels: Array = denoise_page(FileModel(model), Picture(noisy), transforms, options).picture.pixels
        return pixels


HAND = {
    "photo": Way(),
    "photo --pd 2": Way(pd=2),
    "photo --pd 3": Way(pd=3),
    "photo --ensemble": Way(ensemble=True),
    "white": Way("white"),
    "white --pd 2": Way("white", pd=2),
    "white --ensemble": Way("white", ensemble=True),
    "self": Way(learn=True),
    "self --pd 2": Way(learn=True, pd=2),
}
"""What a user could choose; each also with every strength."""
EFFORTS = {effort: Way(effort=effort) for effort in ("fast", "normal", "best")}
WAYS = EFFORTS | HAND


@cache
def _model(name: str, ensemble: bool) -> Any:
    from n2n_cli.models.choice import bundled_models
    from n2n_cli.models.model import Model

    model = Model.from_checkpoint(bundled_models().get(name, Path(name)))
    if ensemble:
        model.predict_as_ensemble()
    return model


@cache
def _bundled(effort: Any) -> Any:
    from n2n_cli.denoising.model_choice import models_for

    return models_for(effort)


def main() -> None:
    options = _parser().parse_args()
    blas.prepare_blas()
    done = _results(options.out)
    for case in _cases(options):
        for name, way in WAYS.items():
            if (case.kind, case.name, name) not in done and (not options.only or name in options.only):
                for line in _measured(case, name, way):
                    with options.out.open("a") as file:
                        file.write(json.dumps(line) + "\n")
    _print(_results(options.out))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="*", default=[], metavar="FOLDER", help="clean pictures")
    parser.add_argument("--noisy", type=Path, nargs="*", default=[], metavar="FOLDER", help="real noisy pictures")
    parser.add_argument("--clean", type=Path, nargs="*", default=[], metavar="FOLDER", help="their ground truth")
    parser.add_argument("--count", type=int, default=4, metavar="N", help="pictures of each folder; default: 4")
    parser.add_argument("--crop", type=int, default=256, metavar="N", help="side of their middle; default: 256")
    parser.add_argument("--only", nargs="*", choices=WAYS, metavar="WAY", help=", ".join(WAYS))
    parser.add_argument("--kinds", nargs="*", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="results, a JSON line each")
    return parser


def _cases(options: argparse.Namespace) -> Iterator[Case]:
    from n2n_cli.data.folders import image_files
    from n2n_cli.images import read_picture
    from n2n_cli.noise import parse_noise

    def spread(folder: Path) -> list[Path]:
        files = image_files(folder)
        return files[:: max(1, len(files) // options.count)][: options.count]

    for noisy, clean in zip(options.noisy, options.clean, strict=True):
        for path in spread(noisy):
            pair = [middle(read_picture(place / path.name).pixels, options.crop) for place in (noisy, clean)]
            yield Case(noisy.parent.name, path.name, pair[0], pair[1], 255.0)
    for name, kind in KINDS.items():
        if options.kinds and name not in options.kinds:
            continue
        for folder in options.data:
            for i, path in enumerate(spread(folder)):
                yield _drawn(name, kind, path.name, middle(read_picture(path).pixels, options.crop), i, parse_noise)


def _drawn(label: str, kind: Kind, name: str, pixels: Array, number: int, parse: Callable[[str], Any]) -> Case:
    rng = np.random.default_rng([7, number])
    clean = pixels / np.float32(255)
    if kind.gray:
        clean = clean.mean(axis=2, keepdims=True)
    if kind.noise.startswith("speckle:"):  # multiplied, as radar and ultrasound have it
        noisy = clean * (1 + float(kind.noise.partition(":")[2]) * rng.standard_normal(clean.shape, np.float32))
    else:
        noisy = parse(kind.noise).draw(clean, rng=rng)
    black, white = kind.counts or (0.0, 255.0)
    most, dtype = (255, np.uint8) if kind.counts is None else (65535, np.uint16)
    stored = np.clip(np.rint(black + (white - black) * noisy), 0, most).astype(dtype)
    return Case(label, name, stored, black + (white - black) * clean.astype(float), white - black)


def _measured(case: Case, name: str, way: Way) -> Iterator[Mapping[str, Any]]:
    began = time.perf_counter()
    denoised = way(case.noisy)
    seconds = time.perf_counter() - began
    head = {"kind": case.kind, "picture": case.name}
    for strength in STRENGTHS if name in HAND else ():
        blend = np.rint((1 - strength) * case.noisy.astype(float) + strength * denoised.astype(float))
        yield {**head, "way": f"{name} --strength {strength:g}" if strength else "noisy", "psnr": case.psnr(blend)}
    yield {**head, "way": name, "psnr": case.psnr(denoised), "seconds": round(seconds, 3)}


def _results(path: Path) -> dict[tuple[str, str, str], float]:
    if not path.exists():
        return {}
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return {(line["kind"], line["picture"], line["way"]): line["psnr"] for line in lines}


def _print(results: dict[tuple[str, str, str], float]) -> None:
    """Print mean PSNR and regret by kind of noise, and the worst cases."""
    by_case: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for (kind, picture, way), psnr in results.items():
        by_case[kind, picture][way] = psnr
    complete = {case: scores for case, scores in by_case.items() if scores.keys() >= WAYS.keys()}
    if not complete:
        print("no picture has been denoised in every way yet")
        return
    best = {case: max(scores.items(), key=lambda item: item[1]) for case, scores in complete.items()}
    regrets = {
        effort: {case: best[case][1] - scores[effort] for case, scores in complete.items()} for effort in EFFORTS
    }
    ways = ["noisy", *WAYS]
    print(f"| kind | n | {' | '.join(ways)} | best by hand | regret of {', '.join(EFFORTS)} |")
    print("|---" * (len(ways) + 4) + "|")
    for kind in dict.fromkeys(kind for kind, _ in complete):
        cases = [case for case in complete if case[0] == kind]
        means = [np.mean([complete[case][way] for case in cases]) for way in ways]
        best_mean = np.mean([best[case][1] for case in cases])
        mean_regrets = ", ".join(f"{np.mean([regrets[effort][case] for case in cases]):.2f}" for effort in EFFORTS)
        row = [kind, str(len(cases)), *(f"{mean:.2f}" for mean in means), f"{best_mean:.2f}", mean_regrets]
        print(f"| {' | '.join(row)} |")
    for effort, found in regrets.items():
        within = ", ".join(
            f"within {limit} dB in {np.mean([regret <= limit for regret in found.values()]):.0%}"
            for limit in (0.2, 0.4, 1.0)
        )
        below = min(scores[effort] - scores["noisy"] for scores in complete.values())
        plain = min(scores[effort] - scores["photo"] for scores in complete.values())
        print(f"\n--effort {effort}: {within}; worst against its input {below:+.2f} dB, against photo {plain:+.2f} dB")
        for case in sorted(found, key=lambda case: -found[case])[:5]:
            print(f"  {case[0]}, {case[1]}: {found[case]:.2f} dB below {best[case][0]}")


if __name__ == "__main__":
    main()
