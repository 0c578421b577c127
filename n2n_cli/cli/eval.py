"""`n2n eval`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from n2n_cli.cli.console import log, result
from n2n_cli.cli.options import (
    Ensemble,
    Json,
    NetworkConfig,
    Page,
    SomeValuesMode,
    Threads,
    exclusive,
    model_names,
    option,
    requires,
    whole_number,
)
from n2n_cli.cli.progress import LongWork
from n2n_cli.cli.ranked import show_nothing
from n2n_cli.errors import printable

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from n2n_cli.evaluation.scores import Score, Scores, Summary, Tally

_FIGURES = ("noisy_psnr", "psnr", "noisy_ssim", "ssim", "noisy_rms", "rms")


def evaluate(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT|NAME",
            help="Checkpoint, or model of `n2n models`.",
            show_default=False,
            autocompletion=model_names,
        ),
    ],
    data: Annotated[
        str | None,
        option("--data", "FOLDER|FILE", str, "Clean pictures, or pairs.", default="held out"),
    ] = None,
    clean: Annotated[
        str | None,
        option("--clean", "FOLDER", str, "Clean versions of --data, by file name."),
    ] = None,
    noise: Annotated[
        str | None, option("--noise", "MODEL:STRENGTH", str, "Noise for clean pictures.", default="as trained")
    ] = None,
    crops: Annotated[
        int | None,
        option("--crops", "N", whole_number(1), "Score N random crops.", default="whole pictures"),
    ] = None,
    page: Page = None,
    config: NetworkConfig = None,
    seed: Annotated[int | None, option("--seed", "N", whole_number(0), "Seed of crops and noise.", default="0")] = None,
    clip: Annotated[bool, typer.Option("--clip", help="Clip and round noisy pictures to 8 bits, as PNG does.")] = False,
    ensemble: Ensemble = False,
    values: SomeValuesMode = None,
    threads: Threads = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values; the means to stderr.")] = False,
) -> None:
    """Measure PSNR and SSIM of pictures before and after denoising.

    --data is a folder of clean pictures, to which --noise is added, or a file of pairs (val_data.pkl). The default is
    the pictures that the training held out. With --clean, the pictures of --data are noisy already.

    Prints the figures of each picture and their mean; PSNR in dB, SSIM at most 1. The last line, on stderr, gives the
    PSNR of the mean squared error over all pictures. Pictures are scored without the reflection padding of
    `n2n denoise`. `n2n train --help` lists the noise models.

    Examples:

      n2n eval runs/default-1/best.pth --data photos/ --noise gaussian:25

      n2n eval runs/default-1/best.pth --data noisy/ --clean clean/

      n2n eval runs/default-1/best.pth --data photos/ --csv > scores.csv
    """
    from n2n_cli.distributed.launchers import ranks_of_process
    from n2n_cli.evaluation import scores as evaluation
    from n2n_cli.models.choice import choose_model
    from n2n_cli.models.model import Model

    ranks = ranks_of_process()
    exclusive({"--json": as_json, "--csv": as_csv})
    requires("--crops", crops, {"--data": data})
    requires("--page", page, {"--data": data})
    exclusive({"--page": page, "--crops": crops})
    model = Model.from_checkpoint(choose_model(checkpoint).path, config, threads=threads or ranks.threads)
    if ensemble:
        model.predict_as_ensemble()
    if noise is not None:
        model.config.override("data.noise", noise, "--noise")  # refuse a wrong value before the work
    settings = model.config if values is None else model.config.override("data.values", values, "--values")
    if data is None and clean is None and ranks.first:
        log(f"pictures: held out from {model.config.data.source}")  # the user may not know this source
    scores = evaluation.evaluate(
        model, settings, data, noise, clean=clean, crops=crops, seed=seed, clip=clip, page=page, ranks=ranks
    )
    if not ranks.first:
        show_nothing(scores)
        return
    for note in scores.notes:
        log(note)
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
        log(
            f"mean of {summary.pictures}: noisy {summary.noisy_psnr:.2f} dB, denoised {summary.psnr:.2f} dB; "
            f"SSIM {summary.noisy_ssim:.4f}, {summary.ssim:.4f}"
        )
    if scores.measured:
        log(
            f"measured values: RMS error noisy {summary.noisy_rms:.4g}, denoised {summary.rms:.4g} in their own units; "
            "PSNR refers to the range of each picture's values"
        )
    log(
        f"PSNR of the mean error over all pictures: noisy {summary.noisy_pooled_psnr:.2f} dB, "
        f"denoised {summary.pooled_psnr:.2f} dB"
    )


def _counted(scores: Scores, tally: Tally, *, streams: bool) -> Iterator[Score]:
    """Add scores to the tally as they arrive.

    A bar shows the progress, unless each score is printed on the terminal at once.
    """
    from n2n_cli.system.progress import reported_to

    drawn = streams and sys.stdout is not None and sys.stdout.isatty()
    line = "{count} pictures measured"
    with nullcontext() if drawn else LongWork(line, _columns, scores.total, count=f"0/{scores.total}", name="") as work:
        for number in range(1, scores.total + 1):
            with nullcontext() if work is None else reported_to(work.advance):
                score = next(scores)
            tally.add(score)
            if work is not None:
                work.update(number, count=f"{number}/{scores.total}", name=score.name[-30:])
            yield score


def _columns() -> Iterable[ProgressColumn]:
    from rich.progress import BarColumn, TextColumn

    yield TextColumn("{task.fields[count]}")
    yield BarColumn(bar_width=None)
    yield TextColumn("{task.fields[name]}")


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
    titles = ("noisy dB", "denoised dB", "gain dB", "noisy SSIM", "SSIM")  # more would not fit into 80 columns
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
    before, after, *similarities = _texts(figures)[:4]
    return before, after, f"{figures.psnr - figures.noisy_psnr:+.2f}", *similarities


def _texts(figures: Score | Summary) -> tuple[str, ...]:
    return (
        f"{figures.noisy_psnr:.2f}",
        f"{figures.psnr:.2f}",
        f"{figures.noisy_ssim:.4f}",
        f"{figures.ssim:.4f}",
        f"{figures.noisy_rms:.4g}",
        f"{figures.rms:.4g}",
    )
