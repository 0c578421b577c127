"""n2n: a Noise2Noise denoiser on a deep-learning framework in NumPy.

It learns from noisy pictures alone, without clean ones.

`Model`, `denoise` and `nn` are imported on first access, so that `n2n --help` starts fast.

Packages, each importing only from those above it:

errors        errors a user may meet, each with a hint
system        the machine: cores, memory, BLAS, files, locks, processes
nn            the framework: layers, losses and optimisers in plain NumPy
engine        fast execution of networks: kernels, tiling, workers
images        reading and writing of image files
noise         noise models, noise analysis, variance stabilisation
values        measured values: reversible transforms for a network
config        TOML files that describe a network and its training
checkpoints   `.pth` files and what they hold
data          training pairs
distributed   work shared by several processes: MPI ranks, shards
models        Model, and the models bundled with the package
single_image  self-supervised learning from single noisy pictures
evaluation    scores and comparison sheets
training      the training loop, its records and run folders
denoising     denoising of pictures, many files, and arrays
sweeps        grid search over settings
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

__version__ = "0.2.0"
__all__ = ["Model", "__version__", "denoise", "nn"]


def __getattr__(name: str) -> Any:
    if name == "Model":
        return importlib.import_module("n2n_cli.models.model").Model
    if name == "denoise":
        return importlib.import_module("n2n_cli.denoising.arrays").denoise
    if name == "nn":
        return importlib.import_module("n2n_cli.nn")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
