"""`n2n info`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from n2n_cli.cli.console import result
from n2n_cli.cli.options import Json, NetworkConfig, config_names, model_names
from n2n_cli.errors import UsageError, counted, printable

if TYPE_CHECKING:
    from n2n_cli.info.machine import System
    from n2n_cli.info.network import Network
    from n2n_cli.info.picture import PictureFacts
    from n2n_cli.nn.functional import Shape


def info(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE|NAME",
            help="Picture, checkpoint, model or configuration.",
            show_default="the machine",
            autocompletion=lambda: [*model_names(), *config_names()],
        ),
    ] = None,
    config: NetworkConfig = None,
    as_json: Json = False,
) -> None:
    """Describe this installation, a network, or a picture.

    For a picture: its format, metadata and estimated noise. For a network: its training and its layers, after the
    facts about the machine, which include the speed of matrix multiplication, measured for half a second.
    Multiply-accumulates (MAC) are counted per pixel of a picture.

    Examples:

      n2n info

      n2n info runs/default-1/best.pth

      n2n info photo.jpg

      n2n info ee559 --json
    """
    from n2n_cli.info.machine import describe_system
    from n2n_cli.info.network import describe_source, is_checkpoint
    from n2n_cli.info.picture import describe_picture, is_picture
    from n2n_cli.models.choice import bundled_models
    from n2n_cli.system.json_lines import json_line

    if source is not None and source in (bundled := bundled_models()) and not Path(source).exists():
        source = str(bundled[source])
    if config is not None and (source is None or not is_checkpoint(source)):
        raise UsageError("`--config` needs the checkpoint that it fits", hint="`n2n info CHECKPOINT --config FILE`")
    if source is not None and is_picture(source):
        picture = describe_picture(source)
        lines = [json_line(asdict(picture))] if as_json else _columns(_picture(picture))
        for line in lines:
            result(line)
        return
    network = None
    if source is not None:
        network = describe_source(source, config)
    system = describe_system()
    if as_json:
        result(json_line({**asdict(system), "network": None if network is None else asdict(network)}))
        return
    facts = [*_system(system), *([] if network is None else _network(network))]
    for line in _columns(facts):
        result(line)
    if network is not None:
        result("")
        for line in _columns(_layers(network), right=(2, 3, 4)):
            result(line)


def _system(system: System) -> Iterator[tuple[str, str]]:
    yield "n2n", system.n2n
    yield "Python", system.python
    yield "NumPy", system.numpy
    yield "processor", system.processor
    yield "vector instructions", " ".join(system.vector_instructions) or "unknown"
    yield "cores for this process", str(system.cores)
    kernel = f", kernel {system.blas_kernel}" if system.blas_kernel else ""
    threads = "" if system.blas_threads is None else f", {counted(system.blas_threads, 'thread')} a call"
    yield "BLAS", f"{system.blas}{kernel}{threads}"
    yield "sgemm, 1 thread", f"{system.sgemm_gflops:.0f} GFLOP/s"
    if system.cores > 1:
        yield f"sgemm, {counted(system.cores, 'thread')}", f"{system.sgemm_gflops_all_cores:.0f} GFLOP/s"


def _network(network: Network) -> Iterator[tuple[str, str]]:
    yield "network", printable(network.source)
    yield "pictures", printable(network.pictures)
    yield "noise", network.noise
    yield "seed", str(network.seed)
    yield (
        ("epochs", str(network.epochs)) if network.epoch is None else ("epoch", f"{network.epoch} of {network.epochs}")
    )
    if network.validation_psnr is not None:
        before = network.noisy_validation_psnr
        noisy = "" if before is None else f", noisy {before:.2f} dB"
        yield "validation PSNR", f"{network.validation_psnr:.2f} dB{noisy}"
    yield "parameters", f"{network.parameters:,}"
    yield "receptive field", f"{_size(network.receptive_field)} pixels"
    yield "period", f"{_size(network.period)} pixels"


def _picture(picture: PictureFacts) -> Iterator[tuple[str, str]]:
    kind = "float" if picture.number_type.startswith("float") else "signed" if picture.number_type[0] == "i" else ""
    colour = {1: "gray", 3: "RGB"}.get(picture.channels, f"{picture.channels} channels")
    yield "picture", printable(picture.source)
    yield "format", f"{picture.format}, {picture.bytes:,} bytes"
    yield "size", f"{picture.width}x{picture.height} pixels"
    yield "pixels", f"{colour}{' with alpha' if picture.alpha else ''}, {picture.bits} bits a channel {kind}".rstrip()
    if picture.pages > 1:
        axes = "".join(f", {name} {size}" for name, size in picture.axes)
        yield "pages", f"{picture.pages}{axes}; values and noise are of the first"
    if picture.pixel_size:
        sizes = (f"{axis} {size:.4g} {unit}" for axis, (size, unit) in sorted(picture.pixel_size.items()))
        yield "pixel size", printable(", ".join(sizes))
    if picture.channel_names:
        yield "channels", printable(", ".join(picture.channel_names))
    if picture.dpi is not None:
        yield "dots per inch", " x ".join(f"{density:g}" for density in picture.dpi)
    yield "metadata", ", ".join(picture.metadata) or "none"
    yield "values", picture.values
    yield "noise", str(picture.noise)
    for note in picture.notes:
        yield "note", printable(note)


def _layers(network: Network) -> Iterator[tuple[str, ...]]:
    yield "", "layer", f"output of {_size(network.picture)}", "parameters", "MAC a pixel"
    for layer in network.layers:
        yield layer.name, layer.module, _size(layer.output), f"{layer.parameters:,}", f"{layer.macs_per_pixel:,.0f}"
    yield "sum", "", "", f"{network.parameters:,}", f"{network.macs_per_pixel:,.0f}"


def _columns(rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> Iterator[str]:
    """Format rows as lines of aligned columns, two spaces apart."""
    table = [*rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        yield "  ".join(cells).rstrip()


def _size(shape: Shape) -> str:
    return "x".join(map(str, shape))
