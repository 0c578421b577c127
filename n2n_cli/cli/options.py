"""What the options of several commands share."""

from __future__ import annotations

from n2n_cli.errors import UsageError

NETWORK_HELP = (
    "The configuration whose network fits the checkpoint, for weights that were saved by PyTorch alone. "
    "Default: as the checkpoint says."
)


THREADS_HELP = "Threads to compute with; results do not depend on it. Default: every core that this process may use."

_MOST_THREADS = 1024


def number(text: str) -> int | float | str:
    """The number that `text` is; other text as it is, for the configuration to refuse."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def whole_number(text: str, option: str, least: int) -> int:
    """The whole number that an option was given; typer's own message does not say what it got.

    Raises
    ------
    UsageError
        When it is none, or less than `least`.
    """
    value = number(text)
    if not isinstance(value, int) or value < least:
        raise UsageError(
            f"`{option}` is {text!r}, it must be a whole number of at least {least}", hint=f"for example `{option} 100`"
        )
    return value


def thread_count(text: str | None) -> int | None:
    """What `--threads` was given, or None for the default.

    Raises
    ------
    UsageError
        When it is no number of threads.
    """
    if text is None:
        return None
    value = number(text)
    if not isinstance(value, int) or not 1 <= value <= _MOST_THREADS:
        raise UsageError(
            f"`--threads` is {text!r}, it must be a whole number from 1 to {_MOST_THREADS}",
            hint="without it, every core that this process may use has a thread",
        )
    return value
