"""A network written down as tables, one a layer: `{"type": "ReLU"}`. The form a TOML file holds."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from n2n_cli.errors import ArgumentError, N2NError
from n2n_cli.nn.activations import ReLU, Sigmoid
from n2n_cli.nn.containers import Sequential
from n2n_cli.nn.conv import Conv2d
from n2n_cli.nn.module import Module
from n2n_cli.nn.upsampling import NearestUpsampling

LayerSpec: TypeAlias = Mapping[str, Any]

LAYERS: dict[str, type[Module]] = {layer.__name__: layer for layer in (Conv2d, NearestUpsampling, ReLU, Sigmoid)}


class SpecError(N2NError):
    """A table does not describe a layer.

    Attributes
    ----------
    position : int
        Which table of the list.
    key : str or None
        Which key of the table; None for the table as a whole.
    """

    exit_code = 2

    def __init__(self, message: str, position: int, key: str | None, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.position = position
        self.key = key


def build(
    specs: Sequence[LayerSpec], *, rng: np.random.Generator | None = None, dtype: DTypeLike = np.float32
) -> Sequential:
    """The network that `specs` describe, its weights drawn by `rng`.

    Parameters
    ----------
    specs : sequence of mappings
        Each has `type`, one of `LAYERS`, and that layer's arguments by name.

    Raises
    ------
    SpecError
        For an unknown type or argument (with the nearest known one), a missing or an impossible argument.
    """
    return Sequential(*(_layer(spec, i, rng, dtype) for i, spec in enumerate(specs)))


def nearest(word: str, known: Sequence[str]) -> str:
    """The end of a message about an unknown word: the nearest known one, or all of them."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean `{close[0]}`?" if close else "known: " + ", ".join(f"`{name}`" for name in known)


def _layer(spec: LayerSpec, position: int, rng: np.random.Generator | None, dtype: DTypeLike) -> Module:
    kind = spec.get("type")
    if kind is None:
        raise SpecError("the layer has no `type`", position, None, hint=f"known types: {', '.join(LAYERS)}")
    layer = LAYERS.get(kind) if isinstance(kind, str) else None
    if layer is None:
        hint = nearest(str(kind), list(LAYERS))
        raise SpecError(f"there is no layer of type {kind!r}", position, "type", hint=hint)
    parameters = inspect.signature(layer).parameters
    known = [name for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    given = {name: value for name, value in spec.items() if name != "type"}
    for name in given:
        if name not in known:
            hint = nearest(name, known) if known else f"{kind} takes no arguments"
            raise SpecError(f"{kind} has no argument `{name}`", position, name, hint=hint)
    for name in known:
        if parameters[name].default is inspect.Parameter.empty and name not in given:
            raise SpecError(f"{kind} needs the argument `{name}`", position, name)
    drawn = {"rng": rng, "dtype": dtype} if "rng" in parameters else {}
    try:
        return layer(**given, **drawn)
    except ArgumentError as error:
        raise SpecError(f"{error.value!r} is not {error.needed}", position, error.name) from None
