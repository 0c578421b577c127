"""Plugins: Python files of a user that register layers, losses and noise models.

Loading a plugin runs its code. A plugin is loaded only if the user names it: by `--plugin`, or in a configuration that
`--config` names; never because a checkpoint or a run folder names it.
"""

from __future__ import annotations

import sys
import traceback
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

from n2n_cli.errors import N2NError, UsageError

_PREFIX = "n2n_plugin:"
"""Start of a plugin's name in `sys.modules`; its resolved path follows."""
_HINT = "`n2n --debug ...` shows the traceback"


class PluginError(UsageError):
    """A plugin cannot be loaded."""


def load_plugin(path: Path) -> None:
    """Run a Python file, unless this process has done so already.

    Raises
    ------
    PluginError
        If the file does not exist, is not Python, or raises an exception.
    """
    if path.suffix != ".py":
        raise PluginError(f"the plugin `{path}` is not a Python file", hint="its name must end with `.py`")
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:  # a name that is too long
        raise _unreadable(path, error) from None
    if is_folder:
        raise PluginError(f"the plugin `{path}` is a folder, not a Python file", hint="name the file in it")
    if not is_file:
        raise PluginError(f"there is no plugin `{path}`", hint="`--plugin FILE.py` takes the path of a Python file")
    place = str(path.resolve())
    name = _PREFIX + place
    if name in sys.modules:
        return
    module = sys.modules[name] = ModuleType(name)
    module.__file__ = place
    try:
        SourceFileLoader(name, place).exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, Exception | SystemExit):
            raise _refusal(path, place, error) from None
        raise


def loaded_plugins() -> list[str]:
    """Absolute paths of this process's plugins, in the order of loading."""
    return [name.removeprefix(_PREFIX) for name in sys.modules if name.startswith(_PREFIX)]


def _unreadable(path: Path, error: OSError) -> PluginError:
    return PluginError(f"the plugin `{path}` cannot be read: {error.strerror}", hint="check its name and permissions")


def _refusal(path: Path, place: str, error: BaseException) -> PluginError:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == place]
    if not lines and isinstance(error, OSError):
        return _unreadable(path, error)
    if not lines and isinstance(error, SyntaxError | ValueError):
        return PluginError(f"the plugin `{path}` is not Python: {error}", hint=_HINT)
    where = f"the plugin `{path}`, line {lines[-1]}" if lines else f"the plugin `{path}`"
    if isinstance(error, N2NError):
        return PluginError(f"{where}: {error.message}", hint=error.hint or _HINT)
    return PluginError(f"{where}: {type(error).__name__}: {error}", hint=_HINT)
