"""Movies denoised by a network of several frames.

Neighbouring frames, ends, files, folders and arrays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli import denoise
from n2n_cli.config import Config
from n2n_cli.denoising.in_time import times_around
from n2n_cli.denoising.picture_files import denoise_files
from n2n_cli.denoising.tasks import DenoiseOptions, DenoiseTask, Outcome
from n2n_cli.errors import ArgumentError
from n2n_cli.images import Picture, read_pages, write_picture
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array
from tests.movies import write_movie

OLDER, OWN, NEWER = 0.25, 0.5, 0.125


def mixing_frames(colours: int = 1, own: float = OWN) -> Model:
    """Model whose middle output frame is a weighted sum of the three input frames."""
    channels = 3 * colours
    layer = {"type": "Conv2d", "in_channels": channels, "out_channels": channels, "kernel_size": 1, "bias": False}
    tables: dict[str, Any] = {"network": {"channels": channels, "layers": [layer]}, "data": {"frames": 3}}
    model = Model.from_config(Config.from_tables(tables, "test"), threads=1)
    (weight,) = (parameter for parameter, _ in model.network.param())
    weight[...] = 0
    for c in range(colours):
        for k, share in enumerate((OLDER, own, NEWER)):
            weight[colours + c, k * colours + c] = share
    return model


def frames(count: int, *shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(40, 200, (count, *(shape or (20, 24))), dtype=np.uint8)


def mixed(movie: Array) -> Array:
    """Frames of a movie as `mixing_frames` denoises them, with mirrored ends."""
    x = movie.astype(float)
    before, after = np.concatenate([x[1:2], x[:-1]]), np.concatenate([x[1:], x[-2:-1]])
    return OLDER * before + OWN * x + NEWER * after


def files(model: Model, *tasks: tuple[Path, Path]) -> list[Outcome]:
    done = list(denoise_files(model, [DenoiseTask(*task) for task in tasks], DenoiseOptions(values="display")))
    for outcome in done:
        assert outcome.error is None, outcome.error
    return done


def pages(path: Path) -> Array:
    return np.stack([page.pixels[..., 0] for page in read_pages(path)])


@pytest.mark.parametrize(
    ("number", "length", "count", "wanted"),
    [
        (0, 5, 3, [1, 0, 1]),
        (4, 5, 3, [3, 4, 3]),
        (1, 5, 5, [1, 0, 1, 2, 3]),
        (0, 2, 5, [0, 1, 0, 1, 0]),
        (0, 1, 3, [0, 0, 0]),
        (2, 9, 1, [2]),
    ],
)
def test_frame_numbers_are_mirrored_at_the_ends(number: int, length: int, count: int, wanted: list[int]) -> None:
    assert times_around(number, length, count) == wanted


def test_pages_of_a_file_are_frames(tmp_path: Path) -> None:
    movie = frames(6)
    write_movie(tmp_path / "m.tif", movie)
    files(mixing_frames(), (tmp_path / "m.tif", tmp_path / "o.tif"))
    np.testing.assert_allclose(pages(tmp_path / "o.tif"), mixed(movie), atol=0.51)


def test_each_depth_of_a_hyperstack_is_a_movie(tmp_path: Path) -> None:
    movie = frames(8 * 3)
    description = "ImageJ=1.53\nimages=24\nchannels=1\nslices=3\nframes=8\nhyperstack=true\n"
    write_movie(tmp_path / "m.tif", movie, description)
    files(mixing_frames(), (tmp_path / "m.tif", tmp_path / "o.tif"))
    found = pages(tmp_path / "o.tif")
    for depth in range(3):
        np.testing.assert_allclose(found[depth::3], mixed(movie[depth::3]), atol=0.51)


def test_single_page_files_of_a_folder_are_frames(tmp_path: Path) -> None:
    movie = frames(11)
    tasks = []
    (tmp_path / "in").mkdir()
    for i, frame in enumerate(movie):
        write_picture(tmp_path / "in" / f"f{i}.png", Picture(frame[..., None]))
        tasks.append((tmp_path / "in" / f"f{i}.png", tmp_path / f"o{i}.png"))
    files(mixing_frames(), *tasks)
    found = np.stack([pages(target)[0] for _, target in tasks])
    np.testing.assert_allclose(found, mixed(movie), atol=0.51)


def test_frames_of_a_folder_share_a_transform_for_models_of_several_frames(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    scene = 20 + 180 * np.outer(np.hanning(64), np.hanning(72)) ** 2
    tasks = []
    (tmp_path / "in").mkdir()
    for i, brightness in enumerate((1.0, 0.8, 0.6, 0.4)):
        frame = rng.poisson(brightness * scene).astype(np.uint16)
        write_picture(tmp_path / "in" / f"f{i}.tif", Picture(frame[..., None]))
        tasks.append(DenoiseTask(tmp_path / "in" / f"f{i}.tif", tmp_path / f"o{i}.tif"))
    one, *others = (outcome.notes for outcome in denoise_files(mixing_frames(), tasks, DenoiseOptions()))
    assert one[0].startswith("values: 16 bit")
    assert all(notes == one for notes in others)
    backwards = [outcome.notes for outcome in denoise_files(mixing_frames(), tasks[:1:-1], DenoiseOptions())]
    assert all(notes == one for notes in backwards)


def test_each_depth_of_an_array_is_a_movie() -> None:
    movie = frames(5, 2, 20, 24)  # time, depth
    found = denoise(movie, mixing_frames(), axes="TZYX", values="display")
    for depth in range(2):
        np.testing.assert_allclose(found[:, depth], mixed(movie[:, depth]), atol=0.51)


@pytest.mark.parametrize("colours", [1, 3])
def test_colour_frames_are_denoised(colours: int) -> None:
    movie = frames(5, 20, 24, 3)
    found = denoise(movie, mixing_frames(colours), axes="TYXS", values="display")
    np.testing.assert_allclose(found, mixed(movie), atol=0.51)


def test_gray_frames_are_denoised_by_colour_network() -> None:
    movie = frames(5)
    np.testing.assert_allclose(denoise(movie, mixing_frames(3), axes="TYX", values="display"), mixed(movie), atol=0.51)


def test_movie_of_measured_values_keeps_missing_values() -> None:
    movie = frames(8).astype(np.float32) * 30
    movie[3, 4, 5] = np.nan
    found = denoise(movie, mixing_frames(own=0.625), axes="TYX", values="linear")
    assert np.isnan(found[3, 4, 5])
    assert np.isfinite(found).sum() == movie.size - 1


def test_single_picture_is_refused_by_movie_network(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", Picture(frames(1)[0][..., None]))
    task = DenoiseTask(tmp_path / "a.png", tmp_path / "b.png")
    (outcome,) = denoise_files(mixing_frames(), [task], DenoiseOptions())
    assert outcome.status == "failed"
    assert "takes 3 frames of a movie" in str(outcome.error)
    with pytest.raises(ArgumentError, match="axes with T"):
        denoise(frames(1)[0], mixing_frames())
