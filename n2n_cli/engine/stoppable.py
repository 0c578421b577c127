"""Replicas whose work can be stopped between its parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from n2n_cli.engine.pool import Pool
from n2n_cli.engine.replicas import Item, Replicas, Result


class StoppableReplicas(Replicas):
    """Replicas that can be stopped between one part of its work and the next.

    Attributes
    ----------
    between : function
        Called before each part, by the thread that does it. What it raises ends the work.
    """

    between: Callable[[], None] = staticmethod(lambda: None)

    def _share(self, workers: Sequence[tuple[Pool, Callable[[Item], Result]]], items: Sequence[Item]) -> list[Result]:
        between = self.between

        def one(task: Callable[[Item], Result], item: Item) -> Result:
            between()
            return task(item)

        return super()._share([(pool, partial(one, task)) for pool, task in workers], items)
