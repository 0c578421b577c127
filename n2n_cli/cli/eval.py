"""`n2n eval`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from n2n_cli.cli.console import result, shows_progress, stderr, tell
from n2n_cli.cli.options import ENSEMBLE_HELP, NETWORK_HELP, NOISES, THREADS_HELP, thread_count, whole_number
from n2n_cli.cli.ranked import show_nothing
from n2n_cli.errors import UsageError, printable

if TYPE_CHECKING:
    from n2n_cli.evaluation.scores import Score, Scores, Summary, Tally

_FIGURES = ("noisy_psnr", "psnr", "noisy_ssim", "ssim")


def evaluate(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT|NAME",
            help="A checkpoint of `n2n train`, a PyTorch state dict, or the name of a model that `n2n models` lists.",
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|FILE",
            help="A folder of clean pictures, or a file of pairs (val_data.pkl). Default: the pictures that the "
            "training held out.",
        ),
    ] = None,
    clean: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="The clean versions of the pictures of --data, by file name; those are then noisy as they are. "
            "Default: the pictures of --data are clean, and made noisy.",
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL:STRENGTH",
            help=f"Put on clean pictures: {NOISES} Default: as trained.",
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
    clip: Annotated[
        bool,
        typer.Option(
            "--clip",
            help="Clip and round the pictures that are made noisy to 8 bits, as a PNG file holds them. "
            "Default: floats, also beyond black and white.",
        ),
    ] = False,
    ensemble: Annotated[bool, typer.Option("--ensemble", help=ENSEMBLE_HELP)] = False,
    threads: Annotated[str | None, typer.Option(metavar="N", help=THREADS_HELP)] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object for each picture, and a last one for all.")
    ] = False,
    as_csv: Annotated[
        bool,
        typer.Option(
            "--csv", help="Print comma-separated values: a header and a row for each picture; means to stderr."
        ),
    ] = False,
) -> None:
    """Measure a denoiser: PSNR and SSIM before and after.

    For each picture, and the mean over pictures; PSNR in dB, SSIM up to 1. A last line, on stderr, gives the PSNR of
    the error averaged over all pictures first. Pictures are scored as they leave the network, without the mirrored
    margin that `n2n denoise` puts around them.

    Examples:

      n2n eval runs/default-1/best.pth --data photos/ --noise gaussian:25

      n2n eval runs/default-1/best.pth --data noisy/ --clean clean/

      n2n eval runs/default-1/best.pth --data photos/ --csv > scores.csv
    """
    from n2n_cli.config import load_config
    from n2n_cli.distributed.launchers import ranks_of_process
    from n2n_cli.evaluation import scores as evaluation
    from n2n_cli.models.choice import choose_model
    from n2n_cli.models.model import Model

    ranks = ranks_of_process()
    count = None if crops is None else whole_number(crops, "--crops", 1)
    number = None if seed is None else whole_number(seed, "--seed", 0)
    given_threads = thread_count(threads)
    if as_json and as_csv:
        raise UsageError("`--json` and `--csv` cannot both be printed", hint="leave out one of them")
    if count is not None and data is None:
        raise UsageError("`--crops` needs the pictures to cut from", hint="add `--data FOLDER`")
    path = choose_model(str(checkpoint)).path
    model = Model.from_checkpoint(
        path, load_config(config, plugins=True) if config else None, threads=given_threads or ranks.threads
    )
    if ensemble:
        model.predict_as_ensemble()
    if noise is not None:
        model.config.override("data.noise", noise, "--noise")  # a wrong one is told of here
    scores = evaluation.evaluate(
        model, model.config, data, noise, clean=clean, crops=count, seed=number, clip=clip, ranks=ranks
    )
    if not ranks.first:
        show_nothing(scores)
        return
    tally = evaluation.Tally()
    if as_json:
        show = _print_json
    elif as_csv:
        show = _print_csv
    else:
        show = _print_table if sys.stdout is not None and sys.stdout.isatty() else _print_lines
    show(_counted(scores, tally, streams=show is not _print_table), tally)
    summary = tally.summary()
    if as_csv:
        tell(
            f"mean of {summary.pictures}: noisy {summary.noisy_psnr:.2f} dB, denoised {summary.psnr:.2f} dB; "
            f"SSIM {summary.noisy_ssim:.4f}, {summary.ssim:.4f}"
        )
    tell(
        f"PSNR of the mean error over all pictures: noisy {summary.noisy_pooled_psnr:.2f} dB, "
        f"denoised {summary.pooled_psnr:.2f} dB"
    )


def _counted(scores: Scores, tally: Tally, *, streams: bool) -> Iterator[Score]:
    """The scores as they come, added to the tally, with a progress bar where nothing else is drawn on the terminal."""
    drawn = streams and sys.stdout is not None and sys.stdout.isatty()
    with _bar(scores.total) if shows_progress() and not drawn else nullcontext(_no_bar) as advance:
        for score in scores:
            tally.add(score)
            advance(score.name)
            yield score


def _no_bar(name: str) -> None:
    """Nothing to draw."""


@contextmanager
def _bar(total: int) -> Iterator[Callable[[str], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        MofNCompleteColumn(),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[name]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    # The results are not its business: rich would send what is printed on stdout to stderr.
    with Progress(*columns, console=stderr(), transient=True, expand=True, redirect_stdout=False) as progress:
        task = progress.add_task("", total=total, name="")
        yield lambda name: progress.update(task, advance=1, name=printable(name)[-30:])


def _print_json(scores: Iterator[Score], tally: Tally) -> None:
    from n2n_cli.system.json_lines import json_line

    for score in scores:
        result(json_line({"picture": score.name, **{name: getattr(score, name) for name in _FIGURES}}))
    result(json_line({"summary": True, **asdict(tally.summary())}))


def _print_csv(scores: Iterator[Score], tally: Tally) -> None:
    import csv
    import io

    result(",".join(("picture", *_FIGURES)))
    for score in scores:
        row = io.StringIO()
        csv.writer(row, lineterminator="").writerow([score.name, *(getattr(score, name) for name in _FIGURES)])
        result(row.getvalue())


def _print_table(scores: Iterator[Score], tally: Tally) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    rows = [(printable(score.name), *_cells(score)) for score in scores]
    summary = tally.summary()
    table = Table(box=box.SIMPLE_HEAD, show_footer=True)
    table.add_column("picture", footer=f"mean of {summary.pictures}", overflow="fold")
    titles = ("noisy dB", "denoised dB", "gain dB", "noisy SSIM", "SSIM")  # no more fits into 80 columns
    for title, mean in zip(titles, _cells(summary), strict=True):
        table.add_column(title, justify="right", footer=mean)
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False, emoji=False).print(table)


def _print_lines(scores: Iterator[Score], tally: Tally) -> None:
    result("\t".join(("picture", *_FIGURES)))
    for score in scores:
        result("\t".join((printable(score.name), *_texts(score))))
    summary = tally.summary()
    result("\t".join((f"mean of {summary.pictures}", *_texts(summary))))


def _cells(figures: Score | Summary) -> tuple[str, ...]:
    before, after, *similarities = _texts(figures)
    return before, after, f"{figures.psnr - figures.noisy_psnr:+.2f}", *similarities


def _texts(figures: Score | Summary) -> tuple[str, ...]:
    return (
        f"{figures.noisy_psnr:.2f}",
        f"{figures.psnr:.2f}",
        f"{figures.noisy_ssim:.4f}",
        f"{figures.ssim:.4f}",
    )
