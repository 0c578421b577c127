"""Pairs of noisy photographs and their ground truth."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from n2n_cli.config import Config
from n2n_cli.errors import DataError, ImageError, UsageError
from n2n_cli.evaluation.evaluation_set import EvaluationBatch, open_evaluation_set
from n2n_cli.images import Picture, write_picture
from n2n_cli.nn.functional import Array
from tests.images.pictures import exif_of


def config(channels: int = 3) -> Config:
    layers = [{"type": "Conv2d", "in_channels": channels, "out_channels": channels, "kernel_size": 1}]
    return Config.from_tables({"network": {"channels": channels, "layers": layers}, "data": {"size": 8}}, "test")


def put(folder: Path, **pictures: Array) -> str:
    folder.mkdir(exist_ok=True)
    for name, pixels in pictures.items():
        write_picture(folder / f"{name}.png", Picture(pixels))
    return str(folder)


def pixels(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8)


def pairs(noisy: str, clean: str, channels: int = 3) -> list[EvaluationBatch]:
    return list(open_evaluation_set(config(channels), noisy, clean).batches)


def test_pictures_of_the_same_name_are_a_pair(tmp_path: Path) -> None:
    noisy = {"b": pixels(0, 5, 7, 3), "a": pixels(1, 4, 6, 3)}
    clean = {"a": pixels(2, 4, 6, 3), "b": pixels(3, 5, 7, 3)}
    found = pairs(put(tmp_path / "noisy", **noisy), put(tmp_path / "clean", **clean))
    assert [batch.names for batch in found] == [("a.png",), ("b.png",)]
    for batch, name in zip(found, "ab", strict=True):
        for stored, read in ((noisy[name], batch.noisy), (clean[name], batch.clean)):
            assert read.dtype == np.float32
            assert np.array_equal(np.rint(read * 255), np.moveaxis(stored, -1, 0)[None])


def test_depths_and_channels_may_differ(tmp_path: Path) -> None:
    noisy = put(tmp_path / "noisy", a=np.full((4, 6, 1), 51, np.uint8))
    clean = put(tmp_path / "clean", a=np.full((4, 6, 3), 51 * 257, np.uint16))
    for channels in (1, 3):
        (batch,) = pairs(noisy, clean, channels)
        assert batch.noisy.shape == batch.clean.shape == (1, channels, 4, 6)
        assert batch.noisy == pytest.approx(0.2)
        assert batch.clean == pytest.approx(0.2, abs=1e-4)


def test_all_mismatches_are_reported_before_any_work(tmp_path: Path) -> None:
    noisy = put(tmp_path / "noisy", a=pixels(0, 4, 6, 3), b=pixels(0, 4, 6, 3), c=pixels(0, 4, 6, 3))
    clean = put(tmp_path / "clean", b=pixels(0, 5, 7, 3), c=pixels(0, 4, 6, 3), d=pixels(0, 4, 6, 3))
    (tmp_path / "clean" / "c.png").write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        open_evaluation_set(config(), noisy, clean)
    assert caught.value.message.startswith(
        f"`{noisy}` and `{clean}` do not hold the same pictures: `a.png` has no clean picture; "
        f"`d.png` has no noisy picture; `b.png` is 6x4 noisy and 7x5 clean; `{clean}/c.png` "
    )
    assert caught.value.hint
    assert "same file name and size" in caught.value.hint


def test_damaged_picture_is_reported_after_earlier_pictures(tmp_path: Path) -> None:
    noisy = put(tmp_path / "noisy", a=pixels(0, 40, 60, 3), b=pixels(0, 40, 60, 3))
    clean = put(tmp_path / "clean", a=pixels(0, 40, 60, 3), b=pixels(0, 40, 60, 3))
    file = tmp_path / "clean" / "b.png"
    file.write_bytes(file.read_bytes()[:2000])
    batches = open_evaluation_set(config(), noisy, clean).batches
    assert next(batches).names == ("a.png",)
    with pytest.raises(ImageError, match=r"clean/b\.png`"):
        next(batches)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    there, nowhere = put(tmp_path / "a", a=pixels(0, 4, 6, 3)), str(tmp_path / "nowhere")
    for noisy, clean in ((there, nowhere), (nowhere, there)):
        with pytest.raises(DataError, match=f"^there is no folder `{nowhere}`"):
            open_evaluation_set(config(), noisy, clean)


def test_options_of_generated_noise_are_refused_for_real_pairs(tmp_path: Path) -> None:
    folder = put(tmp_path / "a", a=pixels(0, 4, 6, 3))
    with pytest.raises(UsageError) as caught:
        open_evaluation_set(config(), folder, folder, "gaussian:9", seed=0)
    assert caught.value.message == (
        f"`--noise` and `--seed` cannot be used: the pictures of `{folder}` are already noisy"
    )
    with pytest.raises(UsageError, match=r"^`--crops` cannot be used"):
        open_evaluation_set(config(), folder, folder, crops=3)
    with pytest.raises(UsageError, match=r"^`--clip` cannot be used"):
        open_evaluation_set(config(), folder, folder, clip=True)
    with pytest.raises(UsageError) as caught:
        open_evaluation_set(config(), None, folder)
    assert caught.value.hint == f"add their folder: `--data NOISY --clean {folder}`"


def test_exif_rotation_is_applied_and_unsupported_formats_are_reported(tmp_path: Path) -> None:
    shown = pixels(0, 6, 4, 3)
    noisy, clean = put(tmp_path / "noisy"), put(tmp_path / "clean", a=shown)
    stored = np.ascontiguousarray(np.rot90(shown))
    write_picture(tmp_path / "noisy" / "a.png", Picture(stored, None, {"exif": exif_of(Orientation=6)}))
    (tmp_path / "noisy" / "b.avif").write_bytes(b"\0\0\0\x18ftypavif" + bytes(100))
    found = open_evaluation_set(config(), noisy, clean)
    (batch,) = found.batches
    assert np.array_equal(batch.noisy, batch.clean)
    assert found.notes == (
        f"{noisy}: left out 1 picture that is not read: AVIF picture (1); export as 16-bit TIFF or PNG, or correct "
        "the extension",
    )


def test_names_match_in_any_unicode_form(tmp_path: Path) -> None:
    clean = put(tmp_path / "clean", é=pixels(0, 4, 4, 3))
    noisy = put(tmp_path / "noisy", **{unicodedata.normalize("NFD", "é"): pixels(1, 4, 4, 3)})
    assert len(pairs(noisy, clean)) == 1
