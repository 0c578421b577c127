"""A whole configuration, and checks of keys that depend on each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from n2n_cli.config import keys
from n2n_cli.config.keys import DEAD_LEAVES, UnknownNameError
from n2n_cli.config.tables import DataConfig, NetworkConfig, TrainConfig
from n2n_cli.config.toml_text import plain, shown, to_toml
from n2n_cli.engine.sizes import most_values
from n2n_cli.errors import ArgumentError, ConfigError, ShapeError, did_you_mean
from n2n_cli.nn import Sequential
from n2n_cli.nn.freezing import frozen_parameters
from n2n_cli.nn.functional import Shape
from n2n_cli.nn.init import UNDRAWN
from n2n_cli.nn.optim import OPTIMIZERS
from n2n_cli.nn.schedules import Constant, Schedule, ScheduleError
from n2n_cli.nn.schedules import build as build_schedule
from n2n_cli.nn.spec import SpecError

MAX_WEIGHTS = 100_000_000
"""Maximum number of weights: to check a configuration, which may be untrusted, its network is built."""
MAX_LAYERS = 2000
"""Maximum number of layers, including nested ones."""

_MOST_VALUES = 2**48
"""Maximum number of values of an array inside a network, for one picture of `data.size`."""

_SECTIONS = {"network": NetworkConfig, "data": DataConfig, "train": TrainConfig}
_SCHEDULE = "schedule"
PLUGINS = "plugins"
"""Key that lists plugins to load, which is not part of a `Config`: see `reading`."""
_OTHERS = "`--plugin FILE.py` loads others"


class UnregisteredError(ConfigError):
    """Unknown name of a layer, loss or noise model, which a plugin may define."""


@dataclass(frozen=True)
class Config:
    """A whole configuration; `origin` is the name of its source in messages."""

    network: NetworkConfig
    data: DataConfig
    train: TrainConfig
    schedule: Schedule = field(default_factory=Constant)
    origin: str = field(default="configuration", compare=False)

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any], origin: str) -> Self:
        """Make a configuration from nested tables, as in a TOML file or a checkpoint.

        Raises
        ------
        ConfigError
            For the first unknown, mistyped or out-of-range key, for keys that contradict each other, and for a network
            that does not keep the size of a picture.
        """
        known = [*_SECTIONS, _SCHEDULE]
        if PLUGINS in tables:
            raise ConfigError(
                f"`{origin}`: `{PLUGINS}` is not allowed here: only a file that `--config` names may load them",
                hint="without the key, `--plugin FILE.py` loads them",
            )
        for name, table in tables.items():
            if name not in known:
                raise ConfigError(f"`{origin}`: unknown key `{name}`", hint=did_you_mean(str(name), known))
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
        """A copy with one key set to another value.

        Parameters
        ----------
        name : str
            Dotted name, such as "train.lr".
        value : object
            Of a TOML type.
        origin : str
            Source of the value in messages, such as "--lr".
        """
        return self.override_all([(name, value, origin)])

    def override_all(self, assignments: Iterable[tuple[str, Any, str]]) -> Self:
        """A copy with several keys set; they are checked together at the end.

        Parameters
        ----------
        assignments : iterable of (name, value, origin)
            Arguments of `override`.
        """
        config, origins, schedule = self, [], self.schedule.table()
        for name, value, origin in assignments:
            section, _, key = name.partition(".")
            if section == _SCHEDULE and key:
                # The arguments of the old schedule do not apply to another one.
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
            raise ConfigError(f"`{origin}`: unknown key `{name}`", hint=did_you_mean(name, [*names, "schedule.name"]))
        table = getattr(self, section)
        (item,) = (item for item in fields(table) if item.name == key)
        try:
            checked = item.metadata["check"](value)
        except UnknownNameError as error:
            raise UnregisteredError(
                f"`{origin}`: `{name}` is {shown(value)}, it must be {error}", hint=_OTHERS
            ) from None
        except ValueError as error:
            raise ConfigError(f"`{origin}`: `{name}` is {shown(value)}, it must be {error}") from None
        return replace(self, **{section: replace(table, **{key: checked})})

    def _check(self, origin: str) -> None:
        """Check the keys together, and that the network keeps channels and size."""
        train = self.train
        others = {
            "momentum": train.optimizer == "SGD",
            "betas": train.optimizer != "SGD",
            "bias_lr": train.optimizer == "Muon",
        }
        for key, used in others.items():
            if not used and getattr(train, key) != getattr(TrainConfig(), key):
                raise ConfigError(
                    f"`{origin}`: `train.{key}` is {shown(getattr(train, key))}, {train.optimizer} has no {key}",
                    hint=f"leave it out, or choose another `train.optimizer`: {', '.join(OPTIMIZERS)}",
                )
        _check_source(self.data, origin)
        if self.network.channels % self.data.frames:
            raise ConfigError(
                f"`{origin}`: `network.channels` is {self.network.channels}, it must be a multiple of "
                f"`data.frames`, {self.data.frames}",
                hint="use as many channels as frames for a gray movie, three times as many for RGB",
            )
        if self.data.kind == "single" and train.loss != "MSE":
            raise ConfigError(
                f"`{origin}`: `train.loss` is {shown(train.loss)}, "
                "but training on single noisy pictures has its own loss",
                hint='leave it at "MSE": that loss is a sum of mean squared errors',
            )
        if not self.network.layers:
            raise ConfigError(
                f"`{origin}`: `network.layers` is missing: a list of tables, one per layer",
                hint='for example `layers = [{ type = "Conv2d", in_channels = 3, out_channels = 3, kernel_size = 1 }]`',
            )
        layers, weights = _sizes(self.network.layers)
        for number, most, noun, hint in (
            (layers, MAX_LAYERS, "layers", "use fewer layers"),
            (weights, MAX_WEIGHTS, "weights", "use fewer channels or smaller kernels"),
        ):
            if number > most:
                raise ConfigError(f"`{origin}`: `network.layers` have more than {most:,} {noun}", hint=hint)
        try:
            network = self.network.build(rng=UNDRAWN)
            periods = [network.period(axis) for axis in (0, 1)]
            whole = (1, self.network.channels, *(64 * period for period in periods))
            out = _check_output(network, whole)
        except SpecError as error:
            key = f"network.layers[{error.position}]" + (f".{error.key}" if error.key else "")
            message = f"`{origin}`: `{key}`: {error.message}"
            if error.is_unknown_type:
                raise UnregisteredError(message, hint=f"{error.hint} ({_OTHERS})") from None
            raise ConfigError(message, hint=error.hint) from None
        except ShapeError as error:
            raise ConfigError(f"`{origin}`: `network.layers` do not fit together: {error.message}") from None
        except (MemoryError, ValueError):  # NumPy raises ValueError for an impossible array size
            raise ConfigError(f"`{origin}`: `network.layers` have more weights than the memory holds") from None
        try:
            frozen_parameters(network, train.freeze)
        except ArgumentError as error:
            raise ConfigError(
                f"`{origin}`: `train.freeze` has {shown(error.value)}, it must be {error.needed}",
                hint="`n2n info CHECKPOINT` lists layers: `0` is layer 0, `0.weight` its weight, `*.bias` all biases",
            ) from None
        if out != whole:
            raise ConfigError(
                f"`{origin}`: `network.layers` map a picture of shape {_shape(whole)} to {_shape(out)}; "
                "a denoiser has to keep channels and size"
            )
        period = math.lcm(*periods)
        if self.data.size % period:
            raise ConfigError(
                f"`{origin}`: `data.size` is {self.data.size}, this network needs a multiple of {shown(period)}"
            )
        try:
            _check_output(network, (1, self.network.channels, self.data.size, self.data.size))
        except ShapeError as error:
            raise ConfigError(f"`{origin}`: `data.size` is {self.data.size}: {error.message}") from None

    def tables(self) -> dict[str, dict[str, Any]]:
        """Nested tables of plain values; the inverse of `from_tables`."""
        tables = {
            section: {item.name: plain(getattr(getattr(self, section), item.name)) for item in fields(kind)}
            for section, kind in _SECTIONS.items()
        }
        return tables | {_SCHEDULE: self.schedule.table()}

    def without_folders(self) -> Self:
        """A copy with names in place of paths, for files given to others."""
        config = self
        for section, kind in _SECTIONS.items():
            for item in fields(kind):
                if item.metadata["check"] in (keys.source, keys.path):
                    name = keys.name_of(getattr(getattr(self, section), item.name))
                    config = config._with(f"{section}.{item.name}", name, self.origin)
        return config

    def flat(self) -> dict[str, Any]:
        """Plain values by dotted key ("train.lr")."""
        return {f"{section}.{key}": value for section, table in self.tables().items() for key, value in table.items()}

    def to_toml(self) -> str:
        """Text of a TOML file, from which `load_config` makes the same configuration."""
        return to_toml(self.tables())


def _check_source(data: DataConfig, origin: str) -> None:
    """Check that the source of the data, its kind and its corrections fit together."""
    shots = data.kind in ("pairs", "bursts")
    wrong = {"second": data.second and data.kind != "pairs", "match_exposure": data.match_exposure and not shots}
    wrong |= {"align": data.align and not shots}
    of_movies = {key: getattr(data, key) != getattr(DataConfig(), key) for key in ("axes", "frame_gap")}
    wrong |= {key: given and data.kind != "movie" for key, given in of_movies.items()}
    for key, refused in wrong.items():
        if refused:
            raise ConfigError(
                f'`{origin}`: `data.{key}` is {shown(getattr(data, key))}, but `data.kind` is "{data.kind}"',
                hint="it is for frames of a movie: `--movie FILE`"
                if key in of_movies
                else "it is for shots of the same scenes: `--pairs A B` or `--bursts FOLDER`",
            )
    if data.kind != "pictures" and data.source == DEAD_LEAVES:
        raise ConfigError(
            f'`{origin}`: `data.kind` is "{data.kind}", but `data.source` is the built-in pictures',
            hint="name the source: `--pairs A B`, `--bursts FOLDER`, `--single-image FOLDER` or `--movie FILE`",
        )


def _check_output(network: Sequential, shape: Shape) -> Shape:
    """Output shape of a network; refuses arrays of impossible sizes.

    Raises
    ------
    ShapeError
        Also if the layers do not fit together.
    """
    try:
        out = network.output_shape(shape)
        possible = most_values(network, shape) <= _MOST_VALUES
    except ShapeError:
        raise
    except ValueError:  # the error message could not be formatted: a size has too many digits
        possible = False
    if not possible:
        raise ShapeError("their outputs are too large for any memory")
    return out


def _shape(shape: Shape) -> str:
    return f"({', '.join(map(shown, shape[1:]))})"


def _sizes(specs: Any) -> tuple[int, int]:
    """Numbers of layers and of convolution weights in layer tables.

    Sizes that are not numbers are ignored.
    """
    layers = total = 0
    for spec in specs if isinstance(specs, list | tuple) else ():
        if isinstance(spec, Mapping):
            kernel = spec.get("kernel_size", 1)
            sizes = [spec.get("in_channels", 1), spec.get("out_channels", 1)]
            sizes += kernel if isinstance(kernel, list) else [kernel, kernel]
            total += math.prod(sizes) if all(type(size) is int and size > 0 for size in sizes) else 0
            inner, weights = _sizes(spec.get("layers"))
            layers, total = layers + 1 + inner, total + weights
    return layers, total


def _schedule(table: Mapping[str, Any], origin: str) -> Schedule:
    try:
        return build_schedule(table)
    except ScheduleError as error:
        key = _SCHEDULE + (f".{error.key}" if error.key else "")
        raise ConfigError(f"`{origin}`: `{key}`: {error.message}", hint=error.hint) from None
