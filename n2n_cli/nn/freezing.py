"""Frozen parameters, which training does not change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from n2n_cli.errors import ArgumentError
from n2n_cli.nn import Module
from n2n_cli.nn.functional import Array


def frozen_parameters(network: Module, patterns: Sequence[str]) -> set[str]:
    """Names of the parameters that match the patterns.

    Parameters
    ----------
    network : Module
    patterns : sequence of str
        Shell patterns for parameter names, as in a state dict ("0.2.weight"), or for layer names, as in `n2n info`
        ("0.2"), which freeze every parameter of the layer.

    Raises
    ------
    ArgumentError
        If a pattern matches nothing, or if together they match every parameter.
    """
    names = [name for name, _ in network.named_parameters()]
    parts = {part for name in names for part in _with_layers(name)}
    matched: set[str] = set()
    for pattern in patterns:
        found = {part for part in parts if fnmatchcase(part, pattern)}
        if not found:
            raise ArgumentError("freeze", pattern, f"the name or a pattern of parameters, as {_some(names)}")
        matched |= found
    frozen = {name for name in names if not matched.isdisjoint(_with_layers(name))}
    if patterns and len(frozen) == len(names):
        raise ArgumentError("freeze", list(patterns), "patterns that leave a parameter to be learned")
    return frozen


def trainable(network: Module, patterns: Sequence[str]) -> list[tuple[Array, Array]]:
    """(parameter, gradient) pairs of the parameters that are not frozen.

    An optimiser that is given these never sees the frozen ones.
    """
    frozen = frozen_parameters(network, patterns)
    return [(value.data, value.grad) for name, value in network.named_parameters() if name not in frozen]


def _with_layers(name: str) -> Iterable[str]:
    """Name of a parameter and of the layers around it: 0.2.weight, 0.2, 0."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def _some(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:4])
    return shown + (f" and {len(names) - 4} more" if len(names) > 4 else "")
