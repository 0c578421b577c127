"""Jobs: which picture of a command's inputs goes to which output."""

from __future__ import annotations

import os
import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO

from n2n_cli.errors import ImageError, N2NError, UsageError
from n2n_cli.images import FORMATS

ENDINGS = {"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif", "WEBP": ".webp", "BMP": ".bmp"}
"""What a new file of each format is called."""


@dataclass(frozen=True)
class Job:
    """One picture: where it comes from and where it goes.

    Attributes
    ----------
    source, target : path
    data, sink : binary file, optional
        Read and written in place of `source` and `target`, which are then names for messages alone.
    """

    source: Path
    target: Path
    data: BinaryIO | None = None
    sink: BinaryIO | None = None


@dataclass(frozen=True)
class Naming:
    """Which pictures of folders are taken, and what their outputs are called.

    Attributes
    ----------
    recursive : bool
        Whether folders are read with all that is below them, whose tree is then kept. Links are followed, but not into
        a folder that they are in.
    patterns : sequence of str
        Shell patterns; of a folder, only files whose names match one of them. By default all pictures.
    suffix : str
        Put between the name of an output and its ending. Inputs that are themselves outputs of other inputs, from an
        earlier time, are then left out.
    image_format : str, optional
        Of the outputs, which then have its ending. By default the ending stays.
    """

    recursive: bool = False
    patterns: Sequence[str] = ()
    suffix: str = ""
    image_format: str | None = None


@dataclass(frozen=True)
class Plan:
    """The jobs of a command, in the order of their inputs' names.

    Attributes
    ----------
    jobs : tuple of Job
        No two with the same output.
    problems : tuple of N2NError
        What was found on the way and does not stop the others: a folder below the first that may not be read.
    notes : tuple of str
        For the user.
    """

    jobs: tuple[Job, ...]
    problems: tuple[N2NError, ...] = ()
    notes: tuple[str, ...] = ()


def plan_file(source: Path, target: Path) -> Plan:
    """The one job of a picture whose output has a name.

    Raises
    ------
    ImageError
        When nothing of this name can be written: told before the work, not after it.
    """
    folder = target.parent
    if not folder.is_dir():
        raise _no_folder(folder, f"`{target}` cannot be written: ")
    _check_writable(folder, f"`{target}` cannot be written: ")
    return Plan((Job(source, target),))


def plan_folder(sources: Sequence[Path], folder: Path, naming: Naming) -> Plan:
    """The jobs of files and folders whose outputs have their names, in a folder.

    Parameters
    ----------
    sources : sequence of path
        Files are taken as they are; of a folder, the files with the ending of an image format that are not hidden.
    folder : path
        Of the outputs. Where it lies inside a source, it is not read.
    naming : Naming

    Raises
    ------
    ImageError
        When the output folder or a source folder cannot be used, or there are no pictures.
    UsageError
        When several inputs would have the same output; all are named.
    """
    where = f"nothing can be written to `{folder}`: "
    if not folder.exists():
        raise _no_folder(folder, where)
    if not folder.is_dir():
        raise UsageError(
            f"`{folder}` is not a folder, which the last word has to be where there are several pictures",
            hint="name a folder for the results behind the pictures",
        )
    _check_writable(folder, where)
    problems: list[N2NError] = []
    found: dict[Path, Path] = {}  # output of each input
    for source in sources:
        if os.path.isdir(source):  # noqa: PTH112 - a name that cannot be is no folder, and told of when it is read
            walk = _Walk(source, folder, naming, problems)
            names = [(source / name, name) for name in walk.files()]
        else:
            names = [(source, Path(source.name))]
        for path, name in names:
            found.setdefault(path, folder / _renamed(name, naming))
    notes = _drop_earlier_outputs(found) if naming.suffix else ()
    _check_unique(found)
    if not found and not problems:
        raise _no_pictures(sources, naming)
    jobs = tuple(Job(source, found[source]) for source in sorted(found, key=os.fsencode))
    return Plan(jobs, tuple(problems), notes)


class _Walk:
    """The pictures of a folder, by their paths from there."""

    def __init__(self, root: Path, output: Path, naming: Naming, problems: list[N2NError]) -> None:
        self._root, self._naming, self._problems = root, naming, problems
        self._output = _identity(output)

    def files(self) -> Iterator[Path]:
        yield from self._below(Path(), ())

    def _below(self, name: Path, above: tuple[object, ...]) -> Iterator[Path]:
        folder = self._root / name
        try:
            own = _identity(folder)
            if own in above or (above and own == self._output):
                return
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            problem = ImageError(
                f"the folder `{folder}` cannot be read: {error.strerror}", hint="its owner can allow it: `chmod +rx`"
            )
            if not above:
                raise problem from None
            self._problems.append(problem)
            return
        for entry in entries:
            # Hidden: temporary files, and `._photo.jpg`, macOS's record about photo.jpg.
            if entry.name.startswith("."):
                continue
            if os.path.isdir(entry.path):  # noqa: PTH112 - a link to itself is none
                if self._naming.recursive:
                    yield from self._below(name / entry.name, (*above, own))
            # A link to nowhere is taken: it is told of when it is read. Pipes and devices are not.
            elif (entry.is_symlink() or entry.is_file()) and self._wanted(entry.name):
                yield name / entry.name

    def _wanted(self, name: str) -> bool:
        patterns = self._naming.patterns or ("*",)
        return Path(name).suffix.lower() in FORMATS and any(fnmatchcase(name, pattern) for pattern in patterns)


def _identity(folder: Path) -> tuple[int, int]:
    """What is the same for all names of a folder."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def _renamed(name: Path, naming: Naming) -> Path:
    ending = name.suffix
    if naming.image_format is not None and FORMATS.get(ending.lower()) != naming.image_format:
        ending = ENDINGS[naming.image_format]
    return name.with_name(f"{name.stem}{naming.suffix}{ending}")


def _drop_earlier_outputs(found: dict[Path, Path]) -> tuple[str, ...]:
    """Take out the inputs that are outputs of others: a command may be given twice."""
    real = {source: os.path.realpath(source) for source in found}
    makers = {os.path.realpath(target): source for source, target in found.items()}
    earlier = [source for source in found if makers.get(real[source], source) != source]
    for source in earlier:
        del found[source]
    if not earlier:
        return ()
    count = len(earlier)
    what = "1 picture is the output of another one" if count == 1 else f"{count} pictures are outputs of others"
    return (f"{what}: not denoised again",)


def _check_unique(found: dict[Path, Path]) -> None:
    makers: defaultdict[str, list[Path]] = defaultdict(list)
    for source, target in found.items():
        makers[os.path.realpath(target)].append(source)
    shared = [sources for sources in makers.values() if len(sources) > 1]
    if shared:
        told = "; ".join(
            " and ".join(f"`{source}`" for source in sources) + f" to `{found[sources[0]]}`" for sources in shared
        )
        raise UsageError(
            f"several pictures would be written to the same file: {told}",
            hint="rename one of each, or give each folder an output folder of its own",
        )


def _no_folder(folder: Path, what: str) -> ImageError:
    if folder.exists():
        return ImageError(f"{what}`{folder}` is not a folder", hint="name another place")
    return ImageError(f"{what}there is no folder `{folder}`", hint=f"`mkdir -p {shlex.quote(str(folder))}`")


def _check_writable(folder: Path, what: str) -> None:
    if not os.access(folder, os.W_OK):
        raise ImageError(f"{what}no permission to write in `{folder}`", hint="name another place")


def _no_pictures(sources: Sequence[Path], naming: Naming) -> ImageError:
    names = ", ".join(f"`{source}`" for source in sources)
    looked_for = " or ".join(f"`{pattern}`" for pattern in naming.patterns) or "pictures"
    hint = "looked for " + ", ".join(FORMATS)
    if not naming.recursive:
        hint += "; `--recursive` looks into the folders below, too"
    return ImageError(f"{names} {'holds' if len(sources) == 1 else 'hold'} no {looked_for}", hint=hint)
