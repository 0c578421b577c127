"""Score of the bundled model on the held-out pictures of a training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from n2n_cli.data.pairs import Dataset
from n2n_cli.evaluation.metrics import mean_psnr, mean_squared_error
from n2n_cli.models.choice import DEFAULT, bundled_models
from n2n_cli.models.model import Model

_MOST_PIXELS = 2**20
"""Maximum pixels of the pictures that are denoised for it: about a second on two cores."""
_AT_ONCE = 100


@dataclass(frozen=True)
class BundledScore:
    """PSNR of the bundled model and of the trained network on the same held-out pictures.

    Attributes
    ----------
    name : str
        Name of the bundled model.
    psnr, own_psnr : float
        Of the bundled model, and of the trained network, in dB: mean of each picture's PSNR.
    pictures : int
        Number of the held-out pictures that were denoised.
    """

    name: str
    psnr: float
    own_psnr: float
    pictures: int


def bundled_score(
    data: Dataset, own_psnr: float, own: Callable[[], Model], *, threads: int, between: Callable[[], None]
) -> BundledScore | str:
    """Denoise held-out pictures with the bundled model, as many as take about a second.

    Parameters
    ----------
    data : Dataset
    own_psnr : float
        PSNR of the trained network on all held-out pictures, in dB.
    own : function
        Loads the trained network, which is needed if the pictures are too many.
    between : function
        Called after each batch; may raise, to stop the work.

    Returns
    -------
    BundledScore or str
        Without a score, the reason why the model does not fit the pictures.
    """
    if DEFAULT not in bundled_models():
        return "it is not installed"
    if data.values is not None:
        return "the held-out pictures hold measured values"
    count = len(data.validation)
    _, channels, height, width = data.validation.batch([0])[0].shape
    if channels not in (1, 3):
        return f"the held-out pictures have {channels} channels"
    some = min(count, max(1, _MOST_PIXELS // (height * width)))
    numbers = np.linspace(0, count - 1, some).astype(int)
    models = [Model.from_checkpoint(bundled_models()[DEFAULT], threads=threads), *([own()] if some < count else [])]
    errors: list[list[float]] = [[] for _ in models]
    for start in range(0, some, _AT_ONCE):
        noisy, target = data.validation.batch(numbers[start : start + _AT_ONCE])
        for model, found in zip(models, errors, strict=True):
            denoised = model.predictor.for_channels(channels).predict(noisy)
            found += map(mean_squared_error, denoised, target)
            between()
    psnr, *others = map(mean_psnr, errors)
    return BundledScore(DEFAULT, psnr, others[0] if others else own_psnr, some)
