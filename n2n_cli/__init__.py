"""n2n: a denoiser that learns from noisy pictures alone, on a deep-learning framework in NumPy.

`Model`, `denoise` and `nn` are loaded when they are first asked for, so that the command line's help answers at once.

Packages, each importing only from those above it:

errors        errors a user may meet, each with a hint
system        the machine: cores, memory, BLAS, files, locks
nn            the framework: layers, losses, optimisers, in plain NumPy
engine        fast execution of networks
images        image files
noise         noise models, noise level, noise correlation
config        TOML files that describe a network and its training
checkpoints   `.pth` files and what they hold
data          training pairs
distributed   work that several processes share
models        Model, and the models that come with the package
single_image  learning from one picture
evaluation    scores and comparison sheets
training      the training loop, its records and run folders
denoising     one picture, many files, arrays
sweeps        many trainings, to find the best value of a setting
plots         figures of trainings and sweeps
info          facts for `n2n info`
cli           the command line
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from n2n_cli import nn
    from n2n_cli.denoising.arrays import denoise
    from n2n_cli.models.model import Model

__version__ = "0.1.0"
__all__ = ["Model", "__version__", "denoise", "nn"]


def __getattr__(name: str) -> Any:
    if name == "Model":
        return importlib.import_module("n2n_cli.models.model").Model
    if name == "denoise":
        return importlib.import_module("n2n_cli.denoising.arrays").denoise
    if name == "nn":
        return importlib.import_module("n2n_cli.nn")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
