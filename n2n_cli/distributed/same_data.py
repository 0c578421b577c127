"""The same pictures for all ranks of a training."""

from __future__ import annotations

import zlib

from n2n_cli.config import Config
from n2n_cli.config.keys import DEAD_LEAVES
from n2n_cli.data.pairs import Dataset
from n2n_cli.data.sources import open_dataset
from n2n_cli.distributed.ranks import Ranks
from n2n_cli.errors import DataError


def opened_together(config: Config, threads: int, ranks: Ranks) -> Dataset:
    """The pairs that a configuration names, the same on all ranks.

    Raises
    ------
    DataError
        When they are not.
    """

    def opened() -> Dataset:
        return open_dataset(config.data, config.network.channels, seed=config.train.seed, threads=threads)

    # One rank of a host makes the built-in pictures and keeps them; the others find them there.
    data = ranks.in_turn(opened) if config.data.source == DEAD_LEAVES else opened()
    if ranks.count > 1:
        ends = [pairs.batch([0, len(pairs) - 1]) for pairs in (data.train, data.validation)]
        found = (len(data.train), len(data.validation), [zlib.crc32(part.tobytes()) for pair in ends for part in pair])
        different = [rank for rank, theirs in enumerate(ranks.gathered(found)) if theirs != found]
        if different:
            raise DataError(
                f"rank {ranks.rank} and rank {different[0]} see other pictures in `{config.data.source}`",
                hint="name a folder that is the same on all hosts",
            )
    return data
