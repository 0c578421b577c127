"""`n2n compare`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from n2n_cli.cli.console import result, tell
from n2n_cli.errors import UsageError


def compare(
    noisy: Annotated[Path, typer.Argument(metavar="NOISY", help="The picture before denoising.")],
    denoised: Annotated[Path, typer.Argument(metavar="DENOISED", help="The same picture after it.")],
    clean: Annotated[
        Path | None,
        typer.Argument(metavar="CLEAN", help="Its clean version, if there is one.", show_default=False),
    ] = None,
    *,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The sheet to write; an old one is replaced.")
    ],
    crops: Annotated[
        list[str] | None,
        typer.Option(
            "--crop",
            metavar="X,Y,SIZE",
            help="A square to enlarge, by its left and upper edge and its side, in pixels. May be repeated. "
            "Default: three that tell most.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object per picture.")] = False,
) -> None:
    """Draw a contact sheet: a picture before and after denoising.

    Noisy, denoised and clean, the difference eight times as strong, and enlarged regions of each. Says PSNR and SSIM
    against the clean picture or, without one, the estimated noise.

    Examples:

      n2n compare noisy.png denoised.png -o sheet.png

      n2n compare noisy.png denoised.png clean.png -o sheet.png --crop 120,80,64
    """
    from n2n_cli.evaluation import comparison
    from n2n_cli.images import Picture, format_of, read_picture, write_picture
    from n2n_cli.system.json_lines import json_line

    squares = [_square(text) for text in crops] if crops else None
    format_of(out)  # a wrong ending is told of before the work
    pictures = []
    for path in (noisy, denoised, *([] if clean is None else [clean])):
        picture = read_picture(path)
        for note in (*picture.notes, *([] if picture.alpha is None else ["its transparency is not shown"])):
            tell(f"{path}: {note}")
        pictures.append((path, picture))
    compared = comparison.compare(pictures, squares)
    write_picture(out, Picture(compared.draw()))
    for metrics in compared.metrics:
        result(json_line(asdict(metrics)) if as_json else f"{metrics.picture}: {metrics}")
    tell(f"sheet: {out}")


def _square(text: str) -> tuple[int, int, int]:
    try:
        left, top, side = (int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"`--crop` is {text!r}, it must be three whole numbers: X,Y,SIZE", hint="for example `--crop 120,80,64`"
        ) from None
    return left, top, side
