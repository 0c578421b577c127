"""Training and validation pairs of real noisy pictures."""

from __future__ import annotations

from pathlib import Path

from n2n_cli.config import DataConfig
from n2n_cli.data.folders import check_channels, notes_on_others
from n2n_cli.data.pairs import HELD_OUT, Dataset, how_often
from n2n_cli.data.scenes import Shots, read_scenes
from n2n_cli.data.set_values import values_note, values_of_set
from n2n_cli.data.shot_crops import ShotCrops
from n2n_cli.data.shot_pairs import ShotPairs
from n2n_cli.data.shots import Scene, burst_places, bursts, listed_pairs, paired_folders, single_pictures
from n2n_cli.data.single_pairs import SinglePairs
from n2n_cli.errors import DataError, counted

_PART = 5
"""Divisor of a single scene: the last 1/5 of it is held out for validation."""


def open_shots(config: DataConfig, channels: int, *, seed: int) -> Dataset:
    """Open training and validation pairs of shots or of single noisy pictures.

    Whole scenes are held out: no crop of a validation scene is in the training pairs.

    Raises
    ------
    DataError
        When the source is missing or too small, or shots cannot be used; the message lists all problems.
    """
    check_channels(channels)
    single = config.kind == "single"
    kind: type[ShotCrops] = SinglePairs if single else ShotPairs
    smallest = 2 * config.size if single else config.size
    scenes = _scenes(config)
    values = values_of_set([path for scene in scenes for path in scene.shots], config.values)
    shots, notes = read_scenes(
        scenes, smallest=smallest, match_exposure=config.match_exposure, align=config.align, values=values
    )
    notes = notes_on_others(*_folders(config)) + notes
    trained, held_out, how = _split(shots, smallest)
    options = {"redraw": config.redraw, "recrop": config.recrop, "augment": config.augment}
    train = kind(trained, config.pairs, config.size, channels, seed=seed, **options)
    validation = kind(held_out, config.validation_pairs, config.size, channels, seed=seed, validation=True)
    redrawn = how_often(config.redraw)
    crops = f"crops cut {how_often(config.recrop)}, flips and rotations drawn {how_often(config.augment)}"
    start = "there is no clean picture: validation PSNR is"
    end = "whose noise keeps it low; it is the figure to watch, not one to quote"
    if single:
        notes += (
            f"{counted(len(trained), 'picture')} for training; {how.replace('scene', 'picture')}",
            "the pictures have their own noise, which must be independent between pixels: `data.noise` is not used",
            f"neighbours drawn {redrawn}, {crops}",
            f"{start} of one neighbour against the other, {end}",
        )
        return Dataset(train, validation, values_note(values) + notes, values)
    several = any(len(one.scene.targets(shot)) > 1 for one in held_out for shot, _ in one.scene.pairs)
    against = "the mean of the scene's other shots" if several else "the other shot"
    notes += (
        f"{counted(len(trained), 'scene')} for training, with "
        f"{counted(sum(len(one.pixels) for one in trained), 'shot')} and "
        f"{counted(sum(len(one.scene.pairs) for one in trained), 'pair')} of shots; {how}",
        "the shots have their own noise: `data.noise` is not used",
        f"pairs of shots drawn {redrawn}, {crops}",
        f"{start} against {against}, {end}",
    )
    return Dataset(train, validation, values_note(values) + notes, values)


def _folders(config: DataConfig) -> list[Path]:
    """List the folders that hold the shots of `_scenes`; none for a table."""
    source = Path(config.source)
    if config.kind == "bursts":
        return [place for place in burst_places(source) if place.is_dir()]
    return [source, *([Path(config.second)] if config.second else [])] if source.is_dir() else []


def _scenes(config: DataConfig) -> list[Scene]:
    source = Path(config.source)
    if config.kind == "single":
        return single_pictures(source)
    if config.kind == "bursts":
        return bursts(source)
    return paired_folders(source, Path(config.second)) if config.second else listed_pairs(source)


def _split(shots: list[Shots], size: int) -> tuple[list[Shots], list[Shots], str]:
    """Split scenes for training and for validation; describe the split in words."""
    if len(shots) > 1:
        held_out = shots[::HELD_OUT]
        trained = [one for i, one in enumerate(shots) if i % HELD_OUT]
        return trained, held_out, f"{counted(len(held_out), 'scene')} held out whole for validation"
    (only,) = shots
    axis = int(only.size[1] >= only.size[0])
    side = only.size[axis]
    cut = side - max(size, side // _PART)
    if cut < size:
        raise DataError(
            f"`{only.scene.shots[0]}` is the only scene, and too small for a training part and a validation part of "
            f"{size} pixels each",
            hint="another scene, or a smaller `data.size`",
        )
    whole = slice(None)
    near, far = ((whole, cut_at) if axis else (cut_at, whole) for cut_at in (slice(cut), slice(cut, None)))
    what = "columns" if axis else "rows"
    return [only.part(*near)], [only.part(*far)], f"the last {side - cut} {what} of this only scene are held out"
