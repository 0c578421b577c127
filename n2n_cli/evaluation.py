"""Evaluation: pictures whose clean version is known, made noisy, denoised and scored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from n2n_cli.config import Config
from n2n_cli.data import (
    PAIR_FILES,
    CropPairs,
    Pairs,
    find_pair_file,
    image_files,
    open_dataset,
    read_folder,
    read_pair_file,
)
from n2n_cli.errors import DataError, UsageError
from n2n_cli.images import read_pixels
from n2n_cli.metrics import decibel, mean_psnr, mean_squared_error, pooled_psnr
from n2n_cli.model import Model
from n2n_cli.noise import parse_noise

_BATCH = 100


@dataclass(frozen=True)
class Score:
    """One picture's mean squared errors, in [0, 1] squared, before and after denoising."""

    name: str
    noisy_error: float
    error: float

    @property
    def noisy_psnr(self) -> float:
        """PSNR of the noisy picture, in dB."""
        return decibel(self.noisy_error)

    @property
    def psnr(self) -> float:
        """PSNR of the denoised picture, in dB."""
        return decibel(self.error)


@dataclass(frozen=True)
class Summary:
    """A set's figures, in dB: the mean of each picture's PSNR, and the PSNR of the mean error (`pooled`)."""

    pictures: int
    noisy_psnr: float
    psnr: float
    noisy_pooled_psnr: float
    pooled_psnr: float


def summarize(scores: list[Score]) -> Summary:
    """The figures of a set of at least one picture."""
    noisy, denoised = [score.noisy_error for score in scores], [score.error for score in scores]
    return Summary(len(scores), mean_psnr(noisy), mean_psnr(denoised), pooled_psnr(noisy), pooled_psnr(denoised))


def measure(model: Model | None, pairs: Pairs) -> tuple[list[float], list[float]]:
    """Mean squared errors of pairs (noisy, clean) before denoising and, if there is a model, after it."""
    noisy_errors, errors = [], []
    for start in range(0, len(pairs), _BATCH):
        noisy, clean = pairs.batch(np.arange(start, min(start + _BATCH, len(pairs))))
        denoised = noisy if model is None else model.predict(noisy)
        noisy_errors += [mean_squared_error(*pair) for pair in zip(noisy, clean, strict=True)]
        if model is not None:
            errors += [mean_squared_error(*pair) for pair in zip(denoised, clean, strict=True)]
    return noisy_errors, errors


def evaluate(
    model: Model,
    config: Config,
    source: str | None,
    noise: str | None = None,
    *,
    crops: int | None = None,
    seed: int | None = None,
) -> Iterator[Score]:
    """Score a model on pictures.

    Parameters
    ----------
    model : Model
    config : Config
        What the model was trained with: gives the validation pictures where `source` is None, and the crops' size.
    source : str, optional
        A folder of clean pictures, or a pair file (noisy, clean), which brings its own noise.
    noise : str, optional
        Put on clean pictures, as "gaussian:25"; drawn from `seed` and the picture's place in the folder. By default the
        configuration's.
    crops : int, optional
        How many random crops of the training size to score, instead of a folder's whole pictures.
    seed : int, optional
        Of a folder's crops and noise, by default 0; the validation pictures keep those of their training.

    Yields
    ------
    Score of every picture, in the order of their names.

    Raises
    ------
    DataError, ImageError, CheckpointError
        When the source cannot be used.
    UsageError
        When noise, crops or a seed are given for pairs that have theirs already.
    """
    channels = config.network.channels
    if source is None and crops is not None:
        raise UsageError(
            "crops are cut from a folder of pictures, not from held-out pairs",
            hint="leave out `--crops`, or name a folder of pictures: `--data FOLDER`",
        )
    if source is None:
        pair_file = find_pair_file(config.data.source, PAIR_FILES[0])
    else:
        pair_file = find_pair_file(source, PAIR_FILES[1])
    if pair_file is not None:
        given = {"--noise": noise, "--crops": crops, "--seed": seed}
        unused = " and ".join(f"`{option}`" for option, value in given.items() if value is not None)
        if unused:
            raise UsageError(
                f"{unused} cannot be used: the pairs of `{pair_file}` bring their own noise and size",
                hint=f"leave out {unused}, or name a folder of pictures: `--data FOLDER`",
            )
    noise = config.data.noise if noise is None else noise
    seed = 0 if seed is None else seed
    if source is None:
        data = replace(config.data, noise=noise)
        held_out = open_dataset(data, channels, seed=config.train.seed, threads=model.threads).validation
        yield from _score_pairs(model, held_out)
    elif pair_file is not None:
        if pair_file.name == PAIR_FILES[0]:
            raise DataError(
                f"`{pair_file}` holds pairs (noisy, noisy) to learn from; a score needs clean pictures",
                hint=f"name the file of pairs (noisy, clean): `--data {pair_file.with_name(PAIR_FILES[1])}`",
            )
        pairs = read_pair_file(pair_file)
        found = pairs.noisy.shape[1]
        if found != channels:
            raise DataError(
                f"the pictures of `{pair_file}` have {found} channels, the network takes {channels}",
                hint=f"pairs of {channels} channels, or a checkpoint of a network that takes {found}",
            )
        yield from _score_pairs(model, pairs)
    elif crops is not None:
        noise_model = parse_noise(noise)
        pictures, _ = read_folder(Path(source), channels, smallest=config.data.size * noise_model.scale)
        pairs_of_crops = CropPairs(pictures, crops, config.data.size, noise_model, seed=seed, clean_target=True)
        yield from _score_pairs(model, pairs_of_crops)
    else:
        yield from _score_files(model, Path(source), channels, noise, seed)


def _score_pairs(model: Model, pairs: Pairs) -> Iterator[Score]:
    noisy_errors, errors = measure(model, pairs)
    for i, (noisy_error, error) in enumerate(zip(noisy_errors, errors, strict=True)):
        yield Score(f"pair {i}", noisy_error, error)


def _score_files(model: Model, folder: Path, channels: int, noise: str, seed: int) -> Iterator[Score]:
    noise_model = parse_noise(noise)
    for i, path in enumerate(image_files(folder)):
        source = read_pixels(path, channels)
        if min(source.shape[:2]) < noise_model.scale:
            h, w = source.shape[:2]
            raise DataError(
                f"`{path}` has {h}x{w} pixels, less than one block of {noise}",
                hint=f"take pictures below {noise_model.scale} pixels out of the folder, or use a smaller block",
            )
        clean = np.moveaxis(noise_model.clean(source), -1, 0)  # (C, H, W)
        noisy = np.moveaxis(noise_model.draw(source, rng=np.random.default_rng([seed, i])), -1, 0)
        denoised = model.predict(noisy[None])[0]
        yield Score(path.name, mean_squared_error(noisy, clean), mean_squared_error(denoised, clean))
