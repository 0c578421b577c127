from __future__ import annotations

import threading
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from n2n_cli.nn import memory
from n2n_cli.nn.functional import Array
from n2n_cli.nn.memory import Pool, empty, empty_like, using
from tests.nn.cases import some_examples


def place(array: Array) -> int:
    return int(array.ctypes.data)


@given(st.lists(st.integers(0, 9), max_size=4).map(tuple), st.sampled_from([np.float32, np.float64, np.bool_]))
@some_examples
def test_an_array_of_the_pool_is_like_any_other(shape: tuple[int, ...], dtype: DTypeLike) -> None:
    for array in (Pool().empty(shape, dtype), empty(shape, dtype)):
        assert array.shape == shape
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        assert array.flags.writeable
    array = Pool().empty(shape, dtype)
    assert place(array) % 64 == 0 or not array.size


def test_an_array_like_another_lies_as_that_does() -> None:
    x_nhwc = np.zeros((2, 4, 5, 3), np.float32)
    for x in (x_nhwc, x_nhwc.transpose(0, 3, 1, 2), x_nhwc[0]):
        like = empty_like(x)
        assert (like.shape, like.dtype, like.strides) == (x.shape, x.dtype, x.strides)
    assert empty_like(x_nhwc[:, ::2]).flags.c_contiguous


def test_memory_is_used_again_when_no_array_holds_it() -> None:
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
def test_a_view_keeps_its_memory(view: object) -> None:
    pool = Pool()
    array = pool.empty((10, 20), np.float32)
    where = place(array)
    kept = view(array)  # type: ignore[operator]
    del array
    assert place(pool.empty((10, 20), np.float32)) != where
    del kept
    assert place(pool.empty((10, 20), np.float32)) == where


def test_arrays_of_nearly_one_size_share_a_block_and_others_do_not() -> None:
    pool = Pool()
    where = place(pool.empty((1000,), np.float32))
    assert place(pool.empty((990,), np.float32)) == where
    other = pool.empty((500,), np.float32)
    assert not where <= place(other) < where + 4000


def test_many_arrays_at_once_do_not_overlap(rng: np.random.Generator) -> None:
    pool = Pool()
    for _ in range(3):
        arrays = [pool.empty((int(size),), np.float64) for size in rng.integers(1, 300, 60)]
        for number, array in enumerate(arrays):
            array.fill(number)
        assert all((array == number).all() for number, array in enumerate(arrays))
        del arrays, array


def test_the_pool_in_use_is_this_thread_s_alone() -> None:
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


def test_the_pool_is_left_when_an_error_is_raised() -> None:
    with pytest.raises(RuntimeError), using(Pool()):
        raise RuntimeError
    assert empty((100,), np.float32).base is None


def test_a_larger_block_serves_where_none_of_the_size_is_free() -> None:
    pool = Pool()
    large = pool.empty((900,), np.uint8)
    place = large.ctypes.data
    del large
    smaller = pool.empty((500,), np.uint8)
    assert smaller.ctypes.data == place
    assert pool.empty((500,), np.uint8).ctypes.data != place
    del smaller
    assert pool.empty((400,), np.uint8).ctypes.data != place, "less than half would waste it"


def test_a_trimmed_pool_keeps_only_what_is_in_use() -> None:
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
