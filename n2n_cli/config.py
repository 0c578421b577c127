"""TOML -> frozen dataclasses: defaults, overrides, range checks; and back to TOML.

A configuration says everything that a training depends on but the machine: the network layer by layer, the data and
their noise, the optimiser. Every key is checked when it is read, and an error names the file (or the option), the key,
its value and what it must be.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np

from n2n_cli.errors import ArgumentError, ConfigError, ShapeError
from n2n_cli.nn import Sequential
from n2n_cli.nn.losses import LOSSES
from n2n_cli.nn.optim import OPTIMIZERS
from n2n_cli.nn.spec import LayerSpec, SpecError, build, nearest
from n2n_cli.noise import parse_noise

MAX_BYTES = 1_000_000
DEAD_LEAVES = "dead-leaves"
"""The name of the built-in pictures, where a data source is asked for."""

Check: TypeAlias = Callable[[Any], Any]


def _whole(low: int, high: int) -> Check:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low:,} to {high:,}")
        return value

    return check


def _number(above: float, high: float) -> Check:
    def check(value: Any) -> float:
        # `not <=` also refuses nan
        if isinstance(value, bool) or not isinstance(value, int | float) or not above < value <= high:
            raise ValueError(f"a number above {above:g} and at most {high:g}")
        return float(value)

    return check


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _one_of(choices: Iterable[str]) -> Check:
    names = list(choices)

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError("one of " + ", ".join(f'"{name}"' for name in names))
        return value

    return check


def _source(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value or not _is_unicode(value):
        raise ValueError(f'"{DEAD_LEAVES}", or the path of a folder of pictures or of a pair file, as UTF-8 text')
    return value


def _is_unicode(text: str) -> bool:
    # A path of other bytes comes from the command line with lone surrogates, which no TOML file can hold.
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _noise(value: Any) -> str:
    try:
        parse_noise(value if isinstance(value, str) else repr(value))
    except ArgumentError as error:
        raise ValueError(error.needed) from None
    return str(value)


def _layers(value: Any) -> tuple[LayerSpec, ...]:
    if not isinstance(value, Sequence) or not value or not all(isinstance(spec, Mapping) for spec in value):
        raise ValueError("a list of tables, one a layer, each with a `type`")
    return tuple(dict(spec) for spec in value)


def _key(check: Check, default: Any) -> Any:
    return field(default=default, metadata={"check": check})


@dataclass(frozen=True)
class NetworkConfig:
    """The network: a Sequential that gives pictures of the size and channels that it gets."""

    channels: int = _key(_whole(1, 4), 3)
    layers: tuple[LayerSpec, ...] = _key(_layers, ())

    def build(self, *, rng: np.random.Generator | None = None) -> Sequential:
        """The network with weights drawn by `rng`."""
        return build(self.layers, rng=rng)


@dataclass(frozen=True)
class DataConfig:
    """The training pairs.

    Attributes
    ----------
    source : str
        "dead-leaves", a folder of pictures, or a file of pairs.
    size : int
        Side of a training picture, in pixels of the network's input.
    pairs, validation_pairs : int
        How many pairs make an epoch, and how many of held-out pictures measure it.
    noise : str
        The noise model, as "gaussian:25".
    redraw : bool
        Whether every epoch sees new noise on its pictures, or the same pairs again.
    """

    source: str = _key(_source, DEAD_LEAVES)
    size: int = _key(_whole(4, 1024), 32)
    pairs: int = _key(_whole(1, 100_000_000), 50_000)
    validation_pairs: int = _key(_whole(1, 1_000_000), 1000)
    noise: str = _key(_noise, "gaussian:25")
    redraw: bool = _key(_flag, True)


@dataclass(frozen=True)
class TrainConfig:
    """The training itself.

    Attributes
    ----------
    lr : float
        Learning rate.
    seed : int
        Seeds the weights, the order, the crops and the noise.
    """

    epochs: int = _key(_whole(1, 1_000_000), 10)
    batch_size: int = _key(_whole(1, 100_000), 100)
    optimizer: str = _key(_one_of(OPTIMIZERS), "SGD")
    lr: float = _key(_number(0, 1000), 1.0)
    loss: str = _key(_one_of(LOSSES), "MSE")
    seed: int = _key(_whole(0, 2**63 - 1), 0)


@dataclass(frozen=True)
class Config:
    """A whole configuration. `origin` says where it came from, for messages."""

    network: NetworkConfig
    data: DataConfig
    train: TrainConfig
    origin: str = field(default="configuration", compare=False)

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any], origin: str) -> Self:
        """A configuration from nested tables, as a TOML file or a checkpoint holds it.

        Raises
        ------
        ConfigError
            For the first unknown, mistyped or out-of-range key, and for a network that does not keep a picture's size.
        """
        known = {"network": NetworkConfig, "data": DataConfig, "train": TrainConfig}
        for name, table in tables.items():
            if name not in known:
                raise ConfigError(f"`{origin}`: unknown key `{name}`", hint=nearest(str(name), list(known)))
            if not isinstance(table, Mapping):
                raise ConfigError(f"`{origin}`: `{name}` is {_shown(table)}, it must be a table: `[{name}]`")
        config = cls(NetworkConfig(), DataConfig(), TrainConfig(), origin)
        for section in known:
            for key, value in tables.get(section, {}).items():
                config = config._with(f"{section}.{key}", value, origin)
        config._check_network(origin)
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
        config = self._with(name, value, origin)
        if name.startswith("network.") or name == "data.size":
            config._check_network(origin)
        return config

    def _with(self, name: str, value: Any, origin: str) -> Self:
        section, _, key = name.partition(".")
        names = [f"{part.name}.{item.name}" for part in fields(self)[:3] for item in fields(getattr(self, part.name))]
        if name not in names:
            raise ConfigError(f"`{origin}`: unknown key `{name}`", hint=nearest(name, names))
        table = getattr(self, section)
        (item,) = (item for item in fields(table) if item.name == key)
        try:
            checked = item.metadata["check"](value)
        except ValueError as error:
            raise ConfigError(f"`{origin}`: `{name}` is {_shown(value)}, it must be {error}") from None
        return replace(self, **{section: replace(table, **{key: checked})})

    def _check_network(self, origin: str) -> None:
        """Build the network once and see that it keeps channels and size; `ConfigError` names the layer otherwise."""
        if not self.network.layers:
            raise ConfigError(
                f"`{origin}`: `network.layers` is missing: a list of tables, one a layer",
                hint='for example `layers = [{ type = "Conv2d", in_channels = 3, out_channels = 3, kernel_size = 1 }]`',
            )
        try:
            network = self.network.build(rng=np.random.default_rng(0))
            whole = (1, self.network.channels, 64 * network.period(0), 64 * network.period(1))
            out = network.output_shape(whole)
        except SpecError as error:
            key = f"network.layers[{error.position}]" + (f".{error.key}" if error.key else "")
            raise ConfigError(f"`{origin}`: `{key}`: {error.message}", hint=error.hint) from None
        except ShapeError as error:
            raise ConfigError(f"`{origin}`: `network.layers` do not fit together: {error.message}") from None
        except (MemoryError, ValueError):  # ValueError is NumPy's, for a size that no array can have
            raise ConfigError(f"`{origin}`: `network.layers` have more weights than the memory holds") from None
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
        return {
            part.name: {
                item.name: _plain(getattr(getattr(self, part.name), item.name))
                for item in fields(getattr(self, part.name))
            }
            for part in fields(self)[:3]
        }

    def to_toml(self) -> str:
        """The configuration as the text of a TOML file, from which `load_config` makes the same configuration."""
        sections = []
        for section, table in self.tables().items():
            lines = [f"{key} = {_toml(value)}" for key, value in table.items()]
            sections.append("\n".join([f"[{section}]", *lines]))
        return "\n\n".join(sections) + "\n"


def shipped_configs() -> dict[str, Path]:
    """The configurations that come with the package, by name without the ending."""
    folder = Path(str(resources.files("n2n_cli"))) / "configs"
    if not folder.is_dir():  # a checkout that is installed in editable mode
        folder = Path(__file__).parents[1] / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


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


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, default=str, ensure_ascii=False)
    except ValueError:  # Python writes no number of more than 4300 digits; TOML's hexadecimal ones have no limit
        text = "a number of too many digits"
    return text if len(text) <= 80 else text[:77] + "..."


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's, except that TOML wants DEL escaped too.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        if value and isinstance(value[0], Mapping):
            return "[\n" + "".join(f"  {_toml(item)},\n" for item in value) + "]"
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value)
