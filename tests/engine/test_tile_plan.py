"""Choice of tiles for an image."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli import engine
from n2n_cli.config import load_config
from n2n_cli.engine.tile_plan import plan
from n2n_cli.engine.tiles import TILE, Plan, Tile
from n2n_cli.engine.tiling import apply
from n2n_cli.errors import MemoryLimitError
from n2n_cli.models.self_ensemble import SelfEnsemble
from n2n_cli.nn import Conv2d, Module, Residual, Sequential
from n2n_cli.nn.functional import Pair
from tests.engine.compiled import executor_of
from tests.nn.cases import pairs, some_examples
from tests.nn.founding import founding
from tests.nn.unet import unet


def wide_field() -> Module:
    """Single-channel network whose outputs depend on 80 pixels on each side."""
    return Sequential(*(Conv2d(1, 1, 9, padding=4) for _ in range(20)))


def planned(network: Module, size: Pair, *, threads: int = 1, memory: int = 10**9, margin: int = 0) -> Plan:
    channels = 1 if isinstance(network[0], Conv2d) and network[0].in_channels == 1 else 3  # type: ignore[index]
    return plan(engine.compile(network, threads=threads), (1, channels, *size), None, memory, margin)


def tiles(network: Module, size: Pair, *, threads: int = 1, memory: int = 10**9, margin: int = 0) -> list[Tile]:
    return planned(network, size, threads=threads, memory=memory, margin=margin).tiles


@pytest.fixture
def threads_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each thread work on its own tile, at any image size."""
    monkeypatch.setattr("n2n_cli.engine.tile_plan.TAPED_PIXELS", math.inf)


def sides(found: list[Tile]) -> set[Pair]:
    return {(tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start) for tile in found}


def test_small_receptive_field_gives_small_tiles(rng: np.random.Generator) -> None:
    assert sides(tiles(founding(rng), (3 * TILE, 2 * TILE))) == {(TILE, TILE)}
    assert sides(tiles(Sequential(Conv2d(1, 1, 1)), (TILE, 5 * TILE))) == {(TILE, TILE)}


@pytest.mark.usefixtures("threads_apart")
def test_large_receptive_field_gives_one_tile_per_thread() -> None:
    assert sides(tiles(wide_field(), (500, 900))) == {(500, 900)}
    assert sides(tiles(wide_field(), (500, 900), threads=2)) == {(500, 450)}
    assert sides(tiles(wide_field(), (900, 500), threads=2)) == {(450, 500)}
    assert len(tiles(wide_field(), (900, 900), threads=4)) == 4
    assert len(tiles(wide_field(), (40, 30), threads=4)) == 1  # each part would need the whole image


def test_threads_share_a_large_image_when_the_receptive_field_is_large(rng: np.random.Generator) -> None:
    for threads in (1, 2, 8):
        found = planned(wide_field(), (500, 900), threads=threads)
        assert found.together
        assert sides(found.tiles) == {(500, 900)}
    assert not planned(wide_field(), (128, 128)).together
    assert not planned(founding(rng), (500, 900)).together


@some_examples
@given(pairs(1, 3000), st.integers(10**6, 3 * 10**7), st.integers(1, 5), st.integers(0, 40))
def test_tiles_cover_the_image_once_within_the_memory(size: Pair, memory: int, threads: int, margin: int) -> None:
    found = planned(wide_field(), size, memory=memory * threads, threads=threads, margin=margin)
    assert math.prod(size) == sum(
        (tile.rows.stop - tile.rows.start) * (tile.columns.stop - tile.columns.start) for tile in found.tiles
    )
    if found.together:
        assert found.memory <= memory * threads
    else:
        assert max(math.prod(tile.seen_shape) for tile in found.tiles) * 9 * 4 == found.memory <= memory


NETWORKS = {
    "chain": lambda rng: wide_field(),
    "u-net": lambda rng: load_config("unet-small").network.build(rng=rng),
    "nested": lambda rng: Sequential(Residual(Residual(*(Conv2d(3, 3, 9, padding=4, rng=rng) for _ in range(20))))),
    "wide": lambda rng: Sequential(
        *(Conv2d(*channels, 3, padding=1, rng=rng) for channels in ((3, 64), *[(64, 64)] * 12, (64, 3)))
    ),
}


@pytest.mark.parametrize("size", [(400, 500), (16, 3000)])
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_memory_of_threads_together_is_at_most_the_estimate(
    make: Callable[[np.random.Generator], Module], threads: int, size: Pair, rng: np.random.Generator
) -> None:
    network = make(rng)
    shape = 1, 1 if network.param()[0][0].shape[1] == 1 else 3, *size
    check_memory(engine.compile(network, threads=threads), shape)


@pytest.mark.parametrize("size", [(400, 500), (16, 3000)])
@pytest.mark.parametrize("threads", [1, 4])
def test_memory_of_an_ensemble_is_at_most_the_estimate(threads: int, size: Pair, rng: np.random.Generator) -> None:
    network = load_config("unet-small").network.build(rng=rng)
    check_memory(executor_of(SelfEnsemble(engine.kernel_of(network)), network, threads=threads), (1, 3, *size))


def check_memory(executor: engine.Executor, shape: tuple[int, ...]) -> None:
    memory = 700_000_000
    found = plan(executor, shape, None, memory, 0)
    assert found.together
    apply(executor, np.random.default_rng(0).random(shape).astype(np.float32), memory=memory)
    held = sum(pool.held for pool in (executor._replicas[0].pool, *executor._pools))
    assert found.memory / 40 < held <= found.memory <= memory


@some_examples
@given(pairs(1, 700), st.integers(1, 3), st.integers(0, 40))
def test_tiles_of_a_u_net_are_whole_periods(size: Pair, threads: int, margin: int) -> None:
    network = unet(np.random.default_rng(0))
    found = tiles(network, size, memory=3 * 10**7, threads=threads, margin=margin)
    period = network.period(0)
    assert all(edge % period == 0 for tile in found for part in tile[1:] for edge in (part.start, part.stop))
    assert {stop for tile in found for stop in (tile.rows.stop,)} >= {size[0] + -size[0] % period}


def test_too_little_memory_for_any_tile_is_refused(rng: np.random.Generator) -> None:
    network = founding(rng)
    with pytest.raises(MemoryLimitError, match=r"^0 MB are too little .*; at least \d+ MB are needed$") as caught:
        tiles(network, (60, 70), memory=1000)
    needed = caught.value.needed
    assert tiles(network, (60, 70), memory=needed * 10**6)
    x = rng.random((1, 3, 60, 70)).astype(np.float32)
    with pytest.raises(MemoryLimitError):
        apply(engine.compile(network, threads=2), x, memory=needed * 10**6)  # two threads need more
    found = apply(engine.compile(network), x, memory=needed * 10**6)
    assert np.abs(found - apply(engine.compile(network), x, tile=99)).max() < 1e-6
