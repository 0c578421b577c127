"""Progress reports of nested work and of threads."""

from __future__ import annotations

import contextvars
from concurrent.futures import ThreadPoolExecutor

import pytest

from n2n_cli.system.progress import advance, part_of_work, reported_to, unreported


def test_progress_without_a_listener_is_ignored() -> None:
    advance(0.5)


def test_nested_work_counts_as_its_share() -> None:
    heard: list[float] = []
    with reported_to(heard.append):
        with part_of_work(0.5):
            advance(0.5)
            with part_of_work(0.2):
                advance(1)
        with unreported():
            advance(1)
        advance(0.5)
    advance(1)
    assert heard == pytest.approx([0.25, 0.1, 0.5])


def test_threads_report_in_the_context_of_their_work() -> None:
    heard: list[float] = []
    with ThreadPoolExecutor(1) as pool, reported_to(heard.append), part_of_work(0.5):
        pool.submit(contextvars.copy_context().run, advance, 1.0).result()
    assert heard == [0.5]
