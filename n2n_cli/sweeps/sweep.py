"""Run the trainings of a grid, several at a time, in one folder."""

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
from n2n_cli.sweeps.workers import PATIENCE, Ended, Message, Worker
from n2n_cli.system.cpu import available_cores
from n2n_cli.system.json_lines import json_line
from n2n_cli.system.locks import locked
from n2n_cli.system.memory import available_memory
from n2n_cli.system.plain_files import check_plain, read_plain
from n2n_cli.training.run_folder import Run, create_run

JOB_MEMORY = 1_000_000_000
"""Assumed memory of one training, in bytes, for the default number of jobs."""
_TICK = 0.1
"""Interval between two checks for a stop request, in seconds."""
_LONGEST_ENDING = 100_000
_FINAL = ("done", "diverged")
_ELSEWHERE = "another folder: `--out FOLDER`, or `--force` to start over"


class Sweep:
    """A folder of runs, one for each point, with their results.

    The results are in `sweep.json` and `sweep.csv`.

    Parameters
    ----------
    folder : path
        May hold part of this sweep, or other points; finished trainings are not repeated.
    points : sequence of Point
    force : bool
        Repeat all trainings. Existing files stay until `run` is called.

    Attributes
    ----------
    results : dict of Result
        Results by the name of the point's folder.

    Raises
    ------
    UsageError
        When the folder of a point holds a training of another configuration, or a file of the sweep is a symbolic
        link, a pipe or a device.
    ConfigError
        When a configuration in the folder cannot be read.
    """

    def __init__(self, folder: Path, points: Sequence[Point], *, force: bool = False) -> None:
        self.folder, self.points, self._force = folder, points, force
        self._check_files()
        self.results = self._found()

    @property
    def plots(self) -> list[Path]:
        """Files for plots of the results."""
        return [self.folder / "sweep.svg", self.folder / "sweep.png"]

    @property
    def best(self) -> Result | None:
        """The finished training with the highest validation PSNR."""
        return best_of(self.results.values())

    @property
    def left(self) -> list[Point]:
        """Points whose training is neither done nor diverged."""
        return [point for point in self.points if self.results[point.folder].status not in _FINAL]

    def run(
        self, *, jobs: int | None = None, threads: int | None = None, stop: Callable[[], bool] = lambda: False
    ) -> Generator[tuple[Point, Message]]:
        """Run the remaining trainings, several at a time, each in its own process.

        Parameters
        ----------
        jobs : int, optional
            Number of simultaneous trainings. Default: one per core, fewer if memory is short.
        threads : int, optional
            Total number of computing threads of all jobs. Default: one per core. Results do not depend on it, except
            for rounding.
        stop : function
            Once it returns True, running trainings are saved, and the sweep ends.

        Yields
        ------
        The messages of each training. `Ended` comes after the result is in `results` and on disk.

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
            self._check_files()
            self.results = self._found()  # another sweep may have finished meanwhile
            self._check_data()
            if self._force:
                self._clear()
            self._write()
            working: dict[Any, tuple[Point, Worker]] = {}
            patience = PATIENCE
            try:
                yield from self._trainings(working, jobs, threads or available_cores(), stop)
            except KeyboardInterrupt:  # from a second signal: the first ends the sweep through `stop`
                patience = 0.0
                raise
            finally:
                for _, worker in working.values():
                    worker.hang_up()  # before waiting for any: all save at the same time
                for _, worker in working.values():
                    worker.end(patience)

    def _trainings(
        self, working: dict[Any, tuple[Point, Worker]], jobs: int | None, threads: int, stop: Callable[[], bool]
    ) -> Iterator[tuple[Point, Message]]:
        waiting = deque(self.left)
        jobs = jobs or default_jobs(len(waiting), available_cores(), available_memory())
        while working or waiting:
            while waiting and len(working) < jobs:
                share = max(1, threads // min(jobs, len(working) + len(waiting)))
                point = waiting.popleft()
                worker = Worker(point.config, create_run(self._run(point).folder, force=True), share)
                working[worker.fileno()] = point, worker
            if stop():
                waiting.clear()
                for _, worker in working.values():
                    worker.hang_up()
            for number in wait([*working], _TICK):
                point, worker = working[number]
                message = worker.message()
                if isinstance(message, Ended):
                    worker.end(PATIENCE)
                    del working[number]
                    self._keep(point, message)
                yield point, message

    def _keep(self, point: Point, end: Ended) -> None:
        """Store and write the result of a training that has ended."""
        run = self._run(point)
        if end.status in _FINAL:
            run.write(_ending(run), json_line({"status": end.status, "reason": end.reason}) + "\n")
        self.results[point.folder] = result_of(point, run, end.status, end.reason)
        self._write()

    def _found(self) -> dict[str, Result]:
        """Read the results of earlier sessions; with `force`, all are unfinished."""
        results = {}
        for point in self.points:
            run, status, reason = self._run(point), "unfinished", None
            if not self._force:
                _check_same(run, point)
                with suppress(OSError, ValueError, TypeError, KeyError):  # missing or damaged: the training runs again
                    ending = json.loads(read_plain(_ending(run), _LONGEST_ENDING))
                    if ending["status"] in _FINAL and isinstance(ending["reason"], str | None):
                        status, reason = ending["status"], ending["reason"]
            results[point.folder] = result_of(point, run, status, reason)
        return results

    def _clear(self) -> None:
        for run in map(self._run, self.points):
            if run.folder.is_dir():
                with run.locked():
                    _ending(run).unlink(missing_ok=True)
                    run.clear()
        self.results = self._found()

    def _check_data(self) -> None:
        """Open the data once, to raise errors before trainings start.

        Does nothing if the trainings use different data.
        """
        left = self.left
        if left and all(point.config.data == left[0].config.data for point in left):
            config = left[0].config
            open_dataset(config.data, config.network.channels, seed=config.train.seed)

    def _check_files(self) -> None:
        check_plain([*(self.folder / name for name in ("lock", "sweep.json", "sweep.csv")), *self.plots])
        for point in self.points:
            run = self._run(point)
            check_plain([run.folder, _ending(run)])
            run.check()
            run.check_inputs_kept(point.config)

    def _write(self) -> None:
        results = [self.results[point.folder] for point in self.points]
        files = Run(self.folder)
        files.write(self.folder / "sweep.json", as_json(results))
        files.write(self.folder / "sweep.csv", as_csv(results))

    def _run(self, point: Point) -> Run:
        return Run(self.folder / point.folder)


def default_jobs(trainings: int, cores: int, memory: int) -> int:
    """Default number of simultaneous trainings, from cores and memory in bytes."""
    return max(1, min(trainings, cores, memory // JOB_MEMORY))


def _ending(run: Run) -> Path:
    """File that records the status of a point's training once it has ended."""
    return run.folder / "ending.json"


def _check_same(run: Run, point: Point) -> None:
    """Check that a run folder is empty or holds the point's training."""
    if not run.config.is_file():
        if run.last.is_file():
            raise UsageError(f"`{run.folder}` holds a run without its `{run.config.name}`", hint=_ELSEWHERE)
        return
    theirs, ours = load_config(str(run.config)).flat(), point.config.flat()
    for key in [*ours, *theirs]:
        if theirs.get(key) != ours.get(key):
            raise UsageError(
                f"`{run.folder}` holds a training of another configuration: its `{key}` is {shown(theirs.get(key))}, "
                f"not {shown(ours.get(key))}",
                hint=_ELSEWHERE,
            )
