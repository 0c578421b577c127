"""Facts about the network of a checkpoint or configuration."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from n2n_cli.config import Config, load_config
from n2n_cli.data.sources import PAIR_FILES, find_pair_file
from n2n_cli.models.model import Model
from n2n_cli.nn import Conv2d, Module, TransposeConv2d
from n2n_cli.nn.functional import Pair, Shape
from n2n_cli.nn.init import UNDRAWN


@dataclass(frozen=True)
class Layer:
    """A layer of a network.

    Attributes
    ----------
    name : str
        Name in the state dict: "0"; or "3.1" for a layer in the container "3".
    module : str
        Type and arguments; only the type of a container.
    output : (C, H, W)
        Shape of the output for one picture of the training size.
    parameters : int
        Number of parameters; 0 for a container.
    macs_per_pixel : float
        Multiply-accumulate operations of the forward pass, per pixel of the picture.
    """

    name: str
    module: str
    output: Shape
    parameters: int
    macs_per_pixel: float


@dataclass(frozen=True)
class Network:
    """A network and the state of its training.

    Attributes
    ----------
    source : str
        Checkpoint or configuration that describes it.
    picture : (C, H, W)
        Shape of a picture of the training size.
    layers : tuple of Layer
    parameters : int
        Number of parameters.
    macs_per_pixel : float
        Multiply-accumulate operations of the forward pass, per pixel of the picture.
    receptive_field : (rows, columns)
        Largest receptive field of any output pixel, in pixels.
    period : (rows, columns)
        Pictures are padded to a multiple of this size, in pixels.
    pictures, noise : str
        Training data and its noise.
    epochs, seed : int
        Number of epochs and seed of the configuration.
    epoch : int or None
        Epoch after which the checkpoint was written.
    validation_psnr, noisy_validation_psnr : float or None
        Mean PSNR of the held-out pictures after and before denoising, in dB, from the checkpoint.
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


def describe_source(source: str, config: Config | None = None) -> Network:
    """Describe the network of a checkpoint or configuration.

    Parameters
    ----------
    source : str
        Checkpoint, TOML file, or name of a bundled configuration.
    config : Config, optional
        Configuration of a checkpoint that holds only weights.

    Raises
    ------
    CheckpointError, ConfigError
        When the source cannot be read.
    """
    if not is_checkpoint(source):
        config = load_config(source)
        return describe_network(config.network.build(rng=UNDRAWN), config, source)
    model = Model.from_checkpoint(source, config, threads=1)
    return describe_network(model.network, model.config, source, model.facts)


def is_checkpoint(source: str) -> bool:
    """True for a checkpoint, false for a configuration; by file name or first bytes."""
    path = Path(source)
    if path.suffix in (".pth", ".pt"):
        return True
    with suppress(OSError), path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"
    return False


def describe_network(network: Module, config: Config, source: str, facts: Mapping[str, Any] | None = None) -> Network:
    """Describe a network for pictures of the training size.

    `facts` are the data that its checkpoint holds beside the weights.
    """
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
    """Largest receptive field of any output pixel along an axis, in pixels."""
    spans = (network.input_span(i, i + 1, axis) for i in range(network.period(axis)))
    return max(stop - start for start, stop in spans)


def _layers(network: Module, shape: Shape, pixels: int, prefix: str) -> Iterator[Layer]:
    """Describe the layers of a network, each container before its layers.

    `shape` is the shape of the network's input, `pixels` the size of the picture.
    """
    for name, module in network.children():
        inner = any(True for _ in module.children())
        after = module.output_shape(shape)
        size = 0 if inner else sum(parameter.data.size for _, parameter in module.named_parameters())
        text = type(module).__name__ if inner else repr(module)
        yield Layer(prefix + name, text, after[1:], size, _macs(module, shape, after) / pixels)
        if inner:
            yield from _layers(module, shape, pixels, f"{prefix}{name}.")
        shape = after


def _macs(module: Module, before: Shape, after: Shape) -> int:
    """Count multiply-accumulate operations of a layer from input and output shapes."""
    if isinstance(module, Conv2d):
        return module.weight.data.size * math.prod(after[2:])
    return module.weight.data.size * math.prod(before[2:]) if isinstance(module, TransposeConv2d) else 0
