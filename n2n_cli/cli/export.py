"""`n2n export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from n2n_cli.cli.console import result
from n2n_cli.errors import printable


def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint of `n2n train`.", show_default=False)
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write, as model.pth.", show_default=False)],
    average: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|NAME",
            help="Write the mean of the weights of CHECKPOINT and this one, of the same network; may be given several "
            "times. With what a fine-tuning began with, it keeps most of what either can.",
        ),
    ] = None,
    half: Annotated[
        bool,
        typer.Option("--half", help="Store weights with 16 bits, in half the bytes. Default: 32 bits, as trained."),
    ] = False,
) -> None:
    """Write a checkpoint without what only training needs.

    It keeps the weights, the configuration and the scores; PyTorch reads it as any other.

    Examples:

      n2n export runs/default-1/best.pth denoiser.pth

      n2n export --half runs/default-1/best.pth denoiser.pth

      n2n export --average photo runs/finetuned/best.pth denoiser.pth
    """
    from n2n_cli import exporting
    from n2n_cli.bundled import choose_model

    others = [choose_model(name).path for name in average or []]
    exporting.export(checkpoint, target, average=others, half=half)
    result(f"{printable(str(target))}: {target.stat().st_size:,} bytes")
