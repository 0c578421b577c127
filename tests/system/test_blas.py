"""BLAS library: kernels, rate and threads."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from n2n_cli.nn.functional import Array
from n2n_cli.system import blas
from tests.system.machines import AVX2, AVX512, cpu_info


@pytest.mark.parametrize(
    ("vendor_id", "flags", "wanted"),
    [
        ("AuthenticAMD", AVX512, "SkylakeX"),
        ("AuthenticAMD", AVX512.replace(" avx512dq", ""), None),
        ("AuthenticAMD", AVX2, None),
        ("GenuineIntel", AVX512, None),
        ("", "", None),
    ],
)
def test_openblas_core_type_is_set_only_for_avx_512_on_amd(
    vendor_id: str, flags: str, wanted: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = cpu_info({"vendor_id": vendor_id, "flags": flags}, tmp_path)
    for variables in ({}, {"OPENBLAS_NUM_THREADS": "7", "OPENBLAS_CORETYPE": "Zen"}):
        own = dict(variables)
        monkeypatch.setattr(os, "environ", own)
        blas.prepare_blas(source)
        added = {"OPENBLAS_NUM_THREADS": "1"} | ({"OPENBLAS_CORETYPE": wanted} if wanted else {})
        assert own == (variables or added)


@pytest.mark.parametrize("threads", [1, 3])
def test_rate_is_that_of_the_fastest_trial_on_all_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 4.0, 5.0, 5.0, 7.0, 8.0, 8.0, 11.0, 12.0])  # trials of 4, 2 and 3 seconds
    products: list[tuple[int, ...]] = []
    library = blas.open_blas()

    def product(a: Array, b: Array, *, out: Array) -> None:
        assert library is None or library.threads == 1
        assert out.dtype == a.dtype == b.dtype == np.float32
        products.append((*a.shape, *b.shape, *out.shape))

    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    monkeypatch.setattr(np, "matmul", product)
    assert blas.sgemm_rate(10, 12.0, threads=threads) == threads * 2 * 10**3 / 2
    assert products == [(10,) * 6] * 3 * threads


def test_rate_of_this_machine_is_plausible() -> None:
    assert 1e7 < blas.sgemm_rate(64, 0) < 1e14
    assert 1e7 < blas.sgemm_rate(64, 0.001, threads=2) < 1e14


def test_one_blas_thread_only_inside_the_block() -> None:
    library = blas.open_blas()
    if library is None:
        pytest.skip("NumPy uses another library than OpenBLAS")
    assert library.version.startswith("OpenBLAS ")
    assert library.kernel
    before = library.threads
    library.threads = 2
    try:
        with suppress(RuntimeError), blas.one_blas_thread():
            assert library.threads == 1
            raise RuntimeError
        assert library.threads == 2
    finally:
        library.threads = before


def test_threads_of_another_library_are_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "open_blas", lambda: None)
    with blas.one_blas_thread():
        pass


@pytest.mark.parametrize(("kernel", "wanted"), [("SkylakeX", 1_000_000), ("Haswell", 0), ("Zen", 0)])
def test_avx_512_kernels_do_not_pack_small_products(kernel: str, wanted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        pass

    library = Library()
    library.kernel = kernel  # type: ignore[attr-defined]
    monkeypatch.setattr(blas, "open_blas", lambda: library)
    assert blas.small_product.__wrapped__() == wanted
    monkeypatch.setattr(blas, "open_blas", lambda: None)
    assert blas.small_product.__wrapped__() == 0
