"""Identical training pictures on all ranks."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TypeVar

from n2n_cli.config import Config
from n2n_cli.config.keys import DEAD_LEAVES
from n2n_cli.data.pairs import Dataset
from n2n_cli.data.sources import open_dataset
from n2n_cli.distributed.ranks import Ranks
from n2n_cli.errors import DataError

Opened = TypeVar("Opened")


def opened_together(config: Config, threads: int, ranks: Ranks) -> Dataset:
    """Open the training pairs of a configuration, and compare them between ranks.

    Raises
    ------
    DataError
        If the ranks have different pairs.
    """

    def opened() -> Dataset:
        return open_dataset(config.data, config.network.channels, seed=config.train.seed, threads=threads)

    data = opened_in_turn(config.data.source, opened, ranks)
    if ranks.count > 1:
        ends = [pairs.batch([0, len(pairs) - 1]) for pairs in (data.train, data.validation)]
        found = (len(data.train), len(data.validation), [zlib.crc32(part.tobytes()) for pair in ends for part in pair])
        different = [rank for rank, theirs in enumerate(ranks.gathered(found)) if theirs != found]
        if different:
            raise DataError(
                f"rank {ranks.rank} and rank {different[0]} find different pictures in `{config.data.source}`",
                hint="name a folder that is the same on all hosts",
            )
    return data


def opened_in_turn(source: str, opened: Callable[[], Opened], ranks: Ranks) -> Opened:
    """Open the data of a source on all ranks.

    One rank of a host generates the built-in pictures; the others read them from its cache.
    """
    return ranks.in_turn(opened) if source == DEAD_LEAVES else opened()
