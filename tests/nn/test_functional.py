from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.nn import functional as F
from n2n_cli.nn.functional import Pair
from tests.nn.cases import ConvCase, conv_cases, pairs, some_examples


def test_unfold_of_a_small_image() -> None:
    x = np.arange(1.0, 13).reshape(1, 1, 3, 4)
    patches = F.unfold(x, (2, 3), (1, 2), (0, 1), (1, 1))  # (1, 2, 2, 1, 2, 3)
    assert patches[0, :, :, 0].tolist() == [
        [[[0, 1, 2], [0, 5, 6]], [[2, 3, 4], [6, 7, 8]]],
        [[[0, 5, 6], [0, 9, 10]], [[6, 7, 8], [10, 11, 12]]],
    ]


@given(conv_cases())
@some_examples
def test_unfold_matches_its_definition(case: ConvCase) -> None:
    """Compare one entry at a time."""
    patches = F.unfold(*case)
    n, c, h, w = case.x.shape
    assert patches.shape == (n, *case.output_size, c, *case.kernel_size)
    for i, j, k, m in np.ndindex(*case.output_size, *case.kernel_size):
        row = i * case.stride[0] - case.padding[0] + k * case.dilation[0]
        column = j * case.stride[1] - case.padding[1] + m * case.dilation[1]
        inside = 0 <= row < h and 0 <= column < w
        wanted = case.x[:, :, row, column] if inside else np.zeros((n, c))
        assert np.array_equal(patches[:, i, j, :, k, m], wanted)


def test_unfold_is_read_only(rng: np.random.Generator) -> None:
    """Patches share memory, so a write to one would change its neighbours."""
    for padding in ((0, 0), (1, 1)):
        patches = F.unfold(rng.normal(size=(2, 3, 5, 7)), (3, 3), (1, 1), padding, (1, 1))
        with pytest.raises(ValueError, match="read-only"):
            patches[0] = 0


@given(conv_cases())
@some_examples
def test_fold_is_the_adjoint_of_unfold(case: ConvCase) -> None:
    patches = F.unfold(*case)
    u = np.random.default_rng(1).normal(size=patches.shape)
    folded = F.fold(u, case.x.shape, case.stride, case.padding, case.dilation)
    assert folded.shape == case.x.shape
    assert np.vdot(folded, case.x) == pytest.approx(np.vdot(u, patches), abs=1e-12 * patches.size)


@given(conv_cases())
@some_examples
def test_conv_output_size_counts_kernel_positions(case: ConvCase) -> None:
    for axis in (0, 1):
        reach = case.dilation[axis] * (case.kernel_size[axis] - 1)
        padded = case.x.shape[2 + axis] + 2 * case.padding[axis]
        starts = [start for start in range(0, padded, case.stride[axis]) if start + reach < padded]
        assert case.output_size[axis] == len(starts)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_conv_output_size_is_not_positive_when_the_kernel_does_not_fit(size: int) -> None:
    assert F.conv_output_size(size, kernel_size=4, stride=3, padding=0, dilation=1) <= 0


def test_upsample_of_a_small_image() -> None:
    x = np.array([[[[1, 2, 3], [4, 5, 6]]]])
    assert F.upsample(x, (1, 2))[0, 0].tolist() == [[1, 1, 2, 2, 3, 3], [4, 4, 5, 5, 6, 6]]
    assert F.upsample(x, (2, 1))[0, 0].tolist() == [[1, 2, 3], [1, 2, 3], [4, 5, 6], [4, 5, 6]]


@given(pairs(1, 4), st.tuples(*(st.integers(1, 4),) * 4))
@some_examples
def test_block_sum_is_the_adjoint_of_upsample(scale_factor: Pair, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=shape)
    y = F.upsample(x, scale_factor)
    assert y.shape == (shape[0], shape[1], shape[2] * scale_factor[0], shape[3] * scale_factor[1])
    u = rng.normal(size=y.shape)
    summed = F.block_sum(u, scale_factor)
    assert summed.shape == x.shape
    assert np.vdot(summed, x) == pytest.approx(np.vdot(u, y), abs=1e-12 * y.size)
