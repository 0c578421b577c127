"""Cases of the speed benchmark, each a row of its table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import runtimes
from benchmarks.timing import Timing, take_turns
from benchmarks.workers import workers
from benchmarks.works import (
    SIDES,
    TILED,
    convolution,
    denoising,
    founding_files,
    inference,
    megapixel,
    photo_files,
    processes,
    step,
    unet_step,
)
from n2n_cli.errors import counted
from n2n_cli.system.cpu import available_cores


@dataclass(frozen=True)
class Effort:
    """Number of rounds and picture sizes; `short` only tests the benchmark itself."""

    rounds: int
    compiled: bool
    megapixels: int
    short: bool


LONG = Effort(rounds=25, compiled=True, megapixels=12, short=False)
SHORT = Effort(rounds=2, compiled=False, megapixels=1, short=True)


@dataclass(frozen=True)
class Row:
    """Timings of one case in n2n and in other programs, its peers.

    Attributes
    ----------
    work : str
    timings : dict
        By way; those of n2n itself under "n2n".
    least, aim : float or None
        Required and desired ratio of the best peer's time to ours.
    """

    work: str
    timings: dict[str, Timing]
    least: float | None = None
    aim: float | None = None

    @property
    def best(self) -> str | None:
        """Name of the fastest peer that computes in float32, as we do."""
        peers = [name for name in self.timings if name != "n2n" and not name.startswith(runtimes.BFLOAT16)]
        return min(peers, key=lambda name: self.timings[name].median) if peers else None

    @property
    def apart(self) -> str | None:
        """Name of the fastest peer that computes in bfloat16."""
        peers = [name for name in self.timings if name.startswith(runtimes.BFLOAT16)]
        return min(peers, key=lambda name: self.timings[name].median) if peers else None

    @property
    def ratio(self) -> float | None:
        """Ratio of the best peer's time to ours."""
        return self.ratio_to(self.best) if self.best else None

    def ratio_to(self, name: str) -> float:
        """Ratio of a peer's time to ours."""
        return self.timings[name].median / self.timings["n2n"].median


@dataclass(frozen=True)
class Case:
    """A row to be measured; `short` if it belongs to the short form of the benchmark."""

    work: str
    measure: Callable[[], dict[str, Timing]]
    least: float | None = None
    aim: float | None = None
    short: bool = True


def rows(effort: Effort, *, only: str = "") -> Iterator[Row]:
    """Measure the rows of the table whose names contain `only`."""
    yield from _measured_rows(_cases(effort), effort, only)


def growth(effort: Effort, *, only: str = "") -> Iterator[Row]:
    """Measure how times grow with the picture and with the batch."""
    yield from _measured_rows(_growing(effort), effort, only)


def _measured_rows(cases: Sequence[Case], effort: Effort, only: str) -> Iterator[Row]:
    for case in cases:
        if only in case.work and (case.short or not effort.short):
            yield Row(case.work, case.measure(), case.least, case.aim)


def _in_turn(
    make: Callable[..., Callable[[], object]], ways: Mapping[str, tuple[object, ...]], rounds: int, **how: Any
) -> Callable[[], dict[str, Timing]]:
    """Measurement of `make(*arguments)` by `take_turns`.

    Each way has its own arguments.
    """

    def measure() -> dict[str, Timing]:
        with workers(make, ways) as running:
            return take_turns(running, rounds=rounds, **how)

    return measure


def _cases(effort: Effort) -> list[Case]:
    cores, megapixels, rounds = available_cores(), effort.megapixels, effort.rounds
    few = max(2, rounds // 5)
    on_all, on_one = counted(cores, "thread"), counted(1, "thread")
    large = f"denoising {megapixels} megapixels"
    engines = runtimes.installed()
    plain = ["n2n", "eager", "channels_last"]
    torch = [*plain, *(["compile"] if effort.compiled else [])]
    every = [*torch, *engines]
    photo = torch if effort.short else every
    tiled = [*plain, *TILED, *(f"{way}, tiles of {side}" for way in engines for side in SIDES if not effort.short)]

    def turns(
        make: Callable[..., Callable[[], object]], ways: Sequence[str], *arguments: object, rounds: int = rounds
    ) -> Callable[[], dict[str, Timing]]:
        return _in_turn(make, {way: (way, *arguments) for way in ways}, rounds)

    def beside_one(make: Callable[..., Callable[[], object]], *arguments: object) -> Callable[[], dict[str, Timing]]:
        return _in_turn(make, {"n2n": ("n2n", *arguments, cores), on_one: ("n2n", *arguments, 1)}, rounds)

    table = [
        Case(f"training step, {on_all}", turns(step, torch, cores), 2.3, 2.6),
        Case(f"training step, {on_one}", turns(step, torch, 1), 1.5, 2.2),
        Case(f"`unet` training step, {on_all}", turns(unet_step, torch, cores, rounds=few), 1.2, 1.6, short=False),
        Case(f"`unet` training step, {on_one}", turns(unet_step, torch, 1, rounds=few), 1.2, 1.6, short=False),
        Case(f"inference, {on_all}", turns(inference, every, cores), 1.9, 2.5),
        Case(f"inference, {on_one}", turns(inference, every, 1), short=False),
        Case(f"`photo`, 1 megapixel, {on_all}", turns(megapixel, photo, "photo", cores, rounds=few), 1.5, 1.9),
        Case(f"`photo`, 1 megapixel, {on_one}", turns(megapixel, photo, "photo", 1, rounds=few), 1.7, 2, short=False),
        Case(
            f"`unet-small`, 1 megapixel, {on_all}",
            turns(megapixel, every, "unet-small", cores, rounds=few),
            *(1.2, 1.5),
            short=False,
        ),
        Case(f"{large}, array to array", turns(denoising, tiled, cores, megapixels, rounds=few), 1.5, 2.5),
        Case(f"{large}, file to file", lambda: processes(founding_files, megapixels, few)),
        Case(f"{large}, `photo`, file to file", lambda: processes(photo_files, megapixels, few), 1.5, 2, short=False),
        Case("`n2n denoise` of 512x512, whole process", lambda: processes(founding_files, 0.512**2, rounds), 5, 6),
        Case(f"conv 3x3 48->48, 64x64, {on_all}", turns(convolution, plain, cores), 0.8, 1),
        Case(f"conv 3x3 48->48, 64x64, {on_one}", turns(convolution, plain, 1), 0.8, 1),
    ]
    if cores > 1:
        table += [
            Case(f"{on_all} beside one, `photo`", beside_one(megapixel, "photo"), 1.75, 1.9, short=False),
            Case(f"{on_all} beside one, training step", beside_one(step), 1.6, 1.8, short=False),
        ]
    return table


def _growing(effort: Effort) -> list[Case]:
    """Cases of `growth`.

    The peers process large pictures in tiles, and each batch as a whole.
    """
    megapixels, batches = ((1,), (1, 10)) if effort.short else ((1, 4, 12, 50, 100), (1, 10, 100, 1000))
    tiled = ["n2n", *(f"{way}, tiles of {SIDES[0]}" for way in ("channels_last", *runtimes.installed()))]
    whole = ["n2n", "channels_last", *runtimes.installed()]
    few = max(2, effort.rounds // 5)
    cases = []
    for threads in dict.fromkeys((1, available_cores())):
        for size in megapixels:
            by_tiles = {way: (way, threads, size, "photo") for way in tiled}
            work = f"`photo`, {counted(size, 'megapixel')}, {counted(threads, 'thread')}"
            cases.append(Case(work, _in_turn(denoising, by_tiles, 2, warm_up=1, settle=False)))
        for batch in batches:
            by_batch = {way: (way, threads, batch) for way in whole}
            work = f"inference of {counted(batch, 'picture')}, {counted(threads, 'thread')}"
            cases.append(Case(work, _in_turn(inference, by_batch, few if batch == 1000 else effort.rounds)))
    return cases
