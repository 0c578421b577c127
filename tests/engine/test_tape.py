from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.engine.pool import Pool, empty, using
from n2n_cli.engine.replica import TAPED_PIXELS, TAPES
from n2n_cli.engine.tape import Tape, do
from n2n_cli.errors import ShapeError
from n2n_cli.nn import MSE, Conv2d, Module, NearestUpsampling, ReLU, Sequential, Sigmoid
from n2n_cli.nn.functional import Array
from tests.engine.compiled import Compiled, follow, replica_of
from tests.nn.cases import pairs, some_examples
from tests.nn.founding import founding


def test_calls_run_while_recording_and_again_on_run() -> None:
    a, b = np.array([1.0, 2]), np.array([0.0, 0])
    tape = Tape(Pool())
    with tape.recording():
        do(np.add, a, 1, out=b)
        do(np.multiply, b, b, out=b)
    assert b.tolist() == [4, 9]
    do(np.negative, a, out=b)  # not on the tape
    a[...] = 5, 6
    tape.run()
    assert b.tolist() == [36, 49]
    with tape.recording():
        do(np.add, b, 1, out=b)
    tape.run()
    assert b.tolist() == [37, 50]


def test_tape_reuses_its_memory_and_shares_it_with_nobody() -> None:
    pool, result = Pool(), np.zeros(100)
    tape = Tape(pool)
    with tape.recording():
        places = set()
        for i in range(5):
            step = empty((100,), np.float64)
            places.add(step.ctypes.data)
            do(np.copyto, step, i)
            do(np.multiply, 1, step, out=step)
            do(np.add, result, step, out=result)
            del step
    assert len(places) == 1
    with using(pool):
        others = [empty((100,), np.float64) for _ in range(3)]
    assert not places & {other.ctypes.data for other in others}
    for other in others:
        other.fill(7)
    result[...] = 0
    tape.run()
    assert (result == 0 + 1 + 2 + 3 + 4).all()
    assert all((other == 7).all() for other in others)


def test_views_of_the_pool_are_recorded(rng: np.random.Generator) -> None:
    x, y, z = rng.normal(size=(3, 6, 4))
    pool = Pool()
    tape = Tape(pool)
    with tape.recording():
        whole = empty((6, 4), np.float64)
        do(np.copyto, whole, x)
        assert pool.find(whole) is not None
        do(np.copyto, y.T, whole.T)  # transposed
        do(np.add, y[::-1, 1:], whole[::-1, 1:], out=y[::-1, 1:])  # reversed, from column 1
        do(np.copyto, z.view(np.int64), whole.view(np.int64))  # of another dtype
        del whole
    for _ in range(2):
        assert np.array_equal(y, np.concatenate([x[:, :1], 2 * x[:, 1:]], axis=1))
        assert np.array_equal(z, x)
        x[...] = rng.normal(size=x.shape)
        tape.run()


def test_error_ends_recording() -> None:
    def one_then_wrong() -> None:
        do(np.copyto, a, 1)
        do(np.add, a, np.zeros(4), out=a)

    tape, a = Tape(Pool()), np.zeros(3)
    with pytest.raises(ValueError, match="broadcast"), tape.recording():
        one_then_wrong()
    a.fill(0)
    do(np.add, a, 1, out=a)
    tape.run()
    assert a.tolist() == [1, 1, 1]
    with tape.recording():
        do(np.negative, a, out=a)
    tape.run()
    assert a.tolist() == [1, 1, 1], "calls before the error, and after it, are not on the tape"


def passes(network: Module, batches: list[tuple[Array, Array]], *, taped: bool) -> list[Array]:
    """Outputs and gradients of several batches, one after the other."""
    replica, results = replica_of(network, taped_pixels=TAPED_PIXELS if taped else 0), []
    with using(replica.pool):
        for x, target in batches:
            results.append(replica(x).copy())
            loss = replica.accumulate(x, target, MSE(), 0.5)
            results += [np.array(loss), replica.grads.copy()]
        assert (replica.taped(batches[0][0]) is not None) == taped
    return results


def check(network: Module, shape: tuple[int, ...]) -> None:
    """Check that results on tape equal those without, to the last bit."""
    rng = np.random.default_rng(1)
    dtype = network.param()[0][0].dtype
    batches = [
        (rng.normal(size=shape).astype(dtype), rng.normal(size=network.output_shape(shape)).astype(dtype))
        for _ in range(4)
    ]
    got = passes(network, batches, taped=True)
    wanted = passes(network, batches, taped=False)
    for i, (one, other) in enumerate(zip(got, wanted, strict=True)):
        assert np.array_equal(one, other), i


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_founding_network_gives_the_same_on_tape(dtype: type, rng: np.random.Generator) -> None:
    check(founding(rng, dtype), (3, 3, 24, 32))


@given(
    channels=pairs(1, 12),
    kernel_size=pairs(1, 3),
    stride=pairs(1, 2),
    scale_factor=st.sampled_from([None, (1, 1), (2, 2), (3, 2)]),
    relu=st.booleans(),
    bias=st.booleans(),
    size=pairs(4, 9),
)
@some_examples
def test_random_convolutions_give_the_same_on_tape(
    channels: tuple[int, int],
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    scale_factor: tuple[int, int] | None,
    relu: bool,
    bias: bool,
    size: tuple[int, int],
) -> None:
    rng = np.random.default_rng(2)
    first = Conv2d(3, channels[0], kernel_size, stride, bias=bias, rng=rng)
    last = Conv2d(*channels, 3, padding=1, bias=bias, rng=rng)
    up = [] if scale_factor is None else [NearestUpsampling(scale_factor)]
    network = Sequential(first, *([ReLU()] if relu else []), *up, last, *([ReLU()] if relu else []), Sigmoid())
    check(network, (2, 3, *size))


def test_tape_uses_weights_changed_in_place_or_replaced(rng: np.random.Generator) -> None:
    network = founding(rng)
    replica, x = replica_of(network, training=False), rng.normal(size=(1, 3, 8, 12))
    with using(replica.pool):
        for change in ("none", "in place", "replaced", "of another dtype"):
            if change == "in place":
                network.load_state_dict(founding(np.random.default_rng(7)).state_dict())
            if change == "replaced":
                bias = dict(network.named_parameters())["0.bias"]
                bias.data = bias.data + 1
            if change == "of another dtype":
                for _, parameter in network.named_parameters():
                    parameter.data = parameter.data.astype(np.float32)
            follow(replica, network, training=False)
            for _ in range(3):
                assert np.array_equal(replica(x), Compiled(network)(x))
        assert replica.taped(x) is not None


def test_tape_uses_half_precision_weights(rng: np.random.Generator) -> None:
    network = Sequential(NearestUpsampling(2), Conv2d(3, 4, 3, padding=1, rng=rng, dtype=np.float16))
    replica, x = replica_of(network), rng.normal(size=(1, 3, 4, 5)).astype(np.float16)
    for _ in range(4):
        follow(replica, network)
        assert np.array_equal(replica(x), Compiled(network)(x))
        network.param()[0][0][...] += 1


def test_each_mode_and_dtype_has_its_own_tape(rng: np.random.Generator) -> None:
    network = founding(rng)
    replica, x = replica_of(network), rng.normal(size=(1, 3, 8, 12))
    for training in (False, True, False):
        for dtype in (np.float32, np.float64, np.float16):
            follow(replica, network, training=training)
            for _ in range(3):
                assert np.array_equal(replica(x.astype(dtype)), Compiled(network)(x.astype(dtype)))
            if training:
                assert replica.accumulate(x.astype(dtype), x.astype(dtype), MSE(), 1) > 0


def test_sigmoid_on_tape_does_not_overflow(rng: np.random.Generator) -> None:
    replica, x = replica_of(Sequential(Sigmoid()), training=False), np.full((1, 3, 4, 5), -1e6, np.float32)
    with np.errstate(all="raise", under="ignore"):
        for _ in range(3):
            assert (replica(x) == 0).all()
    assert replica.taped(x) is not None


def test_recording_does_not_change_gradients(rng: np.random.Generator) -> None:
    replica, x = replica_of(Sequential(Conv2d(3, 3, 1, rng=rng))), np.full((1, 3, 4, 5), np.inf, np.float32)
    replica.grads[...] = before = rng.normal(size=replica.grads.shape).astype(np.float32)
    with np.errstate(invalid="ignore"):
        for _ in range(2):
            replica(x)
    assert replica.taped(x) is not None
    assert np.array_equal(replica.grads, before)


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 4, 5, 6), (1, 3, 0, 6)])
def test_wrong_shape_is_refused_each_time(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    replica = replica_of(founding(rng))
    for _ in range(3):
        with pytest.raises(ShapeError, match="layer 0: Conv2d"):
            replica(np.zeros(shape))


def test_empty_batch_gives_empty_output(rng: np.random.Generator) -> None:
    replica = replica_of(founding(rng))
    for _ in range(3):
        assert replica(np.zeros((0, 3, 8, 12))).shape == (0, 3, 8, 12)


def test_user_s_layer_is_not_taped(rng: np.random.Generator) -> None:
    class Twice(Module):
        def forward(self, x: Array) -> Array:
            return 2 * x

        def backward(self, grad_output: Array) -> Array:
            return 2 * grad_output

    network = Sequential(Conv2d(3, 3, 1, rng=rng), Twice())
    replica, x = replica_of(network), rng.normal(size=(1, 3, 4, 5)).astype(np.float32)
    for _ in range(3):
        assert np.array_equal(replica(x), Compiled(network)(x))
        assert replica.taped(x) is None


def test_number_of_tapes_is_limited(rng: np.random.Generator) -> None:
    replica = replica_of(founding(rng, np.float32), training=False)
    with using(replica.pool):
        for size in range(4, 4 * (TAPES + 4), 4):
            for _ in range(2):
                replica(np.zeros((1, 3, size, size), np.float32))
    assert len(replica.tapes) == TAPES


def test_large_images_are_not_taped(rng: np.random.Generator) -> None:
    replica, x = replica_of(founding(rng, np.float32), training=False), np.zeros((1, 3, 160, 160), np.float32)
    for _ in range(3):
        assert replica.taped(x) is None
