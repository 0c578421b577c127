"""`from n2n_cli import denoise`: kinds of arrays, and ways to name a model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import n2n_cli
from n2n_cli import Model, denoise
from n2n_cli.denoising.picture import denoise_picture
from n2n_cli.errors import ArgumentError, CheckpointError, ImageError, ShapeError
from n2n_cli.images import Picture
from n2n_cli.models.choice import bundled_models
from n2n_cli.nn.functional import Array
from tests.cli import workplace
from tests.denoising.test_picture import mixing

HALF = mixing([[0.5]])
TURNING = mixing([[0, 1, 0], [0, 0, 1], [1, 0, 0]])
TYPES = ["u1", "u2", ">u2", "f2", "f4", ">f4", "f8"]
SHAPES = [(9, 7), (9, 7, 1), (9, 7, 2), (9, 7, 3), (9, 7, 4), (9, 7, 5)]


def random(dtype: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    values: Array = rng.random(shape)
    return (values * (np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1)).astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_shape_and_type_come_back_and_the_array_is_left_alone(
    dtype: str, shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    array = random(dtype, shape, rng)
    before = array.copy()
    denoised = denoise(array, HALF)
    assert (denoised.shape, denoised.dtype) == (array.shape, array.dtype)
    np.testing.assert_array_equal(array, before)
    opaque = shape[2:] in ((2,), (4,))
    colours, others = (denoised[..., :-1], array[..., :-1]) if opaque else (denoised, array)
    np.testing.assert_allclose(
        colours.astype(float), others.astype(float) / 2, atol=0.51 if array.dtype.kind == "u" else 1e-3
    )
    if opaque:
        np.testing.assert_array_equal(denoised[..., -1], array[..., -1])


def test_rgb_is_one_picture_and_more_channels_are_one_each(rng: np.random.Generator) -> None:
    rgb = random("u1", (6, 5, 3), rng)
    np.testing.assert_array_equal(denoise(rgb, TURNING), rgb[..., [1, 2, 0]])
    np.testing.assert_array_equal(denoise(np.dstack([rgb, rgb]), TURNING), np.dstack([rgb, rgb]))


def test_any_memory_layout(rng: np.random.Generator) -> None:
    array = random("u1", (8, 12, 3), rng)
    for view in (array[::-1, ::2], array.transpose(1, 0, 2), np.asfortranarray(array)):
        np.testing.assert_array_equal(denoise(view, TURNING), view[..., [1, 2, 0]])
    array.flags.writeable = False
    denoise(array, TURNING)[0, 0, 0] = 1


def test_floats_beyond_0_and_1_are_shown_to_the_network_as_0_to_1(rng: np.random.Generator) -> None:
    shares = random("f8", (6, 5), rng)
    shares[0, :2] = 0, 1
    np.testing.assert_allclose(denoise(1000 * shares - 200, HALF), 500 * shares - 200, atol=1e-3)
    far = 1e9 + shares
    np.testing.assert_allclose(denoise(far, HALF) - 1e9, shares / 2, atol=1e-6)
    assert denoise(np.full((4, 4), 7.5), HALF).tolist() == [[7.5] * 4] * 4


def test_strength(rng: np.random.Generator) -> None:
    array = random("f4", (6, 5), rng)
    np.testing.assert_allclose(denoise(array, HALF, strength=0.5), 0.75 * array, atol=1e-6)
    same = denoise(array, HALF, strength=0)
    np.testing.assert_array_equal(same, array)
    assert not np.shares_memory(same, array)
    with pytest.raises(ArgumentError, match=r"^`strength` is 1.5, it must be from 0"):
        denoise(array, HALF, strength=1.5)


def test_the_bundled_model_is_the_default_even_where_there_are_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/a").mkdir(parents=True)
    Path("runs/a/last.pth").touch()
    Path("photo").touch()
    array = random("u1", (20, 24, 3), rng)
    photo = Model.from_checkpoint(bundled_models()["photo"])
    np.testing.assert_array_equal(denoise(array), denoise_picture(photo, Picture(array)).pixels)


def test_a_name_a_path_and_a_model_mean_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.chdir(tmp_path)
    workplace(tmp_path)
    array = random("u1", (20, 24, 3), rng)
    wanted = denoise(array, Model.from_checkpoint("tiny.pth"))
    np.testing.assert_array_equal(denoise(array, "tiny.pth"), wanted)
    np.testing.assert_array_equal(denoise(array, tmp_path / "tiny.pth"), wanted)
    np.testing.assert_array_equal(denoise(array, "photo"), denoise(array))
    with pytest.raises(CheckpointError, match=r"^there is no checkpoint `none.pth`$"):
        denoise(array, "none.pth")


def test_a_checkpoint_is_read_again_only_when_its_size_or_time_has_changed(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    workplace(tmp_path)
    path, array = tmp_path / "tiny.pth", random("u1", (8, 8, 3), rng)
    first, before = denoise(array, path), path.stat()
    model = Model.from_checkpoint(path)
    for _, weights in model.network.named_parameters():
        weights.data[...] += 1
    path.unlink()
    model.save(path)
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    np.testing.assert_array_equal(denoise(array, path), first)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert (denoise(array, path) != first).any()


@pytest.mark.parametrize(
    ("array", "kind", "message"),
    [
        (np.zeros(4), ShapeError, r"of shape \(4,\), it needs \(H, W\) or \(H, W, C\)"),
        (np.zeros((2, 8, 8, 3)), ShapeError, r"of shape \(2, 8, 8, 3\), it needs"),
        (np.zeros((0, 8)), ShapeError, r"of shape \(0, 8\), it needs"),
        (np.zeros((3, 8, 8)), ShapeError, r"of shape \(3, 8, 8\), whose channels seem to stand first"),
        (np.zeros((8, 8), int), ArgumentError, r"`array.dtype` is 'int64', it must be uint8, uint16 or one of floats"),
        (np.zeros((8, 8), bool), ArgumentError, r"`array.dtype` is 'bool'"),
        (np.zeros((8, 8), "u4"), ArgumentError, r"`array.dtype` is 'uint32'"),
        (np.zeros((8, 8), complex), ArgumentError, r"`array.dtype` is 'complex128'"),
        (np.full((8, 8), np.nan), ImageError, r"the array holds 64 values that are not numbers"),
        (np.full((8, 8), np.inf, "f2"), ImageError, r"the array holds 64 values that are not numbers"),
    ],
)
def test_arrays_that_are_no_picture_are_refused(array: Array, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        denoise(array, HALF)


def test_a_list_of_lists_is_an_array_of_floats() -> None:
    assert denoise([[0.5, 0.25]], HALF).tolist() == [[0.25, 0.125]]  # type: ignore[arg-type]


def test_the_package_loads_nothing_until_it_is_used() -> None:
    program = "import sys, n2n_cli; print([n for n in sys.modules if n in ('numpy', 'PIL', 'typer', 'matplotlib')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert n2n_cli.denoise is denoise
