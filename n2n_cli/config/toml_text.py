"""Writing of TOML, which Python's standard library only reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def to_toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Format tables of plain values as TOML, which `tomllib` reads back unchanged."""
    sections = []
    for section, table in tables.items():
        lines = [f"{key} = {_value(value, 0)}" for key, value in table.items()]
        sections.append("\n".join([f"[{section}]", *lines]))
    return "\n\n".join(sections) + "\n"


def plain(value: Any) -> Any:
    """Convert mappings to dicts and tuples to lists."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def shown(value: Any) -> str:
    """Format a value for a message, on one line of at most 80 characters."""
    try:
        text = json.dumps(value, default=str, ensure_ascii=False)
    except ValueError:  # Python refuses to write more than 4300 digits; TOML's hexadecimal numbers may be longer
        text = "a number of too many digits"
    return text if len(text) <= 80 else text[:77] + "..."


def _value(value: Any, depth: int) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are valid in TOML, which also requires DEL to be escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(item, depth)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        if value and isinstance(value[0], Mapping):  # one per line, for the layers of a network
            indent = "  " * (depth + 1)
            return "[\n" + "".join(f"{indent}{_value(item, depth + 1)},\n" for item in value) + "  " * depth + "]"
        return "[" + ", ".join(_value(item, depth) for item in value) + "]"
    return repr(value)
