"""`n2n export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from n2n_cli.cli.console import confirm, log
from n2n_cli.cli.options import model_names, option
from n2n_cli.errors import UsageError, printable


def export(
    checkpoint: Annotated[
        str | None,
        typer.Argument(
            metavar="CHECKPOINT|NAME",
            help="Checkpoint, or model of `n2n models`; with --onnx by default the newest.",
            show_default=False,
            autocompletion=model_names,
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Argument(metavar="OUT", help="File to write, as model.pth or model.onnx.", show_default=False),
    ] = None,
    average: Annotated[
        list[str] | None,
        option("--average", "FILE|NAME", str, "Model to average the weights with; repeatable.", names=model_names),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store weights as 16-bit floats: half the file size.")] = False,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Write ONNX, for GPUs and browsers; needs the extra onnx.")
    ] = False,
) -> None:
    """Write a model for use: a smaller checkpoint, or ONNX.

    The checkpoint keeps the weights, the configuration and the scores; PyTorch can read it. Paths in the configuration
    become names, without their folders. An ONNX file holds the network for pictures of any size; docs/DEPLOY.md shows
    how ONNX Runtime, OpenVINO and browsers run it. If CHECKPOINT is left out, --onnx writes the best one of the newest
    training in runs/, else the bundled model.

    --average writes the mean of the weights of several models. The mean of a briefly fine-tuned model and the model
    that it started from often keeps most of what each does well. It has no scores: measure it with `n2n eval`.

    Examples:

      n2n export runs/default-1/best.pth denoiser.pth

      n2n export --half runs/default-1/best.pth denoiser.pth

      n2n export --average photo runs/finetuned/best.pth denoiser.pth

      n2n export --onnx photo photo.onnx
    """
    from n2n_cli.models import exporting
    from n2n_cli.models.choice import choose_model
    from n2n_cli.models.onnx_file import is_onnx
    from n2n_cli.system.overwriting import check_inputs_kept

    if checkpoint and target is None and onnx and is_onnx(Path(checkpoint)):
        target, checkpoint = Path(checkpoint), None
    if target is None:
        raise UsageError("missing argument OUT: the file to write", hint="for example `n2n export photo denoiser.pth`")
    if onnx is not is_onnx(target):
        raise UsageError(
            f"`{target}` does not end in .onnx" if onnx else f"`{target}` ends in .onnx",
            hint="`--onnx` writes `model.onnx`, and without it `model.pth` is written",
        )
    chosen = choose_model(checkpoint)
    if checkpoint is None:
        log(f"model: {printable(chosen.text)}")
    others = [choose_model(name).path for name in average or []]
    check_inputs_kept([target], [chosen.path, *others])
    write = exporting.export_onnx if onnx else exporting.export
    write(chosen.path, target, average=others, half=half)
    confirm(f"{printable(str(target))}: {target.stat().st_size:,} bytes")
