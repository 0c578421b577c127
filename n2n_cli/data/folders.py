"""Picture files of a folder, their names and sizes, and a check of channels."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from n2n_cli.errors import DataError, ImageError
from n2n_cli.images import FORMATS, has_ending, picture_size, skipped_notes
from n2n_cli.nn.functional import Pair

PAIR_ENDINGS = (".pkl", ".pth", ".pt")
"""File name extensions of files that hold pairs as arrays."""


def image_files(folder: Path) -> list[Path]:
    """List the image files directly in a folder, sorted by name, without hidden ones.

    Raises
    ------
    DataError
        When the folder does not exist, cannot be read, or holds no image file.
    """
    files = [path for path in _files(folder) if has_ending(path)]
    if not files:
        raise DataError(
            "; ".join([f"the folder `{folder}` holds no pictures", *notes_on_others(folder)]),
            hint="looked for " + ", ".join(FORMATS) + "; not in subfolders",
        )
    return files


def notes_on_others(*folders: Path) -> tuple[str, ...]:
    """Note the pictures in folders whose formats n2n cannot read.

    `image_files` leaves these files out.

    Raises
    ------
    DataError
        When a folder cannot be read.
    """
    others = {folder: [path for path in _files(folder) if not has_ending(path)] for folder in folders}
    return tuple(note for folder, paths in others.items() for note in skipped_notes(paths, folder))


def _files(folder: Path) -> list[Path]:
    # A hidden `._photo.jpg` holds macOS metadata of photo.jpg, not a picture.
    return [path for path in entries(folder) if not path.name.startswith(".") and path.is_file()]


def matched(first: Sequence[Path], second: Sequence[Path]) -> tuple[list[tuple[Path, Path]], list[Path], list[Path]]:
    """Match files of two lists by their names.

    Equal names are matched first, then names that differ only in Unicode normalisation, as names written by macOS do.

    Returns
    -------
    pairs : list of (Path, Path)
        Matched files, in the order of `first`.
    first_alone, second_alone : list of Path
        Files without a match.
    """
    pairs: dict[Path, Path] = {}
    taken = set[Path]()
    for key in (lambda path: path.name, lambda path: unicodedata.normalize("NFC", path.name)):
        free = {key(path): path for path in second if path not in taken}
        for path in first:
            if path not in pairs and key(path) in free:
                pairs[path] = free.pop(key(path))
                taken.add(pairs[path])
    ordered = [(path, pairs[path]) for path in first if path in pairs]
    return ordered, [path for path in first if path not in pairs], [path for path in second if path not in taken]


def find_file(folder: Path, name: str) -> Path:
    """Path of a named file below a folder, in the Unicode normalisation used on disk.

    If there is no such file, the name is used unchanged.
    """
    found = folder
    for part in Path(name).parts:
        if not os.path.lexists(found / part):
            with suppress(OSError):
                wanted = unicodedata.normalize("NFC", part)
                names = (path.name for path in found.iterdir())
                part = next((name for name in names if unicodedata.normalize("NFC", name) == wanted), part)
        found = found / part
    return found


def picture_sizes(paths: Iterable[Path]) -> tuple[dict[Path, Pair], list[str]]:
    """Read (rows, columns) of each picture file; list problems of unreadable files."""
    sizes, problems = {}, []
    for path in dict.fromkeys(paths):
        try:
            sizes[path] = picture_size(path)
        except ImageError as error:
            problems.append(error.message)
    return sizes, problems


def subfolders(folder: Path) -> list[Path]:
    """List the folders directly in a folder, sorted by name, without hidden ones.

    Raises
    ------
    DataError
        When the folder does not exist or cannot be read.
    """
    return [path for path in entries(folder) if not path.name.startswith(".") and path.is_dir()]


def entries(folder: Path) -> list[Path]:
    """List all entries of a folder, sorted by name.

    Raises
    ------
    DataError
        When the folder does not exist or cannot be read.
    """
    hint = "a data source is a folder of pictures, or a file of pairs: " + ", ".join(PAIR_ENDINGS)
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        raise DataError(f"there is no folder `{folder}`", hint=hint) from None
    except NotADirectoryError:
        raise DataError(f"`{folder}` is not a folder of pictures", hint=hint) from None
    except OSError as error:
        raise DataError(f"the folder `{folder}` cannot be read: {error.strerror}") from None


def check_channels(channels: int) -> None:
    """Check that a network takes the channels of gray or RGB pictures.

    Raises
    ------
    DataError
        When `channels` is neither 1 nor 3.
    """
    if channels not in (1, 3):
        raise DataError(
            f"the network takes {channels} channels; pictures have 1 (gray) or 3 (RGB)",
            hint=f"`network.channels` of 1 or 3, or a file of pairs with {channels} channels",
        )
