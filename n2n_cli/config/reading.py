"""Reading of configurations: files, shipped configurations, and `--set`."""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

from n2n_cli.config.config import PLUGINS, Config
from n2n_cli.config.toml_text import shown
from n2n_cli.errors import ConfigError
from n2n_cli.system.plugins import load_plugin

RUN_CONFIG = "config.toml"
"""File name of the configuration that a training writes to its run folder."""

MAX_BYTES = 1_000_000
_MAX_DOTS = 200  # tomllib takes seconds for a key of thousands of parts
_BETWEEN_DOTS = re.compile(rb"[=,#\[\]{}\n]")


def shipped_configs() -> dict[str, Path]:
    """Paths of the configurations in the package, by file name without extension."""
    folder = Path(str(resources.files("n2n_cli"))) / "configs"
    if not folder.is_dir():  # in an editable install
        folder = Path(__file__).parents[2] / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.toml"), key=lambda path: path.stem)}


def load_config(name: str, *, plugins: bool = False) -> Config:
    """Read a configuration, by the path of a TOML file or the name of a shipped one.

    Parameters
    ----------
    name : str
    plugins : bool
        Load the Python files listed under the top-level key `plugins`, which runs their code. Use it only for a file
        that the user named as a configuration. A file with this key is still refused if it has the name of a shipped
        configuration, which the user may have meant, or of the configuration in a run folder, which n2n writes without
        the key.

    Raises
    ------
    ConfigError
        If the file does not exist or is not TOML, or if a key is wrong.
    PluginError
        If a plugin cannot be loaded.
    """
    path = Path(name)
    try:
        if not path.is_file():
            path = shipped_configs().get(name.removesuffix(".toml"), path)
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigError(f"`{name}` is too long: a configuration has at most {MAX_BYTES:,} bytes")
        if max(piece.count(b".") for piece in _BETWEEN_DOTS.split(content)) > _MAX_DOTS:
            raise ConfigError(f"`{name}` has a key of more than {_MAX_DOTS} parts")
        tables = tomllib.loads(content.decode())
    except FileNotFoundError:
        raise ConfigError(
            f"there is no configuration `{name}`", hint="shipped: " + ", ".join(shipped_configs())
        ) from None
    except IsADirectoryError:
        raise ConfigError(
            f"`{name}` is a folder, not a configuration", hint=f"perhaps `{path / 'config.toml'}`"
        ) from None
    except OSError as error:
        raise ConfigError(f"`{name}` cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # ValueError also for invalid UTF-8 and numbers of too many digits
        raise ConfigError(f"`{name}` is not TOML: {error}") from None
    if plugins and PLUGINS in tables:
        if name.removesuffix(".toml") in shipped_configs() or path.name == RUN_CONFIG:
            raise ConfigError(
                f"`{name}` is named as a shipped configuration or one in a run folder: its `{PLUGINS}` are not loaded",
                hint="if you trust the file, give it another name",
            )
        for plugin in _plugins(tables.pop(PLUGINS), name):
            load_plugin(path.parent / plugin)
    return Config.from_tables(tables, name)


def _plugins(value: Any, origin: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) and "\0" not in item for item in value):
        raise ConfigError(
            f"`{origin}`: `{PLUGINS}` is {shown(value)}, it must be a list of Python files",
            hint='for example `plugins = ["my_layers.py"]`',
        )
    return value


def parse_assignment(text: str) -> tuple[str, Any]:
    """Parse an assignment such as `train.lr=0.5`; a value that is not TOML is text.

    Raises
    ------
    ConfigError
        If there is no `=`.
    """
    name, separator, value = text.partition("=")
    if not separator:
        raise ConfigError(f"`--set {text}` has no `=`", hint="for example `--set train.lr=0.5`")
    with suppress(ValueError, RecursionError):
        table = tomllib.loads(f"value = {value}")
        if len(table) == 1:  # not if a line break starts another key
            return name.strip(), table["value"]
    return name.strip(), value.strip()
