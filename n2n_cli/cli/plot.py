"""`n2n plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from n2n_cli.cli.console import confirm
from n2n_cli.cli.options import Out
from n2n_cli.errors import printable


def plot(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Run folders, or metrics.jsonl files.", show_default=False),
    ],
    out: Out,
) -> None:
    """Plot loss, validation PSNR and learning rate of trainings by epoch.

    Several runs share one figure. This needs matplotlib, which comes with the extra `plot`. FILE ends in .png or .svg.
    The command prints the name of the file.

    Examples:

      n2n plot runs/default-1 -o training.png

      n2n plot runs/sweep-ee559-adam-lr/*/ -o sweep.svg
    """
    from n2n_cli.plots.figures import draw_runs
    from n2n_cli.plots.style import check_ending
    from n2n_cli.system.overwriting import check_inputs_kept
    from n2n_cli.training.history import read_history
    from n2n_cli.training.run_folder import Run

    check_ending(out)
    check_inputs_kept([out], [Run(run).metrics if run.is_dir() else run for run in runs])
    histories = {}
    names = [run.resolve().name if run.is_dir() else str(run) for run in runs]
    for run, name in zip(runs, names, strict=True):
        histories[str(run) if names.count(name) > 1 else name] = read_history(run)
    draw_runs(histories, [out])
    confirm(printable(str(out)))
