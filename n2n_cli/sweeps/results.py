"""Results of the trainings of a sweep, and the best one."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from n2n_cli.errors import DataError
from n2n_cli.sweeps.grid import Point
from n2n_cli.system.json_lines import json_line
from n2n_cli.training.history import History, read_history
from n2n_cli.training.run_folder import Run


@dataclass(frozen=True)
class Result:
    """Result of a point.

    Attributes
    ----------
    values : mapping
        Values of the varied keys, by dotted name.
    status : "done", "diverged", "failed" or "unfinished"
    psnr, pooled_psnr : float or None
        Validation PSNR after the best epoch of a finished training, in dB: mean over pictures of their PSNR, and PSNR
        of the mean squared error over all pictures.
    best_epoch : int or None
        Number of that epoch, from 1.
    last_psnr, loss : float or None
        Validation PSNR after the last finished epoch, in dB, and mean training loss in it.
    noisy_psnr, noisy_pooled_psnr : float or None
        Validation PSNR before denoising, in dB.
    epochs : int
        Number of finished epochs.
    seconds : float
        Training time of all sessions so far.
    run : str
        Path of the run folder.
    reason : str or None
        Reason why the training has not finished.
    """

    values: Mapping[str, Any]
    status: str
    psnr: float | None
    pooled_psnr: float | None
    best_epoch: int | None
    last_psnr: float | None
    loss: float | None
    noisy_psnr: float | None
    noisy_pooled_psnr: float | None
    epochs: int
    seconds: float
    run: str
    reason: str | None = None

    def record(self) -> dict[str, Any]:
        """Convert the result to a flat dict of plain values."""
        own = asdict(self)
        return {**own.pop("values"), **own}


def result_of(point: Point, run: Run, status: str, reason: str | None = None) -> Result:
    """Read the result of a point from the metrics in its run folder.

    A finished training without metrics counts as unfinished: resuming it restores them from the last checkpoint.
    """
    history: History = []
    with suppress(DataError):  # no epoch yet
        history = read_history(run.folder)
    last = history[-1] if history else {}
    if status == "done" and not history:
        status = "unfinished"
    best = max(history, key=lambda line: line["psnr"]) if status == "done" else {}
    return Result(
        values=point.values,
        status=status,
        psnr=best.get("psnr"),
        pooled_psnr=best.get("pooled_psnr"),
        best_epoch=int(best["epoch"]) if best else None,
        last_psnr=last.get("psnr"),
        loss=last.get("loss"),
        noisy_psnr=last.get("noisy_psnr"),
        noisy_pooled_psnr=last.get("noisy_pooled_psnr"),
        epochs=len(history),
        seconds=last.get("seconds", 0.0),
        run=str(run.folder),
        reason=reason,
    )


def best_of(results: Iterable[Result]) -> Result | None:
    """Find the finished training with the highest validation PSNR.

    The first of equal ones is taken.
    """
    return max((result for result in results if result.psnr is not None), key=lambda r: r.psnr or 0.0, default=None)


def as_json(results: Sequence[Result]) -> str:
    """Format all results as one JSON object: varied keys, best result, and all points."""
    best = best_of(results)
    table = {
        "parameters": [*results[0].values],
        "best": None if best is None else best.record(),
        "points": [result.record() for result in results],
    }
    return json_line(table) + "\n"


def as_csv(results: Sequence[Result]) -> str:
    """Format all results as comma-separated values: a header and one row per result."""
    rows = io.StringIO()
    records = [result.record() for result in results]
    writer = csv.DictWriter(rows, [*records[0]], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return rows.getvalue()
