"""`n2n denoise`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from n2n_cli.cli.console import tell
from n2n_cli.cli.denoise.learning import check_learning, duration, learning_method
from n2n_cli.cli.denoise.plan import choose_shard, is_many, plan_words, show_plan
from n2n_cli.cli.denoise.results import Counts, Results, end, run
from n2n_cli.cli.denoise.streams import check_stdout_has_one_use
from n2n_cli.cli.options import (
    ENSEMBLE_HELP,
    NETWORK_HELP,
    THREADS_HELP,
    format_option,
    fraction,
    memory_size,
    thread_count,
    whole_number,
)
from n2n_cli.errors import UsageError


def denoise(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IN...",
            help="Pictures (PNG, JPEG, TIFF, WebP or BMP, gray or RGB), folders of pictures, or `-` for stdin.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="OUT",
            help="The denoised picture, whose ending says the format; a folder, for more than one; or `-` for stdout. "
            "Old files are replaced, each as a whole.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="CHECKPOINT|NAME",
            help="A checkpoint, or the name of a model that `n2n models` lists. Default: the best checkpoint of the "
            "newest run in runs/, and where there is none, the model photo.",
        ),
    ] = None,
    learn: Annotated[
        str | None,
        typer.Option(
            "--self",
            metavar="[=METHOD]",
            help="Learn from each picture itself: --self, or --self=zs-n2n, trains a small new network on it; "
            "--self=adapt fits the model to it and mixes in such a network where that helps. "
            "Default: the model as it is.",
        ),
    ] = None,
    seconds: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="With --self: most seconds to learn from a picture; it ends earlier when it no longer helps. "
            "Default: a number of steps, 5 to 30 seconds on two cores.",
        ),
    ] = None,
    pd: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Against noise that neighbouring pixels share, as in camera JPEGs: take every N-th pixel of every "
            "N-th row for a picture by itself, N from 1 to 4. Default: 1, all in one.",
        ),
    ] = None,
    ensemble: Annotated[bool, typer.Option("--ensemble", help=ENSEMBLE_HELP)] = False,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Take folders with all that is below them; OUT gets their tree.")
    ] = False,
    patterns: Annotated[
        list[str] | None,
        typer.Option(
            "--pattern",
            metavar="GLOB",
            help="Of a folder, only files whose names match, as '*.png'. May be repeated. Default: all pictures.",
        ),
    ] = None,
    suffix: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="Put before the endings of outputs in a folder, as _denoised. Default: none."
        ),
    ] = None,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave pictures whose output is there already.")
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Only the I-th of N parts of the pictures, from 1/N to N/N. Default: as Slurm, Kubernetes or MPI "
            "number this process, for folders and several files.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print input and output of each picture, and do nothing.")
    ] = False,
    image_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="png, jpeg, tiff, webp or bmp. Default: as the ending of OUT, or of the input, says.",
        ),
    ] = None,
    quality: Annotated[
        str | None,
        typer.Option(metavar="N", help="Of JPEG and WebP, 1 to 100. Default: 95 for JPEG; WebP loses nothing."),
    ] = None,
    strength: Annotated[
        str, typer.Option(metavar="X", help="From 0, the picture as it was, to 1, denoised, without unit.")
    ] = "1",
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Print for each picture the estimated noise before and after (standard deviation in grey levels of "
            "255).",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what --report and --dry-run print as JSON, an object a line.")
    ] = False,
    manifest: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Append a line of JSON for each picture: files, size, seconds, noise, status. `-` is stdout. "
            "Default: none.",
        ),
    ] = None,
    max_pixels: Annotated[
        str | None,
        typer.Option(metavar="N", help="Refuse pictures of more pixels. Default: 250000000."),
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="What all of it may take, as 500MB or 2GB: large pictures are denoised in smaller tiles then. "
            "Default: about 1GB beside the picture, half of that where it has more than 20 megapixels.",
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(metavar="FILE|NAME", help=NETWORK_HELP),
    ] = None,
    threads: Annotated[str | None, typer.Option(metavar="N", help=THREADS_HELP)] = None,
) -> None:
    """Denoise pictures; size, depth, transparency and metadata stay.

    A picture that fails does not stop the others: it is told of at the end, and the exit code is 1.

    Examples:

      n2n denoise in.png out.png

      n2n denoise --model runs/default-1/best.pth photos/ denoised/ --recursive --skip-existing

      n2n denoise - - < noisy.png > clean.png

      n2n denoise --self in.png out.png
    """
    from n2n_cli.config import load_config
    from n2n_cli.denoising.manifest import Manifest
    from n2n_cli.denoising.plan import FolderOptions
    from n2n_cli.denoising.tasks import DenoiseOptions
    from n2n_cli.images import MAX_PIXELS
    from n2n_cli.models.choice import choose_model
    from n2n_cli.models.model import Model
    from n2n_cli.noise.correlation import MOST_FACTOR

    if not sources or target is None:
        raise UsageError(f"missing argument '{'OUT' if target else 'IN'}'")
    wanted_format = None if image_format is None else format_option(image_format)
    options = DenoiseOptions(
        strength=fraction(strength, "--strength"),
        image_format=wanted_format,
        quality=None if quality is None else whole_number(quality, "--quality", 1, 100),
        max_pixels=MAX_PIXELS if max_pixels is None else whole_number(max_pixels, "--max-pixels", 1),
        max_memory=None if max_memory is None else memory_size(max_memory, "--max-memory"),
        skip_existing=skip_existing,
        estimates=report or manifest is not None,
        learning=None if learn is None else learning_method(learn),
        seconds=None if seconds is None else duration(seconds, "--seconds"),
        threads=thread_count(threads),
        pd=1 if pd is None else whole_number(pd, "--pd", 1, MOST_FACTOR),
    )
    if ensemble and options.learning is not None:
        raise UsageError("`--ensemble` is for a model as it is, not for `--self`", hint="leave out one of them")
    check_learning(options.learning, model=model, config=config, seconds=seconds)
    check_stdout_has_one_use(target, report=report, manifest=manifest, dry_run=dry_run, as_json=as_json)
    folder_options = FolderOptions(recursive, tuple(patterns or ()), suffix or "", wanted_format)
    plan = plan_words(sources, target, folder_options, dry_run=dry_run)
    tasks = choose_shard(plan, shard, many=is_many(sources))
    for note in plan.notes:
        tell(note)
    if dry_run:
        show_plan(tasks, skip_existing=skip_existing, as_json=as_json)
        end(Counts(len(tasks)), plan.problems)
        return
    denoiser = None
    if options.learning != "zs-n2n":
        chosen = choose_model(model)
        network = load_config(config, plugins=True) if config else None
        denoiser = Model.from_checkpoint(chosen.path, network, threads=options.threads)
        if ensemble:
            denoiser.predict_as_ensemble()
        tell(f"model: {chosen.text}")
    with nullcontext(manifest) if manifest in (None, "-") else Manifest(Path(manifest)) as lines:
        results = Results(report=report, as_json=as_json, manifest=lines)
        counts = run(denoiser, tasks, options, results.add)
    end(counts, plan.problems)
