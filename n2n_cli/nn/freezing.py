"""Which parameters of a network stay as they are while the others learn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from n2n_cli.errors import ArgumentError
from n2n_cli.nn import Module
from n2n_cli.nn.functional import Array


def frozen_parameters(network: Module, patterns: Sequence[str]) -> set[str]:
    """The names of the parameters that patterns freeze.

    Parameters
    ----------
    patterns : sequence of str
        Shell patterns, of parameters as a state dict names them ("0.2.weight") or of layers as `n2n info` names them
        ("0.2"): these freeze all that is in the layer.

    Raises
    ------
    ArgumentError
        When a pattern matches nothing, or all of them match everything.
    """
    names = [name for name, _ in network.named_parameters()]
    frozen: set[str] = set()
    for pattern in patterns:
        matched = {name for name in names if any(fnmatchcase(part, pattern) for part in _with_layers(name))}
        if not matched:
            raise ArgumentError("freeze", pattern, f"the name or a pattern of parameters, as {_some(names)}")
        frozen |= matched
    if patterns and len(frozen) == len(names):
        raise ArgumentError("freeze", list(patterns), "patterns that leave a parameter to be learned")
    return frozen


def trainable(network: Module, patterns: Sequence[str]) -> list[tuple[Array, Array]]:
    """(parameter, gradient) of every parameter that is not frozen, for an optimiser, which so never sees the others."""
    frozen = frozen_parameters(network, patterns)
    return [(value.data, value.grad) for name, value in network.named_parameters() if name not in frozen]


def _with_layers(name: str) -> Iterable[str]:
    """A parameter's name, and those of the layers that it is in: 0.2.weight, 0.2, 0."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def _some(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:4])
    return shown + (f" and {len(names) - 4} more" if len(names) > 4 else "")
