"""Training and validation pairs of a configuration."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from n2n_cli.checkpoints.file import read_checkpoint
from n2n_cli.config import DataConfig
from n2n_cli.config.keys import DEAD_LEAVES
from n2n_cli.data.built_in import built_in_pictures
from n2n_cli.data.folders import PAIR_ENDINGS, check_channels, image_files, notes_on_others, picture_sizes
from n2n_cli.data.movie_sources import open_movie
from n2n_cli.data.movies import movie_of
from n2n_cli.data.pairs import HELD_OUT, ArrayPairs, CropPairs, Dataset, how_often
from n2n_cli.data.picture_memory import MAX_BYTES, cropped_note, middle, share_of_sides
from n2n_cli.data.set_values import read_pixels, values_note, values_of_set
from n2n_cli.data.shot_sources import open_shots
from n2n_cli.errors import DataError, ImageError, listed
from n2n_cli.nn.functional import Array
from n2n_cli.noise import parse_noise
from n2n_cli.values.transform import Values

PAIR_FILES = ("train_data.pkl", "val_data.pkl")
"""Files of the EPFL course with pairs (noisy, noisy) and (noisy, clean).

Each holds two uint8 arrays (N, C, H, W).
"""


def open_dataset(config: DataConfig, channels: int, *, seed: int, threads: int | None = None) -> Dataset:
    """Open the training and validation pairs of a configuration.

    Parameters
    ----------
    channels : int
        Channels of the network.
    threads : int, optional
        Threads that generate the built-in pictures. Default: one for each core of this process.

    Raises
    ------
    DataError, ImageError, CheckpointError
        When the source is missing, damaged, too small, or does not fit the network.
    """
    if config.kind == "movie":
        movie, notes = movie_of(config.source, config.axes)
        data = open_movie(config, channels, movie, seed=seed)
        return replace(data, notes=notes + data.notes)
    if config.frames > 1:
        raise DataError(
            f"the network takes {config.frames} frames of a movie, but `{config.source}` is not a movie",
            hint="`--movie FILE`, or a configuration with `data.frames` of 1",
        )
    if config.kind != "pictures":
        return open_shots(config, channels, seed=seed)
    pair_file = find_pair_file(config.source, PAIR_FILES[0])
    if pair_file is not None:
        return _pair_files(pair_file, config, channels, seed)
    noise = parse_noise(config.noise)
    target_noise = parse_noise(config.target_noise) if config.target_noise else noise
    if target_noise.scale != noise.scale:
        raise DataError(
            f"inputs with noise {config.noise} and targets with noise {config.target_noise} differ in pixel size",
            hint="leave `data.target_noise` out",
        )
    crop = config.size * noise.scale
    values = None
    if config.source == DEAD_LEAVES:
        check_channels(channels)
        pictures, notes = built_in_pictures(crop, channels, threads=threads)
    else:
        folder = Path(config.source)
        values = values_of_set(image_files(folder), config.values)
        pictures, notes = read_folder(folder, channels, smallest=crop, values=values)
    if len(pictures) < 2:
        raise DataError(
            f"`{config.source}` holds one usable picture; training needs a second one for validation",
            hint="cut the picture in two, or add another one",
        )
    # Pair i shows picture i modulo their number, so pictures beyond the last pair are never shown.
    held_out = pictures[::HELD_OUT][: config.validation_pairs]
    trained = [picture for i, picture in enumerate(pictures) if i % HELD_OUT][: config.pairs]
    train = CropPairs(
        trained,
        config.pairs,
        config.size,
        noise,
        target_noise=target_noise,
        seed=seed,
        redraw=config.redraw,
        recrop=config.recrop,
        recolour=config.recolour,
        gray=config.gray,
        shrink=config.shrink,
        clip_inputs=config.clip_inputs,
        augment=config.augment,
    )
    validation = CropPairs(
        held_out,
        config.validation_pairs,
        config.size,
        noise,
        seed=seed,
        validation=True,
        clip_inputs=config.clip_inputs,
    )
    of_targets = f", of targets {config.target_noise}" if config.target_noise else ""
    notes += (
        f"{len(trained)} pictures for training, {len(held_out)} held out for validation",
        f"noise {config.noise}{of_targets}, drawn {how_often(config.redraw)}",
        f"crops cut {how_often(config.recrop)}, flips and rotations drawn {how_often(config.augment)}",
        *(["colours of half of the crops changed, again every epoch"] if config.recolour else []),
        *([f"{config.gray:.0%} of the crops made gray, again every epoch"] if config.gray else []),
        *([f"half of the crops downscaled by {config.shrink:g} to 1, again every epoch"] if config.shrink < 1 else []),
        *(["half of the inputs clipped and rounded to 8 bits, no target"] if config.clip_inputs else []),
        f"the Noise2Noise loss levels off at {target_noise.floor}: validation PSNR is the figure to watch",
    )
    return Dataset(train, validation, values_note(values) + notes, values)


def read_folder(
    folder: Path, channels: int, *, smallest: int, values: Values | None = None, max_bytes: int = MAX_BYTES
) -> tuple[list[Array], tuple[str, ...]]:
    """Read the pictures of a folder that are at least `smallest` pixels a side.

    Parameters
    ----------
    values : Values, optional
        The transform of measured values.
    max_bytes : int
        Maximum size of all pictures together; if they are larger, the middle of each is used.

    Returns
    -------
    pictures : list of (H, W, channels) arrays, of integers or of floats
    notes : tuple of str

    Raises
    ------
    DataError
        When the folder cannot be read, or no picture is large enough.
    ImageError
        When files cannot be read; the message lists them.
    """
    check_channels(channels)
    files = image_files(folder)
    sizes, problems = picture_sizes(files)
    usable = [path for path, size in sizes.items() if min(size) >= smallest]
    total = sum(math.prod(sizes[path]) for path in usable) * channels
    pictures, least = [], 1.0
    for path in usable:
        try:
            pixels = read_pixels(path, channels, values)
        except ImageError as error:
            problems.append(error.message)
            continue
        share = share_of_sides(total * pixels.itemsize, max_bytes)
        pictures.append(middle(pixels, share, smallest))
        least = min(least, share)
    if problems:
        raise ImageError(
            f"{len(problems)} of {len(files)} pictures cannot be read: {listed(problems)}",
            hint="repair them, or move them out of the folder",
        )
    if not pictures:
        raise DataError(
            f"no picture in `{folder}` is as large as {smallest}x{smallest} pixels",
            hint="a smaller `data.size`, or a noise model that needs fewer source pixels",
        )
    notes = notes_on_others(folder)
    if len(usable) < len(files):
        notes += (f"{len(files) - len(usable)} of {len(files)} pictures are smaller than {smallest} pixels: left out",)
    if least < 1:
        notes += (cropped_note("pictures", least, max_bytes),)
    return pictures, notes


def find_pair_file(source: str, name: str) -> Path | None:
    """Find the pair file `source`, or `name` in the folder `source`; None if neither."""
    path = Path(source)
    with suppress(OSError):  # the error is reported when the path is read
        if source != DEAD_LEAVES and path.is_dir():
            return path / name if (path / name).is_file() else None
    return path if path.suffix in PAIR_ENDINGS else None


def read_pair_file(path: Path) -> ArrayPairs:
    """Read a pair file: two uint8 (N, C, H, W) tensors in a tuple, by `torch.save`.

    Raises
    ------
    CheckpointError
        When the file cannot be read, or is not safe to read.
    DataError
        When it does not hold such a tuple.
    """
    if not os.access(path, os.R_OK):
        raise DataError(f"there is no readable file of pairs `{path}`")
    tree = read_checkpoint(path)
    whole = isinstance(tree, tuple | list) and len(tree) == 2 and all(isinstance(part, np.ndarray) for part in tree)
    if not whole or tree[0].shape != tree[1].shape or tree[0].ndim != 4 or {p.dtype for p in tree} != {np.dtype("u1")}:
        found = " and ".join(f"{part.dtype} {part.shape}" for part in tree) if whole else "something else"
        raise DataError(
            f"`{path}` does not hold two uint8 arrays (N, C, H, W) of one shape, but {found}",
            hint="it is written by `torch.save((noisy, target), path)`, both tensors of torch.uint8",
        )
    if 0 in tree[0].shape:
        raise DataError(f"`{path}` holds no pairs: its arrays have shape {tree[0].shape}")
    return ArrayPairs(*tree)


def _pair_files(train_file: Path, config: DataConfig, channels: int, seed: int) -> Dataset:
    validation_file = train_file.with_name(PAIR_FILES[1])
    if train_file == validation_file:
        raise DataError(
            f"`{train_file}` holds the validation pairs, not the training pairs",
            hint=f"name the file or the folder of `{PAIR_FILES[0]}`",
        )
    train = read_pair_file(train_file)
    if not validation_file.is_file():
        raise DataError(
            f"`{train_file}` has no `{PAIR_FILES[1]}` beside it",
            hint="that file holds the validation pairs (noisy, clean)",
        )
    validation = read_pair_file(validation_file)
    for path, pairs in ((train_file, train), (validation_file, validation)):
        if pairs.noisy.shape[1] != channels:
            raise DataError(f"`{path}` has {pairs.noisy.shape[1]} channels, the network takes {channels}")
    train = ArrayPairs(train.noisy[: config.pairs], train.target[: config.pairs], seed=seed, augment=config.augment)
    validation = ArrayPairs(validation.noisy[: config.validation_pairs], validation.target[: config.validation_pairs])
    notes = (
        f"{len(train)} training pairs from `{train_file}`, {len(validation)} validation pairs from `{validation_file}`",
        "the pairs have their own noise and size: `data.noise` and `data.size` are not used",
        "the Noise2Noise loss levels off at the targets' noise variance: validation PSNR is the figure to watch",
    )
    return Dataset(train, validation, notes)
