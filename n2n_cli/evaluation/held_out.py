"""Held-out pairs, on which a training is evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice

import numpy as np

from n2n_cli.data.pairs import Pairs
from n2n_cli.distributed.ranks import ALONE, Ranks
from n2n_cli.evaluation.evaluation_set import batch_indices
from n2n_cli.evaluation.metrics import mean_squared_error
from n2n_cli.models.model import Model
from n2n_cli.models.predictor import Predictor
from n2n_cli.nn.functional import Array

_MAX_CACHE = 256_000_000
"""Maximum size of held-out pairs kept in memory, in bytes."""


class HeldOut:
    """Held-out pairs (noisy, clean) on which a training is evaluated in every epoch.

    The errors of the noisy pictures are computed only once.

    Parameters
    ----------
    pairs : Pairs
    ranks : Ranks
        Ranks that share the batches: the first of n ranks takes the batches 0, n, 2n, ...
    max_cache : int
        Maximum size of the pairs to keep in memory, in bytes; a larger set is generated again for each evaluation.
    """

    def __init__(self, pairs: Pairs, ranks: Ranks = ALONE, *, max_cache: int = _MAX_CACHE) -> None:
        self._pairs, self._ranks, self._max_cache = pairs, ranks, max_cache
        self._indices = batch_indices(len(pairs))
        self._cache: list[tuple[Array, Array]] | None = None

    @cached_property
    def noisy_errors(self) -> list[float]:
        """Mean squared errors of all noisy pictures."""
        return self.of_all([_error(*pair) for batch in self._own() for pair in zip(*batch, strict=True)])

    def errors(self, model: Model | Predictor) -> Iterator[float]:
        """Denoise the pictures of this rank; yield their mean squared errors."""
        for noisy, clean in self._own():
            for pair in zip(model.predict(noisy), clean, strict=True):
                yield _error(*pair)

    def of_all(self, errors: list[float]) -> list[float]:
        """Gather the errors of all ranks, in the order of the pictures."""
        parts = [iter(part) for part in self._ranks.gathered(errors)]
        return [
            error
            for i, indices in enumerate(self._indices)
            for error in islice(parts[i % self._ranks.count], len(indices))
        ]

    def _own(self) -> Iterable[tuple[Array, Array]]:
        """Iterate over the batches of this rank, kept in memory if they fit."""
        if self._cache is not None:
            return self._cache
        own = self._indices[self._ranks.rank :: self._ranks.count]
        batches = map(self._pairs.batch, own)
        first = next(batches, None)
        if first is None:
            return ()
        size = sum(part.nbytes for part in first) / len(first[0]) * sum(map(len, own))
        if size <= self._max_cache:
            self._cache = [first, *batches]
            return self._cache
        return map(self._pairs.batch, own)


def _error(picture: Array, target: Array) -> float:
    """Mean squared error over the elements whose target is not NaN."""
    known = ~np.isnan(target)
    return mean_squared_error(picture, target) if known.all() else mean_squared_error(picture[known], target[known])
