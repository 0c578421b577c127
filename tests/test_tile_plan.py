"""Which tiles a picture is cut into."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.errors import MemoryLimitError
from n2n_cli.nn import Conv2d, Module, Sequential
from n2n_cli.nn.functional import Pair
from n2n_cli.nn.parallel import Replicas
from n2n_cli.tile_plan import TILE, Tile, plan
from n2n_cli.tiling import apply
from tests.nn.cases import pairs, some_examples
from tests.nn.founding import founding
from tests.nn.unet import unet


def far_seeing() -> Module:
    """A network of one channel that sees 80 pixels around each; no array is larger than the picture."""
    return Sequential(*(Conv2d(1, 1, 9, padding=4) for _ in range(20)))


def tiles(network: Module, size: Pair, *, threads: int = 1, memory: int = 10**9, margin: int = 0) -> list[Tile]:
    channels = 1 if isinstance(network[0], Conv2d) and network[0].in_channels == 1 else 3  # type: ignore[index]
    return plan(Replicas(network, threads=threads), (1, channels, *size), None, memory, margin).tiles


def sides(found: list[Tile]) -> set[Pair]:
    return {(tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start) for tile in found}


def test_a_network_that_sees_little_around_a_pixel_has_small_tiles(rng: np.random.Generator) -> None:
    assert sides(tiles(founding(rng), (3 * TILE, 2 * TILE))) == {(TILE, TILE)}
    assert sides(tiles(Sequential(Conv2d(1, 1, 1)), (TILE, 5 * TILE))) == {(TILE, TILE)}


def test_a_network_that_sees_far_has_a_tile_for_each_thread_where_the_memory_is_enough() -> None:
    assert sides(tiles(far_seeing(), (500, 900))) == {(500, 900)}
    assert sides(tiles(far_seeing(), (500, 900), threads=2)) == {(500, 450)}
    assert sides(tiles(far_seeing(), (900, 500), threads=2)) == {(450, 500)}
    assert len(tiles(far_seeing(), (900, 900), threads=4)) == 4
    assert len(tiles(far_seeing(), (40, 30), threads=4)) == 1  # every part would see the whole


@some_examples
@given(pairs(1, 3000), st.integers(10**6, 3 * 10**7), st.integers(1, 5), st.integers(0, 40))
def test_tiles_cover_the_picture_once_and_see_no_more_than_the_memory_holds(
    size: Pair, memory: int, threads: int, margin: int
) -> None:
    found = tiles(far_seeing(), size, memory=memory * threads, threads=threads, margin=margin)
    assert sum((tile.rows.stop - tile.rows.start) * (tile.columns.stop - tile.columns.start) for tile in found) == (
        math.prod(size)
    )
    assert max(math.prod(tile.seen_shape) for tile in found) * 9 * 4 <= memory


@some_examples
@given(pairs(1, 700), st.integers(1, 3), st.integers(0, 40))
def test_tiles_of_a_u_net_are_whole_periods(size: Pair, threads: int, margin: int) -> None:
    network = unet(np.random.default_rng(0))
    found = tiles(network, size, memory=3 * 10**7, threads=threads, margin=margin)
    period = network.period(0)
    assert all(edge % period == 0 for tile in found for part in tile[1:] for edge in (part.start, part.stop))
    assert {stop for tile in found for stop in (tile.rows.stop,)} >= {size[0] + -size[0] % period}


def test_too_little_memory_for_any_tile(rng: np.random.Generator) -> None:
    network = founding(rng)
    with pytest.raises(MemoryLimitError, match=r"^0 MB are too little .*; it takes \d+ MB at least$") as caught:
        tiles(network, (60, 70), memory=1000)
    needed = caught.value.needed
    assert tiles(network, (60, 70), memory=needed * 10**6)
    x = rng.random((1, 3, 60, 70)).astype(np.float32)
    with pytest.raises(MemoryLimitError):
        apply(Replicas(network, threads=2), x, memory=needed * 10**6)  # of two threads
    assert (
        np.abs(apply(Replicas(network), x, memory=needed * 10**6) - apply(Replicas(network), x, tile=99)).max() < 1e-6
    )
