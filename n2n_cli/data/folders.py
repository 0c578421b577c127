"""Picture files of a folder, their sizes, and channels that a network may have."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from n2n_cli.errors import DataError, ImageError
from n2n_cli.images import FORMATS, picture_size
from n2n_cli.nn.functional import Pair

PAIR_ENDINGS = (".pkl", ".pth", ".pt")
"""Endings of files that hold pairs as arrays."""


def image_files(folder: Path) -> list[Path]:
    """Image files directly in a folder, sorted by name, without hidden ones.

    Raises
    ------
    DataError
        When there is no such folder, it may not be read, or it holds no image file.
    """
    # A hidden `._photo.jpg` holds macOS's metadata of photo.jpg, not a picture.
    files = [
        path
        for path in entries(folder)
        if path.suffix.lower() in FORMATS and not path.name.startswith(".") and path.is_file()
    ]
    if not files:
        raise DataError(
            f"the folder `{folder}` holds no pictures", hint="looked for " + ", ".join(FORMATS) + "; not in subfolders"
        )
    return files


def picture_sizes(paths: Iterable[Path]) -> tuple[dict[Path, Pair], list[str]]:
    """(rows, columns) of each picture file, and problems with those that are unreadable."""
    sizes, problems = {}, []
    for path in dict.fromkeys(paths):
        try:
            sizes[path] = picture_size(path)
        except ImageError as error:
            problems.append(error.message)
    return sizes, problems


def subfolders(folder: Path) -> list[Path]:
    """Folders directly in a folder, sorted by name, without hidden ones.

    Raises
    ------
    DataError
        When there is no such folder, or it may not be read.
    """
    return [path for path in entries(folder) if not path.name.startswith(".") and path.is_dir()]


def entries(folder: Path) -> list[Path]:
    """All entries of a folder, sorted by name.

    Raises
    ------
    DataError
        When there is no such folder, or it may not be read.
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
        When it takes another number than 1 or 3.
    """
    if channels not in (1, 3):
        raise DataError(
            f"the network takes {channels} channels; pictures have 1 (gray) or 3 (RGB)",
            hint=f"`network.channels` of 1 or 3, or a file of pairs with {channels} channels",
        )
