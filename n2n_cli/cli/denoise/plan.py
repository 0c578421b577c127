"""The words IN... OUT of `n2n denoise`: which pictures go where."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from n2n_cli.cli.console import result, tell
from n2n_cli.cli.denoise.streams import check_stdout, open_stdin
from n2n_cli.errors import ImageError, UsageError, printable

if TYPE_CHECKING:
    from n2n_cli.denoising.plan import FolderOptions, Plan
    from n2n_cli.denoising.tasks import DenoiseTask


def is_many(sources: Sequence[str]) -> bool:
    """Whether the words before OUT are several pictures, or may be."""
    return len(sources) > 1 or Path(sources[0]).is_dir()


def plan_words(sources: Sequence[str], target: str, folder_options: FolderOptions, *, dry_run: bool) -> Plan:
    """The tasks that the words of the command mean.

    Parameters
    ----------
    sources : sequence of str
        At least one: a file, a folder or `-`.
    target : str
        A file, a folder or `-`.
    folder_options : FolderOptions
        Of outputs in a folder.
    dry_run : bool
        Whether stdin and stdout will not be used.

    Raises
    ------
    UsageError, ImageError
        When they do not fit together, or OUT cannot be written.
    """
    from n2n_cli.denoising.plan import plan_folder

    _check_suffix(folder_options.suffix)
    many = is_many(sources)
    if "-" in sources and len(sources) > 1:
        raise UsageError("`-`, stdin, is one picture: it cannot stand among others", hint="denoise it by itself")
    if target == "-" and many:
        raise UsageError("only one picture can go to stdout", hint="name a folder for the results: `mkdir denoised`")
    if sources[0] != "-" and target != "-" and (many or Path(target).is_dir() or target.endswith(("/", os.sep))):
        return plan_folder([Path(source) for source in sources], Path(target), folder_options)
    if folder_options.suffix:
        raise UsageError("`--suffix` is for outputs in a folder; this one has a name", hint="leave it out")
    return _plan_one(sources[0], target, folder_options.image_format, dry_run=dry_run)


def _plan_one(source: str, target: str, image_format: str | None, *, dry_run: bool) -> Plan:
    from n2n_cli.denoising.plan import Plan, plan_file
    from n2n_cli.denoising.tasks import DenoiseTask
    from n2n_cli.images import FORMATS, format_of

    if target == "-":
        if not dry_run:
            check_stdout()
        plan = Plan((DenoiseTask(Path(source), Path(target), output_stream=io.BytesIO()),))
    else:
        path = Path(target)
        if path.is_dir():
            raise ImageError(f"`{target}` is a folder, it must be a picture's name", hint=f"try `{path / 'out.png'}`")
        if image_format is None:
            format_of(path)  # an unknown ending is told of before the work
        elif FORMATS.get(path.suffix.lower(), image_format) != image_format:
            raise UsageError(
                f"`--format` asks for {image_format}, the ending of `{target}` for {format_of(path)}",
                hint="leave out `--format`, or change the ending",
            )
        plan = plan_file(Path(source), path)
    if source != "-" or dry_run:
        return plan
    (task,) = plan.tasks
    return Plan((DenoiseTask(task.source, task.target, open_stdin(), task.output_stream),))


def _check_suffix(suffix: str) -> None:
    if "/" in suffix or "\0" in suffix:
        raise UsageError(
            f"`--suffix` is {suffix!r}, it must be a part of a file's name", hint="for example `--suffix _denoised`"
        )


def choose_shard(plan: Plan, words: str | None, *, many: bool) -> tuple[DenoiseTask, ...]:
    """The tasks that are this process's: of `--shard`, or else, of many pictures, as a cluster numbers it.

    What a user names one by one is not shared out: in a job array, each task may name its own.
    """
    from n2n_cli.distributed.shards import parse_shard, shard_of_process

    if words is not None:
        shard = parse_shard(words)
    elif many:
        shard = shard_of_process(os.environ)
    else:
        return plan.tasks
    tasks = shard.of(plan.tasks)
    if shard.count > 1:
        all_of_them = "" if words is not None else "; `--shard 1/1` takes all"
        tell(f"shard {shard} (by {shard.reason}): {len(tasks)} of {len(plan.tasks)} pictures{all_of_them}")
    return tasks


def show_plan(tasks: Sequence[DenoiseTask], *, skip_existing: bool, as_json: bool) -> None:
    """Print input and output of each picture that would be denoised."""
    from n2n_cli.denoising.tasks import output_exists
    from n2n_cli.system.json_lines import json_line

    for task in tasks:
        if skip_existing and output_exists(task):
            continue
        if as_json:
            result(json_line({"input": str(task.source), "output": str(task.target)}))
        else:
            result(f"{printable(str(task.source))}\t{printable(str(task.target))}")
