"""Scores of models with a known error on images with known noise."""

from __future__ import annotations

import json
import math
import tracemalloc
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.checkpoints.file import write_checkpoint
from n2n_cli.config import Config, DataConfig
from n2n_cli.data.pairs import Dataset
from n2n_cli.data.sources import open_dataset
from n2n_cli.errors import ArgumentError, DataError, ImageError, UsageError
from n2n_cli.evaluation.evaluation_set import open_evaluation_set
from n2n_cli.evaluation.held_out import HeldOut
from n2n_cli.evaluation.metrics import psnr, ssim
from n2n_cli.evaluation.scores import Score, Summary, Tally, evaluate
from n2n_cli.images import Picture, write_picture
from n2n_cli.images.pixels import to_float, to_integer
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array, Pair
from n2n_cli.noise import Gaussian, Pixelate
from n2n_cli.system.progress import reported_to

SIGMA_25 = 20 * math.log10(255 / 25)  # 20.17 dB


def scaling(factor: float = 1.0, channels: int = 3, **data: Any) -> tuple[Model, Config]:
    """Model that multiplies every pixel by `factor`, and its configuration."""
    layers = [{"type": "Conv2d", "in_channels": channels, "out_channels": channels, "kernel_size": 1}]
    tables = {"network": {"channels": channels, "layers": layers}, "data": {"size": 8, "validation_pairs": 30, **data}}
    config = Config.from_tables(tables, "test")
    model = Model.from_config(config)
    weights = factor * np.eye(channels, dtype=np.float32)[:, :, None, None]
    model.network.load_state_dict({"0.weight": weights, "0.bias": np.zeros(channels, np.float32)})
    return model, config


def tally_of(scores: Iterable[Score]) -> Tally:
    tally = Tally()
    for score in scores:
        tally.add(score)
    return tally


def write_pictures(folder: Path, *pictures: Array) -> str:
    """Write (H, W, C) uint8 images as 0.png, 1.png, ... in a new folder."""
    folder.mkdir()
    for i, pixels in enumerate(pictures):
        write_picture(folder / f"{i}.png", Picture(pixels))
    return str(folder)


def level(value: int, *shape: int) -> Array:
    return np.full(shape, value, np.uint8)


def drawn(rng: np.random.Generator, *shape: int) -> Array:
    return rng.integers(256, size=shape, dtype=np.uint8)


# Whole pictures


def test_psnr_of_sigma_25_without_clipping(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "gray", level(128, 96, 128, 3), level(110, 128, 96, 3))
    for score in evaluate(*scaling(), folder, "gaussian:25"):
        assert score.noisy_psnr == pytest.approx(SIGMA_25, abs=0.1)
        assert score.psnr == pytest.approx(score.noisy_psnr, abs=1e-6)


def test_clipping_removes_half_the_noise_of_a_black_picture(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "black", level(0, 128, 128, 3))
    (score,) = evaluate(*scaling(), folder, "gaussian:25")
    assert score.noisy_psnr == pytest.approx(SIGMA_25 + 10 * math.log10(2), abs=0.1)


def test_error_is_that_of_the_model_s_output(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "white", level(255, 9, 7, 3), level(51, 4, 6, 3))
    scores = list(evaluate(*scaling(0.5), folder, "gaussian:0"))
    assert [score.name for score in scores] == ["0.png", "1.png"]
    assert [score.error for score in scores] == pytest.approx([0.25, 0.01], rel=1e-5)
    assert [score.psnr for score in scores] == pytest.approx([6.0206, 20], abs=1e-4)
    assert [score.noisy_error for score in scores] == [0, 0]


@pytest.mark.parametrize("crops", [None, 20])
def test_progress_is_reported_within_pictures(tmp_path: Path, rng: np.random.Generator, crops: int | None) -> None:
    folder = write_pictures(tmp_path / "two", drawn(rng, 100, 80, 3), drawn(rng, 70, 90, 3))
    parts: list[float] = []
    with reported_to(parts.append):
        scores = list(evaluate(*scaling(), folder, "gaussian:25", crops=crops))
    assert len(scores) == (crops or 2)
    assert sum(parts) == pytest.approx(len(scores))


def test_noise_depends_only_on_seed_and_place_in_the_folder(tmp_path: Path, rng: np.random.Generator) -> None:
    pictures = [drawn(rng, 9, 7, 3), drawn(rng, 8, 6, 3), drawn(rng, 5, 5, 3)]
    two = write_pictures(tmp_path / "two", *pictures[:2])
    three = write_pictures(tmp_path / "three", *pictures)
    write_pictures(tmp_path / "same", pictures[0], pictures[0])
    identity, halving = scaling(), scaling(0.5)

    def noisy(model: tuple[Model, Config], folder: str, seed: int = 0) -> list[float]:
        return [score.noisy_error for score in evaluate(*model, folder, "gaussian:25", seed=seed)]

    first = noisy(identity, two)
    assert noisy(halving, two) == noisy(identity, three)[:2] == first
    assert not set(noisy(identity, two, seed=1)) & set(first)
    same = noisy(identity, str(tmp_path / "same"))
    assert same[0] == first[0]
    assert same[0] != same[1]


@pytest.mark.parametrize("crops", [None, 3])
def test_clipped_pictures_are_rounded_as_in_a_file(crops: int | None, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "a", level(9, 19, 17, 3), level(250, 18, 16, 3))
    floats, clipped = (
        list(open_evaluation_set(scaling()[1], folder, None, "gaussian:50", crops=crops, clip=clip).batches)
        for clip in (False, True)
    )
    assert len(floats) == len(clipped) > 0
    for before, after in zip(floats, clipped, strict=True):
        assert np.array_equal(after.clean, before.clean)
        assert before.noisy.min() < 0 or before.noisy.max() > 1
        assert np.array_equal(after.noisy, to_float(to_integer(before.noisy, np.uint8)))
    scores = [list(evaluate(*scaling(), folder, "gaussian:50", crops=crops, clip=clip)) for clip in (False, True)]
    assert all(one.noisy_error != other.noisy_error for one, other in zip(*scores, strict=True))


def test_pixelation_is_scored_against_block_means(tmp_path: Path, rng: np.random.Generator) -> None:
    pixels = drawn(rng, 11, 13, 3)  # 2x3 blocks of 4, and a remainder
    (score,) = evaluate(*scaling(0.5), write_pictures(tmp_path / "a", pixels), "pixelate:4", seed=3)
    clean = pixels[:8, :12].reshape(2, 4, 3, 4, 3).mean(axis=(1, 3)) / 255
    view = Pixelate(4).draw(pixels, rng=np.random.default_rng([3, 0]))
    assert view.shape == clean.shape == (2, 3, 3)
    assert score.noisy_psnr == pytest.approx(psnr(view, clean), abs=1e-4)
    assert score.psnr == pytest.approx(psnr(view / 2, clean), abs=1e-4)


def test_constant_blocks_have_no_pixelation_error(tmp_path: Path) -> None:
    blocks = np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3, 1) * 40, level(1, 4, 4, 1))
    (score,) = evaluate(*scaling(channels=1), write_pictures(tmp_path / "flat", blocks), "pixelate:4")
    assert score.noisy_psnr > 120


@pytest.mark.parametrize("size", [(3, 9), (9, 3), (1, 1)])
def test_picture_smaller_than_a_block_is_refused(size: Pair, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "small", level(9, 4, 4, 3), level(9, *size, 3))
    scores = evaluate(*scaling(), folder, "pixelate:4")
    assert next(scores).name == "0.png"
    with pytest.raises(DataError) as caught:
        next(scores)
    assert caught.value.message == f"`{folder}/1.png` has {size[0]}x{size[1]} pixels, less than one block of pixelate:4"
    assert caught.value.hint == "remove pictures below 4 pixels from the folder, or use a smaller block"


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_pictures_of_any_size_are_scored(size: Pair, tmp_path: Path) -> None:
    (score,) = evaluate(*scaling(), write_pictures(tmp_path / "a", level(128, *size, 3)), "gaussian:25")
    assert 8 < score.noisy_psnr < 50


def test_pictures_are_converted_to_the_network_s_channels(tmp_path: Path) -> None:
    colour = np.broadcast_to(np.array([255, 0, 0], np.uint8), (4, 5, 3))
    folder = write_pictures(tmp_path / "a", colour, level(255, 4, 5, 1))
    gray = [score.error for score in evaluate(*scaling(0.5, channels=1), folder, "gaussian:0")]
    assert gray == pytest.approx([(76 / 255 / 2) ** 2, 0.25], rel=1e-5)  # the luma of red is 76
    rgb = [score.error for score in evaluate(*scaling(0.5), folder, "gaussian:0")]
    assert rgb == pytest.approx([0.25 / 3, 0.25], rel=1e-5)


# Crops, pair files, held-out pairs


def test_crops_have_the_training_size_and_depend_on_the_seed(tmp_path: Path, rng: np.random.Generator) -> None:
    # All crops of 8x8 come from the first image; the second is too small.
    folder = write_pictures(tmp_path / "a", drawn(rng, 24, 32, 3), level(0, 7, 99, 3))
    model = scaling(0.5)
    scores = list(evaluate(*model, folder, "gaussian:25", crops=120))
    assert [score.name for score in scores] == [f"pair {i}" for i in range(120)]
    assert len({score.error for score in scores}) == 120
    assert list(evaluate(*model, folder, "gaussian:25", crops=120)) == scores
    assert not {s.error for s in evaluate(*model, folder, "gaussian:25", crops=120, seed=1)} & {s.error for s in scores}
    # The single possible crop is the whole image, up to flips.
    single = write_pictures(tmp_path / "b", level(255, 8, 8, 3))
    assert [s.error for s in evaluate(*model, single, "gaussian:0", crops=2)] == pytest.approx([0.25, 0.25], rel=1e-5)


def test_crops_of_pixelated_pictures_come_from_whole_blocks(tmp_path: Path, rng: np.random.Generator) -> None:
    folder = write_pictures(tmp_path / "a", drawn(rng, 16, 16, 3))
    assert len(list(evaluate(*scaling(), folder, "pixelate:2", crops=3))) == 3
    with pytest.raises(DataError, match="as large as 24x24 pixels"):
        list(evaluate(*scaling(), folder, "pixelate:3", crops=3))


def write_pair_file(path: Path, noisy: Array, clean: Array) -> str:
    write_checkpoint(path, (noisy, clean))
    return str(path)


def test_pair_file_has_its_own_noise(tmp_path: Path) -> None:
    noisy, clean = (np.stack([level(v, 3, 4, 6) for v in values]) for values in ((255, 51, 102), (204, 51, 0)))
    path = write_pair_file(tmp_path / "val_data.pkl", noisy, clean)
    for source in (path, str(tmp_path)):
        scores = list(evaluate(*scaling(0.5), source))
        assert [score.name for score in scores] == ["pair 0", "pair 1", "pair 2"]
        assert [score.noisy_error for score in scores] == pytest.approx([0.04, 0, 0.16], rel=1e-5)
        assert [score.error for score in scores] == pytest.approx([0.09, 0.01, 0.04], rel=1e-5)


def test_pair_file_of_other_channels_is_refused(tmp_path: Path) -> None:
    path = write_pair_file(tmp_path / "gray.pkl", level(1, 2, 1, 4, 6), level(1, 2, 1, 4, 6))
    with pytest.raises(DataError) as caught:
        list(evaluate(*scaling(), path))
    assert caught.value.message == f"the pictures of `{path}` have 1 channels, the network takes 3"
    assert caught.value.hint == "pairs of 3 channels, or a checkpoint of a network that takes 1"


def test_held_out_pictures_are_scored_by_default(tmp_path: Path, rng: np.random.Generator) -> None:
    folder = write_pictures(tmp_path / "a", drawn(rng, 16, 24, 3), drawn(rng, 20, 16, 3))
    model, config = scaling(0.5, source=folder)
    scores = list(evaluate(model, config, None, "gaussian:25"))
    held_out = HeldOut(open_dataset(config.data, 3, seed=config.train.seed).validation)
    assert len(scores) == 30
    assert [score.error for score in scores] == list(held_out.errors(model))
    assert [score.noisy_error for score in evaluate(model, config, None, "gaussian:0")] == [0] * 30


def test_crops_of_held_out_pairs_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        list(evaluate(*scaling(), None, crops=5))
    assert caught.value.message == "crops are cut from a folder of pictures, not from held-out pairs"
    assert caught.value.hint == "leave out `--crops`, or name a folder of pictures: `--data FOLDER`"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"noise": "gaussian:25"}, "`--noise`"),
        ({"crops": 5}, "`--crops`"),
        ({"seed": 0}, "`--seed`"),
        ({"clip": True}, "`--clip`"),
        ({"noise": "gaussian:25", "seed": 0}, "`--noise` and `--seed`"),
    ],
)
def test_unused_options_are_refused_for_a_pair_file(given: dict[str, Any], named: str, tmp_path: Path) -> None:
    path = write_pair_file(tmp_path / "val_data.pkl", level(1, 2, 3, 4, 6), level(1, 2, 3, 4, 6))
    for source in (path, str(tmp_path)):
        with pytest.raises(UsageError) as caught:
            list(evaluate(*scaling(), source, **given))
        assert caught.value.message == f"{named} cannot be used: the pairs of `{path}` have their own noise and size"
        assert caught.value.hint == f"leave out {named}, or name a folder of pictures: `--data FOLDER`"


def test_held_out_pictures_are_generated_on_the_model_s_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads_used: list[int | None] = []

    def open_spied(data: DataConfig, channels: int, *, seed: int, threads: int | None) -> Dataset:
        threads_used.append(threads)
        return open_dataset(data, channels, seed=seed, threads=threads)

    monkeypatch.setattr("n2n_cli.evaluation.evaluation_set.open_dataset", open_spied)
    config = scaling(source=write_pictures(tmp_path / "a", level(9, 16, 16, 3), level(9, 16, 16, 3)))[1]
    assert next(evaluate(Model.from_config(config, threads=3), config, None)).name == "pair 0"
    assert threads_used == [3]


def test_noise_option_is_refused_for_held_out_pair_files(tmp_path: Path) -> None:
    for name in ("train_data.pkl", "val_data.pkl"):
        write_pair_file(tmp_path / name, level(1, 2, 3, 4, 6), level(1, 2, 3, 4, 6))
    model = scaling(source=str(tmp_path))
    assert len(list(evaluate(*model, None))) == 2
    with pytest.raises(UsageError, match=r"^`--noise` cannot be used: the pairs of"):
        list(evaluate(*model, None, "gaussian:25"))


def test_noise_and_clip_options_are_refused_for_held_out_shots(tmp_path: Path) -> None:
    model, config = scaling(source=str(tmp_path))
    config = replace(config, data=replace(config.data, kind="bursts"))
    with pytest.raises(UsageError, match=r"^`--noise` cannot be used: the model was trained on shots"):
        evaluate(model, config, None, "gaussian:25")
    with pytest.raises(UsageError, match=r"^`--clip` cannot be used: the model was trained on shots"):
        evaluate(model, config, None, clip=True)
    with pytest.raises(UsageError, match=r"^`--noise` and `--clip` cannot be used") as caught:
        evaluate(model, config, None, "gaussian:25", clip=True)
    assert caught.value.hint == "leave out `--noise` and `--clip`, or name a folder of clean pictures: `--data FOLDER`"


def test_training_pairs_are_refused(tmp_path: Path) -> None:
    path = write_pair_file(tmp_path / "train_data.pkl", level(1, 2, 3, 4, 6), level(1, 2, 3, 4, 6))
    with pytest.raises(DataError) as caught:
        list(evaluate(*scaling(), path))
    assert caught.value.message == f"`{path}` holds training pairs (noisy, noisy); a score needs clean pictures"
    assert caught.value.hint == f"name the file of pairs (noisy, clean): `--data {tmp_path / 'val_data.pkl'}`"


def test_noise_defaults_to_that_of_the_configuration(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "a", level(128, 9, 7, 3))
    model = scaling(noise="gaussian:9")
    assert list(evaluate(*model, folder)) == list(evaluate(*model, folder, "gaussian:9", seed=0))
    assert list(evaluate(*model, folder)) != list(evaluate(*model, folder, "gaussian:25"))


@pytest.mark.parametrize("crops", [None, 3])
def test_invalid_sources_are_named(crops: int | None, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"no picture")
    for name, error in (("nowhere", DataError), ("empty", DataError), ("broken", ImageError)):
        with pytest.raises(error, match=f"`{tmp_path / name}"):
            list(evaluate(*scaling(), str(tmp_path / name), "gaussian:25", crops=crops))
    with pytest.raises(DataError, match=f"`{tmp_path / 'no.pkl'}`"):
        list(evaluate(*scaling(), str(tmp_path / "no.pkl")))
    with pytest.raises(ArgumentError, match="`noise` is 'purple:3'"):
        list(evaluate(*scaling(), str(tmp_path), "purple:3", crops=crops))


# Summaries


def test_summary_has_mean_and_pooled_psnr() -> None:
    scores = [Score("a", 0.1, 0.001, 0.2, 0.6), Score("b", 0.001, 0.00001, 0.4, 1)]
    summary = tally_of(scores).summary()
    assert summary.pictures == 2
    assert (summary.noisy_psnr, summary.psnr) == pytest.approx((20, 40))
    assert summary.noisy_pooled_psnr == pytest.approx(-10 * math.log10(0.0505))
    assert summary.pooled_psnr == pytest.approx(-10 * math.log10(0.000505))
    assert (summary.noisy_ssim, summary.ssim) == pytest.approx((0.3, 0.8))


def test_summary_of_a_perfect_picture_and_of_none() -> None:
    summary = tally_of([Score("a", 0.1, 0, 0.2, 1), Score("b", 0.1, 0.02, 0.2, 0.5)]).summary()
    assert summary.psnr == math.inf
    assert summary.pooled_psnr == pytest.approx(20)
    nothing = Tally().summary()
    assert nothing.pictures == 0
    assert math.isnan(nothing.psnr)
    assert math.isnan(nothing.pooled_psnr)


def test_ssim_before_and_after_denoising(tmp_path: Path, rng: np.random.Generator) -> None:
    pixels = drawn(rng, 20, 24, 3)
    (score,) = evaluate(*scaling(0.5), write_pictures(tmp_path / "a", pixels), "gaussian:25", seed=4)
    clean = np.moveaxis(to_float(pixels), -1, 0)
    noisy = np.moveaxis(Gaussian(25).draw(pixels, rng=np.random.default_rng([4, 0])), -1, 0)
    assert score.noisy_ssim == pytest.approx(ssim(noisy, clean))
    assert score.ssim == pytest.approx(ssim(noisy / 2, clean), abs=1e-5)
    assert 0 < score.ssim < score.noisy_ssim < 1


def test_total_is_known_before_the_first_score(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "a", level(9, 8, 9, 3), level(9, 8, 9, 3))
    assert evaluate(*scaling(), folder, "gaussian:25").total == 2
    assert evaluate(*scaling(), folder, "gaussian:25", crops=9).total == 9
    pairs = write_pair_file(tmp_path / "pairs.pkl", level(1, 150, 3, 4, 6), level(1, 150, 3, 4, 6))
    scores = evaluate(*scaling(), pairs)
    assert (scores.total, len(list(scores))) == (150, 150)


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        folder = write_pictures(tmp_path / str(count), *[level(128, 96, 96, 3)] * count)
        tally = Tally()
        tracemalloc.start()
        for score in evaluate(*scaling(), folder, "gaussian:25"):
            tally.add(score)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert tally.summary().pictures == count
        return most

    peak(2)
    assert peak(24) < peak(4) + 4 * 96 * 96 * 3  # bytes of one float32 image


def test_scores_are_json_values(tmp_path: Path) -> None:
    scores = list(evaluate(*scaling(), write_pictures(tmp_path / "a", level(99, 5, 7, 3)), "gaussian:25"))
    records: list[Score | Summary] = [*scores, tally_of(scores).summary()]
    for record in records:
        assert type(record)(**json.loads(json.dumps(asdict(record)))) == record
        assert {type(value) for value in asdict(record).values()} <= {str, int, float}


@pytest.mark.parametrize(
    ("size", "pairs", "wanted"),
    [(8, 10_001, 10_000), (8, 10_000, 10_000), (1024, 100, 64)],
)
def test_number_of_held_out_pairs_has_a_limit(
    size: int, pairs: int, wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[DataConfig] = []

    def open_spied(data: DataConfig, channels: int, *, seed: int, threads: int | None) -> Dataset:
        asked.append(data)
        return open_dataset(replace(data, size=8), channels, seed=seed, threads=threads)

    monkeypatch.setattr("n2n_cli.evaluation.evaluation_set.open_dataset", open_spied)
    source = write_pictures(tmp_path / "a", level(9, 16, 16, 3), level(9, 16, 16, 3))
    model, config = scaling(source=source)
    data = replace(config.data, size=size, pairs=100_000_000, validation_pairs=pairs)
    found = evaluate(model, replace(config, data=data), None)
    assert (found.total, asked[0].pairs) == (wanted, 1)
    note = f"only {wanted:,} of {pairs:,} held-out pairs are measured"
    assert found.notes == (() if wanted == pairs else (note,))


def test_too_large_held_out_pictures_are_refused() -> None:
    model, config = scaling(source="dead-leaves")
    data = replace(config.data, size=1024, noise="pixelate:64")
    with pytest.raises(DataError) as caught:
        evaluate(model, replace(config, data=data), None)
    assert caught.value.message == "a picture that the training held out has 4,294,967,296 pixels"
    assert caught.value.hint == "name pictures to evaluate on: `--data FOLDER`"
