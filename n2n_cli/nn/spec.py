"""Networks built from tables, as in a TOML file.

Each layer has one table: `{"type": "ReLU"}`. A container has a list of such tables:
`{"type": "Residual", "layers": [{"type": "ReLU"}]}`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from n2n_cli.errors import ArgumentError, N2NError, did_you_mean
from n2n_cli.nn.activations import LeakyReLU, ReLU, Sigmoid
from n2n_cli.nn.containers import Sequential
from n2n_cli.nn.conv import Conv2d
from n2n_cli.nn.module import Module
from n2n_cli.nn.pooling import MaxPool2d
from n2n_cli.nn.registering import register
from n2n_cli.nn.shuffle import PixelShuffle, PixelUnshuffle
from n2n_cli.nn.skips import Residual, SkipConcat
from n2n_cli.nn.transpose_conv import TransposeConv2d
from n2n_cli.nn.upsampling import NearestUpsampling

LayerSpec: TypeAlias = Mapping[str, Any]
Layer = TypeVar("Layer", bound=type[Module])

LAYERS: dict[str, type[Module]] = {
    layer.__name__: layer
    for layer in (
        *(Conv2d, TransposeConv2d, NearestUpsampling, PixelUnshuffle, PixelShuffle, MaxPool2d),
        *(ReLU, LeakyReLU, Sigmoid),
        *(Residual, SkipConcat, Sequential),
    )
}
_BUILT_IN = frozenset(LAYERS)

MAX_NESTED = 16
"""Maximum nesting depth of containers: networks are copied and run by recursive functions."""


class SpecError(N2NError):
    """Invalid table of a layer.

    Attributes
    ----------
    position : int
        Index of the table in the list.
    key : str or None
        Invalid key of the table or of a nested layer ("layers[1].stride"); None for the table as a whole.
    is_unknown_type : bool
        True if the `type` of the table, or of a nested one, is unknown.
    """

    exit_code = 2

    def __init__(self, message: str, position: int, key: str | None, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.position = position
        self.key = key

    @property
    def is_unknown_type(self) -> bool:
        return self.key is not None and self.key.rpartition(".")[2] == "type"


def register_layer(cls: Layer) -> Layer:
    """Register a layer under the name of its class; usable as a decorator.

    Configurations then find it: `type = "MyLayer"`. The constructor's arguments, except `rng` and `dtype`, are keys of
    the layer's table; modules that it takes as `*modules` are the tables in `layers`.

    Parameters
    ----------
    cls : subclass of Module
        With `forward` and, if it is to be trained, `backward`.

    Raises
    ------
    RegistrationError
        If the class is unsuitable or the name is taken.
    """
    register(LAYERS, "layer", getattr(cls, "__name__", ""), cls, Module, ("forward",))
    return cls


def build(
    specs: Sequence[LayerSpec], *, rng: np.random.Generator | None = None, dtype: DTypeLike = np.float32
) -> Sequential:
    """Build the network that `specs` describe, with weights drawn by `rng`.

    Parameters
    ----------
    specs : sequence of mappings
        Each has `type`, one of `LAYERS`, and the arguments of that layer by name; a container has `layers`, which is
        itself such a sequence.
    rng : numpy.random.Generator, optional
    dtype : dtype
        Dtype of the parameters.

    Raises
    ------
    SpecError
        For an unknown type or argument (suggests the nearest known one), or a missing or invalid argument.
    """
    drawn = _Drawn(rng or np.random.default_rng(), dtype)
    return Sequential(*(_layer(spec, i, drawn, 0) for i, spec in enumerate(specs)))


class _Drawn(NamedTuple):
    """Arguments for drawing the weights."""

    rng: np.random.Generator
    dtype: DTypeLike


def _layer(spec: LayerSpec, position: int, drawn: _Drawn, depth: int) -> Module:
    kind = spec.get("type")
    if kind is None:
        raise SpecError("the layer has no `type`", position, None, hint=f"known types: {', '.join(LAYERS)}")
    layer = LAYERS.get(kind) if isinstance(kind, str) else None
    if layer is None:
        hint = did_you_mean(str(kind), list(LAYERS))
        raise SpecError(f"there is no layer of type {kind!r}", position, "type", hint=hint)
    parameters = inspect.signature(layer).parameters
    container = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
    ours = {name: value for name, value in drawn._asdict().items() if name in parameters}
    known = [name for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD and name not in ours]
    needed = [name for name in known if parameters[name].default is inspect.Parameter.empty]
    if container:
        known = needed = ["layers"]
    given = {name: value for name, value in spec.items() if name != "type"}
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) if known else f"{kind} takes no arguments"
            raise SpecError(f"{kind} has no argument `{name}`", position, name, hint=hint)
    for name in needed:
        if name not in given:
            raise SpecError(f"{kind} needs the argument `{name}`", position, name)
    if container:
        return layer(*_inner(given["layers"], position, drawn, depth + 1))
    try:
        return layer(**given, **ours)
    except ArgumentError as error:
        raise SpecError(f"{error.value!r} is not {error.needed}", position, error.name) from None
    except Exception as error:
        if kind in _BUILT_IN:
            raise
        raise SpecError(f"{kind} cannot be created: {type(error).__name__}: {error}", position, None) from error


def _inner(specs: Any, position: int, drawn: _Drawn, depth: int) -> list[Module]:
    """Modules of the container at `position`."""
    if depth > MAX_NESTED:
        raise SpecError(f"containers are nested more than {MAX_NESTED} deep", position, "layers")
    whole = isinstance(specs, Sequence) and bool(specs) and all(isinstance(spec, Mapping) for spec in specs)
    if not whole:
        hint = 'for example `layers = [{ type = "ReLU" }]`'
        raise SpecError("it must be a list of tables, one per layer", position, "layers", hint=hint)
    modules = []
    for i, spec in enumerate(specs):
        try:
            modules.append(_layer(spec, i, drawn, depth))
        except SpecError as error:
            key = f"layers[{error.position}]" + (f".{error.key}" if error.key else "")
            raise SpecError(error.message, position, key, hint=error.hint) from None
    return modules
