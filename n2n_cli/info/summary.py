"""Facts: what this program runs on, and what a network is made of."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from n2n_cli import __version__
from n2n_cli.config import Config, load_config
from n2n_cli.data.sources import PAIR_FILES, find_pair_file
from n2n_cli.models.model import Model
from n2n_cli.nn import Conv2d, Module, TransposeConv2d
from n2n_cli.nn.functional import Pair, Shape
from n2n_cli.nn.init import UNDRAWN
from n2n_cli.system import blas, cpu


@dataclass(frozen=True)
class System:
    """This program, this machine, and the library that multiplies matrices.

    Attributes
    ----------
    cores : int
        That this process may use.
    blas_kernel, blas_threads : str, int or None
        The processor that its kernels are made for, and the threads of one call; None where it does not tell.
    sgemm_gflops, sgemm_gflops_all_cores : float
        Measured: 10^9 floating-point operations a second of a float32 matrix product, on one thread and on one a core.
    """

    n2n: str
    python: str
    numpy: str
    processor: str
    vector_instructions: tuple[str, ...]
    cores: int
    blas: str
    blas_kernel: str | None
    blas_threads: int | None
    sgemm_gflops: float
    sgemm_gflops_all_cores: float


@dataclass(frozen=True)
class Layer:
    """A layer of a network.

    Attributes
    ----------
    name : str
        As in the state dict: "0"; "3.1" is in the container "3".
    module : str
        Its type and arguments; of a container, its type alone.
    output : (C, H, W)
        What it makes of one picture of the training size.
    macs_per_pixel : float
        Multiply-accumulates for each pixel of the picture, forward.
    """

    name: str
    module: str
    output: Shape
    parameters: int
    macs_per_pixel: float


@dataclass(frozen=True)
class Network:
    """A network, and how far its training has come.

    Attributes
    ----------
    source : str
        The checkpoint or configuration that it was read from.
    picture : (C, H, W)
        One picture of the training size.
    receptive_field : (rows, columns)
        Pixels of the picture that one pixel of the result may depend on: of the pixel that sees most.
    period : (rows, columns)
        Pixels; pictures of other sizes than its multiples are padded.
    pictures, noise : str
        What it is, or is to be, trained on: the data source, and the noise model or that the pairs have their own.
    epochs, seed : int
        Of the configuration.
    epoch, validation_psnr, noisy_validation_psnr : int, float (dB) or None
        What the checkpoint says: after how many epochs it was written, and the PSNR of the held-out pictures after and
        before denoising.
    """

    source: str
    picture: Shape
    layers: tuple[Layer, ...]
    parameters: int
    macs_per_pixel: float
    receptive_field: Pair
    period: Pair
    pictures: str
    noise: str
    epochs: int
    seed: int
    epoch: int | None = None
    validation_psnr: float | None = None
    noisy_validation_psnr: float | None = None


def describe_system() -> System:
    """Look at this process and its machine; takes about half a second, to measure it."""
    library, cores = blas.open_blas(), cpu.available_cores()
    rate = blas.sgemm_rate()
    return System(
        __version__,
        platform.python_version(),
        np.__version__,
        cpu.processor(),
        tuple(cpu.cpu_features()),
        cores,
        library.version if library else _blas_of_the_build(),
        library.kernel if library else None,
        library.threads if library else None,
        rate / 1e9,
        (rate if cores == 1 else blas.sgemm_rate(threads=cores)) / 1e9,
    )


def describe_source(source: str, config: Config | None = None) -> Network:
    """The network of a checkpoint or of a configuration (a TOML file, or the name of a shipped one).

    Parameters
    ----------
    source : str
    config : Config, optional
        Whose network fits the checkpoint, where it does not say so itself.

    Raises
    ------
    CheckpointError, ConfigError
        When it cannot be read.
    """
    if not is_checkpoint(source):
        config = load_config(source)
        return describe_network(config.network.build(rng=UNDRAWN), config, source)
    model = Model.from_checkpoint(source, config, threads=1)
    return describe_network(model.network, model.config, source, model.facts)


def is_checkpoint(source: str) -> bool:
    """Whether it is a checkpoint and not a configuration: by its ending, or by the first bytes of a zip file."""
    path = Path(source)
    if path.suffix in (".pth", ".pt"):
        return True
    with suppress(OSError), path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"
    return False


def describe_network(network: Module, config: Config, source: str, facts: Mapping[str, Any] | None = None) -> Network:
    """What a network is made of, for pictures of the training size; `facts` are those of its checkpoint."""
    picture = (config.network.channels, config.data.size, config.data.size)
    layers = list(_layers(network, (1, *picture), math.prod(picture[1:]), ""))
    facts = facts or {}
    epoch, psnr, noisy_psnr = facts.get("epoch"), facts.get("psnr"), facts.get("noisy_psnr")
    own_noise = config.data.kind != "pictures" or find_pair_file(config.data.source, PAIR_FILES[0]) is not None
    return Network(
        source,
        picture,
        tuple(layers),
        sum(layer.parameters for layer in layers),
        sum(layer.macs_per_pixel for layer in layers),
        (receptive_field(network, 0), receptive_field(network, 1)),
        (network.period(0), network.period(1)),
        config.data.source,
        "the pairs' own" if own_noise else config.data.noise,
        config.train.epochs,
        config.train.seed,
        epoch if isinstance(epoch, int) else None,
        psnr if isinstance(psnr, float) else None,
        noisy_psnr if isinstance(noisy_psnr, float) else None,
    )


def receptive_field(network: Module, axis: int) -> int:
    """Pixels along an axis that an output pixel may depend on: behind strides, some see more than others."""
    spans = (network.input_span(i, i + 1, axis) for i in range(network.period(axis)))
    return max(stop - start for start, stop in spans)


def _layers(network: Module, shape: Shape, pixels: int, prefix: str) -> Iterator[Layer]:
    """The layers of a network for an input of `shape`, made of so many pixels; those of a container come behind it."""
    for name, module in network.children():
        inner = any(True for _ in module.children())
        after = module.output_shape(shape)
        size = 0 if inner else sum(parameter.data.size for _, parameter in module.named_parameters())
        text = type(module).__name__ if inner else repr(module)
        yield Layer(prefix + name, text, after[1:], size, _products(module, shape, after) / pixels)
        if inner:
            yield from _layers(module, shape, pixels, f"{prefix}{name}.")
        shape = after


def _products(module: Module, before: Shape, after: Shape) -> int:
    """Multiply-accumulates of a layer between an input and an output of these shapes."""
    if isinstance(module, Conv2d):
        return module.weight.data.size * math.prod(after[2:])
    return module.weight.data.size * math.prod(before[2:]) if isinstance(module, TransposeConv2d) else 0


def _blas_of_the_build() -> str:
    """What NumPy says that it was built with."""
    built: Any = np.show_config(mode="dicts")
    facts = built.get("Build Dependencies", {}).get("blas", {})
    return " ".join(str(facts[key]) for key in ("name", "version") if facts.get(key)) or "unknown"
