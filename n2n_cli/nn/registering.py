"""Names under which configurations find layers, losses and noise models."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

from n2n_cli.errors import N2NError


class RegistrationError(N2NError):
    """A class cannot be registered."""


def register(
    table: MutableMapping[str, type[Any]], kind: str, name: str, cls: object, base: type, methods: Sequence[str]
) -> None:
    """Add a class to a table of classes by name.

    Parameters
    ----------
    table : dict of type
    kind : str
        Noun for the class in messages, such as "layer".
    name : str
        Name of the class in the table.
    cls : type
    base : type
        Class that `cls` must be a subclass of.
    methods : sequence of str
        Methods of `base` that `cls` must override.

    Raises
    ------
    RegistrationError
        If the class is unsuitable or the name is taken.
    """
    shown = getattr(cls, "__name__", repr(cls))
    if not isinstance(cls, type) or not issubclass(cls, base):
        raise RegistrationError(
            f"`{shown}` cannot be registered as a {kind}: it is not a subclass of `{base.__name__}`"
        )
    for method in methods:
        if getattr(cls, method) is getattr(base, method):
            raise RegistrationError(f"the {kind} `{shown}` has no method `{method}`")
    if name in table:
        raise RegistrationError(
            f"the name `{name}` is taken: there is a {kind} `{name}` already", hint=f"rename `{shown}`"
        )
    table[name] = cls
