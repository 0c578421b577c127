"""n2n: a denoiser that learns from noisy pictures alone, on a deep-learning framework in NumPy.

`Model`, `denoise` and `nn` are loaded when they are first asked for, so that the command line's help answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from n2n_cli import nn
    from n2n_cli.api import denoise
    from n2n_cli.model import Model

__version__ = "0.1.0"
__all__ = ["Model", "__version__", "denoise", "nn"]


def __getattr__(name: str) -> Any:
    if name == "Model":
        return importlib.import_module("n2n_cli.model").Model
    if name == "denoise":
        return importlib.import_module("n2n_cli.api").denoise
    if name == "nn":
        return importlib.import_module("n2n_cli.nn")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
