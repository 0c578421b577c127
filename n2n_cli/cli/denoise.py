"""`n2n denoise`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from n2n_cli.cli.console import tell
from n2n_cli.cli.options import NETWORK_HELP, THREADS_HELP, thread_count
from n2n_cli.errors import ImageError


def denoise(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A PNG, JPEG, TIFF, WebP or BMP picture, gray or RGB.")],
    target: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="The denoised picture; its ending says the format. An old one is replaced."),
    ],
    model: Annotated[
        Path | None,
        typer.Option(metavar="CHECKPOINT", help="Default: the best checkpoint of the newest run in runs/."),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(metavar="FILE|NAME", help=NETWORK_HELP),
    ] = None,
    threads: Annotated[str | None, typer.Option(metavar="N", help=THREADS_HELP)] = None,
) -> None:
    """Denoise a picture; size, depth, transparency and metadata stay.

    Examples:

      n2n denoise in.png out.png

      n2n denoise --model runs/default-1/best.pth in.jpg out.png
    """
    from n2n_cli import denoising
    from n2n_cli.config import load_config
    from n2n_cli.images import read_picture, write_picture
    from n2n_cli.model import Model
    from n2n_cli.runs import newest_checkpoint

    team = thread_count(threads)
    _check_target(target, source)
    picture = read_picture(source)
    for note in picture.notes:
        tell(f"{source}: {note}")
    checkpoint = model or newest_checkpoint()
    denoiser = Model.from_checkpoint(checkpoint, load_config(config) if config else None, threads=team)
    tell(f"model: {checkpoint}")
    write_picture(target, denoising.denoise_picture(denoiser, denoiser.config.network.channels, picture))


def _check_target(target: Path, source: Path) -> None:
    """See that `target` can be written: what is wrong with it is told before the work, not after it."""
    from n2n_cli.images import format_of

    if target.is_dir():
        raise ImageError(f"`{target}` is a folder, it must be a picture's name", hint=f"try `{target / source.name}`")
    format_of(target)
    folder = target.parent
    if not folder.exists():
        make = shlex.quote(str(folder))
        raise ImageError(f"`{target}` cannot be written: there is no folder `{folder}`", hint=f"`mkdir -p {make}`")
    if not folder.is_dir():
        raise ImageError(f"`{target}` cannot be written: `{folder}` is not a folder", hint="name another place")
    if not os.access(folder, os.W_OK):
        raise ImageError(
            f"`{target}` cannot be written: no permission to write in `{folder}`", hint="name another place"
        )
