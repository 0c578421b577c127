"""Training pairs from folders, pair files and built-in images."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from n2n_cli.checkpoints.file import write_checkpoint
from n2n_cli.config import DataConfig
from n2n_cli.data import sources
from n2n_cli.data.pairs import ArrayPairs, CropPairs, Dataset
from n2n_cli.data.sources import find_pair_file, open_dataset, read_folder
from n2n_cli.errors import CheckpointError, DataError, ImageError
from n2n_cli.nn.functional import Array
from n2n_cli.noise import parse_noise
from tests.pictures import colour, error_of, numbered, save
from tests.system.test_atomic_files import open_folder, without_privileges

NOISELESS = parse_noise("gaussian:0")


def words(dataset: Dataset) -> str:
    return " | ".join(dataset.notes)


# Folders


def folder_config(folder: Path, **extra: Any) -> DataConfig:
    values: dict[str, Any] = {"size": 8, "pairs": 30, "validation_pairs": 6, "noise": "gaussian:25"} | extra
    return replace(DataConfig(source=str(folder)), **values)


def test_held_out_pictures_are_not_in_training(tmp_path: Path) -> None:
    for i in range(41):
        save(tmp_path / f"{i:02}.png", np.full((8, 8, 1), i, np.uint8))
    dataset = open_dataset(folder_config(tmp_path, pairs=200, validation_pairs=30, noise="gaussian:0"), 1, seed=0)
    shown = [
        {int(level) for level in np.rint(pairs.batch(range(len(pairs)))[0][:, 0, 0, 0] * 255)}
        for pairs in (dataset.train, dataset.validation)
    ]
    assert shown == [set(range(41)) - {0, 20, 40}, {0, 20, 40}]
    assert (len(dataset.train), len(dataset.validation)) == (200, 30)
    assert "38 pictures for training, 3 held out for validation" in words(dataset)


def test_notes_count_only_the_pictures_in_use(tmp_path: Path) -> None:
    for i in range(41):
        save(tmp_path / f"{i:02}.png", np.full((8, 8, 1), i, np.uint8))
    dataset = open_dataset(folder_config(tmp_path, pairs=5, validation_pairs=2), 1, seed=0)
    assert "5 pictures for training, 2 held out for validation" in words(dataset)


def test_only_the_validation_target_is_clean(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save(tmp_path / name, np.full((8, 8, 3), 100, np.uint8))
    dataset = open_dataset(folder_config(tmp_path), 3, seed=0)
    (noisy, target), (measured, clean) = dataset.train.batch([0]), dataset.validation.batch([0])
    assert (clean == np.float32(100) * np.float32(1 / 255)).all()
    for view in (noisy, target, measured):
        assert view.std() == pytest.approx(25 / 255, rel=0.2)


def test_targets_with_their_own_noise(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save(tmp_path / name, np.full((8, 8, 3), 100, np.uint8))
    dataset = open_dataset(folder_config(tmp_path, target_noise="gaussian:2"), 3, seed=0)
    _, target = dataset.train.batch([0])
    assert target.std() == pytest.approx(2 / 255, rel=0.2)
    assert "noise gaussian:25, of targets gaussian:2, drawn" in words(dataset)
    assert "the noise variance, 0.00006" in words(dataset)
    with pytest.raises(DataError, match=r"differ in pixel size$"):
        open_dataset(folder_config(tmp_path, target_noise="pixelate:2"), 3, seed=0)


def test_training_and_validation_use_different_random_streams(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save(tmp_path / name, np.full((8, 8, 3), 100, np.uint8))
    dataset = open_dataset(folder_config(tmp_path, redraw=False), 3, seed=0)
    assert (dataset.train.batch([0])[0] != dataset.validation.batch([0])[0]).all()
    shown = [
        CropPairs([numbered(50, 50)], 20, 4, NOISELESS, seed=3, validation=clean).batch(range(20))[0]
        for clean in (False, True)
    ]
    assert (shown[0] != shown[1]).any(axis=(1, 2, 3)).sum() > 15


@pytest.mark.parametrize(("redraw", "word"), [(True, "again every epoch"), (False, "once for all epochs")])
def test_notes_state_redrawing_and_the_minimum_loss(redraw: bool, word: str, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save(tmp_path / name, colour(8, 8))
    dataset = open_dataset(folder_config(tmp_path, redraw=redraw), 3, seed=0)
    assert f"noise gaussian:25, drawn {word}" in words(dataset)
    assert "levels off at the noise variance, 0.00961: validation PSNR is the figure to watch" in words(dataset)
    same = (dataset.train.batch([0], 1)[0] == dataset.train.batch([0], 2)[0]).all()
    assert same == (not redraw)


def test_file_formats_in_one_folder(tmp_path: Path) -> None:
    save(tmp_path / "a.png", colour(8, 9))
    save(tmp_path / "b.PNG", colour(10, 11, channels=1))
    save(tmp_path / "c.tif", numbered(12, 13) * np.uint16(300))
    save(tmp_path / "d.png", colour(14, 15, channels=4))
    save(tmp_path / "e.JPG", colour(16, 17))
    save(tmp_path / "f.bmp", colour(18, 19))
    save(tmp_path / "g.WebP", colour(20, 21))
    Image.fromarray(colour(22, 23)).quantize(16).save(tmp_path / "h.png")
    for channels in (1, 3):
        pictures, notes = read_folder(tmp_path, channels, smallest=8)
        assert [picture.shape for picture in pictures] == [(h, h + 1, channels) for h in range(8, 23, 2)]
        assert [picture.dtype == np.uint16 for picture in pictures] == [i == 2 for i in range(8)]
        assert notes == ()
        np.testing.assert_array_equal(pictures[2][..., -1], numbered(12, 13)[..., 0] * np.uint16(300))
    rgb, _ = read_folder(tmp_path, 3, smallest=8)
    np.testing.assert_array_equal(rgb[0], colour(8, 9))
    np.testing.assert_array_equal(rgb[3], colour(14, 15, channels=4)[..., :3])
    noisy, _ = open_dataset(folder_config(tmp_path, noise="gaussian:0"), 3, seed=0).train.batch(range(30))
    assert 0 <= noisy.min() < 0.1 < 0.9 < noisy.max() <= 1


def test_other_files_hidden_files_broken_links_and_subfolders_are_ignored(tmp_path: Path) -> None:
    save(tmp_path / "b.png", np.full((8, 8, 3), 2, np.uint8))
    save(tmp_path / "a.png", np.full((8, 8, 3), 1, np.uint8))
    for name in ("notes.txt", "._a.png", ".hidden.jpg", "png", "movie.gif"):
        (tmp_path / name).write_bytes(b"no picture")
    (tmp_path / "folder.png").mkdir()
    save(tmp_path / "folder.png" / "c.png", colour(8, 8))
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "nowhere.png").symlink_to("no-such.png")
    (tmp_path / "here.png").symlink_to(".")
    (tmp_path / "z.png").symlink_to("a.png")
    pictures, notes = read_folder(tmp_path, 3, smallest=8)
    assert [int(picture[0, 0, 0]) for picture in pictures] == [1, 2, 1]
    assert notes == ()


def test_small_pictures_are_omitted_with_a_note(tmp_path: Path) -> None:
    for i, (h, w) in enumerate([(16, 16), (15, 40), (40, 15), (16, 30)]):
        save(tmp_path / f"{i}.png", colour(h, w))
    pictures, notes = read_folder(tmp_path, 3, smallest=16)
    assert [picture.shape[:2] for picture in pictures] == [(16, 16), (16, 30)]
    assert notes == ("2 of 4 pictures are smaller than 16 pixels: left out",)
    assert "2 of 4 pictures are smaller than 16 pixels" in words(
        open_dataset(folder_config(tmp_path, noise="pixelate:2"), 3, seed=0)
    )


def test_folder_of_small_pictures_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.png", colour(63, 64))
    error = error_of(DataError, lambda: open_dataset(folder_config(tmp_path, noise="pixelate:8"), 3, seed=0))
    assert error.message == f"no picture in `{tmp_path}` is as large as 64x64 pixels"


def test_folder_of_one_picture_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.png", colour(8, 8))
    save(tmp_path / "b.png", colour(7, 8))
    error = error_of(DataError, lambda: open_dataset(folder_config(tmp_path), 3, seed=0))
    assert error.message.startswith(f"`{tmp_path}` holds one usable picture")


def test_damaged_pictures_are_named_at_once(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.png", colour(8, 8)).read_bytes()
    broken = [f"{i}.png" for i in range(7)]
    for name in broken[:6]:
        (tmp_path / name).write_bytes(b"no picture")
    (tmp_path / broken[6]).write_bytes(whole[:-30])  # detected only when its pixels are read
    (tmp_path / "empty.jpg").touch()
    error = error_of(ImageError, lambda: read_folder(tmp_path, 3, smallest=8))
    assert error.message.startswith("8 of 9 pictures cannot be read: ")
    named = [str(tmp_path / name) for name in (*broken[:6], "empty.jpg", broken[6])]
    assert re.findall(r"`([^`]*)`", error.message) == named


def test_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    error = error_of(DataError, lambda: read_folder(tmp_path, 3, smallest=8))
    assert error.message == f"the folder `{tmp_path}` holds no pictures"
    assert error.hint is not None
    assert error.hint.startswith(
        "looked for .png, .jpg, .jpeg, .jpe, .jfif, .jif, .tif, .tiff, .webp, .bmp, .dib, .fits, "
    )
    assert error.hint.endswith(", .mrc, .mrcs, .map, .st, .rec, .ali, .mrc.gz, .map.gz; not in subfolders")


def test_unsupported_formats_are_reported(tmp_path: Path) -> None:
    for name in "abc":
        save(tmp_path / f"{name}.png", colour(8, 8))
    (tmp_path / "d.nrrd").write_bytes(b"NRRD0004")
    start = f"{tmp_path}: left out 1 picture that is not read: NRRD file (1); export as 16-bit TIFF or PNG, or correct"
    _, (note,) = read_folder(tmp_path, 3, smallest=8)
    assert note.startswith(start)
    assert start in words(open_dataset(folder_config(tmp_path), 3, seed=0))


def test_source_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.png", colour(8, 8))
    (tmp_path / "loop").symlink_to("loop")
    for name, wanted in [
        ("missing", "there is no folder `{}`"),
        ("a.png", "`{}` is not a folder of pictures"),
        ("a.png/x", "`{}` is not a folder of pictures"),
        ("loop", "the folder `{}` cannot be read: Too many levels of symbolic links"),
        ("x" * 300, "the folder `{}` cannot be read: File name too long"),
    ]:
        source = tmp_path / name
        with pytest.raises(DataError) as caught:
            open_dataset(folder_config(source), 3, seed=0)
        assert caught.value.message == wanted.format(source)


@pytest.mark.parametrize(("inside", "mode"), [(".", 0o300), ("a", 0)])
def test_folder_without_permission_is_refused(inside: str, mode: int) -> None:
    with open_folder() as folder:
        source = folder / "photos" / inside
        source.mkdir(parents=True)
        (folder / "photos").chmod(mode)
        with without_privileges(), pytest.raises(DataError) as caught:
            open_dataset(folder_config(source), 3, seed=0)
        (folder / "photos").chmod(0o700)
        assert caught.value.message == f"the folder `{source}` cannot be read: Permission denied"


def test_pictures_beyond_the_memory_limit_are_cropped_to_their_centre(tmp_path: Path) -> None:
    save(tmp_path / "a.png", colour(40, 60, 0))
    save(tmp_path / "b.png", colour(20, 30, 1))
    total = (40 * 60 + 20 * 30) * 3
    pictures, notes = read_folder(tmp_path, 3, smallest=4, max_bytes=total)
    assert (sum(picture.nbytes for picture in pictures), notes) == (total, ())
    pictures, notes = read_folder(tmp_path, 3, smallest=4, max_bytes=total // 4)
    np.testing.assert_array_equal(pictures[0], colour(40, 60, 0)[10:30, 15:45])
    np.testing.assert_array_equal(pictures[1], colour(20, 30, 1)[5:15, 7:22])
    assert all(picture.base is None for picture in pictures)  # a view would keep the whole image in memory
    assert notes == (f"the pictures need more than {total // 4 / 1e9:g} GB: the middle 50% of each side is used",)
    pictures, _ = read_folder(tmp_path, 3, smallest=18, max_bytes=total // 4)
    assert [picture.shape[:2] for picture in pictures] == [(20, 30), (18, 18)]


def test_memory_limit_counts_two_bytes_per_16_bit_value(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save(tmp_path / name, numbered(32, 32))
    pictures, notes = read_folder(tmp_path, 1, smallest=4, max_bytes=2 * 32 * 32)  # half of their bytes
    assert [picture.shape for picture in pictures] == [(22, 22, 1)] * 2
    assert "the middle 71% of each side is used" in notes[0]


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("built_in", [False, True])
def test_other_numbers_of_channels_are_refused(channels: int, built_in: bool, tmp_path: Path) -> None:
    save(tmp_path / "a.png", colour(8, 8))
    config = DataConfig() if built_in else folder_config(tmp_path)
    error = error_of(DataError, lambda: open_dataset(config, channels, seed=0))
    assert error.message == f"the network takes {channels} channels; pictures have 1 (gray) or 3 (RGB)"


# Pair files

TRAIN, VALIDATION = sources.PAIR_FILES


def arrays(count: int, channels: int = 3, seed: int = 0) -> tuple[Array, Array]:
    noisy, target = np.random.default_rng(seed).integers(256, size=(2, count, channels, 6, 7), dtype=np.uint8)
    return noisy, target


def write_pairs(folder: Path, *, train: int = 12, validation: int = 5, channels: int = 3) -> None:
    write_checkpoint(folder / TRAIN, arrays(train, channels, seed=1))
    write_checkpoint(folder / VALIDATION, arrays(validation, channels, seed=2))


@pytest.mark.parametrize("name", ["", TRAIN])
def test_pairs_of_the_course_are_read_from_file_or_folder(name: str, tmp_path: Path) -> None:
    write_pairs(tmp_path)
    save(tmp_path / "also.png", colour(8, 8))
    dataset = open_dataset(folder_config(tmp_path / name), 3, seed=0)
    numbers = [7, 0, 7]
    for pairs, wanted in ((dataset.train, arrays(12, seed=1)), (dataset.validation, arrays(5, seed=2))):
        for got, part in zip(pairs.batch([n % len(pairs) for n in numbers], epoch=9), wanted, strict=True):
            chosen = part[[n % len(pairs) for n in numbers]]
            np.testing.assert_array_equal(got, chosen.astype(np.float32) * np.float32(1 / 255))
            assert got.dtype == np.float32
    shown = f"12 training pairs from `{tmp_path / TRAIN}`, 5 validation pairs from `{tmp_path / VALIDATION}`"
    assert shown in words(dataset)
    assert "`data.noise` and `data.size` are not used" in words(dataset)
    assert "validation PSNR is the figure to watch" in words(dataset)


def test_pairs_saved_by_torch_are_read(torch: Any, tmp_path: Path) -> None:
    for name, seed in ((TRAIN, 1), (VALIDATION, 2)):
        torch.save(tuple(torch.from_numpy(part) for part in arrays(4, seed=seed)), tmp_path / name)
    dataset = open_dataset(folder_config(tmp_path), 3, seed=0)
    np.testing.assert_array_equal(dataset.train.batch(range(4))[1], arrays(4, seed=1)[1] * np.float32(1 / 255))
    np.testing.assert_array_equal(dataset.validation.batch(range(4))[0], arrays(4, seed=2)[0] * np.float32(1 / 255))


def test_fewer_pairs_than_the_files_hold(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    dataset = open_dataset(folder_config(tmp_path, pairs=7, validation_pairs=3), 3, seed=0)
    assert (len(dataset.train), len(dataset.validation)) == (7, 3)
    np.testing.assert_array_equal(dataset.train.batch([6])[0][0], arrays(12, seed=1)[0][6] * np.float32(1 / 255))


@pytest.mark.parametrize("numbers", [[2, 0], (2, 0), range(2, -1, -2), np.array([2, 0]), []])
def test_batch_takes_any_sequence_of_numbers(numbers: Any) -> None:
    noisy, target = arrays(3)
    got, _ = ArrayPairs(noisy, target).batch(numbers)
    np.testing.assert_array_equal(got, noisy[list(numbers)] * np.float32(1 / 255))


def test_gray_pair_file_needs_a_network_of_one_channel(tmp_path: Path) -> None:
    write_pairs(tmp_path, channels=1)
    assert open_dataset(folder_config(tmp_path), 1, seed=0).train.batch([0])[0].shape == (1, 1, 6, 7)
    with pytest.raises(DataError) as caught:
        open_dataset(folder_config(tmp_path), 3, seed=0)
    assert caught.value.message == f"`{tmp_path / TRAIN}` has 1 channels, the network takes 3"


def test_channels_of_the_validation_file_are_checked(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    write_checkpoint(tmp_path / VALIDATION, arrays(2, 1))
    with pytest.raises(DataError) as caught:
        open_dataset(folder_config(tmp_path), 3, seed=0)
    assert caught.value.message == f"`{tmp_path / VALIDATION}` has 1 channels, the network takes 3"


def test_pair_file_without_its_validation_file_is_refused(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    (tmp_path / VALIDATION).unlink()
    error = error_of(DataError, lambda: open_dataset(folder_config(tmp_path), 3, seed=0))
    assert error.message == f"`{tmp_path / TRAIN}` has no `{VALIDATION}` beside it"


def test_validation_file_as_training_source_is_refused(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    error = error_of(DataError, lambda: open_dataset(folder_config(tmp_path / VALIDATION), 3, seed=0))
    assert "the validation pairs" in error.message


@pytest.mark.parametrize("name", ["no-such.pkl", "x" * 300 + ".pth"])
def test_missing_pair_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_dataset(folder_config(tmp_path / name), 3, seed=0)
    assert caught.value.message == f"there is no readable file of pairs `{tmp_path / name}`"


def test_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / TRAIN).write_bytes(pickle.dumps(arrays(3)))
    with pytest.raises(CheckpointError, match="not in PyTorch's zip format"):
        open_dataset(folder_config(tmp_path), 3, seed=0)


@pytest.mark.parametrize(
    ("tree", "found"),
    [
        ({"model": {"0.weight": np.zeros((2, 3, 4, 4), np.float32)}}, "something else"),
        (arrays(3)[:1], "something else"),
        ((*arrays(3), arrays(3)[0]), "something else"),
        ((arrays(3)[0], 3), "something else"),
        (tuple(part.astype(np.float32) for part in arrays(3)), "float32 (3, 3, 6, 7) and float32 (3, 3, 6, 7)"),
        ((arrays(3)[0], arrays(3)[1].astype(np.int8)), "uint8 (3, 3, 6, 7) and int8 (3, 3, 6, 7)"),
        ((arrays(3)[0], arrays(4)[1]), "uint8 (3, 3, 6, 7) and uint8 (4, 3, 6, 7)"),
        (tuple(part[0] for part in arrays(3)), "uint8 (3, 6, 7) and uint8 (3, 6, 7)"),
    ],
)
def test_file_without_pairs_is_refused(tree: Any, found: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / TRAIN, tree)
    error = error_of(DataError, lambda: open_dataset(folder_config(tmp_path / TRAIN), 3, seed=0))
    wanted = f"`{tmp_path / TRAIN}` does not hold two uint8 arrays (N, C, H, W) of one shape, but {found}"
    assert error.message == wanted


def test_empty_pair_file_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / TRAIN, arrays(0))
    with pytest.raises(DataError) as caught:
        sources.read_pair_file(tmp_path / TRAIN)
    assert caught.value.message == f"`{tmp_path / TRAIN}` holds no pairs: its arrays have shape (0, 3, 6, 7)"


def test_pair_files_are_recognised_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("with", "without", "folder.pkl", "dead-leaves"):
        Path(folder).mkdir()
    for folder in ("with", "dead-leaves"):
        Path(folder, TRAIN).touch()
    assert find_pair_file("with", TRAIN) == Path("with", TRAIN)
    assert find_pair_file("with", VALIDATION) is None
    for source in ("without", "folder.pkl", "dead-leaves", "missing"):
        assert find_pair_file(source, TRAIN) is None
    for source in ("a.pkl", "a.pth", "a.pt"):
        assert find_pair_file(source, TRAIN) == Path(source)
