"""`n2n compare`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from n2n_cli.cli.console import confirm, log, result
from n2n_cli.cli.options import Json, Out, Page, ValuesMode, option


class Square(NamedTuple):
    """A square of a picture, in pixels."""

    left: int
    top: int
    side: int


def _square(text: str) -> Square:
    try:
        left, top, side = (int(part) for part in text.split(","))
    except ValueError:
        raise ValueError("three whole numbers: X,Y,SIZE", "120,80,64") from None
    return Square(left, top, side)


def compare(
    noisy: Annotated[Path, typer.Argument(metavar="NOISY", help="Picture before denoising.", show_default=False)],
    denoised: Annotated[Path, typer.Argument(metavar="DENOISED", help="Picture after denoising.", show_default=False)],
    clean: Annotated[Path | None, typer.Argument(metavar="CLEAN", help="Ground truth.", show_default="none")] = None,
    *,
    out: Out,
    crops: Annotated[
        list[Square] | None,
        option("--crop", "X,Y,SIZE", _square, "Square to enlarge, in pixels.", default="three"),
    ] = None,
    page: Page = None,
    values: ValuesMode = "auto",
    as_json: Json = False,
) -> None:
    """Draw a contact sheet: a picture before and after denoising.

    The sheet shows the noisy, denoised and clean picture, their difference amplified eight times, and enlarged regions
    of each. The command prints PSNR and SSIM against the clean picture or, without one, the estimated noise.

    Examples:

      n2n compare noisy.png denoised.png -o sheet.png

      n2n compare noisy.png denoised.png clean.png -o sheet.png --crop 120,80,64

      n2n compare movie.tif denoised.tif -o sheet.png --page 20
    """
    from n2n_cli.evaluation import comparison
    from n2n_cli.images import Picture, format_of, read_picture, upright, write_picture
    from n2n_cli.system.atomic_files import mode_of_copies
    from n2n_cli.system.json_lines import json_line
    from n2n_cli.system.overwriting import check_inputs_kept

    format_of(out)  # refuse a wrong file name extension before the work
    paths = (noisy, denoised, *([] if clean is None else [clean]))
    check_inputs_kept([out], paths)
    pictures = []
    for path in paths:
        picture = upright(read_picture(path, page=page))
        for note in (*picture.notes, *([] if picture.alpha is None else ["its transparency is not shown"])):
            log(f"{path}: {note}")
        pictures.append((path, picture))
    compared = comparison.compare(pictures, crops, values)
    write_picture(out, Picture(compared.draw()), mode=mode_of_copies(*(path for path, _ in pictures)))
    for metrics in compared.metrics:
        if as_json:
            result(json_line(asdict(metrics)))
        else:
            confirm(f"{metrics.picture}: {metrics}")
    log(f"sheet: {out}")
