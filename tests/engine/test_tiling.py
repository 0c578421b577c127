"""Tiled application of networks to images of any size."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from n2n_cli import engine
from n2n_cli.engine import tiling
from n2n_cli.engine.tile_plan import plan
from n2n_cli.engine.tiles import TILE
from n2n_cli.engine.tiling import apply
from n2n_cli.errors import ShapeError
from n2n_cli.nn import Conv2d, Module, NearestUpsampling, ReLU, Sequential, Sigmoid
from n2n_cli.nn.functional import Array, Pair
from n2n_cli.system.progress import reported_to
from tests.engine.compiled import Compiled
from tests.nn.cases import geometries, pairs, some_examples
from tests.nn.founding import founding
from tests.nn.unet import unet

TOLERANCES: dict[DTypeLike, float] = {np.float32: 1e-6, np.float64: 1e-12}
both_dtypes = pytest.mark.parametrize("dtype", list(TOLERANCES))


def conv(kernel_size: Pair, stride: Pair = (1, 1), padding: Pair = (0, 0)) -> Conv2d:
    return Conv2d(1, 1, kernel_size, stride, padding, rng=np.random.default_rng(1), dtype=np.float64)


@st.composite
def size_keeping(draw: st.DrawFn) -> Sequential:
    """Draw random layers, followed by layers that restore the image's size.

    The size is restored for images of enough whole periods.
    """
    layers = draw(geometries())
    step = layers.step(0), layers.step(1)
    enlarge = NearestUpsampling((step[0].numerator, step[1].numerator))
    shrink = conv(draw(pairs(1, 3)), (step[0].denominator, step[1].denominator), draw(pairs(0, 1)))
    network = Sequential(layers, enlarge, shrink)
    size = 20 * network.period(0), 20 * network.period(1)
    out = network.output_shape((1, 1, *size))[2:]
    excess = out[0] - size[0], out[1] - size[1]
    padding = max(0, -(excess[0] // 2)), max(0, -(excess[1] // 2))
    last = conv((excess[0] + 2 * padding[0] + 1, excess[1] + 2 * padding[1] + 1), padding=padding)
    return Sequential(layers, enlarge, shrink, last)


def averaging(network: Sequential, dtype: DTypeLike) -> Sequential:
    """Change the dtype and make every layer a weighted mean without a bias."""
    for name, parameter in network.named_parameters():
        data = abs(parameter.data) / abs(parameter.data).sum() if name.endswith("weight") else 0 * parameter.data
        parameter.data, parameter.grad = data.astype(dtype), np.zeros(data.shape, dtype)
    network.eval()
    return network


def assert_seamless(network: Module, x: Array, tile: int) -> None:
    """Check that tiles give the result of one call on the whole image.

    The image is mirrored to whole periods.
    """
    whole, tiled = apply(engine.compile(network), x, tile=10**6), apply(engine.compile(network), x, tile=tile)
    assert tiled.shape == whole.shape == x.shape
    assert tiled.dtype == whole.dtype == x.dtype
    assert np.abs(tiled - whole).max() <= TOLERANCES[x.dtype.type]


@some_examples
@given(size_keeping(), pairs(1, 24), st.integers(1, 30), st.sampled_from(list(TOLERANCES)))
def test_tiles_are_seamless_for_random_geometries(network: Sequential, size: Pair, tile: int, dtype: DTypeLike) -> None:
    x = np.random.default_rng(0).uniform(0.5, 1, size=(1, 1, *size)).astype(dtype)
    assert_seamless(averaging(network, dtype), x, tile)


@pytest.mark.parametrize("tile", [1, 2, 5, 7])
def test_tiles_are_seamless_where_outputs_depend_on_padding(tile: int) -> None:
    network = Sequential(conv((5, 1)), conv((1, 5)), conv((1, 1), padding=(2, 2)))
    assert_seamless(averaging(network, np.float64), np.random.default_rng(0).uniform(size=(1, 1, 9, 8)), tile)


@both_dtypes
@pytest.mark.parametrize("tile", [1, 8, 11, 28])
@pytest.mark.parametrize("size", [(28, 20), (27, 21), (1, 1), (1, 29), (30, 1)])
def test_tiles_are_seamless_for_the_founding_network(
    size: Pair, tile: int, dtype: DTypeLike, rng: np.random.Generator
) -> None:
    network = founding(rng, dtype)
    network.eval()
    assert_seamless(network, rng.uniform(size=(2, 3, *size)).astype(dtype), tile)


def test_image_of_whole_periods_is_not_padded(rng: np.random.Generator) -> None:
    network, x = founding(rng, np.float32), rng.uniform(size=(2, 3, 8, 12)).astype(np.float32)
    np.testing.assert_array_equal(apply(engine.compile(network), x[:1]), Compiled(network)(x[:1]))
    np.testing.assert_allclose(apply(engine.compile(network), x, tile=4), network(x), atol=1e-6)


def test_image_is_mirrored_to_whole_periods_at_bottom_and_right(rng: np.random.Generator) -> None:
    network, x = founding(rng), rng.uniform(size=(1, 3, 7, 9))
    network.eval()
    mirrored = np.concatenate([x, x[:, :, :-2:-1]], axis=2)
    mirrored = np.concatenate([mirrored, mirrored[:, :, :, :-4:-1]], axis=3)
    assert mirrored.shape == (1, 3, 8, 12)
    np.testing.assert_array_equal(apply(engine.compile(network), x), network(mirrored)[:, :, :7, :9])


@some_examples
@given(pairs(1, 24), st.integers(1, 30), st.integers(1, 50))
def test_margin_mirrors_all_sides(size: Pair, tile: int, margin: int) -> None:
    rng = np.random.default_rng(0)
    network, x = founding(rng, np.float64), rng.uniform(size=(1, 3, *size))
    network.eval()
    wide = margin + -margin % 4
    after = [wide + -side % 4 for side in size]
    padded = np.pad(x, ((0, 0), (0, 0), (wide, after[0]), (wide, after[1])), mode="symmetric")
    wanted = network(padded)[:, :, wide : wide + size[0], wide : wide + size[1]]
    np.testing.assert_allclose(apply(engine.compile(network), x, tile=tile, margin=margin), wanted, atol=1e-12)


class Spy(Module):
    """Identity that records input sizes; needs multiples of 4 rows and 3 columns."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Pair] = []

    def __deepcopy__(self, memo: object) -> Spy:
        return self  # the executor's copies record to one list

    def forward(self, x: Array) -> Array:
        self.seen.append((x.shape[2], x.shape[3]))
        return x

    def period(self, axis: int) -> int:
        return (4, 3)[axis]

    def input_span(self, start: int, stop: int, axis: int) -> Pair:
        return (start - 1, stop) if axis == 0 else (start, stop + 1)


def test_tile_reads_whole_periods_around_it_and_no_more() -> None:
    spy, x = Spy(), np.arange(16.0 * 12).reshape(1, 1, 16, 12)
    np.testing.assert_array_equal(apply(engine.compile(spy), x, tile=6), x)
    # Tiles of 8x6 pixels; each needs the row above and the column to the right, where there is one.
    assert spy.seen == [(8, 9), (8, 6), (12, 9), (12, 6)]


def test_image_of_tile_size_is_not_cut() -> None:
    spy = Spy()
    apply(engine.compile(spy), np.zeros((1, 1, TILE - 4, TILE - 1)))
    apply(engine.compile(spy), np.zeros((1, 1, TILE + 5, 3)))
    apply(engine.compile(spy), np.zeros((1, 1, 4, TILE + 5)))
    assert TILE == 128  # rounded up to 132: whole periods of both axes
    assert spy.seen == [(124, 129), (132, 3), (8, 3), (4, 135), (4, 3)]


@pytest.mark.parametrize("kernel_size", [(5, 3), (2, 9)])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (1, 9), (7, 8)])
def test_image_smaller_than_the_first_kernel_is_mirrored(size: Pair, kernel_size: Pair) -> None:
    padding = kernel_size[0] - 1, kernel_size[1] - 1
    network = averaging(Sequential(conv(kernel_size), conv(kernel_size, padding=padding)), np.float64)
    x = np.full((1, 1, *size), 0.5)
    y = apply(engine.compile(network), x)
    assert y.shape == x.shape
    assert 0 < y.min() <= y.max() <= 0.5 + 1e-12


def test_empty_batch_or_image_gives_empty_output(rng: np.random.Generator) -> None:
    network = founding(rng, np.float32)
    for shape in ((0, 3, 5, 7), (2, 3, 0, 7), (2, 3, 5, 0)):
        assert apply(engine.compile(network), np.zeros(shape, np.float32)).shape == shape


def test_input_is_not_changed(rng: np.random.Generator) -> None:
    network, x = Sequential(ReLU()), rng.normal(size=(1, 1, 9, 9))
    before = x.copy()
    for tile in (4, 16):
        assert not np.shares_memory(apply(engine.compile(network), x, tile=tile), x)
        np.testing.assert_array_equal(x, before)


def test_tiles_of_a_large_image_are_seamless_and_free_their_memory(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, x = founding(rng, np.float64), rng.uniform(size=(1, 3, 170, 190))
    network.eval()
    whole = network(x[:, :, :168, :188])
    monkeypatch.setattr(tiling, "LARGE", 100)
    executor = engine.compile(network, threads=2)
    tiled = apply(executor, x[:, :, :168, :188], tile=160)  # too large to be taped
    np.testing.assert_allclose(tiled, whole, atol=1e-12)
    assert executor._replicas
    assert not any(replica.pool.held for replica in executor._replicas)


def test_margin_needs_no_copy_of_the_image() -> None:
    network = Sequential(Conv2d(3, 3, 3, padding=1)).eval()
    picture = np.zeros((900, 1000, 3), np.float32)  # channels last, as read from files
    out = np.empty_like(picture)
    apply(engine.compile(network), np.moveaxis(picture[:64, :64], -1, 0)[None], margin=8)  # allocate once-only memory
    x, y = (np.moveaxis(array, -1, 0)[None] for array in (picture, out))
    tracemalloc.start()
    try:
        apply(engine.compile(network), x, out=y, tile=64, margin=8)
        assert tracemalloc.get_traced_memory()[1] < picture.nbytes / 4
    finally:
        tracemalloc.stop()


def test_tiles_of_integer_pixels_are_seamless(rng: np.random.Generator) -> None:
    network, x = founding(rng, np.float32), rng.integers(0, 2, size=(1, 3, 9, 9))
    network.eval()
    whole = apply(engine.compile(network), x)
    assert whole.std() > 0
    np.testing.assert_allclose(apply(engine.compile(network), x, tile=4), whole, atol=1e-6)


@pytest.mark.parametrize("tile", [4, TILE])
@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Sequential(Conv2d(3, 2, 1), Sigmoid()), r"\(3, 9, 8\) to \(2, 9, 8\)"),
        (Sequential(Conv2d(3, 3, 3)), r"\(3, 9, 8\) to \(3, 7, 6\)"),
    ],
    ids=["channels", "size"],
)
def test_network_that_changes_the_shape_is_refused(network: Sequential, message: str, tile: int) -> None:
    with pytest.raises(ShapeError, match=f"^the network maps pictures of shape {message}; a denoiser has to keep"):
        apply(engine.compile(network), np.zeros((1, 3, 9, 8), np.float32), tile=tile)


def test_wrong_number_of_channels_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ShapeError, match=r"^layer 0: Conv2d\(3, 48, .*\(1, 2, 8, 8\), it needs \(N, 3, H, W\)$"):
        apply(engine.compile(founding(rng, np.float32)), np.zeros((1, 2, 8, 8), np.float32))


# Tile memory


def test_memory_of_a_tile_is_at_most_the_estimate(rng: np.random.Generator) -> None:
    network = founding(rng)
    executor, memory = engine.compile(network), 10_000_000
    apply(executor, rng.random((1, 3, 400, 500)).astype(np.float32), memory=memory)
    (replica,) = executor._replicas
    assert memory / 10 < replica.pool.held <= replica.pool._expected <= memory


def test_tiling_works_without_free_memory(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("n2n_cli.engine.tile_plan.available_memory", lambda: 0)
    x = rng.random((1, 3, 30, 20)).astype(np.float32)
    assert apply(engine.compile(founding(rng), threads=2), x).shape == x.shape


# Threads on one image


@pytest.mark.parametrize("memory", [None, 3 * 10**6])
@pytest.mark.parametrize("threads", [1, 2])
def test_threads_on_one_image_are_seamless_and_report_progress(
    threads: int, memory: int | None, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("n2n_cli.engine.tile_plan.TAPED_PIXELS", 0)
    network, x = unet(rng, np.float32), rng.uniform(size=(1, 3, 150, 90)).astype(np.float32)
    executor = engine.compile(network, threads=threads)
    reported: list[float] = []
    assert plan(executor, x.shape, None, memory, 0).together
    with reported_to(reported.append):
        y = apply(executor, x, memory=memory)
    assert y == pytest.approx(apply(engine.compile(network), x, tile=10**6), abs=1e-5)
    assert len(reported) > 20
    assert min(reported) > 0
    assert sum(reported) == pytest.approx(1)


@pytest.mark.parametrize("tile", [None, 8])
def test_tiles_report_progress(tile: int | None, rng: np.random.Generator) -> None:
    reported: list[float] = []
    with reported_to(reported.append):
        apply(engine.compile(founding(rng)), rng.uniform(size=(2, 3, 20, 30)), tile=tile)
    assert len(reported) == (2 if tile is None else 2 * 3 * 4)
    assert sum(reported) == pytest.approx(1)
