"""Import of packages that an extra of n2n installs, when a file needs them."""

from __future__ import annotations

import importlib
from typing import Any

from n2n_cli.errors import ImageError


def imported(module: str, extra: str, label: str, kind: str) -> Any:
    """Import a module of an extra.

    Parameters
    ----------
    module : str
        Name of the module, such as ``astropy.io.fits``.
    extra : str
        Name of the extra that installs it.
    label : str
        Name of the file that needs it, in messages.
    kind : str
        Kind of the file, such as ``a FITS file``.

    Raises
    ------
    ImageError
        When the package is not installed; the hint is the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise ImageError(
            f"{label} is {kind}, for which the package {package} is needed", hint=f"`pip install 'n2n-cli[{extra}]'`"
        ) from None
