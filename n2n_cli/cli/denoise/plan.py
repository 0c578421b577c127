"""The arguments IN... OUT of `n2n denoise`: inputs and their outputs."""

from __future__ import annotations

import io
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from n2n_cli.cli.console import log, result
from n2n_cli.cli.denoise.streams import check_stdout, open_stdin
from n2n_cli.distributed.shards import Shard, shard_of_process
from n2n_cli.errors import ImageError, UsageError, counted, printable

if TYPE_CHECKING:
    from n2n_cli.denoising.plan import FolderOptions, Plan
    from n2n_cli.denoising.tasks import DenoiseTask


def is_many(sources: Sequence[str]) -> bool:
    """True if IN... may be more than one picture."""
    return len(sources) > 1 or Path(sources[0]).is_dir()


def plan_words(
    sources: Sequence[str],
    target: str,
    folder_options: FolderOptions,
    *,
    dry_run: bool,
    in_place: bool = False,
    model: str | None = None,
) -> Plan:
    """Plan the tasks that the arguments ask for.

    Parameters
    ----------
    sources : sequence of str
        At least one: a file, a folder or `-`.
    target : str
        A file, a folder or `-`.
    folder_options : FolderOptions
        Choice of the pictures in folders, and names of their outputs.
    dry_run : bool
        True if stdin and stdout are not used.
    in_place : bool
        Let outputs replace their own inputs.
    model : str, optional
        Model that the user named, which no output may overwrite.

    Raises
    ------
    UsageError, ImageError
        When the arguments do not fit together, or OUT cannot be written.
    """
    from n2n_cli.denoising.plan import check_inputs_kept

    plan = _planned(sources, target, folder_options, dry_run=dry_run)
    check_inputs_kept(plan.tasks, in_place=in_place, model=None if model is None else Path(model))
    return plan


def _planned(sources: Sequence[str], target: str, folder_options: FolderOptions, *, dry_run: bool) -> Plan:
    from n2n_cli.denoising.plan import plan_folder

    many = is_many(sources)
    if "-" in sources and len(sources) > 1:
        raise UsageError("`-`, stdin, is one picture: it cannot be one of several inputs", hint="denoise it by itself")
    if target == "-" and many:
        raise UsageError("only one picture can go to stdout", hint=f"a folder for OUT: {_with_folder(sources)}")
    if many:
        _check_names_folder(sources, target)
    if sources[0] != "-" and target != "-" and (many or Path(target).is_dir() or target.endswith(("/", os.sep))):
        return plan_folder([Path(source) for source in sources], Path(target), folder_options)
    if folder_options.suffix:
        raise UsageError("`--suffix` is for outputs in a folder; this one has a name", hint="leave it out")
    return _plan_one(sources[0], target, folder_options.image_format, dry_run=dry_run)


def _check_names_folder(sources: Sequence[str], target: str) -> None:
    """Refuse a picture's name as the output of several pictures.

    An example is `n2n denoise a.png b.png c.png`.
    """
    import mimetypes

    path = Path(target)
    if path.is_dir() or target.endswith(("/", os.sep)):
        return
    if os.path.lexists(path):
        raise UsageError(
            f"OUT, the last name, is the file `{target}`; the outputs of several pictures need a folder",
            hint=f"{_with_folder(sources)}, or to denoise `{target}`, too: {_with_folder([*sources, target])}",
        )
    if (mimetypes.guess_type(path.name)[0] or "").startswith("image/"):
        raise UsageError(
            f"OUT, the last name, is `{target}`, a picture's name; the outputs of several pictures need a folder",
            hint=f"{_with_folder(sources)}; of one picture, OUT can be a file",
        )


def _with_folder(sources: Sequence[str]) -> str:
    """The command with a folder as OUT."""
    names = [*sources[:3], *(["..."] if len(sources) > 4 else sources[3:])]
    return f"`n2n denoise {' '.join(name if name == '...' else shlex.quote(name) for name in names)} denoised/`"


def _plan_one(source: str, target: str, image_format: str | None, *, dry_run: bool) -> Plan:
    from n2n_cli.denoising.plan import Plan, plan_file
    from n2n_cli.denoising.tasks import DenoiseTask
    from n2n_cli.images import FORMATS, ending_of, format_of

    if target == "-":
        if not dry_run:
            check_stdout(source)
        plan = Plan((DenoiseTask(Path(source), Path(target), output_stream=io.BytesIO()),))
    else:
        path = Path(target)
        if path.is_dir():
            raise ImageError(f"`{target}` is a folder, it must be a picture's name", hint=f"try `{path / 'out.png'}`")
        if image_format is None:
            format_of(path)  # report an unknown extension before the work
        elif FORMATS.get(ending_of(path), image_format) != image_format:
            raise UsageError(
                f"`--format` asks for {image_format}, the extension of `{target}` for {format_of(path)}",
                hint="leave out `--format`, or change the extension",
            )
        plan = plan_file(Path(source), path)
    if source != "-" or dry_run:
        return plan
    (task,) = plan.tasks
    return Plan((DenoiseTask(task.source, task.target, open_stdin(), task.output_stream),))


def choose_shard(plan: Plan, shard: Shard | None, *, many: bool) -> tuple[DenoiseTask, ...]:
    """Choose the tasks of this process: by `--shard` or, for many, by the cluster.

    A single picture belongs to every process: each task of a job array may name its own.
    """
    given = shard is not None
    if shard is None:
        shard = shard_of_process(os.environ) if many else Shard()
    tasks = shard.of(plan.tasks)
    if shard.count > 1 or (shard.reason and not given):
        other = "" if given else "; `--shard 1/1` takes all" if shard.count > 1 else "; `--shard I/N` takes a part"
        log(f"shard {shard} (by {shard.reason}): {len(tasks)} of {len(plan.tasks)} pictures{other}")
    return tasks


def replaced_note(tasks: Sequence[DenoiseTask]) -> str:
    """Note on files that the outputs will replace; empty if there are none."""
    from n2n_cli.denoising.tasks import output_exists

    existing = [task.target for task in tasks if output_exists(task)]
    if not existing:
        return ""
    if len(existing) == 1:
        return f"`{existing[0]}` exists and will be replaced"
    return f"`{existing[0]}` and {counted(len(existing) - 1, 'other output')} exist and will be replaced"


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
