"""Registries of layers and losses, and loaded plugins, restored after a test."""

from __future__ import annotations

import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from n2n_cli.nn.losses import LOSSES
from n2n_cli.nn.spec import LAYERS
from n2n_cli.noise import NOISE_MODELS
from n2n_cli.system.plugins import loaded_plugins

TABLES: tuple[MutableMapping[str, Any], ...] = (LAYERS, LOSSES, NOISE_MODELS)


@contextmanager
def restored() -> Iterator[None]:
    """Context at whose end registrations and loaded plugins are undone."""
    before = [set(table) for table in TABLES]
    loaded = set(loaded_plugins())
    try:
        yield
    finally:
        for table, names in zip(TABLES, before, strict=True):
            for name in table.keys() - names:
                del table[name]
        for path in set(loaded_plugins()) - loaded:
            del sys.modules[f"n2n_plugin:{path}"]
