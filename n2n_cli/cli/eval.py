"""`n2n eval`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from n2n_cli.cli.console import printable, result, tell
from n2n_cli.cli.options import NETWORK_HELP, THREADS_HELP, thread_count, whole_number
from n2n_cli.errors import UsageError

if TYPE_CHECKING:
    from n2n_cli.evaluation import Score, Summary


def evaluate(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint of `n2n train`, or a PyTorch state dict.")
    ],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|FILE",
            help="A folder of clean pictures, or a file of pairs (val_data.pkl). Default: the pictures that the "
            "training held out.",
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL:STRENGTH",
            help="Put on clean pictures: gaussian:25 (standard deviation in grey levels of 255) or pixelate:8 "
            "(side of a block in pixels). Default: as trained.",
        ),
    ] = None,
    crops: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Score N random crops of the training's size, in place of the whole pictures of --data. "
            "Default: whole pictures.",
        ),
    ] = None,
    config: Annotated[str | None, typer.Option(metavar="FILE|NAME", help=NETWORK_HELP)] = None,
    seed: Annotated[
        str | None, typer.Option(metavar="N", help="Seeds crops and noise of a folder of --data. Default: 0.")
    ] = None,
    threads: Annotated[str | None, typer.Option(metavar="N", help=THREADS_HELP)] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object for each picture, and a last one for all.")
    ] = False,
) -> None:
    """Measure a denoiser: PSNR before and after.

    For each picture, and the mean over pictures, in dB.

    Examples:

      n2n eval runs/default-1/best.pth --data photos/ --noise gaussian:25

      n2n eval runs/default-1/best.pth --data photos/ --json > scores.jsonl
    """
    from n2n_cli import evaluation
    from n2n_cli.config import load_config
    from n2n_cli.json_lines import json_line
    from n2n_cli.model import Model

    count = None if crops is None else whole_number(crops, "--crops", 1)
    number = None if seed is None else whole_number(seed, "--seed", 0)
    team = thread_count(threads)
    if count is not None and data is None:
        raise UsageError("`--crops` needs the pictures to cut from", hint="add `--data FOLDER`")
    model = Model.from_checkpoint(checkpoint, load_config(config) if config else None, threads=team)
    if noise is not None:
        model.config.override("data.noise", noise, "--noise")  # a wrong one is told of here
    scores = []
    for score in evaluation.evaluate(model, model.config, data, noise, crops=count, seed=number):
        scores.append(score)
        if as_json:
            result(json_line({"picture": score.name, "noisy_psnr": score.noisy_psnr, "psnr": score.psnr}))
    summary = evaluation.summarize(scores)
    if as_json:
        result(json_line({"summary": True, **asdict(summary)}))
    elif sys.stdout is not None and sys.stdout.isatty():
        _print_table(scores, summary)
    else:
        _print_lines(scores, summary)
    tell(
        f"PSNR of the mean error over all pictures: noisy {summary.noisy_pooled_psnr:.2f} dB, "
        f"denoised {summary.pooled_psnr:.2f} dB"
    )


def _print_table(scores: list[Score], summary: Summary) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_footer=True)
    table.add_column("picture", footer=f"mean of {summary.pictures}", overflow="fold")
    gain = summary.psnr - summary.noisy_psnr
    for title, mean in (("noisy dB", summary.noisy_psnr), ("denoised dB", summary.psnr), ("gain dB", gain)):
        table.add_column(title, justify="right", footer=f"{mean:{'+' if title == 'gain dB' else ''}.2f}")
    for score in scores:
        difference = score.psnr - score.noisy_psnr
        table.add_row(printable(score.name), f"{score.noisy_psnr:.2f}", f"{score.psnr:.2f}", f"{difference:+.2f}")
    Console(highlight=False, markup=False, emoji=False).print(table)


def _print_lines(scores: list[Score], summary: Summary) -> None:
    result("picture\tnoisy_psnr\tpsnr")
    for score in scores:
        result(f"{printable(score.name)}\t{score.noisy_psnr:.2f}\t{score.psnr:.2f}")
    result(f"mean of {summary.pictures}\t{summary.noisy_psnr:.2f}\t{summary.psnr:.2f}")
