"""`from n2n_cli import denoise`: kinds of arrays, and ways to name a model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import n2n_cli
from n2n_cli import Model, denoise
from n2n_cli.denoising.model_choice import Effort
from n2n_cli.denoising.picture import denoise_picture
from n2n_cli.errors import ArgumentError, CheckpointError, ShapeError
from n2n_cli.images import Picture
from n2n_cli.models.choice import bundled_models
from n2n_cli.nn.functional import Array
from tests.cli import workplace
from tests.denoising.test_picture import HALF_GRAY as HALF
from tests.denoising.test_picture import TURNING, mixing

TYPES = ["u1", "u2", ">u2", "f2", "f4", ">f4", "f8"]
SHAPES = [(9, 7), (9, 7, 1), (9, 7, 2), (9, 7, 3), (9, 7, 4)]


def random(dtype: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    values: Array = rng.random(shape)
    return (values * (np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1)).astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_result_keeps_shape_and_type_and_input_is_unchanged(
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


def test_colours_are_denoised_together_and_channels_separately(rng: np.random.Generator) -> None:
    rgb = random("u1", (6, 5, 3), rng)
    np.testing.assert_array_equal(denoise(rgb, TURNING), rgb[..., [1, 2, 0]])
    np.testing.assert_array_equal(denoise(rgb, TURNING, axes="YXS"), rgb[..., [1, 2, 0]])
    for axes, array in (("YXC", rgb), ("YXC", np.dstack([rgb, rgb])), ("CYX", rgb.transpose(2, 0, 1))):
        np.testing.assert_array_equal(denoise(array, TURNING, axes=axes), array)


def test_arrays_of_any_memory_layout_are_denoised(rng: np.random.Generator) -> None:
    array = random("u1", (8, 12, 3), rng)
    for view in (array[::-1, ::2], array.transpose(1, 0, 2), np.asfortranarray(array)):
        np.testing.assert_array_equal(denoise(view, TURNING), view[..., [1, 2, 0]])
    array.flags.writeable = False
    denoise(array, TURNING)[0, 0, 0] = 1


@pytest.mark.parametrize("offset", [-700, 1e9])
@pytest.mark.parametrize("scale", [0.01, 1000])
def test_floats_keep_their_range(offset: float, scale: float, rng: np.random.Generator) -> None:
    array = offset + scale * random("f8", (6, 5), rng)
    np.testing.assert_allclose(denoise(array, mixing([[1]])), array, rtol=0, atol=1e-5 * scale)
    assert denoise(np.full((4, 4), float(offset)), HALF).tolist() == [[offset] * 4] * 4


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        ("TYX", (5, 12, 9)),
        ("YXT", (12, 9, 5)),
        ("ZTYX", (2, 3, 12, 9)),
        ("TYXS", (5, 12, 9, 3)),
        ("CZYX", (2, 5, 9, 8)),
    ],
)
def test_named_axes_split_array_into_pages(axes: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    array = random("u1", shape, rng)
    halved = denoise(array, HALF, axes=axes)
    assert (halved.shape, halved.dtype) == (shape, np.dtype("u1"))
    np.testing.assert_allclose(halved, array / 2, atol=0.51)
    others = "YX" + ("S" if "S" in axes else "")
    pages = np.moveaxis(array, [axes.index(letter) for letter in others], range(-len(others), 0))
    page, result = pages.reshape(-1, *pages.shape[-len(others) :])[0], denoise(array, TURNING, axes=axes)
    found = np.moveaxis(result, [axes.index(letter) for letter in others], range(-len(others), 0))
    np.testing.assert_array_equal(found.reshape(-1, *page.shape)[0], denoise(page, TURNING))


def test_alpha_of_pages_is_copied_unchanged(rng: np.random.Generator) -> None:
    for colours in (2, 4):
        array = random("u1", (3, 9, 8, colours), rng)
        denoised = denoise(array, HALF, axes="TYXS")
        np.testing.assert_array_equal(denoised[..., -1], array[..., -1])
        np.testing.assert_allclose(denoised[..., :-1], array[..., :-1] / 2, atol=0.51)


@pytest.mark.parametrize("frames", [5, 9, 300])
def test_movie_without_axes_is_refused(frames: int) -> None:
    with pytest.raises(ShapeError, match=rf"shape \({frames}, 16, 16\); without `axes` it needs") as caught:
        denoise(np.zeros((frames, 16, 16)), HALF)
    assert 'axes="TYX"' in str(caught.value.hint)


@pytest.mark.parametrize(
    ("axes", "kind", "message"),
    [
        ("TYY", ArgumentError, "`axes` is 'TYY', it must be different letters of \"CTZQYXS\", with Y and X"),
        ("TYW", ArgumentError, "`axes` is 'TYW'"),
        ("TX", ArgumentError, "`axes` is 'TX'"),
        ("", ArgumentError, "`axes` is ''"),
        ("YX", ShapeError, r"of shape \(5, 8, 7\), whose axes cannot be YX"),
        ("SYX", ShapeError, "5 colours are too many"),
    ],
)
def test_axes_that_do_not_fit_the_array_are_refused(axes: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        denoise(np.zeros((5, 8, 7)), HALF, axes=axes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "own"}, r"`method` is 'own', it must be \"self\" or None"),
        ({"pd": 5}, "`pd` is 5, it must be 1 to 4"),
        ({"pd": 0}, "`pd` is 0, it must be 1 to 4"),
        ({"values": "counts"}, "`values` is 'counts', it must be one of auto, display, linear, photons"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, Any], message: str, rng: np.random.Generator) -> None:
    with pytest.raises(ArgumentError, match=message):
        denoise(random("u1", (9, 8), rng), HALF, **options)


def test_pixel_shuffle_splits_each_page(rng: np.random.Generator) -> None:
    array = random("u1", (40, 36), rng)
    np.testing.assert_allclose(denoise(array, HALF, pd=2), array / 2, atol=0.51)


def test_an_array_may_be_learned_from(rng: np.random.Generator) -> None:
    clean = np.broadcast_to(np.linspace(60, 180, 64), (64, 64))
    noisy = np.clip(np.rint(clean + rng.normal(0, 20, clean.shape)), 0, 255).astype(np.uint8)
    found = denoise(noisy, method="self")
    assert (found.shape, found.dtype) == (noisy.shape, noisy.dtype)
    assert np.std(found - clean) < 0.5 * np.std(noisy - clean)


def test_strength_blends_with_the_array(rng: np.random.Generator) -> None:
    array = random("f4", (6, 5), rng)
    np.testing.assert_allclose(denoise(array, HALF, strength=0.5), 0.75 * array, atol=1e-6)
    same = denoise(array, HALF, strength=0)
    np.testing.assert_array_equal(same, array)
    assert not np.shares_memory(same, array)
    with pytest.raises(ArgumentError, match=r"^`strength` is 1.5, it must be from 0"):
        denoise(array, HALF, strength=1.5)


def test_bundled_model_for_the_noise_is_the_default_even_if_there_are_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/a").mkdir(parents=True)
    Path("runs/a/last.pth").touch()
    Path("white").touch()
    array = random("u1", (64, 72, 3), rng)
    named: dict[Effort, str] = {"normal": "white", "fast": "photo"}
    for effort, name in named.items():
        wanted = denoise_picture(Model.from_checkpoint(bundled_models()[name]), Picture(array)).pixels
        np.testing.assert_array_equal(denoise(array, effort=effort), wanted)


def test_model_is_given_by_name_path_or_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.chdir(tmp_path)
    workplace(tmp_path)
    array = random("u1", (20, 24, 3), rng)
    wanted = denoise(array, Model.from_checkpoint("tiny.pth"))
    np.testing.assert_array_equal(denoise(array, "tiny.pth"), wanted)
    np.testing.assert_array_equal(denoise(array, tmp_path / "tiny.pth"), wanted)
    np.testing.assert_array_equal(denoise(array, "photo"), denoise(array, effort="fast"))
    with pytest.raises(CheckpointError, match=r"^there is no checkpoint `none.pth`$"):
        denoise(array, "none.pth")


def test_checkpoint_is_read_again_only_when_size_or_time_has_changed(tmp_path: Path, rng: np.random.Generator) -> None:
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
        (np.zeros(4), ShapeError, r"of shape \(4,\); without `axes` it needs \(H, W\), or \(H, W, S\) with up to 4"),
        (np.zeros((2, 8, 8, 3)), ShapeError, r"of shape \(2, 8, 8, 3\); without `axes` it needs"),
        (np.zeros((0, 8)), ShapeError, r"of shape \(0, 8\); without `axes` it needs"),
        (np.zeros((3, 8, 8)), ShapeError, r"of shape \(3, 8, 8\); without `axes` it needs"),
        (
            np.zeros((8, 8), int),
            ArgumentError,
            r"`array.dtype` is 'int64', it must be integers of 8 to 32 bits, or floats",
        ),
        (np.zeros((8, 8), bool), ArgumentError, r"`array.dtype` is 'bool'"),
        (np.zeros((8, 8), "u8"), ArgumentError, r"`array.dtype` is 'uint64'"),
        (np.zeros((8, 8), complex), ArgumentError, r"`array.dtype` is 'complex128'"),
    ],
)
def test_arrays_of_unsupported_shape_or_type_are_refused(array: Array, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        denoise(array, HALF)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_array_without_finite_values_is_returned_unchanged(dtype: str, value: float) -> None:
    array = np.full((8, 8), value, dtype)
    assert denoise(array, HALF).tobytes() == array.tobytes()


def test_list_of_lists_is_denoised_as_floats() -> None:
    assert denoise([[0.5, 0.25]], HALF).tolist() == [[0.25, 0.125]]


def test_importing_the_package_imports_no_dependencies() -> None:
    program = "import sys, n2n_cli; print([n for n in sys.modules if n in ('numpy', 'PIL', 'typer', 'matplotlib')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert n2n_cli.denoise is denoise


# Frames one by one


@pytest.mark.parametrize(("axes", "shape"), [(None, (9, 7)), (None, (9, 7, 3)), ("CYX", (2, 9, 7)), ("ZYX", (3, 9, 7))])
def test_iterator_of_frames_gives_the_same_as_the_whole_array(
    axes: str | None, shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    movie = random("u2", (6, *shape), rng)
    before = movie.copy()
    whole = denoise(movie, HALF, axes=f"T{axes or 'YXS'[: len(shape)]}")
    frames = denoise(iter(movie), HALF, axes=axes)
    assert np.array_equal(list(frames), whole)
    assert np.array_equal(movie, before)


def test_iterator_of_frames_reads_nine_frames_first_and_then_each_when_needed(rng: np.random.Generator) -> None:
    read = []

    def frames() -> Iterator[Array]:
        for number in range(40):
            read.append(number)
            yield random("u2", (9, 7), rng)

    denoised = denoise(frames(), HALF)
    assert not read
    for number, _ in enumerate(denoised):
        assert len(read) == max(9, number + 1)
    assert len(read) == 40


def test_all_frames_use_the_transform_of_the_first_frames() -> None:
    rng = np.random.default_rng(0)
    clean = np.add.outer(np.arange(64.0), np.arange(64.0))
    movie = [(900 + gain * (clean + rng.normal(0, 4, clean.shape))).astype(np.uint16) for gain in (8, 8, 1)]
    photo = Model.from_checkpoint(bundled_models()["photo"], threads=1)
    found = list(denoise(iter(movie), photo))
    assert np.array_equal(found, denoise(np.stack(movie), photo, axes="TYX"))
    assert not np.array_equal(found[2], denoise(movie[2], photo))


def test_invalid_frame_is_refused_when_it_is_reached(rng: np.random.Generator) -> None:
    frames = denoise(iter([*[random("u2", (9, 7), rng)] * 10, np.zeros(3, np.uint8)]), HALF)
    assert len([next(frames) for _ in range(10)]) == 10
    with pytest.raises(ShapeError, match=r"shape \(3,\)"):
        next(frames)
    assert list(denoise(iter([]), HALF)) == []
    with pytest.raises(ArgumentError):
        denoise(iter([]), HALF, strength=2)
