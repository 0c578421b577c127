from __future__ import annotations

import threading
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from n2n_cli.engine import pool as memory
from n2n_cli.engine.pool import PackedPool, Pool, empty, empty_like, using
from n2n_cli.nn.functional import Array
from tests.nn.cases import some_examples


def place(array: Array) -> int:
    return int(array.ctypes.data)


@given(st.lists(st.integers(0, 9), max_size=4).map(tuple), st.sampled_from([np.float32, np.float64, np.bool_]))
@some_examples
def test_array_of_the_pool_is_an_ordinary_array(shape: tuple[int, ...], dtype: DTypeLike) -> None:
    for array in (Pool().empty(shape, dtype), empty(shape, dtype)):
        assert array.shape == shape
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        assert array.flags.writeable
    array = Pool().empty(shape, dtype)
    assert place(array) % 64 == 0 or not array.size


def test_empty_like_keeps_the_memory_layout() -> None:
    x_nhwc = np.zeros((2, 4, 5, 3), np.float32)
    for x in (x_nhwc, x_nhwc.transpose(0, 3, 1, 2), x_nhwc[0]):
        like = empty_like(x)
        assert (like.shape, like.dtype, like.strides) == (x.shape, x.dtype, x.strides)
    assert empty_like(x_nhwc[:, ::2]).flags.c_contiguous


def test_memory_is_reused_when_no_array_holds_it() -> None:
    pool = Pool()
    first = pool.empty((10, 20), np.float32)
    where = place(first)
    second = pool.empty((10, 20), np.float32)
    assert place(second) != where
    del first
    assert place(pool.empty((20, 10), np.float32)) == where


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[3:, ::2],
        lambda a: a.T,
        lambda a: a.reshape(-1)[5:],
        lambda a: a.view(np.uint8),
        lambda a: a[:, :, None],
    ],
    ids=["slice", "transposed", "flat", "other dtype", "new axis"],
)
def test_view_keeps_its_memory(view: object) -> None:
    pool = Pool()
    array = pool.empty((10, 20), np.float32)
    where = place(array)
    kept = view(array)  # type: ignore[operator]
    del array
    assert place(pool.empty((10, 20), np.float32)) != where
    del kept
    assert place(pool.empty((10, 20), np.float32)) == where


def test_block_is_reused_only_for_nearly_its_size() -> None:
    pool = Pool()
    where = place(pool.empty((1000,), np.float32))
    assert place(pool.empty((990,), np.float32)) == where
    other = pool.empty((500,), np.float32)
    assert not where <= place(other) < where + 4000


def test_arrays_do_not_overlap(rng: np.random.Generator) -> None:
    pool = Pool()
    for _ in range(3):
        arrays = [pool.empty((int(size),), np.float64) for size in rng.integers(1, 300, 60)]
        for number, array in enumerate(arrays):
            array.fill(number)
        assert all((array == number).all() for number, array in enumerate(arrays))
        del arrays, array


def test_pool_in_use_belongs_to_one_thread() -> None:
    outer, inner = Pool(), Pool()
    with using(outer):
        where = place(empty((100,), np.float32))
        with using(inner):
            assert place(empty((100,), np.float32)) != where
        assert place(empty((100,), np.float32)) == where
        seen: list[object] = []
        thread = threading.Thread(target=lambda: seen.append(getattr(memory._local, "pool", None)))
        thread.start()
        thread.join()
        assert seen == [None]
    assert empty((100,), np.float32).base is None


def test_error_ends_the_use_of_the_pool() -> None:
    with pytest.raises(RuntimeError), using(Pool()):
        raise RuntimeError
    assert empty((100,), np.float32).base is None


def test_larger_block_is_reused_up_to_twice_the_size() -> None:
    pool = Pool()
    large = pool.empty((900,), np.uint8)
    place = large.ctypes.data
    del large
    smaller = pool.empty((500,), np.uint8)
    assert smaller.ctypes.data == place
    assert pool.empty((500,), np.uint8).ctypes.data != place
    del smaller
    assert pool.empty((400,), np.uint8).ctypes.data != place, "less than half would waste it"


def test_trim_frees_unused_memory() -> None:
    pool = Pool()
    kept, dropped = pool.empty((3, 5), np.float32), pool.empty((400, 500), np.float32)
    memory_of_dropped = weakref.ref(dropped.base)
    del dropped
    pool.trim()
    assert memory_of_dropped() is None
    assert pool.find(kept) is not None
    first = place(kept)
    del kept
    assert place(pool.empty((3, 5), np.float32)) == first


# Large arrays

LARGE = (700, 500)
"""Shape of a float32 array just above the smallest size that is packed."""


def test_large_arrays_do_not_overlap(rng: np.random.Generator) -> None:
    pool = PackedPool()
    kept: dict[int, Array] = {}
    for number in range(60):
        array = pool.empty((int(rng.integers(100, 900)), 5, 700), rng.choice(["f4", "f8"]))
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert place(array) % 64 == 0
        array.fill(number)
        kept[int(rng.integers(6))] = array
        assert all((other == other[0, 0, 0]).all() for other in kept.values())
    assert len({float(other[0, 0, 0]) for other in kept.values()}) == len(kept)


def test_large_array_reuses_the_place_of_smaller_ones() -> None:
    pool = PackedPool()
    pool.expect(10**7)
    first, second = pool.empty(LARGE, np.float32), pool.empty(LARGE, np.float32)
    where = place(first)
    del first, second
    larger = pool.empty((1400, 500), np.float32)
    assert place(larger) == where
    assert pool.held == larger.nbytes


def test_gap_between_arrays_is_reused() -> None:
    pool = PackedPool()
    pool.expect(10**7)
    below, gap, above = (pool.empty(LARGE, np.float32) for _ in range(3))
    where = place(gap)
    del gap
    assert place(pool.empty((701, 500), np.float32)) > place(above)
    assert place(pool.empty((699, 500), np.float32)) == where
    assert place(below) < where


def test_view_keeps_a_large_block() -> None:
    pool = PackedPool()
    pool.expect(10**7)
    row = pool.empty(LARGE, np.float32)[3:4].reshape(-1).view(np.uint8)
    where = place(row)
    other = pool.empty(LARGE, np.float32)
    assert place(other) != where - 6000
    del row, other
    again = pool.empty(LARGE, np.float32)
    assert place(again) == where - 6000


def test_small_arrays_are_not_packed() -> None:
    pool = PackedPool()
    small = pool.empty((250, 250), np.float32)
    where = place(small)
    del small
    large = pool.empty(LARGE, np.float32)
    assert place(pool.empty((250, 250), np.float32)) == where
    assert pool.find(large) is not None


def test_slabs_merge_without_an_expected_size() -> None:
    pool = PackedPool()
    for _ in range(2):
        arrays = [pool.empty((700, 500 + number), np.float32) for number in range(9)]
        needed = sum(array.nbytes for array in arrays)
        del arrays
        held = pool.held
    assert needed <= held <= needed + 9 * 64, "but for what rounding takes"
    assert len(pool._slabs) == 1


def test_large_block_is_freed_with_its_last_array() -> None:
    pool = PackedPool()
    pool.expect(2 * 10**6)
    kept, dropped = pool.empty(LARGE, np.float32), pool.empty(LARGE, np.float32)
    memory_of_both = [weakref.ref(slab._memory) for slab in pool._slabs]
    row = dropped[3]
    del dropped
    pool.trim()
    assert [memory() is not None for memory in memory_of_both] == [True, True], "a row of it is in use"
    del row
    pool.trim()
    assert [memory() is not None for memory in memory_of_both] == [True, False]
    assert pool.find(kept) is not None
    assert pool.held == kept.nbytes
