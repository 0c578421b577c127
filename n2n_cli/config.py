"""TOML -> frozen dataclasses: defaults, overrides, range checks; and back to TOML.

A configuration says everything that a training depends on but the machine: the network layer by layer, the data and
their noise, the optimiser. Every key is checked when it is read, and an error names the file (or the option), the key,
its value and what it must be.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Self

import numpy as np

from n2n_cli import config_keys as keys
from n2n_cli.config_keys import DEAD_LEAVES
from n2n_cli.errors import ArgumentError, ConfigError, ShapeError
from n2n_cli.freezing import frozen_parameters
from n2n_cli.nn import Sequential
from n2n_cli.nn.he import start_as_he
from n2n_cli.nn.init import UNDRAWN
from n2n_cli.nn.losses import LOSSES
from n2n_cli.nn.optim import OPTIMIZERS
from n2n_cli.nn.schedules import Constant, Schedule, ScheduleError
from n2n_cli.nn.schedules import build as build_schedule
from n2n_cli.nn.spec import LayerSpec, SpecError, build, nearest
from n2n_cli.toml_text import plain, shown, to_toml

MAX_BYTES = 1_000_000
MAX_WEIGHTS = 100_000_000
"""Of a network: it is built in order to be checked, and a configuration may be a stranger's."""


@dataclass(frozen=True)
class NetworkConfig:
    """The network: a Sequential that gives pictures of the size and channels that it gets.

    Attributes
    ----------
    init : str
        How its weights start: "uniform", as PyTorch's convolutions do, or "he" (He et al. 2015).
    """

    channels: int = keys.key(keys.whole(1, 4), 3)
    layers: tuple[LayerSpec, ...] = keys.key(keys.layers, ())
    init: str = keys.key(keys.one_of(("uniform", "he")), "uniform")

    def build(self, *, rng: np.random.Generator | None = None) -> Sequential:
        """The network with weights drawn by `rng`."""
        rng = np.random.default_rng() if rng is None else rng
        network = build(self.layers, rng=rng)
        if self.init == "he":
            start_as_he(network, rng=rng)
        return network


@dataclass(frozen=True)
class DataConfig:
    """The training pairs.

    Attributes
    ----------
    source : str
        "dead-leaves", a folder of pictures, or a file of pairs; where `kind` says so, something else.
    size : int
        Side of a training picture, in pixels of the network's input.
    pairs, validation_pairs : int
        How many pairs make an epoch, and how many of held-out pictures measure it.
    noise : str
        The noise model, as "gaussian:25".
    target_noise : str
        That of the targets, where it is another: the less noisy they are, the fewer it takes to learn as much. Empty:
        the same.
    redraw : bool
        Whether every epoch sees new noise on its pictures, or the same pairs again.
    recrop : bool
        Whether every epoch cuts its pairs from other places of the pictures.
    recolour : bool
        Whether every epoch gives half of its crops other colours.
    shrink : float
        Half of the crops of every epoch are cut from pictures made smaller, to a part of their size between this and 1.
    augment : bool
        Whether every epoch flips and turns its pairs at random, and takes at random which of the two is the target.
    kind : str
        What the source holds: "pictures", to which noise is added; "pairs" of shots, in two folders or a table of two
        columns; "bursts", a folder for every scene; or "single" noisy pictures.
    second : str
        Of pairs in two folders, the one with the targets.
    match_exposure : bool
        Whether shots are made as bright as the first of their scene.
    align : bool
        Whether shots are cut to what all of their scene show, where they are shifted by whole pixels.
    """

    source: str = keys.key(keys.source, DEAD_LEAVES)
    size: int = keys.key(keys.whole(4, 1024), 32)
    pairs: int = keys.key(keys.whole(1, 100_000_000), 50_000)
    validation_pairs: int = keys.key(keys.whole(1, 1_000_000), 1000)
    noise: str = keys.key(keys.noise, "gaussian:25")
    target_noise: str = keys.key(keys.noise_or_none, "")
    redraw: bool = keys.key(keys.flag, True)
    recrop: bool = keys.key(keys.flag, False)
    recolour: bool = keys.key(keys.flag, False)
    shrink: float = keys.key(keys.number(0, 1), 1.0)
    augment: bool = keys.key(keys.flag, False)
    kind: str = keys.key(keys.one_of(keys.KINDS), "pictures")
    second: str = keys.key(keys.path, "")
    match_exposure: bool = keys.key(keys.flag, False)
    align: bool = keys.key(keys.flag, False)


@dataclass(frozen=True)
class TrainConfig:
    """The training itself.

    Attributes
    ----------
    lr : float
        Learning rate, of which the schedule takes parts.
    momentum : float
        Of SGD.
    betas : (float, float)
        Of Adam, AdamW and Muon.
    weight_decay : float
    clip_norm : float
        What the gradients' common norm is cut to; 0: not at all.
    average : float
        Decay of the moving average of the weights, which then is what is measured and saved; 0: none.
    seed : int
        Seeds the weights, the order, the crops and the noise.
    init : str
        The checkpoint, or the name of a bundled model, whose weights the training starts from; none where it is empty.
    freeze : tuple of str
        Patterns of the parameters that stay as they are, by name.
    """

    epochs: int = keys.key(keys.whole(1, 1_000_000), 10)
    batch_size: int = keys.key(keys.whole(1, 100_000), 100)
    optimizer: str = keys.key(keys.one_of(OPTIMIZERS), "SGD")
    lr: float = keys.key(keys.number(0, 1000), 1.0)
    momentum: float = keys.key(keys.part(1), 0.0)
    betas: tuple[float, float] = keys.key(keys.betas, (0.9, 0.999))
    weight_decay: float = keys.key(keys.part(10), 0.0)
    clip_norm: float = keys.key(keys.part(1e9), 0.0)
    average: float = keys.key(keys.part(1), 0.0)
    loss: str = keys.key(keys.one_of(LOSSES), "MSE")
    seed: int = keys.key(keys.whole(0, 2**63 - 1), 0)
    init: str = keys.key(keys.path, "")
    freeze: tuple[str, ...] = keys.key(keys.patterns, ())


_SECTIONS = {"network": NetworkConfig, "data": DataConfig, "train": TrainConfig}
_SCHEDULE = "schedule"


@dataclass(frozen=True)
class Config:
    """A whole configuration. `origin` says where it came from, for messages."""

    network: NetworkConfig
    data: DataConfig
    train: TrainConfig
    schedule: Schedule = field(default_factory=Constant)
    origin: str = field(default="configuration", compare=False)

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any], origin: str) -> Self:
        """A configuration from nested tables, as a TOML file or a checkpoint holds it.

        Raises
        ------
        ConfigError
            For the first unknown, mistyped or out-of-range key, for keys that do not go together, and for a network
            that does not keep a picture's size.
        """
        known = [*_SECTIONS, _SCHEDULE]
        for name, table in tables.items():
            if name not in known:
                raise ConfigError(f"`{origin}`: unknown key `{name}`", hint=nearest(str(name), known))
            if not isinstance(table, Mapping):
                raise ConfigError(f"`{origin}`: `{name}` is {shown(table)}, it must be a table: `[{name}]`")
        config = cls(NetworkConfig(), DataConfig(), TrainConfig(), origin=origin)
        for section in _SECTIONS:
            for key, value in tables.get(section, {}).items():
                config = config._with(f"{section}.{key}", value, origin)
        if tables.get(_SCHEDULE):
            config = replace(config, schedule=_schedule(tables[_SCHEDULE], origin))
        config._check(origin)
        return config

    def override(self, name: str, value: Any, origin: str) -> Self:
        """The same configuration with one key, by dotted name, set to another value.

        Parameters
        ----------
        name : str
            As "train.lr".
        value : object
            Of the type that TOML would give.
        origin : str
            Where the value came from, for the message: "--lr".
        """
        return self.override_all([(name, value, origin)])

    def override_all(self, assignments: Iterable[tuple[str, Any, str]]) -> Self:
        """The same with several keys set; what has to go together is checked when all of them are.

        Parameters
        ----------
        assignments : iterable of (name, value, origin)
            As `override` takes them.
        """
        config, origins, schedule = self, [], self.schedule.table()
        for name, value, origin in assignments:
            section, _, key = name.partition(".")
            if section == _SCHEDULE and key:
                # The arguments of one schedule are not those of another.
                schedule = {"name": value} if key == "name" and value != schedule["name"] else schedule | {key: value}
            else:
                config = config._with(name, value, origin)
            if origin not in origins:
                origins.append(origin)
        if origins:
            origin = ", ".join(origins)
            config = replace(config, schedule=_schedule(schedule, origin))
            config._check(origin)
        return config

    def _with(self, name: str, value: Any, origin: str) -> Self:
        section, _, key = name.partition(".")
        names = [f"{part}.{item.name}" for part, kind in _SECTIONS.items() for item in fields(kind)]
        if name not in names:
            raise ConfigError(f"`{origin}`: unknown key `{name}`", hint=nearest(name, [*names, "schedule.name"]))
        table = getattr(self, section)
        (item,) = (item for item in fields(table) if item.name == key)
        try:
            checked = item.metadata["check"](value)
        except ValueError as error:
            raise ConfigError(f"`{origin}`: `{name}` is {shown(value)}, it must be {error}") from None
        return replace(self, **{section: replace(table, **{key: checked})})

    def _check(self, origin: str) -> None:
        """See that the keys go together, and that the network can be built and keeps channels and size."""
        train = self.train
        others = {"momentum": train.optimizer == "SGD", "betas": train.optimizer != "SGD"}
        for key, used in others.items():
            if not used and getattr(train, key) != getattr(TrainConfig(), key):
                raise ConfigError(
                    f"`{origin}`: `train.{key}` is {shown(getattr(train, key))}, {train.optimizer} has no {key}",
                    hint=f"leave it out, or take another `train.optimizer`: {', '.join(OPTIMIZERS)}",
                )
        _check_source(self.data, origin)
        if self.data.kind == "single" and train.loss != "MSE":
            raise ConfigError(
                f"`{origin}`: `train.loss` is {shown(train.loss)}, but single noisy pictures have a loss of their own",
                hint='leave it at "MSE", which that loss is made of',
            )
        if not self.network.layers:
            raise ConfigError(
                f"`{origin}`: `network.layers` is missing: a list of tables, one a layer",
                hint='for example `layers = [{ type = "Conv2d", in_channels = 3, out_channels = 3, kernel_size = 1 }]`',
            )
        if _weights(self.network.layers) > MAX_WEIGHTS:
            raise ConfigError(
                f"`{origin}`: `network.layers` have more than {MAX_WEIGHTS:,} weights",
                hint="fewer channels, or smaller kernels",
            )
        try:
            network = self.network.build(rng=UNDRAWN)
            whole = (1, self.network.channels, 64 * network.period(0), 64 * network.period(1))
            out = network.output_shape(whole)
        except SpecError as error:
            key = f"network.layers[{error.position}]" + (f".{error.key}" if error.key else "")
            raise ConfigError(f"`{origin}`: `{key}`: {error.message}", hint=error.hint) from None
        except ShapeError as error:
            raise ConfigError(f"`{origin}`: `network.layers` do not fit together: {error.message}") from None
        except (MemoryError, ValueError):  # ValueError is NumPy's, for a size that no array can have
            raise ConfigError(f"`{origin}`: `network.layers` have more weights than the memory holds") from None
        try:
            frozen_parameters(network, train.freeze)
        except ArgumentError as error:
            raise ConfigError(
                f"`{origin}`: `train.freeze` has {shown(error.value)}, it must be {error.needed}",
                hint="`n2n info CHECKPOINT` shows the layers; `0` is all of one, `0.weight` a part, `*.bias` of all",
            ) from None
        if out != whole:
            raise ConfigError(
                f"`{origin}`: `network.layers` turn a picture of shape {whole[1:]} into {out[1:]}; "
                "a denoiser has to keep channels and size"
            )
        period = math.lcm(network.period(0), network.period(1))
        if self.data.size % period:
            raise ConfigError(f"`{origin}`: `data.size` is {self.data.size}, this network needs a multiple of {period}")
        try:
            network.output_shape((1, self.network.channels, self.data.size, self.data.size))
        except ShapeError as error:
            raise ConfigError(f"`{origin}`: `data.size` is {self.data.size}: {error.message}") from None

    def tables(self) -> dict[str, dict[str, Any]]:
        """Nested tables of plain values, from which `from_tables` makes the same configuration."""
        tables = {
            section: {item.name: plain(getattr(getattr(self, section), item.name)) for item in fields(kind)}
            for section, kind in _SECTIONS.items()
        }
        return tables | {_SCHEDULE: self.schedule.table()}

    def to_toml(self) -> str:
        """The configuration as the text of a TOML file, from which `load_config` makes the same configuration."""
        return to_toml(self.tables())


def _check_source(data: DataConfig, origin: str) -> None:
    """See that a source, what it holds and what is done to it go together."""
    shots = data.kind in ("pairs", "bursts")
    wrong = {"second": data.second and data.kind != "pairs", "match_exposure": data.match_exposure and not shots}
    wrong |= {"align": data.align and not shots}
    for key, refused in wrong.items():
        if refused:
            raise ConfigError(
                f'`{origin}`: `data.{key}` is {shown(getattr(data, key))}, but `data.kind` is "{data.kind}"',
                hint="it is for shots of the same scenes: `--pairs A B` or `--bursts FOLDER`",
            )
    if data.kind != "pictures" and data.source == DEAD_LEAVES:
        raise ConfigError(
            f'`{origin}`: `data.kind` is "{data.kind}", but `data.source` is the built-in pictures',
            hint="name where they are: `--pairs A B`, `--bursts FOLDER` or `--single-image FOLDER`",
        )


def _weights(specs: Any) -> int:
    """How many weights the convolutions of layer tables have; what is no whole number is refused later."""
    total = 0
    for spec in specs if isinstance(specs, list | tuple) else ():
        if isinstance(spec, Mapping):
            kernel = spec.get("kernel_size", 1)
            sizes = [spec.get("in_channels", 1), spec.get("out_channels", 1)]
            sizes += kernel if isinstance(kernel, list) else [kernel, kernel]
            total += math.prod(sizes) if all(type(size) is int and size > 0 for size in sizes) else 0
            total += _weights(spec.get("layers"))
    return total


def _schedule(table: Mapping[str, Any], origin: str) -> Schedule:
    try:
        return build_schedule(table)
    except ScheduleError as error:
        key = _SCHEDULE + (f".{error.key}" if error.key else "")
        raise ConfigError(f"`{origin}`: `{key}`: {error.message}", hint=error.hint) from None


def shipped_configs() -> dict[str, Path]:
    """The configurations that come with the package, by name without the ending."""
    folder = Path(str(resources.files("n2n_cli"))) / "configs"
    if not folder.is_dir():  # a checkout that is installed in editable mode
        folder = Path(__file__).parents[1] / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.toml"), key=lambda path: path.stem)}


_MAX_DOTS = 200  # tomllib takes seconds for a key of thousands of parts
_BETWEEN_DOTS = re.compile(rb"[=,#\[\]{}\n]")


def load_config(name: str) -> Config:
    """A configuration from the path of a TOML file, or the name of a shipped one.

    Raises
    ------
    ConfigError
        When there is no such file, it is not TOML, or a key is wrong.
    """
    path, shipped = Path(name), shipped_configs()
    try:
        if not path.is_file():
            path = shipped.get(name.removesuffix(".toml"), path)
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigError(f"`{name}` is too long: a configuration has at most {MAX_BYTES:,} bytes")
        if max(piece.count(b".") for piece in _BETWEEN_DOTS.split(content)) > _MAX_DOTS:
            raise ConfigError(f"`{name}` has a key of more than {_MAX_DOTS} parts")
        tables = tomllib.loads(content.decode())
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration `{name}`", hint="shipped: " + ", ".join(shipped)) from None
    except IsADirectoryError:
        raise ConfigError(
            f"`{name}` is a folder, not a configuration", hint=f"perhaps `{path / 'config.toml'}`"
        ) from None
    except OSError as error:
        raise ConfigError(f"`{name}` cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # ValueError: also not UTF-8, or a number of too many digits
        raise ConfigError(f"`{name}` is not TOML: {error}") from None
    return Config.from_tables(tables, name)


def parse_assignment(text: str) -> tuple[str, Any]:
    """`train.lr=0.5` -> ("train.lr", 0.5): the value as TOML, or as plain text where it is none.

    Raises
    ------
    ConfigError
        When there is no `=`.
    """
    name, separator, value = text.partition("=")
    if not separator:
        raise ConfigError(f"`--set {text}` has no `=`", hint="for example `--set train.lr=0.5`")
    with suppress(ValueError, RecursionError):
        table = tomllib.loads(f"value = {value}")
        if len(table) == 1:  # a line break in the text could start another key
            return name.strip(), table["value"]
    return name.strip(), value.strip()
