"""Pictures and pair files -> numbered training pairs.

A pair has a number, and what it shows depends on the seed, the epoch and that number alone: not on the order in which
pairs are asked for, nor on how many are asked for at once.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from n2n_cli.checkpoint import read_checkpoint
from n2n_cli.config import DEAD_LEAVES, DataConfig
from n2n_cli.dead_leaves import dead_leaves
from n2n_cli.errors import DataError, ImageError
from n2n_cli.files import replacing
from n2n_cli.images import FORMATS, picture_size, read_pixels
from n2n_cli.machine import available_cores
from n2n_cli.nn.functional import Array
from n2n_cli.noise import NoiseModel, parse_noise
from n2n_cli.pixels import to_float

HELD_OUT = 20
"""Every 20th picture is kept from training, to measure it."""
MEMORY = 4_000_000_000
"""Bytes of pictures that are kept in memory; of a larger folder, a part of every picture is used."""
BUILT_IN_PIXELS = 20 * 2**20
"""Of all built-in pictures together."""
BUILT_IN_VERSION = 2
PAIR_FILES = ("train_data.pkl", "val_data.pkl")
"""The EPFL course's files: two uint8 arrays (N, C, H, W) each, noisy and noisy, noisy and clean."""

_PAIR_ENDINGS = (".pkl", ".pth", ".pt")
_CROPS, _NOISE = 1, 2


class Pairs(Protocol):
    """Numbered pairs of pictures."""

    def __len__(self) -> int: ...

    def batch(self, numbers: Sequence[int] | Array, epoch: int = 0) -> tuple[Array, Array]:
        """Pairs `numbers` of an epoch: noisy pictures and their targets, each (N, C, H, W) float32."""


class CropPairs:
    """Random crops of pictures, flipped at random, with noise drawn on top.

    Parameters
    ----------
    pictures : sequence of (H, W, C) integer arrays
        Each at least size * noise.scale pixels high and wide.
    count : int
        Number of pairs.
    size : int
        Side of a noisy picture, in pixels.
    noise : NoiseModel
    seed : int
    clean_target : bool
        Whether the target is the clean picture (to measure) or another noisy view (to train).
    redraw : bool
        Whether every epoch has noise of its own.
    """

    def __init__(
        self,
        pictures: Sequence[Array],
        count: int,
        size: int,
        noise: NoiseModel,
        *,
        seed: int,
        clean_target: bool = False,
        redraw: bool = False,
    ) -> None:
        self.pictures, self.size, self.noise, self.seed = pictures, size, noise, seed
        self.clean_target, self.redraw = clean_target, redraw
        self._crop = size * noise.scale
        rng = _generator(seed, _CROPS + 10 * clean_target, 0, 0)
        self._places = rng.random((count, 2), dtype=np.float32)  # of the crop in its picture, each way in [0, 1)
        self._flips = rng.integers(4, size=count, dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._places)

    def batch(self, numbers: Sequence[int] | Array, epoch: int = 0) -> tuple[Array, Array]:
        channels = self.pictures[0].shape[2]
        # Channels last in memory, as pictures are stored and as the kernels like it.
        noisy, target = (np.empty((len(numbers), self.size, self.size, channels), np.float32) for _ in range(2))
        for i, number in enumerate(numbers):
            source = self._source(int(number))
            rng = _generator(self.seed, _NOISE + 10 * self.clean_target, epoch if self.redraw else 0, int(number))
            noisy[i] = self.noise.draw(source, rng=rng)
            target[i] = self.noise.clean(source) if self.clean_target else self.noise.draw(source, rng=rng)
        return np.moveaxis(noisy, -1, 1), np.moveaxis(target, -1, 1)  # (N, C, H, W)

    def _source(self, number: int) -> Array:
        picture = self.pictures[number % len(self.pictures)]
        place, flips = self._places[number], self._flips[number]
        y, x = (int(place[axis] * (picture.shape[axis] - self._crop + 1)) for axis in (0, 1))
        crop = picture[y : y + self._crop, x : x + self._crop]
        return crop[:: -1 if flips & 1 else 1, :: -1 if flips & 2 else 1]


class ArrayPairs:
    """Pairs that are given: two integer arrays (N, C, H, W) of the same shape."""

    def __init__(self, noisy: Array, target: Array) -> None:
        self.noisy, self.target = noisy, target

    def __len__(self) -> int:
        return len(self.noisy)

    def batch(self, numbers: Sequence[int] | Array, epoch: int = 0) -> tuple[Array, Array]:
        chosen = np.asarray(numbers, np.intp)
        return to_float(self.noisy[chosen]), to_float(self.target[chosen])


@dataclass(frozen=True)
class Dataset:
    """What a training learns from and what it is measured on (noisy and clean); `notes` tell the user about it."""

    train: Pairs
    validation: Pairs
    notes: tuple[str, ...]


def open_dataset(config: DataConfig, channels: int, *, seed: int, threads: int | None = None) -> Dataset:
    """The training and validation pairs that a configuration names.

    Parameters
    ----------
    channels : int
        Of the network's pictures.
    threads : int, optional
        Make the built-in pictures; by default one for each core that this process may use.

    Raises
    ------
    DataError, ImageError, CheckpointError
        When the source is missing, damaged, too small, or does not fit the network.
    """
    pair_file = find_pair_file(config.source, PAIR_FILES[0])
    if pair_file is not None:
        return _pair_files(pair_file, config, channels)
    noise = parse_noise(config.noise)
    crop = config.size * noise.scale
    if config.source == DEAD_LEAVES:
        pictures, notes = built_in_pictures(crop, channels, threads=threads)
    else:
        pictures, notes = read_folder(Path(config.source), channels, smallest=crop)
    if len(pictures) < 2:
        raise DataError(
            f"`{config.source}` holds one usable picture; training needs a second one to measure itself on",
            hint="cut the picture in two, or add one",
        )
    # Pair i shows picture i, counted round: those beyond the last pair are not shown at all.
    held_out = pictures[::HELD_OUT][: config.validation_pairs]
    trained = [picture for i, picture in enumerate(pictures) if i % HELD_OUT][: config.pairs]
    train = CropPairs(trained, config.pairs, config.size, noise, seed=seed, redraw=config.redraw)
    validation = CropPairs(held_out, config.validation_pairs, config.size, noise, seed=seed, clean_target=True)
    notes += (
        f"{len(trained)} pictures to learn from, {len(held_out)} held out to measure",
        f"noise {config.noise}, drawn " + ("anew every epoch" if config.redraw else "once: every epoch is the same"),
        f"the Noise2Noise loss levels off at {noise.floor}: validation PSNR is the figure to watch",
    )
    return Dataset(train, validation, notes)


def image_files(folder: Path) -> list[Path]:
    """The image files directly in a folder, by name, without the hidden ones.

    Raises
    ------
    DataError
        When there is no such folder, it may not be read, or it holds no image file.
    """
    hint = "a data source is a folder of pictures, or a file of pairs: " + ", ".join(_PAIR_ENDINGS)
    try:
        # A hidden `._photo.jpg` is macOS's record about photo.jpg, not a picture.
        files = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in FORMATS and not path.name.startswith(".") and path.is_file()
        )
    except FileNotFoundError:
        raise DataError(f"there is no folder `{folder}`", hint=hint) from None
    except NotADirectoryError:
        raise DataError(f"`{folder}` is not a folder of pictures", hint=hint) from None
    except OSError as error:
        raise DataError(f"the folder `{folder}` cannot be read: {error.strerror}") from None
    if not files:
        raise DataError(
            f"the folder `{folder}` holds no pictures", hint="looked for " + ", ".join(FORMATS) + "; not in subfolders"
        )
    return files


def read_folder(folder: Path, channels: int, *, smallest: int) -> tuple[list[Array], tuple[str, ...]]:
    """The pictures of a folder that are at least `smallest` pixels high and wide, and notes for the user.

    Returns
    -------
    pictures : list of (H, W, channels) integer arrays
    notes : tuple of str

    Raises
    ------
    DataError
        When the folder cannot be read or no picture is large enough.
    ImageError
        Names every file that cannot be read.
    """
    _check_channels(channels)
    files = image_files(folder)
    sizes, problems = {}, []
    for path in files:
        try:
            sizes[path] = picture_size(path)
        except ImageError as error:
            problems.append(error.message)
    usable = [path for path, size in sizes.items() if min(size) >= smallest]
    total = sum(math.prod(sizes[path]) for path in usable) * channels
    pictures, least = [], 1.0
    for path in usable:
        try:
            pixels = read_pixels(path, channels)
        except ImageError as error:
            problems.append(error.message)
            continue
        share = math.sqrt(min(1, MEMORY / (total * pixels.itemsize)))  # of each side
        h, w = (max(smallest, int(side * share)) for side in pixels.shape[:2])
        y, x = (pixels.shape[0] - h) // 2, (pixels.shape[1] - w) // 2
        pictures.append(pixels if share == 1 else pixels[y : y + h, x : x + w].copy())
        least = min(least, share)
    if problems:
        raise ImageError(
            f"{len(problems)} of {len(files)} pictures cannot be read: " + "; ".join(problems),
            hint="mend them, or move them out of the folder",
        )
    if not pictures:
        raise DataError(
            f"no picture in `{folder}` is as large as {smallest}x{smallest} pixels",
            hint="a smaller `data.size`, or a noise model that needs fewer source pixels",
        )
    notes: tuple[str, ...] = ()
    if len(usable) < len(files):
        notes += (f"{len(files) - len(usable)} of {len(files)} pictures are smaller than {smallest} pixels: left out",)
    if least < 1:
        notes += (f"the pictures need more than {MEMORY / 1e9:g} GB: the middle {least:.0%} of each side is used",)
    return pictures, notes


def find_pair_file(source: str, name: str) -> Path | None:
    """The pair file that `source` is, or that is called `name` in the folder `source`; None for other sources."""
    path = Path(source)
    with suppress(OSError):  # a path that cannot be looked at is told of by whoever reads it
        if source != DEAD_LEAVES and path.is_dir():
            return path / name if (path / name).is_file() else None
    return path if path.suffix in _PAIR_ENDINGS else None


def read_pair_file(path: Path) -> ArrayPairs:
    """Two uint8 arrays (N, C, H, W) of the same shape, saved by `torch.save` as a 2-tuple.

    Raises
    ------
    CheckpointError
        When the file cannot be read, or is not safe to read.
    DataError
        When it holds something else.
    """
    if not os.access(path, os.R_OK):
        raise DataError(f"there is no file of pairs `{path}` that may be read")
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


def _pair_files(train_file: Path, config: DataConfig, channels: int) -> Dataset:
    validation_file = train_file.with_name(PAIR_FILES[1])
    if train_file == validation_file:
        raise DataError(
            f"`{train_file}` holds the pairs that training is measured on, not those to learn from",
            hint=f"name the file or the folder of `{PAIR_FILES[0]}`",
        )
    train = read_pair_file(train_file)
    if not validation_file.is_file():
        raise DataError(
            f"`{train_file}` has no `{PAIR_FILES[1]}` beside it",
            hint="it holds the pairs (noisy, clean) that training is measured on",
        )
    validation = read_pair_file(validation_file)
    for path, pairs in ((train_file, train), (validation_file, validation)):
        if pairs.noisy.shape[1] != channels:
            raise DataError(f"`{path}` has {pairs.noisy.shape[1]} channels, the network takes {channels}")
    train = ArrayPairs(train.noisy[: config.pairs], train.target[: config.pairs])
    validation = ArrayPairs(validation.noisy[: config.validation_pairs], validation.target[: config.validation_pairs])
    notes = (
        f"{len(train)} pairs of `{train_file}`, measured on {len(validation)} of `{validation_file}`",
        "the pairs bring their own noise and size: `data.noise` and `data.size` are not used",
        "the Noise2Noise loss levels off at the targets' noise variance: validation PSNR is the figure to watch",
    )
    return Dataset(train, validation, notes)


def built_in_pictures(
    smallest: int, channels: int, *, threads: int | None = None
) -> tuple[list[Array], tuple[str, ...]]:
    """Dead-leaves pictures of at least `smallest` pixels a side, made once and then kept in the user's cache folder.

    Raises
    ------
    DataError
        When the pictures would be too large, or cannot have so many channels.
    """
    _check_channels(channels)
    side = max(256, smallest)
    count = max(2 * HELD_OUT, BUILT_IN_PIXELS // side**2)
    if count * side**2 * 3 > MEMORY:
        raise DataError(
            f"built-in pictures of {side}x{side} pixels need more than {MEMORY / 1e9:g} GB",
            hint="a smaller `data.size`, or a noise model that needs fewer source pixels",
        )
    path = cache_folder() / f"dead-leaves-{BUILT_IN_VERSION}-{count}x{side}.npy"
    notes: tuple[str, ...] = ()
    pictures = _read_cache(path, (count, side, side, 3))
    if pictures is None:
        pictures = dead_leaves(count, side, seed=0, threads=available_cores() if threads is None else threads)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                np.save(file, pictures, allow_pickle=False)
            notes = (f"made {count} dead-leaves pictures of {side}x{side} pixels, kept in `{path}`",)
        except OSError as error:
            reason = error.strerror or error
            notes = (f"made {count} dead-leaves pictures; they could not be kept in `{path}`: {reason}",)
    if channels == 1:
        pictures = pictures.mean(axis=3, keepdims=True).astype(np.uint8)
    return list(pictures), notes


def cache_folder() -> Path:
    """Where this user's caches are: `$XDG_CACHE_HOME/n2n`, or `~/.cache/n2n`."""
    named = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(named or Path.home() / ".cache") / "n2n"
    except RuntimeError:  # a user without a home, as in some containers
        return Path(tempfile.gettempdir()) / "n2n"


def _read_cache(path: Path, shape: tuple[int, ...]) -> Array | None:
    with suppress(OSError, ValueError, EOFError):  # missing or damaged: it is made again
        pictures: Array = np.load(path, allow_pickle=False)
        if pictures.shape == shape and pictures.dtype == np.uint8:
            return pictures
    return None


def _check_channels(channels: int) -> None:
    if channels not in (1, 3):
        raise DataError(
            f"the network takes {channels} channels; pictures have 1 (gray) or 3 (RGB)",
            hint=f"`network.channels` of 1 or 3, or a file of pairs with {channels} channels",
        )


def _generator(seed: int, stream: int, epoch: int, number: int) -> np.random.Generator:
    """A generator for one sample: Philox counts, so that any (seed, stream, epoch, number) has numbers of its own."""
    # The lowest word of the counter runs while numbers are drawn.
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, 0, epoch, number]))
