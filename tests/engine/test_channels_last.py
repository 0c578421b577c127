from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from n2n_cli.engine.channels_last import channels_first, channels_last, col2im, im2col, relu_in_place, strided, total
from n2n_cli.engine.products import product, products, products_over_rows
from n2n_cli.nn import functional as F
from tests.nn.cases import ConvCase, conv_cases, some_examples


def test_channels_last_round_trip(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 4, 5))
    x_nhwc = channels_last(x)
    assert x_nhwc.shape == (2, 4, 5, 3)
    assert x_nhwc.flags.c_contiguous
    assert np.array_equal(channels_first(x_nhwc), x)
    assert np.shares_memory(channels_last(channels_first(x_nhwc)), x_nhwc)


@given(conv_cases(), st.booleans())
@some_examples
def test_im2col_equals_unfold_with_taps_before_channels(case: ConvCase, ones: bool) -> None:
    x, kernel_size, stride, padding, dilation = case
    columns = im2col(channels_last(x), kernel_size, stride, padding, case.output_size, dilation, ones=ones)
    wanted = F.unfold(*case).transpose(0, 1, 2, 4, 5, 3)  # (N, H_out, W_out, K_h, K_w, C)
    width = int(np.prod(wanted.shape[3:]))
    assert columns.shape == (int(np.prod(wanted.shape[:3])), width + ones)
    assert np.array_equal(columns[:, :width], wanted.reshape(-1, width))
    assert (columns[:, width:] == 1).all()


def test_im2col_reads_zeros_outside_the_image(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 4, 5, 3))
    for more in ((1, 0), (0, 2), (2, 1)):
        larger = np.pad(x, ((0, 0), (0, more[0]), (0, more[1]), (0, 0)))
        size = (3 + more[0], 4 + more[1])
        columns = im2col(x, (2, 2), (1, 1), (0, 0), size, (1, 1), ones=False)
        assert np.array_equal(columns, im2col(larger, (2, 2), (1, 1), (0, 0), size, (1, 1), ones=False))


def test_im2col_with_rows_first_permutes_columns(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 4, 5, 3))
    columns, by_row = (
        im2col(x, (2, 2), (1, 2), (1, 0), (3, 2), (1, 2), ones=True, rows_first=rows_first)
        for rows_first in (False, True)
    )
    assert np.array_equal(by_row.reshape(3, 2, 2, 13).swapaxes(0, 1), columns.reshape(2, 3, 2, 13))


def test_strided_view_stays_within_its_memory() -> None:
    x = np.arange(12.0).reshape(3, 4)
    assert strided(x, (2, 3), (4, 2)).tolist() == [[0, 2, 4], [4, 6, 8]]
    with pytest.raises(ValueError, match="incompatible"):
        strided(x[:2], (2, 3), (4, 2))


def test_total_equals_sum(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 4, 5))
    assert total(x, axis=1) == pytest.approx(x.sum(axis=1))
    assert total(x, axis=(0, 2, 3)) == pytest.approx(x.sum(axis=(0, 2, 3)))


@given(conv_cases())
@some_examples
def test_col2im_equals_fold(case: ConvCase) -> None:
    x, kernel_size, stride, padding, dilation = case
    n, c, h, w = x.shape
    patches = np.random.default_rng(1).normal(size=(n, *case.output_size, *kernel_size, c))
    got = col2im(patches, (n, h, w, c), stride, padding, dilation)
    wanted = F.fold(np.moveaxis(patches, -1, 3), x.shape, stride, padding, dilation)
    assert got.flags.c_contiguous
    assert channels_first(got) == pytest.approx(wanted, abs=1e-12)


def test_relu_in_place_returns_its_mask() -> None:
    x = np.array([[-1.0, 0, 2], [np.inf, 1e-300, np.nan], [-np.inf, -0.0, -1e-300]])
    above = relu_in_place(x, mask=True)
    assert above is not None
    assert above.tolist() == [[False, False, True], [True, True, False], [False, False, False]]
    assert x[0].tolist() == [0, 0, 2]
    assert x[1, :2].tolist() == [np.inf, 1e-300]
    assert np.isnan(x[1, 2])
    assert x[2].tolist() == [0, 0, 0]
    assert relu_in_place(x, mask=False) is None


@given(st.integers(0, 200), st.integers(1, 9), st.integers(1, 9), st.integers(0, 3000))
@example(33, 2, 4, 128)  # two pieces and one row
@some_examples
def test_product_in_pieces_equals_whole(m: int, k: int, n: int, small: int) -> None:
    rng = np.random.default_rng(m)
    a, b = rng.normal(size=(m, k)), rng.normal(size=(k, n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("n2n_cli.engine.products.small_product", lambda: small)
        for left, right in ((a, b), (np.asfortranarray(a), b), (a, np.asfortranarray(b)), (a[::-1], b)):
            assert product(left, right) == pytest.approx(left @ right, abs=1e-12)


@given(st.integers(1, 3), st.integers(0, 200), st.integers(1, 9), st.integers(1, 9), st.integers(0, 3000))
@example(2, 97, 1, 10, 970)  # exactly one piece
@example(2, 98, 1, 10, 970)  # two pieces
@example(2, 99, 1, 10, 970)  # two pieces and one row
@some_examples
def test_products_in_pieces_equal_whole(j: int, m: int, k: int, n: int, small: int) -> None:
    rng = np.random.default_rng(m)
    a, b, c = (rng.normal(size=shape) for shape in ((j, m, k), (j, k, n), (j, m, n)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("n2n_cli.engine.products.small_product", lambda: small)
        there, over = np.full((j, m, n), np.nan), np.full((j, k, n), np.nan)
        products(a, b, there)
        products_over_rows(a, c, over)
    assert there == pytest.approx(a @ b, abs=1e-12)
    assert over == pytest.approx(a.swapaxes(1, 2) @ c, abs=1e-12)


def test_product_equals_einsum(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    assert product(a, b.T) == pytest.approx(np.einsum("ik,jk->ij", a, b))
    assert product(a.astype(np.float32), b.T.astype(np.float32)).dtype == np.float32
    assert product(a[:0], b.T).shape == (0, 5)
