"""Noisy pictures with their ground truth, on which a denoiser is evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from n2n_cli.config import Config, DataConfig
from n2n_cli.data.folders import image_files, matched, notes_on_others
from n2n_cli.data.pairs import CropPairs, Pairs
from n2n_cli.data.set_values import read_pixels
from n2n_cli.data.sources import (
    PAIR_FILES,
    find_pair_file,
    open_dataset,
    read_folder,
    read_pair_file,
)
from n2n_cli.errors import DataError, ImageError, UsageError, listed
from n2n_cli.images import Picture, picture_size, read_picture, upright
from n2n_cli.images.pixels import to_float, to_integer
from n2n_cli.nn.functional import Array
from n2n_cli.noise import parse_noise
from n2n_cli.values.choice import values_by_text
from n2n_cli.values.prepared import Prepared
from n2n_cli.values.transform import Values

_BATCH_SIZE = 100
_PIXELS_AT_ONCE = 2**24
"""Maximum pixels of a batch of held-out pairs."""
_MOST_PAIRS, _MOST_PIXELS = 10_000, 2**26
"""Maximum number of held-out pairs, and of their pixels: a checkpoint from others may ask for any number."""


@dataclass(frozen=True)
class EvaluationBatch:
    """Pictures of one size, with their ground truth.

    Attributes
    ----------
    names : tuple of str
    noisy, clean : (N, C, H, W) arrays
        Black is 0 and white is 1; noisy values may be outside that range. For a measured picture, `noisy` is the
        network input, and `clean` is in the picture's own units.
    prepared : Prepared or None
        The measured picture, in a batch of one; None for display pictures.
    """

    names: tuple[str, ...]
    noisy: Array
    clean: Array
    prepared: Prepared | None = None


@dataclass(frozen=True)
class EvaluationSet:
    """Noisy pictures with their ground truth, read or generated on demand.

    Attributes
    ----------
    count : int
        Number of pictures.
    batches : iterator of EvaluationBatch
    notes : tuple of str
        Messages for the user about the pictures.
    """

    count: int
    batches: Iterator[EvaluationBatch]
    notes: tuple[str, ...] = ()


def open_evaluation_set(
    config: Config,
    source: str | None,
    clean: str | None = None,
    noise: str | None = None,
    *,
    crops: int | None = None,
    seed: int | None = None,
    clip: bool = False,
    page: int | None = None,
    threads: int | None = None,
) -> EvaluationSet:
    """Open the pictures to score; parameters are those of `scores.evaluate`.

    Raises
    ------
    DataError, ImageError, CheckpointError
        When the source cannot be used.
    UsageError
        When noise, crops, a seed or clipping are given for pairs whose noise and size are fixed.
    """
    channels = config.network.channels
    given = {"--noise": noise, "--crops": crops, "--seed": seed, "--clip": clip or None}
    unused = " and ".join(f"`{option}`" for option, value in given.items() if value is not None)
    if config.data.frames > 1:
        raise UsageError(
            f"the model takes {config.data.frames} frames of a movie, not single pictures",
            hint="denoise the movie, and compare it with the clean one: `n2n compare noisy.tif denoised.tif clean.tif`",
        )
    if source is None and config.data.kind == "movie":
        raise UsageError(
            "the held-out frames of a movie have no clean pictures to be scored against",
            hint="the run's `metrics.jsonl` has the scores against neighbouring frames; `--data FOLDER` names others",
        )
    if clean is not None:
        return _real_pairs(source, clean, config, unused, page)
    if source is None and config.data.kind != "pictures" and (noise is not None or clip):
        raise UsageError(
            f"{unused} cannot be used: the model was trained on shots, which have their own noise",
            hint=f"leave out {unused}, or name a folder of clean pictures: `--data FOLDER`",
        )
    if source is None and crops is not None:
        raise UsageError(
            "crops are cut from a folder of pictures, not from held-out pairs",
            hint="leave out `--crops`, or name a folder of pictures: `--data FOLDER`",
        )
    if source is None:
        pair_file = find_pair_file(config.data.source, PAIR_FILES[0])
    else:
        pair_file = find_pair_file(source, PAIR_FILES[1])
    if pair_file is not None and page is not None:
        raise UsageError(
            f"`--page` cannot be used: the pairs of `{pair_file}` have no pages", hint="leave out `--page`"
        )
    if pair_file is not None and unused:
        raise UsageError(
            f"{unused} cannot be used: the pairs of `{pair_file}` have their own noise and size",
            hint=f"leave out {unused}, or name a folder of pictures: `--data FOLDER`",
        )
    if source is not None and pair_file is not None:
        return _from_pairs(_read_pair_file(pair_file, channels))
    made = _synthetic_set(config, source, noise, crops=crops, seed=seed, page=page, threads=threads)
    return replace(made, batches=map(_as_8_bits, made.batches)) if clip else made


def _synthetic_set(
    config: Config,
    source: str | None,
    noise: str | None,
    *,
    crops: int | None,
    seed: int | None,
    page: int | None,
    threads: int | None,
) -> EvaluationSet:
    """Add noise to clean pictures; without a source, open the held-out pairs."""
    channels = config.network.channels
    noise = config.data.noise if noise is None else noise
    if source is None:
        return _held_out(replace(config.data, noise=noise), channels, seed=config.train.seed, threads=threads)
    if crops is not None:
        noise_model = parse_noise(noise)
        pictures, notes = read_folder(Path(source), channels, smallest=config.data.size * noise_model.scale)
        size = config.data.size
        pairs = _from_pairs(CropPairs(pictures, crops, size, noise_model, seed=seed or 0, validation=True))
        return replace(pairs, notes=notes)
    parse_noise(noise)
    files = image_files(Path(source))
    batches = _add_noise(files, channels, noise, seed or 0, page)
    return EvaluationSet(len(files), batches, notes_on_others(Path(source)))


def _held_out(data: DataConfig, channels: int, *, seed: int, threads: int | None) -> EvaluationSet:
    """Open the pairs that a training held out, at most `_MOST_PAIRS`."""
    pixels = (data.size * parse_noise(data.noise).scale) ** 2
    most = min(_MOST_PAIRS, _MOST_PIXELS // pixels)
    if most == 0:
        raise DataError(
            f"a picture that the training held out has {pixels:,} pixels",
            hint="name pictures to evaluate on: `--data FOLDER`",
        )
    # Training pairs are not used, so only one is prepared.
    limited = replace(data, pairs=1, validation_pairs=min(data.validation_pairs, most))
    at_once = max(1, min(_BATCH_SIZE, _PIXELS_AT_ONCE // data.size**2))
    found = _from_pairs(open_dataset(limited, channels, seed=seed, threads=threads).validation, at_once)
    if limited.validation_pairs == data.validation_pairs:
        return found
    return replace(found, notes=(f"only {most:,} of {data.validation_pairs:,} held-out pairs are measured",))


def _from_pairs(pairs: Pairs, at_once: int = _BATCH_SIZE) -> EvaluationSet:
    """Make an evaluation set of pairs (noisy, clean), in batches of `at_once`.

    Pairs are named by their indices.
    """
    batches = (
        EvaluationBatch(tuple(f"pair {i}" for i in indices), *pairs.batch(indices))
        for indices in batch_indices(len(pairs), at_once)
    )
    return EvaluationSet(len(pairs), batches)


def batch_indices(count: int, at_once: int = _BATCH_SIZE) -> list[Array]:
    """Split the indices of `count` pairs into batches.

    The batch size is the same on every machine, because rounding may depend on it.
    """
    indices = np.arange(count)
    return [indices[start : start + at_once] for start in range(0, count, at_once)]


def _read_pair_file(path: Path, channels: int) -> Pairs:
    if path.name == PAIR_FILES[0]:
        raise DataError(
            f"`{path}` holds training pairs (noisy, noisy); a score needs clean pictures",
            hint=f"name the file of pairs (noisy, clean): `--data {path.with_name(PAIR_FILES[1])}`",
        )
    pairs = read_pair_file(path)
    found = pairs.noisy.shape[1]
    if found != channels:
        raise DataError(
            f"the pictures of `{path}` have {found} channels, the network takes {channels}",
            hint=f"pairs of {channels} channels, or a checkpoint of a network that takes {found}",
        )
    return pairs


def _add_noise(files: list[Path], channels: int, noise: str, seed: int, page: int | None) -> Iterator[EvaluationBatch]:
    noise_model = parse_noise(noise)
    for i, path in enumerate(files):
        source = read_pixels(path, channels, page=page)
        if min(source.shape[:2]) < noise_model.scale:
            h, w = source.shape[:2]
            raise DataError(
                f"`{path}` has {h}x{w} pixels, less than one block of {noise}",
                hint=f"remove pictures below {noise_model.scale} pixels from the folder, or use a smaller block",
            )
        noisy = noise_model.draw(source, rng=np.random.default_rng([seed, i]))
        yield _single(path.name, noisy, noise_model.clean(source))


def _as_8_bits(batch: EvaluationBatch) -> EvaluationBatch:
    """Clip and round the noisy pictures to 8 bits, as a file stores them."""
    return replace(batch, noisy=to_float(to_integer(batch.noisy, np.uint8)))


def _real_pairs(source: str | None, clean: str, config: Config, unused: str, page: int | None) -> EvaluationSet:
    """Pair each noisy picture with the clean picture of the same name in `clean`."""
    if source is None:
        raise UsageError(
            "`--clean` needs the noisy pictures, too", hint=f"add their folder: `--data NOISY --clean {clean}`"
        )
    if unused:
        raise UsageError(
            f"{unused} cannot be used: the pictures of `{source}` are already noisy",
            hint=f"leave out {unused}; or leave out `--clean`, to add noise to the pictures of `--data`",
        )
    folders = Path(source), Path(clean)
    pairs = _matched_pairs(*folders)
    return EvaluationSet(len(pairs), _read_pairs(pairs, config, page), notes_on_others(*folders))


def _matched_pairs(source: Path, folder: Path) -> list[tuple[Path, Path]]:
    """Match noisy and clean pictures of equal names and sizes in two folders."""
    pairs, noisy_alone, clean_alone = matched(image_files(source), image_files(folder))
    problems = [f"`{path.name}` has no clean picture" for path in noisy_alone]
    problems += [f"`{path.name}` has no noisy picture" for path in clean_alone]
    for noisy, clean in pairs:
        try:
            (h, w), (rows, columns) = picture_size(noisy), picture_size(clean)
        except ImageError as error:
            problems.append(error.message)
            continue
        if (h, w) != (rows, columns):
            problems.append(f"`{noisy.name}` is {w}x{h} noisy and {columns}x{rows} clean")
    if problems:
        raise DataError(
            f"`{source}` and `{folder}` do not hold the same pictures: {listed(problems)}",
            hint="a pair is two pictures of the same file name and size (width x height), one in each folder",
        )
    return pairs


def _read_pairs(pairs: list[tuple[Path, Path]], config: Config, page: int | None) -> Iterator[EvaluationBatch]:
    channels, trained = config.network.channels, config.data.values
    for path, other in pairs:
        picture, truth = (upright(read_picture(file, page=page)) for file in (path, other))
        if picture.pixels.shape[:2] != truth.pixels.shape[:2]:
            raise DataError(f"the pages {page} of `{path}` and `{other}` differ in size", hint="choose another page")
        values = values_by_text(trained, picture)
        if values.measured:
            yield _measured(path.name, picture, truth, values)
        else:
            noisy, clean = (to_float(read_pixels(file, channels, page=page)) for file in (path, other))
            yield _single(path.name, noisy, clean)


def _measured(name: str, noisy: Picture, clean: Picture, values: Values) -> EvaluationBatch:
    """Make a batch of one measured picture, with its own number of channels."""
    if noisy.pixels.shape[2] != clean.pixels.shape[2]:
        raise DataError(f"`{name}` is gray in one folder and RGB in the other", hint="convert one of them")
    prepared = Prepared(noisy, values)
    batch = _single(name, prepared.picture.pixels, clean.pixels.astype(np.float64))
    return replace(batch, prepared=prepared)


def _single(name: str, noisy: Array, clean: Array) -> EvaluationBatch:
    """Make a batch of one picture from (H, W, C) arrays."""
    return EvaluationBatch((name,), np.moveaxis(noisy, -1, 0)[None], np.moveaxis(clean, -1, 0)[None])
