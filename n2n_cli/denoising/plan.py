"""Plan which input picture is written to which output file."""

from __future__ import annotations

import os
import shlex
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from n2n_cli.denoising.tasks import DenoiseTask
from n2n_cli.errors import ImageError, N2NError, UsageError, counted, listed
from n2n_cli.images import FORMATS, ending_of, has_ending, skipped_notes
from n2n_cli.system.overwriting import identity

ENDINGS = {"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif", "WEBP": ".webp", "BMP": ".bmp"}
ENDINGS |= {"FITS": ".fits", "MRC": ".mrc"}
"""File name extension of each image format, for outputs whose format differs from their input's."""


@dataclass(frozen=True)
class FolderOptions:
    """Choice of the pictures in input folders, and names of their outputs.

    Attributes
    ----------
    recursive : bool
        Read subfolders too, and write the outputs to the same tree of folders. Links to folders are followed, except
        to folders that are read under another name.
    patterns : sequence of str
        Shell patterns: only files of a folder that match at least one are read. By default all pictures.
    suffix : str
        Added to the names of the outputs, before the extension. Inputs that are outputs of other inputs, from an
        earlier command, are then skipped.
    image_format : str, optional
        Format of the outputs, which also sets their extension. By default the input's.
    """

    recursive: bool = False
    patterns: Sequence[str] = ()
    suffix: str = ""
    image_format: str | None = None


@dataclass(frozen=True)
class Plan:
    """Tasks of one command, sorted by the names of their inputs.

    Attributes
    ----------
    tasks : tuple of DenoiseTask
        No two have the same output.
    problems : tuple of N2NError
        Subfolders that could not be read; the other tasks can still be done.
    notes : tuple of str
        Messages for the user.
    """

    tasks: tuple[DenoiseTask, ...]
    problems: tuple[N2NError, ...] = ()
    notes: tuple[str, ...] = ()


def plan_file(source: Path, target: Path) -> Plan:
    """Plan a single picture with a given output file.

    Raises
    ------
    ImageError
        When the output's folder does not exist or is not writable.
    """
    folder = target.parent
    if not folder.is_dir():
        raise _no_folder(folder, f"`{target}` cannot be written: ")
    _check_writable(folder, f"`{target}` cannot be written: ")
    return Plan((DenoiseTask(source, target),))


def plan_folder(sources: Sequence[Path], folder: Path, options: FolderOptions) -> Plan:
    """Plan files and folders of pictures, whose outputs are written to one folder.

    Parameters
    ----------
    sources : sequence of path
        Every file is an input; so is every file in a folder that has an image format's extension and is not hidden.
    folder : path
        Folder of the outputs, which is made if it does not exist. It is not read for inputs when it lies inside a
        source.
    options : FolderOptions

    Raises
    ------
    ImageError
        When the output folder or a source folder cannot be used, or there are no pictures.
    UsageError
        When `folder` is a file, or several inputs would have the same output; the message names all of them.
    """
    made = _check_output_folder(folder)
    problems: list[N2NError] = []
    again: list[Path] = []
    found: dict[Path, Path] = {}  # output of each input
    skipped: tuple[str, ...] = ()
    for source in sources:
        if os.path.isdir(source):  # noqa: PTH112 - `is_dir` raises for an impossible name; here it is reported when it is read
            walk = _Walk(source, folder, options, problems)
            names = [(source / name, name) for name in walk.files()]
            skipped += skipped_notes(walk.others, source)
            again += walk.again
        else:
            names = [(source, Path(source.name))]
        for path, name in names:
            found.setdefault(path, folder / _renamed(name, options))
    notes = made + skipped + (_drop_earlier_outputs(found) if options.suffix else ())
    if again:
        links = listed([f"`{link}`" for link in again])
        notes += (f"not followed, as the pictures there are read under another name: {links}",)
    _check_unique(found)
    if not found and not problems:
        raise _no_pictures(sources, options, skipped)
    tasks = tuple(DenoiseTask(source, found[source]) for source in sorted(found, key=os.fsencode))
    return Plan(tasks, tuple(problems), notes)


class _Walk:
    """Iterate over the pictures in a folder, as paths relative to it.

    Each folder is read once, under its own name rather than that of a link.

    Attributes
    ----------
    others : list of Path
        Files without the extension of an image format.
    again : list of path
        Links that lead to folders which are read under another name.
    """

    def __init__(self, root: Path, output: Path, options: FolderOptions, problems: list[N2NError]) -> None:
        self._root, self._options, self._problems = root, options, problems
        self._output = _identity(output) if output.is_dir() else None
        self.others: list[Path] = []
        self.again: list[Path] = []

    def files(self) -> Iterator[Path]:
        seen: set[tuple[int, int]] = set()
        folders, links = [Path()], deque[Path]()
        while folders or links:
            is_link = not folders
            name = links.popleft() if is_link else folders.pop()
            try:
                own = _identity(self._root / name)
                if own in seen:
                    if is_link:
                        self.again.append(self._root / name)
                    continue
                seen.add(own)
                if own == self._output and name != Path():
                    continue
                with os.scandir(self._root / name) as found:
                    entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
            except OSError as error:
                self._failed(name, error)
                continue
            below = list[Path]()
            for entry in entries:
                # Hidden files are temporary files, or `._photo.jpg`, where macOS keeps metadata of photo.jpg.
                if entry.name.startswith("."):
                    continue
                if os.path.isdir(entry.path):  # noqa: PTH112 - `is_dir` of the entry raises for a link to itself
                    if self._options.recursive:
                        (links if entry.is_symlink() else below).append(name / entry.name)
                # A broken link is an input, so that reading it reports the error. Pipes and devices are skipped.
                elif (entry.is_symlink() or entry.is_file()) and self._matches(entry.name):
                    if has_ending(entry.name):
                        yield name / entry.name
                    elif entry.is_file():
                        self.others.append(Path(entry.path))
            folders += reversed(below)

    def _failed(self, name: Path, error: OSError) -> None:
        problem = ImageError(
            f"the folder `{self._root / name}` cannot be read: {error.strerror}",
            hint="its owner can allow it: `chmod +rx`",
        )
        if name == Path():
            raise problem from None
        self._problems.append(problem)

    def _matches(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._options.patterns or ("*",))


def _identity(folder: Path) -> tuple[int, int]:
    """Device and inode number of a folder, equal for all paths that lead to it."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def _renamed(name: Path, options: FolderOptions) -> Path:
    length = len(ending_of(name))
    stem, ending = (name.name[:-length], name.name[-length:]) if length else (name.name, "")
    if options.image_format is not None and FORMATS.get(ending.lower()) != options.image_format:
        ending = ENDINGS[options.image_format]
    return name.with_name(f"{stem}{options.suffix}{ending}")


def _drop_earlier_outputs(found: dict[Path, Path]) -> tuple[str, ...]:
    """Remove inputs that are outputs of other inputs, and return a note on them.

    A repeated command finds its earlier outputs among the inputs.
    """
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
        conflicts = "; ".join(
            " and ".join(f"`{source}`" for source in sources) + f" to `{found[sources[0]]}`" for sources in shared
        )
        raise UsageError(
            f"several pictures would be written to the same file: {conflicts}",
            hint="rename one of each, or give each folder an output folder of its own",
        )


def check_inputs_kept(tasks: Sequence[DenoiseTask], *, in_place: bool = False, model: Path | None = None) -> None:
    """Refuse outputs that would overwrite a picture to denoise, or the model.

    Parameters
    ----------
    tasks : sequence of DenoiseTask
        Tasks of all shards: the inputs of one must not be the outputs of another.
    in_place : bool
        Allow an output to replace its own input.
    model : path, optional
        Checkpoint that the pictures are denoised with.

    Raises
    ------
    UsageError
        When an output would overwrite the model, or an input that it may not replace.
    """
    inputs = {identity(task.input_stream or task.source): task for task in tasks}
    weights = None if model is None else identity(model)
    own: list[DenoiseTask] = []
    for task in tasks:
        output = identity(task.output_stream or task.target)
        if output is None:
            continue
        if output == weights:
            raise UsageError(f"the output of `{task.source}` would overwrite the model `{model}`", hint="another OUT")
        if output == identity(task.input_stream or task.source):
            own.append(task)
        elif output in inputs:
            other = inputs[output].source
            raise UsageError(
                f"the output of `{task.source}` would overwrite `{other}`, another picture to denoise",
                hint="another folder or name for OUT; `--in-place` replaces a picture only by its own output",
            )
    if own and not in_place:
        raise _would_replace(own)


def _would_replace(tasks: Sequence[DenoiseTask]) -> UsageError:
    first, more = tasks[0], len(tasks) - 1
    if more:
        message = f"`{first.source}` and {counted(more, 'other picture')} would be overwritten by their own outputs"
        return UsageError(
            message,
            hint="name another folder for OUT, or add `--suffix _denoised`; `--in-place` replaces the originals",
        )
    same = "" if first.source == first.target else f": `{first.target}` is the same file"
    return UsageError(
        f"`{first.source}` would be overwritten by its own output{same}",
        hint="another name for OUT; `--in-place` replaces the original",
    )


def _check_output_folder(folder: Path) -> tuple[str, ...]:
    """Check that outputs can be written to a folder; return a note if it will be made."""
    prefix = f"nothing can be written to `{folder}`: "
    if folder.is_dir():
        _check_writable(folder, prefix)
        return ()
    if os.path.lexists(folder):
        raise UsageError(
            f"`{folder}` is not a folder; the output of several pictures has to be one",
            hint="name a folder for the results after the pictures",
        )
    above = next(parent for parent in folder.parents if os.path.lexists(parent))
    if not above.is_dir():
        raise _no_folder(above, prefix)
    _check_writable(above, prefix)
    return (f"new folder: {folder}",)


def _no_folder(folder: Path, prefix: str) -> ImageError:
    if folder.exists():
        return ImageError(f"{prefix}`{folder}` is not a folder", hint="name another place")
    return ImageError(f"{prefix}there is no folder `{folder}`", hint=f"`mkdir -p {shlex.quote(str(folder))}`")


def _check_writable(folder: Path, prefix: str) -> None:
    if not os.access(folder, os.W_OK):
        raise ImageError(f"{prefix}no permission to write in `{folder}`", hint="name another place")


def _no_pictures(sources: Sequence[Path], options: FolderOptions, skipped: Sequence[str]) -> ImageError:
    names = ", ".join(f"`{source}`" for source in sources)
    looked_for = " or ".join(f"`{pattern}`" for pattern in options.patterns) or "pictures"
    hint = "looked for " + ", ".join(FORMATS)
    if not options.recursive:
        hint += "; `--recursive` looks into the folders below, too"
    holds = "holds" if len(sources) == 1 else "hold"
    return ImageError("; ".join([f"{names} {holds} no {looked_for}", *skipped]), hint=hint)
