"""`n2n denoise`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from n2n_cli.cli.console import log
from n2n_cli.cli.denoise.parsers import name_part, picture_format
from n2n_cli.cli.denoise.plan import choose_shard, is_many, plan_words, replaced_note, show_plan
from n2n_cli.cli.denoise.results import Counts, Results, end, run
from n2n_cli.cli.denoise.streams import check_stdout_has_one_use
from n2n_cli.cli.options import (
    Ensemble,
    Json,
    NetworkConfig,
    StackAxes,
    Threads,
    ValuesMode,
    exclusive,
    fraction,
    memory_size,
    model_names,
    option,
    positive,
    requires,
    whole_number,
)
from n2n_cli.distributed.shards import Shard, parse_shard
from n2n_cli.errors import UsageError

if TYPE_CHECKING:
    from n2n_cli.denoising.model_choice import BundledModels
    from n2n_cli.models.model import Model


def denoise(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="IN...", help="Pictures, folders of pictures, or `-` for stdin.", show_default=False),
    ] = None,
    target: Annotated[
        str | None,
        typer.Argument(metavar="OUT", help="Picture, folder for several, or `-` for stdout.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        option("--model", "FILE|NAME", str, "Checkpoint or model.", default="newest run, or photo", names=model_names),
    ] = None,
    learn: Annotated[bool, typer.Option("--self", help="Learn from each picture alone, without a model.")] = False,
    seconds: Annotated[
        float | None,
        option(
            "--seconds",
            "N",
            positive("a number of seconds", "15"),
            "Maximum learning time of --self per picture, in seconds.",
        ),
    ] = None,
    pd: Annotated[
        int, option("--pd", "N", whole_number(1, 4), "Pixel-shuffle factor for spatially correlated noise, 1 to 4.")
    ] = 1,
    effort: Annotated[
        Literal["fast", "normal", "best"],
        typer.Option("--effort", metavar="LEVEL", help="Quality against time: fast, normal or best."),
    ] = "normal",
    ensemble: Ensemble = False,
    values: ValuesMode = "auto",
    axes: StackAxes = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Include subfolders; OUT gets their tree.")
    ] = False,
    patterns: Annotated[
        list[str] | None,
        option("--pattern", "GLOB", str, "Files to take from folders, as '*.png'; repeatable."),
    ] = None,
    suffix: Annotated[str, option("--suffix", "TEXT", name_part, "Text appended to output names in a folder.")] = "",
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Skip pictures whose output exists.")] = False,
    in_place: Annotated[bool, typer.Option("--in-place", help="Let outputs replace their own inputs.")] = False,
    shard: Annotated[
        Shard | None,
        option(
            "--shard",
            "I/N",
            parse_shard,
            "Process part I of N.",
            default="by Slurm, Kubernetes, MPI",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print inputs and outputs, and do nothing.")] = False,
    image_format: Annotated[
        str | None,
        option("--format", "NAME", picture_format, "png, jpeg, tiff, webp, bmp, fits, mrc.", default="as OUT, or IN"),
    ] = None,
    quality: Annotated[
        int | None,
        option("--quality", "N", whole_number(1, 100), "JPEG and WebP quality, 1 to 100.", default="95, lossless WebP"),
    ] = None,
    strength: Annotated[float, option("--strength", "X", fraction, "Blend weight, 0 (input) to 1 (denoised).")] = 1,
    report: Annotated[
        bool, typer.Option("--report", help="Print the noise: sigma before and after, and its kind.")
    ] = False,
    as_json: Json = False,
    manifest: Annotated[
        str | None, option("--manifest", "FILE", str, "Append a JSON line per picture; `-` is stdout.")
    ] = None,
    max_pixels: Annotated[
        int, option("--max-pixels", "N", whole_number(1), "Maximum pixels of a picture.")
    ] = 250_000_000,
    max_memory: Annotated[
        int | None,
        option("--max-memory", "SIZE", memory_size, "Maximum memory, as 2GB.", default="picture + 1GB"),
    ] = None,
    config: NetworkConfig = None,
    threads: Threads = None,
) -> None:
    """Denoise pictures; size, depth, transparency and metadata stay.

    Pictures are PNG, JPEG, TIFF, WebP, BMP, FITS or MRC, gray or RGB. The extension of OUT gives the format. An
    existing file is replaced as a whole, but an input only with --in-place. For several pictures, OUT is a folder,
    which is created if needed. A picture that fails does not stop the others: it is reported at the end, and the exit
    code is 1. Large pictures are denoised in tiles, whose size depends on --max-memory.

    --effort normal chooses the bundled model by the noise of each picture, fast takes photo for all pictures, and best
    also averages over 8 flips and rotations, which is 8x slower.

    --self trains a small new network on each picture, which takes 5 to 30 seconds on two cores.

    Examples:

      n2n denoise in.png out.png

      n2n denoise photos/ denoised/ --recursive --skip-existing

      n2n denoise --model runs/default-1/best.pth in.png out.png

      n2n denoise - - < noisy.png > clean.png

      n2n denoise --self in.png out.png
    """
    from n2n_cli.denoising.manifest import Manifest
    from n2n_cli.denoising.model_choice import models_for
    from n2n_cli.denoising.plan import FolderOptions
    from n2n_cli.denoising.tasks import DenoiseOptions
    from n2n_cli.models.choice import choose_model
    from n2n_cli.models.model import Model

    if not sources or target is None:
        raise UsageError(f"missing argument '{'OUT' if target else 'IN'}'")
    requires("--seconds", seconds, {"--self": learn})
    requires("--json", as_json, {"--report": report, "--dry-run": dry_run})
    exclusive({"--ensemble": ensemble, "--self": learn})
    exclusive({"--effort best": effort == "best", "--self": learn})
    exclusive({"--in-place": in_place, "--skip-existing": skip_existing}, why="every output exists already")
    exclusive({"--self": learn, "--model": model})
    exclusive({"--self": learn, "--config": config})
    check_stdout_has_one_use(target, report=report, manifest=manifest, dry_run=dry_run)
    folder_options = FolderOptions(recursive, tuple(patterns or ()), suffix, image_format)
    plan = plan_words(sources, target, folder_options, dry_run=dry_run, in_place=in_place, model=model)
    tasks = choose_shard(plan, shard, many=is_many(sources))
    for note in plan.notes:
        log(note)
    if not (skip_existing or in_place) and (replaced := replaced_note(tasks)):
        log(replaced)
    if dry_run:
        show_plan(tasks, skip_existing=skip_existing, as_json=as_json)
        end(Counts(len(tasks)), plan.problems)
        return
    denoiser: Model | BundledModels | None = None
    model_name = ""
    if not learn:
        chosen = choose_model(model)
        model_name = chosen.name
        if chosen.note:
            log(chosen.note)
        denoiser = models_for(effort, chosen, config, threads=threads, ensemble=ensemble)
        if isinstance(denoiser, Model):
            log(f"model: {chosen.text}{_better(denoiser)}")
    options = DenoiseOptions(
        strength=strength,
        image_format=image_format,
        quality=quality,
        max_pixels=max_pixels,
        max_memory=max_memory,
        skip_existing=skip_existing,
        estimates=report or manifest is not None,
        values=values,
        axes=axes,
        learn=learn,
        seconds=seconds,
        threads=threads,
        pd=pd,
        model_name=model_name,
    )
    with nullcontext(manifest) if manifest in (None, "-") else Manifest(Path(manifest)) as lines:
        results = Results(report=report, as_json=as_json, manifest=lines)
        counts = run(denoiser, tasks, options, results.add, in_place=in_place)
    end(counts, plan.problems)


def _better(model: Model) -> str:
    """Hint at a bundled model that is better on the held-out pictures, if any."""
    from n2n_cli.models.choice import better_bundled

    found = better_bundled(model.facts)
    if found is None:
        return ""
    name, theirs, own = found
    return f"; on its held-out pictures {name} is better, {theirs:.2f} dB instead of {own:.2f} dB: `--model {name}`"
