"""Which picture files a folder holds, and whether a network takes pictures at all."""

from __future__ import annotations

from pathlib import Path

from n2n_cli.errors import DataError
from n2n_cli.images import FORMATS

PAIR_ENDINGS = (".pkl", ".pth", ".pt")
"""Of files that hold pairs as arrays."""


def image_files(folder: Path) -> list[Path]:
    """The image files directly in a folder, by name, without the hidden ones.

    Raises
    ------
    DataError
        When there is no such folder, it may not be read, or it holds no image file.
    """
    # A hidden `._photo.jpg` is macOS's record about photo.jpg, not a picture.
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


def subfolders(folder: Path) -> list[Path]:
    """The folders directly in a folder, by name, without the hidden ones.

    Raises
    ------
    DataError
        When there is no such folder, or it may not be read.
    """
    return [path for path in entries(folder) if not path.name.startswith(".") and path.is_dir()]


def entries(folder: Path) -> list[Path]:
    """All that is directly in a folder, by name.

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
    """See that a network takes what pictures have.

    Raises
    ------
    DataError
        When it takes neither 1 nor 3 channels.
    """
    if channels not in (1, 3):
        raise DataError(
            f"the network takes {channels} channels; pictures have 1 (gray) or 3 (RGB)",
            hint=f"`network.channels` of 1 or 3, or a file of pairs with {channels} channels",
        )
