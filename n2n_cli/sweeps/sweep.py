"""Sweeps: the trainings of a grid, some at a time, in a folder that can be gone on with."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from n2n_cli.config import load_config
from n2n_cli.config.toml_text import shown
from n2n_cli.data.sources import open_dataset
from n2n_cli.errors import UsageError
from n2n_cli.sweeps.grid import Point
from n2n_cli.sweeps.results import Result, as_csv, as_json, best_of, result_of
from n2n_cli.sweeps.workers import Diverged, Failed, Message, Worker
from n2n_cli.system.cpu import available_cores
from n2n_cli.system.json_lines import json_line
from n2n_cli.system.locks import locked
from n2n_cli.system.memory import available_memory
from n2n_cli.training.records import Finished, Stopped
from n2n_cli.training.run_folder import Run, create_run

JOB_MEMORY = 1_000_000_000
"""Bytes that one training is taken to need, where it is not said how many shall run at a time."""
_FINAL = ("done", "diverged")
_ELSEWHERE = "another folder: `--out FOLDER`, or `--force` to begin anew"
_TICK = 0.1  # seconds after which it is asked again whether to stop
_PATIENCE = 10.0  # seconds that a process has to end once its training has


class Sweep:
    """A folder of runs, one a point, with their results in `sweep.json` and `sweep.csv`.

    Parameters
    ----------
    folder : path
        May hold a part of the same sweep, or another one's points: what is finished is not done again.
    points : sequence of Point
    force : bool
        Whether to begin anew. What is there stays until `run` is called.

    Raises
    ------
    UsageError
        When the folder of a point holds a training of another configuration.
    ConfigError
        When it cannot be told what it holds.
    """

    def __init__(self, folder: Path, points: Sequence[Point], *, force: bool = False) -> None:
        self.folder, self.points, self._force = folder, points, force
        self.results = {point.folder: self._found(point) for point in points}

    @property
    def json(self) -> Path:
        """All results, as one object."""
        return self.folder / "sweep.json"

    @property
    def csv(self) -> Path:
        """All results, as comma-separated values."""
        return self.folder / "sweep.csv"

    @property
    def best(self) -> Result | None:
        """The point with the highest validation PSNR, of those that are done."""
        return best_of(self.results.values())

    @property
    def left(self) -> list[Point]:
        """The points that are neither done nor diverged."""
        return [point for point in self.points if self.results[point.folder].status not in _FINAL]

    def run(
        self, *, jobs: int | None = None, threads: int | None = None, stop: Callable[[], bool] = lambda: False
    ) -> Generator[tuple[Point, Message | Result]]:
        """Do the trainings that are left, some at a time, each in a process of its own.

        Parameters
        ----------
        jobs : int, optional
            How many run at a time. By default one a core, as far as the memory goes.
        threads : int, optional
            That compute, of all jobs together. By default one a core. Results do not depend on it but for rounding.
        stop : function
            Once it says so, what runs is saved, and the sweep ends.

        Yields
        ------
        What each training tells; behind the last of it, its result, when that is on the disk.

        Raises
        ------
        DataError, ImageError, CheckpointError
            When the data of all points cannot be used.
        UsageError
            When a folder cannot be written, or another sweep writes to it.
        TrainingError
            When results cannot be written.
        """
        create_run(self.folder, force=True)
        with locked(self.folder / "lock", "sweep"):
            self.results = {point.folder: self._found(point) for point in self.points}  # another sweep may have ended
            self._check_data()
            if self._force:
                self._clear()
            self._write()
            working: dict[Any, tuple[Point, Worker]] = {}
            try:
                yield from self._trainings(working, jobs, available_cores() if threads is None else threads, stop)
            finally:
                for _, worker in working.values():
                    worker.close()

    def _trainings(
        self,
        working: dict[Any, tuple[Point, Worker]],
        jobs: int | None,
        threads: int,
        stop: Callable[[], bool],
    ) -> Iterator[tuple[Point, Message | Result]]:
        waiting, stopping = deque(self.left), False
        jobs = default_jobs(len(waiting)) if jobs is None else jobs
        while working or (waiting and not stopping):
            while not stopping and waiting and len(working) < jobs:
                share = max(1, threads // min(jobs, len(working) + len(waiting)))
                point = waiting.popleft()
                worker = Worker(point.config, create_run(self.folder / point.folder, force=True), share)
                working[worker.fileno()] = point, worker
            if not stopping and stop():
                stopping = True
                for _, worker in working.values():
                    worker.stop()
            for ready in wait([*working], _TICK):
                point, worker = working[ready]
                message = worker.receive()
                yield point, message
                if isinstance(message, Finished | Stopped | Diverged | Failed):
                    worker.close(_PATIENCE)
                    del working[ready]
                    yield point, self._ended(point, message)

    def _ended(self, point: Point, message: Finished | Stopped | Diverged | Failed) -> Result:
        """Keep what became of a point."""
        status = {Finished: "done", Stopped: "unfinished", Diverged: "diverged", Failed: "failed"}[type(message)]
        reason = message.reason if isinstance(message, Diverged | Failed) else None
        if status in _FINAL:
            run = self._run(point)
            run.write(_ending(run), json_line({"status": status, "reason": reason}) + "\n")
        result = self.results[point.folder] = result_of(point, self._run(point), status, reason)
        self._write()
        return result

    def _found(self, point: Point) -> Result:
        """What an earlier sitting has made of a point."""
        run = self._run(point)
        if self._force:
            return result_of(point, run, "unfinished")
        _check_same(run, point)
        status, reason = "unfinished", None
        with suppress(OSError, ValueError, TypeError, KeyError):  # it is not there or damaged: the training ends again
            ending = json.loads(_ending(run).read_text(encoding="utf-8"))
            if ending["status"] in _FINAL:
                status, reason = ending["status"], ending["reason"]
        result = result_of(point, run, status, reason)
        if status == "done" and result.psnr is None:  # its metrics are lost: the last checkpoint has them
            return result_of(point, run, "unfinished")
        return result

    def _clear(self) -> None:
        for point in self.points:
            run = self._run(point)
            if run.folder.is_dir():
                with run.locked():
                    _ending(run).unlink(missing_ok=True)
                    run.clear()
        self.results = {point.folder: self._found(point) for point in self.points}

    def _check_data(self) -> None:
        """Find what is wrong with the data of all trainings before they begin; built-in pictures are made once."""
        left = self.left
        if left and all(point.config.data == left[0].config.data for point in left):
            config = left[0].config
            open_dataset(config.data, config.network.channels, seed=config.train.seed)

    def _write(self) -> None:
        results = [self.results[point.folder] for point in self.points]
        files = Run(self.folder)
        files.write(self.json, as_json(results))
        files.write(self.csv, as_csv(results))

    def _run(self, point: Point) -> Run:
        return Run(self.folder / point.folder)


def default_jobs(trainings: int) -> int:
    """How many of so many trainings run at a time: one a core, as far as the memory goes."""
    return max(1, min(trainings, available_cores(), available_memory() // JOB_MEMORY))


def _ending(run: Run) -> Path:
    """The file that says how a point's training ended, once it has."""
    return run.folder / "ending.json"


def _check_same(run: Run, point: Point) -> None:
    """See that what a run folder holds is the training that the point asks for."""
    if not run.config.is_file():
        if run.last.is_file():
            raise UsageError(f"`{run.folder}` holds a run without its `{run.config.name}`", hint=_ELSEWHERE)
        return
    found = load_config(str(run.config))
    if found == point.config:
        return
    theirs, ours = (
        {f"{s}.{k}": v for s, table in c.tables().items() for k, v in table.items()} for c in (found, point.config)
    )
    key = next(key for key in [*ours, *theirs] if theirs.get(key) != ours.get(key))
    raise UsageError(
        f"`{run.folder}` holds a training of another configuration: its `{key}` is {shown(theirs.get(key))}, "
        f"not {shown(ours.get(key))}",
        hint=_ELSEWHERE,
    )
