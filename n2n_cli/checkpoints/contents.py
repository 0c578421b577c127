"""Contents of a checkpoint besides weights: configuration, facts, training state."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from n2n_cli.config import Config
from n2n_cli.config.config import UnregisteredError
from n2n_cli.errors import CheckpointError, ConfigError

_NO_FACTS = ("model", "optimizer", "config", "own_weights", "averaged_steps")


def config_in(tree: Any, path: Path | str) -> Config:
    """The configuration in a checkpoint.

    Raises
    ------
    CheckpointError
        If the checkpoint has no configuration.
    ConfigError
        If the configuration is invalid.
    """
    if not isinstance(tree, dict) or not isinstance(tree.get("config"), dict):
        raise CheckpointError(
            f"`{path}` holds weights but not the network they belong to",
            hint="name its configuration: `--config ee559`",
        )
    try:
        return Config.from_tables(tree["config"], os.fspath(path))
    except UnregisteredError as error:  # not mistyped: the name was registered when the checkpoint was written
        hint = "`n2n --plugin FILE.py ...` loads the file that defines it"
        raise ConfigError(error.message, hint=hint) from None


def facts_in(tree: Any) -> dict[str, Any]:
    """Facts in a checkpoint: values such as the epoch and the validation PSNR."""
    own = tree.items() if isinstance(tree, dict) and "model" in tree else ()
    return {name: value for name, value in own if name not in _NO_FACTS}


def check_resumable(tree: Any, path: Path | str, *, averaged: bool = False) -> None:
    """Check that a training can be resumed from a checkpoint.

    Parameters
    ----------
    averaged : bool
        True if the training averages its weights.

    Raises
    ------
    CheckpointError
        If something is missing; names everything that is.
    """
    found = tree if isinstance(tree, dict) else {}
    tables = ["model", "optimizer", *(["own_weights"] if averaged else [])]
    missing = [name for name in tables if not isinstance(found.get(name), dict)]
    missing += ["averaged_steps"] if averaged and "averaged_steps" not in found else []
    if missing:
        raise CheckpointError(
            f"`{path}` cannot be resumed: it holds no " + ", no ".join(f"`{name}`" for name in missing),
            hint="resume from the `last.pth` of a run",
        )


@contextmanager
def naming_file(path: Path | str, hint: str | None = None) -> Iterator[None]:
    """Context that adds the file's name, and a default hint, to errors."""
    try:
        yield
    except CheckpointError as error:
        message = error.message if str(path) in error.message else f"`{path}`: {error.message}"
        raise CheckpointError(message, hint=error.hint or hint) from None
