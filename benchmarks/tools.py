"""Compare n2n with other tools, each installed from scratch.

`python -m benchmarks.tools --data FOLDER` creates an empty environment for each tool, installs the tool there by
`pip install --no-cache-dir` and denoises a first picture; the time is measured from the start of the installation to
the written file. Then the tool denoises the other pictures. All tools read the same 8-bit PNG files: Gaussian noise was
added once, then rounded and clipped. PSNR is measured on the files that they write, time on their whole processes. A
tool that learns from the picture may take `--minutes` per picture.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.environments import PIP, FailedError, Installer, last_line, megabytes, new_environment, python_of, run
from n2n_cli.system import cpu

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(__file__).parent / "scripts"


@dataclass(frozen=True)
class Tool:
    """A tool and the command that denoises a picture with it.

    Attributes
    ----------
    packages : tuple of str
        Packages for pip to install; WHEEL stands for the wheel of this checkout.
    words : tuple of str
        Command: a program, or a script in `benchmarks/scripts`, and its arguments, in which SECONDS, SIGMA, MODEL (the
        bundled model as ONNX), IN and OUT are replaced.
    scored : bool
        False for a tool that does not denoise, of which only installation and first picture are measured.
    """

    packages: tuple[str, ...]
    words: tuple[str, ...]
    scored: bool = True


TOOLS = {
    "n2n": Tool(("WHEEL",), ("n2n", "denoise", "--quiet", "IN", "OUT")),
    "n2n-self": Tool(("WHEEL",), ("n2n", "denoise", "--quiet", "--self", "IN", "OUT")),
    "onnxruntime": Tool(("onnxruntime", "numpy", "pillow"), ("onnx_picture.py", "MODEL", "IN", "OUT")),
    "scikit-image": Tool(("scikit-image", "PyWavelets"), ("skimage_picture.py", "IN", "OUT")),
    "bm3d": Tool(("bm3d", "pillow"), ("bm3d_picture.py", "IN", "OUT", "SIGMA")),
    "pytorch": Tool(
        ("torch==2.13.0", "numpy", "pillow"), ("torch_zero_shot.py", "IN", "OUT", "SECONDS")
    ),  # as the extra `bench`: PyTorch's own CPU build where pip is shown it
    "careamics": Tool(("careamics",), ("careamics_n2v.py", "IN", "OUT", "SECONDS")),
    "rembg": Tool(("rembg[cpu,cli]",), ("rembg", "i", "IN", "OUT"), scored=False),
}


@dataclass
class Measured:
    """Measurements of a tool; None if the tool failed before.

    Attributes
    ----------
    tool : str
    versions, archives, from_disk
        As in `environments.Installed`.
    installed : float
        Size of the environment, less that of an empty one, in megabytes (10^6 bytes).
    install, from_nothing : float
        Seconds of the installation, and from its start to the first denoised picture.
    seconds : list of float
        Seconds for each picture after the first.
    psnr : float
        Mean PSNR over all pictures, in dB.
    said : str
        Last line of the tool's output.
    failed : str
        Cause of a failure.
    """

    tool: str
    versions: dict[str, str] = field(default_factory=dict)
    archives: float | None = None
    from_disk: float | None = None
    installed: float | None = None
    install: float | None = None
    from_nothing: float | None = None
    seconds: list[float] = field(default_factory=list)
    psnr: float | None = None
    said: str = ""
    failed: str = ""


def main(words: Sequence[str] | None = None, tools: Mapping[str, Tool] = TOOLS, installer: Installer = PIP) -> None:
    options = _parser(tools).parse_args(words)
    with TemporaryDirectory(prefix="n2n-tools-") as name:
        folder = Path(name)
        pictures = list(noisy_pictures(options.data, options.count, options.sigma, folder, crop=options.crop))
        values = {"SECONDS": f"{60 * options.minutes:g}", "SIGMA": f"{options.sigma:g}"}
        if any("WHEEL" in tools[tool].packages for tool in options.only):
            wheel = _wheel(folder)
            values["WHEEL"] = str(wheel)
            print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB")
        if any("MODEL" in tools[tool].words for tool in options.only):
            values["MODEL"] = str(_onnx(folder))
        empty = megabytes(installer.new_environment(folder / "empty"))
        noisy = np.mean([_score(noisy, clean) for noisy, clean in pictures])
        print(f"{len(pictures)} pictures of {options.data.name}, sigma {options.sigma:g}: noisy {noisy:.2f} dB")
        print(f"{cpu.processor()}, {cpu.available_cores()} cores, load {os.getloadavg()[0]:.1f} before\n")
        print(HEAD, flush=True)
        rows = []
        for tool in options.only:
            rows.append(measure(tool, tools[tool], folder / tool, pictures, values, empty, installer))
            print(line(rows[-1]), flush=True)
            if options.out:
                options.out.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def _parser(tools: Mapping[str, Tool]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tools", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="clean pictures, RGB")
    parser.add_argument("--count", type=int, default=3, metavar="N", help="number of pictures; default: 3")
    parser.add_argument("--crop", type=int, metavar="N", help="crop the central N x N pixels of each picture")
    parser.add_argument("--sigma", type=float, default=25.0, help="noise level in grey levels; default: 25")
    parser.add_argument("--minutes", type=float, default=10.0, help="time limit to learn from a picture; default: 10")
    parser.add_argument("--only", nargs="+", choices=tools, default=list(tools), metavar="NAME", help=", ".join(tools))
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the measurements to this JSON file")
    return parser


HEAD = (
    "| tool | versions | MB to download (of them on this disk) | MB installed | s to install "
    "| s from nothing to a picture | s for one more | PSNR dB | said |\n|---|---|---|---|---|---|---|---|---|"
)


def line(row: Measured) -> str:
    """Format a row of the table."""
    versions = ", ".join(f"{name} {version}" for name, version in row.versions.items())
    archives = "" if row.archives is None else f"{row.archives:.0f} ({row.from_disk:.0f})"
    seconds = float(np.median(row.seconds)) if row.seconds else None
    numbers = [
        "" if value is None else f"{value:.{digits}f}"
        for value, digits in (
            *((row.installed, 0), (row.install, 0), (row.from_nothing, 0)),
            *((seconds, 1 if seconds is not None and seconds < 20 else 0), (row.psnr, 2)),
        )
    ]
    said = f"failed: {row.failed}" if row.failed else row.said
    return f"| {' | '.join((row.tool, versions, archives, *numbers, said.replace('|', '/')))} |"


def measure(
    name: str,
    tool: Tool,
    folder: Path,
    pictures: Sequence[tuple[Path, Path]],
    values: Mapping[str, str],
    empty: float,
    installer: Installer = PIP,
) -> Measured:
    """Install a tool and measure it.

    Parameters
    ----------
    folder : path
        Temporary folder of the tool, which is removed at the end.
    pictures : sequence of (path, path)
        Noisy and clean files.
    values : mapping of str to str
        Replacements for WHEEL, MODEL, SECONDS and SIGMA.
    empty : float
        Size of an empty environment, in megabytes.
    installer : Installer
    """
    row, scores = Measured(name), []
    home = folder / "home"  # empty, without caches of earlier runs
    variables = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    home.mkdir(parents=True)
    try:
        began = time.perf_counter()
        environment = installer.new_environment(folder / "environment")
        packages = [values.get(package, package) for package in tool.packages]
        row.versions, row.archives, row.from_disk = installer.install(environment, packages)
        row.install = time.perf_counter() - began
        row.installed = megabytes(environment) - empty
        began = time.perf_counter() - row.install  # leave out the time of `megabytes`
        for i, (noisy, clean) in enumerate(pictures if tool.scored else pictures[:1]):
            denoised, started = folder / f"{i}.png", time.perf_counter()
            words = {**values, "IN": str(noisy), "OUT": str(denoised)}
            output = run([words.get(word, word) for word in _command(tool, environment)], variables=variables)
            row.said = last_line(output, 80)
            if not denoised.is_file():
                raise FailedError(f"it wrote no picture: {row.said}")
            if i == 0:
                row.from_nothing = time.perf_counter() - began
            else:
                row.seconds.append(time.perf_counter() - started)
            if tool.scored:
                scores.append(_score(denoised, clean))
        row.psnr = float(np.mean(scores)) if scores else None
    except FailedError as error:
        row.failed = str(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return row


def _command(tool: Tool, environment: Path) -> list[str]:
    program, *words = tool.words
    if program.endswith(".py"):
        return [python_of(environment), str(SCRIPTS / program), *words]
    return [str(environment / "bin" / program), *words]


def noisy_pictures(
    data: Path, count: int, sigma: float, folder: Path, *, crop: int | None = None
) -> Iterator[tuple[Path, Path]]:
    """Write noisy and clean files to `folder`, from `count` pictures of `data`.

    `sigma` is in grey levels.
    """
    from n2n_cli.data.folders import image_files
    from n2n_cli.data.set_values import read_pixels
    from n2n_cli.images import Picture, write_picture
    from n2n_cli.images.pixels import to_integer
    from n2n_cli.noise import parse_noise

    files = image_files(data)
    count = min(count, len(files))
    for i in (len(files) * part // count for part in range(count)):
        pixels = middle(read_pixels(files[i], 3), crop)
        view = parse_noise(f"gaussian:{sigma:g}").draw(pixels, rng=np.random.default_rng([0, i]))
        noisy, clean = (folder / f"{kind}-{files[i].stem}.png" for kind in ("noisy", "clean"))
        write_picture(noisy, Picture(to_integer(view, np.uint8)))
        write_picture(clean, Picture(pixels))
        yield noisy, clean


def middle(pixels: Any, side: int | None) -> Any:
    """Crop the central square: (H, W, C) -> (side, side, C).

    A side that is shorter stays whole, and so do both if `side` is None.
    """
    if side is None:
        return pixels
    top, left = (max(0, (size - side) // 2) for size in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def _score(picture: Path, clean: Path) -> float:
    from n2n_cli.data.set_values import read_pixels
    from n2n_cli.evaluation.metrics import psnr
    from n2n_cli.images.pixels import to_float

    return psnr(*(np.moveaxis(to_float(read_pixels(path, 3)), -1, 0) for path in (picture, clean)))


def _wheel(folder: Path) -> Path:
    words = ("-m", "pip", "wheel", "-q", "--no-deps", "--no-cache-dir", "-w", str(folder), str(ROOT))
    run([python_of(new_environment(folder / "build")), *words])
    return next(folder.glob("n2n_cli-*.whl"))


def _onnx(folder: Path) -> Path:
    from n2n_cli.models.choice import choose_model
    from n2n_cli.models.exporting import export_onnx

    path = folder / "photo.onnx"
    export_onnx(choose_model("photo").path, path)
    return path


if __name__ == "__main__":
    main()
