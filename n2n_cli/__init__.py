"""n2n: a denoiser that learns from noisy pictures alone, on a deep-learning framework in NumPy.

`Model`, `denoise` and `nn` are loaded when they are first asked for, so that the command line's help answers at once.

The tasks:

training       trains a network: a generator of records
evaluation     scores pictures whose clean version is known
denoising      denoises a picture
batch          denoises many picture files
comparison     compares a picture before and after denoising
exporting      writes a checkpoint without what only training needs, or the mean of several
sweeps         many trainings, to find the best value of a setting
plots          figures of trainings and sweeps
summary        facts of this machine, of networks and checkpoints
picture_facts  facts of a picture file
api            `denoise`, for arrays
cli            the command line

Models:

model          Model: a network with the way it is trained
nn             the framework: layers, losses, optimisers
config         TOML files that describe a network and its training
bundled        the models that come with the package
starting       what a training begins with
freezing       parameters that do not learn
checkpoint     `.pth` files; `pth` does the work
pth            PyTorch's zip format
states         what a checkpoint holds beside the weights
tiling         a network on pictures of any size
tile_plan      which tiles such a picture is cut into
self_ensemble  the mean over a picture's turns and flips
single_image   denoisers that are learned from the picture itself

Pictures and noise:

images         image files
pixels         stored pixels <-> float32 in [0, 1]
data           where training pairs come from
examples       what a denoiser is measured on
noise          noise models
lettering      random letters, for the text noise
noise_level    how noisy a picture is
correlation    noise that is correlated between pixels
metrics        PSNR, SSIM
sheet          contact sheets

Files, processes and the machine:

runs           run folders
records        what a training tells, and what it needs to go on
jobs           which input goes to which output
manifest       a file of JSON lines that several processes extend
json_lines     records as lines of JSON
files          files that appear whole or not at all
locks          a file that keeps other processes out
stopping       being asked to stop
processes      replicas of a network in processes of their own
distributed    work that several processes share
machine        cores, memory, the BLAS library
errors         the errors a user may meet
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
