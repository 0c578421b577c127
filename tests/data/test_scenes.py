"""Shots in memory: mismatches, shifts and differences in brightness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from n2n_cli.data import scenes
from n2n_cli.data.alignment import Exposure
from n2n_cli.data.scenes import read_scenes
from n2n_cli.data.shots import Scene, bursts
from n2n_cli.errors import DataError
from n2n_cli.images import Picture, write_pages, write_picture
from n2n_cli.nn.functional import Array
from n2n_cli.values.transform import parse_values
from tests.pictures import colour, error_of, numbered, save
from tests.shots import in_memory, noisy, scene, write_burst, write_bursts

GAMMA = np.array([0.299, 0.587, 0.114], np.float32)


def of_files(*paths: Path) -> list[Scene]:
    return [Scene(paths[0].name, paths, ((0, 1),))]


# Reading


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_shots_keep_their_depth_and_colour(channels: int, dtype: type, tmp_path: Path) -> None:
    clean = scene(20, 24)[..., :channels]
    shots = [noisy(clean, seed=i, dtype=dtype) for i in range(3)]
    write_burst(tmp_path / "a", shots)
    (found,), _ = read_scenes(bursts(tmp_path), smallest=4)
    assert found.size == (20, 24)
    for got, wanted in zip(found.pixels, shots, strict=True):
        np.testing.assert_array_equal(got, wanted)
        assert got.dtype == dtype


def test_crop_has_the_network_s_channels() -> None:
    gray, rgb = (in_memory([shot, shot], [(0, 1)]) for shot in (colour(9, 8, channels=1), colour(9, 8)))
    crop = gray.crop(1, 2, 3, 4, 3)
    assert crop.shape == (4, 4, 3)
    np.testing.assert_array_equal(crop[..., 2], gray.pixels[1][2:6, 3:7, 0] * np.float32(1 / 255))
    luma = rgb.crop(0, 5, 4, 4, 1)
    np.testing.assert_allclose(luma[..., 0], rgb.pixels[0][5:9, 4:8] @ GAMMA / 255, rtol=1e-5)
    assert luma.dtype == crop.dtype == np.float32


def test_crop_with_an_exposure_is_not_clipped() -> None:
    shots = in_memory([colour(8, 8)] * 2, [(0, 1)], [Exposure(), Exposure(2.0, 0.25)])
    np.testing.assert_allclose(shots.crop(1, 0, 0, 8, 3), 2 * shots.crop(0, 0, 0, 8, 3) + 0.25, rtol=1e-6)
    assert shots.crop(1, 0, 0, 8, 3).max() > 1.5


def test_alpha_is_ignored(tmp_path: Path) -> None:
    a = save(tmp_path / "a.png", colour(20, 20, 1, channels=4))
    b = save(tmp_path / "b.png", colour(20, 20, 2))
    (found,), _ = read_scenes(of_files(a, b), smallest=4)
    assert [shot.shape for shot in found.pixels] == [(20, 20, 3)] * 2


# Mismatches


def test_all_mismatches_are_named_at_once(tmp_path: Path) -> None:
    a = write_burst(tmp_path / "a", [colour(20, 24, 0), colour(20, 25, 1), colour(20, 24, 2, channels=1)])
    b = write_burst(tmp_path / "b", [numbered(20, 20), numbered(20, 20).astype(np.uint8), colour(20, 20, channels=1)])
    c = write_burst(tmp_path / "c", [colour(20, 20, 3), colour(20, 20, 4), colour(20, 20, 3)])
    (c / "3.png").write_bytes(b"no picture")
    (c / "4.png").write_bytes((c / "1.png").read_bytes()[:-40])
    Image.fromarray(np.linspace(5, 9, 400, dtype=np.float32).reshape(20, 20)).save(c / "5.tif")
    error = error_of(DataError, lambda: read_scenes(bursts(tmp_path), smallest=4))
    number, *problems = error.message.replace(": ", "; ", 1).split("; ")
    assert number == "8 shots cannot be used"
    for wanted in (
        f"`{a}/1.png` is 25x20, RGB, 8 bits, `{a}/0.png` is 24x20, RGB, 8 bits",
        f"`{a}/2.png` is 24x20, gray, 8 bits, `{a}/0.png` is 24x20, RGB, 8 bits",
        f"`{b}/1.png` is 20x20, gray, 8 bits, `{b}/0.png` is 20x20, gray, 16 bits",
        f"`{b}/2.png` is 20x20, gray, 8 bits, `{b}/0.png` is 20x20, gray, 16 bits",
        f"`{c}/2.png` is a copy of `{c}/0.png`, with the same noise",
    ):
        assert wanted in problems
    assert any(f"`{c}/3.png`" in problem for problem in problems)
    assert any(f"`{c}/4.png`" in problem for problem in problems)


def test_measured_shots_are_scaled_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shots = [rng.uniform(-100, 900, (20, 20)).astype(np.float32) for _ in range(2)]
    for name, values in zip("ab", shots, strict=True):
        Image.fromarray(values).save(tmp_path / f"{name}.tif")
    linear = parse_values("linear:-100~900")
    (found,), _ = read_scenes(of_files(tmp_path / "a.tif", tmp_path / "b.tif"), smallest=4, values=linear)
    for got, wanted in zip(found.pixels, shots, strict=True):
        np.testing.assert_allclose(got[..., 0], (wanted + 100) / 1000, atol=1e-6)


def test_measured_shots_in_a_set_for_display_are_refused(tmp_path: Path) -> None:
    for seed, name in enumerate(("a.tif", "b.tif")):
        values = np.random.default_rng(seed).integers(-9, 900, (20, 20), dtype=np.int32)
        Image.fromarray(values).save(tmp_path / name)
    error = error_of(DataError, lambda: read_scenes(of_files(tmp_path / "a.tif", tmp_path / "b.tif"), smallest=4))
    assert error.message.startswith("2 shots cannot be used: ")
    assert f"`{tmp_path}/a.tif` has int32 values, unlike the display pictures of the set" in error.message


def test_missing_shots_are_named(tmp_path: Path) -> None:
    a = save(tmp_path / "a.png", colour(20, 20))
    error = error_of(DataError, lambda: read_scenes(of_files(a, tmp_path / "b.png"), smallest=4))
    assert f"`{tmp_path}/b.png`" in error.message


def test_small_scenes_are_omitted_with_a_note(tmp_path: Path) -> None:
    for i, side in enumerate((16, 15, 20)):
        write_burst(tmp_path / f"{i}", [colour(side, 30, seed) for seed in (0, 1)])
    found, notes = read_scenes(bursts(tmp_path), smallest=16)
    assert [shots.size[0] for shots in found] == [16, 20]
    assert notes[0] == "1 of 3 scenes are smaller than 16 pixels: left out"
    error = error_of(DataError, lambda: read_scenes(bursts(tmp_path), smallest=21))
    assert error.message.endswith("is as large as 21x21 pixels")


def test_shots_beyond_the_memory_limit_are_cropped_to_the_same_centre(tmp_path: Path) -> None:
    shots = [colour(40, 60, 0), colour(40, 60, 1)]
    write_burst(tmp_path / "a", shots)
    total = 2 * 40 * 60 * 3
    (whole,), notes = read_scenes(bursts(tmp_path), smallest=4, max_bytes=total)
    assert whole.size == (40, 60)
    assert not any("middle" in note for note in notes)
    (found,), notes = read_scenes(bursts(tmp_path), smallest=4, max_bytes=total // 4)
    for got, wanted in zip(found.pixels, shots, strict=True):
        np.testing.assert_array_equal(got, wanted[10:30, 15:45])
        assert got.base is None  # a view would keep the whole shot
    assert "the middle 50% of each side is used" in notes[0]
    (found,), _ = read_scenes(bursts(tmp_path), smallest=36, max_bytes=total // 4)
    assert found.size == (36, 36)


# Shifts and brightness


def shifted(rows: int, columns: int, gain: float = 1.0, offset: float = 0.0, seed: int = 0) -> Array:
    """Shot of 72x80 pixels, shifted against the shot at (0, 0).

    The shot at (0, 0) equals gain * this + offset.
    """
    clean = scene(100, 100)[14 - rows : 86 - rows, 10 - columns : 90 - columns]
    return noisy((clean - offset) / gain, seed=seed)


def test_shift_is_reported_and_corrected(tmp_path: Path) -> None:
    folder = write_burst(tmp_path / "a", [shifted(0, 0), shifted(3, -5, seed=1), shifted(-2, 1, seed=2)])
    (kept,), notes = read_scenes(bursts(tmp_path), smallest=8)
    start = f"2 of 2 shots are shifted against the first of their scene, most of all `{folder}/1.png`: by 3 pixels down"
    assert notes == (f"{start} and -5 right; `--align` corrects it",)
    assert kept.size == (72, 80)
    (cut,), notes = read_scenes(bursts(tmp_path), smallest=8, align=True)
    assert notes == (f"{start} and -5 right; only the area that all shots of a scene show is used",)
    assert cut.size == (67, 74)
    floats = [cut.crop(i, 0, 0, 60, 3) for i in range(3)]
    for other in floats[1:]:
        assert (other - floats[0]).std() * 255 == pytest.approx(10 * 2**0.5, rel=0.05)  # only their noise differs
    assert not any(note.startswith("2 of") for note in read_again(cut, tmp_path / "b"))


def read_again(shots: scenes.Shots, folder: Path) -> tuple[str, ...]:
    """Write the shots of a scene and return the notes of reading them again."""
    write_burst(folder / "a", shots.pixels)
    return read_scenes(bursts(folder), smallest=8)[1]


def test_difference_in_brightness_is_reported_and_corrected(tmp_path: Path) -> None:
    folder = write_burst(tmp_path / "a", [shifted(0, 0), shifted(0, 0, 1.25, -0.0625, seed=1), shifted(0, 0, seed=2)])
    (kept,), (note,) = read_scenes(bursts(tmp_path), smallest=8)
    start = (
        f"1 of 2 shots differ in brightness from the first of their scene, most of all `{folder}/1.png`: first = 1.2"
    )
    assert note.startswith(start)
    assert note.endswith("; `--match-exposure` corrects it")
    assert kept.exposures == [Exposure()] * 3
    (matched,), (note,) = read_scenes(bursts(tmp_path), smallest=8, match_exposure=True)
    assert note.startswith(start)
    assert note.endswith("; all are made as bright as the first")
    assert matched.exposures[0] == matched.exposures[2] == Exposure()
    assert matched.exposures[1].gain == pytest.approx(1.25, rel=0.02)
    assert matched.exposures[1].offset == pytest.approx(-0.0625, abs=0.01)
    first, second = (matched.crop(i, 0, 0, 72, 3) for i in (0, 1))
    assert (second - first).mean() == pytest.approx(0, abs=0.002)
    np.testing.assert_array_equal(matched.pixels[1], kept.pixels[1])  # stored pixels are unchanged


def test_brightness_is_compared_in_the_common_area(tmp_path: Path) -> None:
    write_burst(tmp_path / "a", [shifted(0, 0), shifted(9, -9, seed=1)])
    _, notes = read_scenes(bursts(tmp_path), smallest=8)
    assert not any("differ in brightness" in note for note in notes)


def test_equal_shots_are_reported(tmp_path: Path) -> None:
    write_bursts(tmp_path, scenes=2)
    _, notes = read_scenes(bursts(tmp_path), smallest=8, align=True, match_exposure=True)
    assert notes == ("no shift and no difference in brightness was found between the shots of a scene",)


def test_shift_of_shots_without_structure_is_unknown(tmp_path: Path) -> None:
    write_burst(tmp_path / "a", [noisy(np.full((32, 32, 1), 0.5), seed=i) for i in range(3)])
    _, notes = read_scenes(bursts(tmp_path), smallest=8, align=True)
    assert notes[0] == "the shift of 2 of 2 shots cannot be measured: they have too little structure"


def test_scene_too_small_after_alignment_is_refused(tmp_path: Path) -> None:
    write_burst(tmp_path / "a", [shifted(0, 0), shifted(6, 0, seed=1)])
    assert read_scenes(bursts(tmp_path), smallest=72)[0][0].size == (72, 80)
    error = error_of(DataError, lambda: read_scenes(bursts(tmp_path), smallest=72, align=True))
    assert error.message.endswith("is as large as 72x72 pixels")
    assert error.hint
    assert "no `--align`" in error.hint


def test_single_shots_are_not_compared(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", Picture(colour(20, 20)))
    (found,), notes = read_scenes([Scene("a", (tmp_path / "a.png",))], smallest=8)
    assert (found.size, notes) == ((20, 20), ())


def test_pages_of_a_stack_are_shots(tmp_path: Path) -> None:
    clean = scene(40, 48)
    shots = [noisy(clean, seed=i) for i in range(3)]
    write_pages(tmp_path / "burst.tif", [Picture(shot) for shot in shots])
    ((found,), notes) = read_scenes(bursts(tmp_path / "burst.tif"), smallest=8)
    assert all(np.array_equal(one, other) for one, other in zip(found.pixels, shots, strict=True))
    assert notes == ("no shift and no difference in brightness was found between the shots of a scene",)
    write_pages(tmp_path / "burst.tif", [Picture(shot) for shot in (*shots, shots[1], shots[0][1:])])
    message = error_of(DataError, lambda: read_scenes(bursts(tmp_path / "burst.tif"), smallest=8)).message
    assert message.startswith(f"2 shots cannot be used: `{tmp_path}/burst.tif, page 4` is a copy of")
    assert "page 5 of" in message
