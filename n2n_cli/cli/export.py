"""`n2n export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from n2n_cli.cli.console import confirm
from n2n_cli.cli.options import option
from n2n_cli.errors import printable


def export(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT|NAME", help="Checkpoint, or model of `n2n models`.", show_default=False)
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File to write, as model.pth.", show_default=False)],
    average: Annotated[
        list[str] | None,
        option("--average", "FILE|NAME", str, "Average with the weights of this one; repeatable."),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store weights with 16 bits, in half the bytes.")] = False,
) -> None:
    """Write a checkpoint without what only training needs.

    It keeps the weights, the configuration and the scores; PyTorch reads it as any other. The mean of a briefly
    fine-tuned model and the one that it began with often does most of what either does; it has no scores: measure it
    with `n2n eval`.

    Examples:

      n2n export runs/default-1/best.pth denoiser.pth

      n2n export --half runs/default-1/best.pth denoiser.pth

      n2n export --average photo runs/finetuned/best.pth denoiser.pth
    """
    from n2n_cli.models import exporting
    from n2n_cli.models.choice import choose_model
    from n2n_cli.system.overwriting import check_inputs_kept

    source, *others = (choose_model(name).path for name in (checkpoint, *(average or [])))
    check_inputs_kept([target], [source, *others])
    exporting.export(source, target, average=others, half=half)
    confirm(f"{printable(str(target))}: {target.stat().st_size:,} bytes")
