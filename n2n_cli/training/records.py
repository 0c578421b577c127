"""Records that a training yields, and the progress that resuming needs."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from n2n_cli.errors import CheckpointError
from n2n_cli.evaluation.bundled_score import BundledScore


@dataclass(frozen=True)
class Started:
    """Start of a training: data and model are ready.

    Attributes
    ----------
    epochs : int
        Number of epochs of the whole training.
    steps : int
        Number of steps per epoch.
    done : int
        Number of steps taken by earlier sessions.
    parameters : int
        Number of trainable and frozen weights.
    noisy_psnr : float
        PSNR of the validation pictures before denoising, in dB.
    notes : tuple of str
        Messages for the user about the data.
    noisy_rms : float or None
        Root mean squared error of the validation pictures before denoising, in the units of measured values; None for
        display pictures.
    """

    epochs: int
    steps: int
    done: int
    parameters: int
    noisy_psnr: float
    notes: tuple[str, ...]
    noisy_rms: float | None = None


@dataclass(frozen=True)
class Step:
    """End of a step.

    Attributes
    ----------
    epoch, step : int
        Number of the epoch, and of the step in it, from 1.
    loss : float
        Mean loss over this epoch's pairs so far.
    images_per_second : float
        Mean rate over this epoch's steps so far.
    """

    epoch: int
    step: int
    loss: float
    images_per_second: float


@dataclass(frozen=True)
class Epoch:
    """End of an epoch, after evaluation and saving: one line of `metrics.jsonl`.

    Attributes
    ----------
    loss : float
        Mean loss over the epoch's pairs.
    noisy_psnr, psnr : float
        Mean over the validation pictures of their PSNR before and after denoising, in dB.
    noisy_pooled_psnr, pooled_psnr : float
        PSNR of the mean squared error over all validation pictures, before and after denoising, in dB.
    best : bool
        True if every earlier epoch had a lower `psnr`.
    lr : float
        Learning rate of the last step.
    images_per_second : float
        Rate of the training steps, not counting evaluation.
    loading : float
        Fraction of the training steps' time spent waiting for pictures.
    seconds : float
        Training time of all sessions so far.
    rms : float or None
        Root mean squared error after denoising, in the units of measured values; None for display pictures.
    """

    epoch: int
    epochs: int
    loss: float
    noisy_psnr: float
    psnr: float
    noisy_pooled_psnr: float
    pooled_psnr: float
    best: bool
    lr: float
    images_per_second: float
    loading: float
    seconds: float
    rms: float | None = None


@dataclass(frozen=True)
class Finished:
    """End of a training.

    Attributes
    ----------
    checkpoint : Path
        Checkpoint of the best epoch.
    noisy_psnr, psnr : float
        PSNR of the validation pictures before denoising and in the best epoch, in dB.
    denoises : bool
        Whether the best epoch's gain is large enough for `n2n denoise` to use it by default.
    bundled : BundledScore, str or None
        Score of the bundled model on the same pictures, or the reason for its absence; None if not requested.
    """

    checkpoint: Path
    noisy_psnr: float
    psnr: float
    denoises: bool = True
    bundled: BundledScore | str | None = None


@dataclass(frozen=True)
class Stopped:
    """End of a session that was stopped on request and can be resumed.

    Attributes
    ----------
    checkpoint : Path
        Checkpoint to resume from.
    epoch, step : int
        Number of the current epoch, from 1, and of its finished steps.
    """

    checkpoint: Path
    epoch: int
    step: int


Record: TypeAlias = Started | Step | Epoch | Finished | Stopped


@dataclass
class Progress:
    """Progress of a training.

    Resuming needs only this, the weights and the optimiser's state: seed and epoch determine the order of the pictures
    and their noise.

    Attributes
    ----------
    epoch : int
        Current epoch, from 1.
    step : int
        Number of finished steps of this epoch.
    loss : float
        Sum of the loss over the pairs of these steps.
    seconds : float
        Training time of all sessions so far.
    best : float or None
        Highest validation PSNR of an epoch, in dB.
    history : list of dict
        The finished epochs, as in `metrics.jsonl`.
    """

    epoch: int = 1
    step: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    best: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, facts: dict[str, Any], path: Path) -> Progress:
        """Read the progress from a checkpoint's facts.

        Raises
        ------
        CheckpointError
            When the facts hold no valid progress.
        """
        found = facts.get("progress")
        if not isinstance(found, dict) or found.keys() != asdict(cls()).keys() or not _is_progress(**found):
            raise CheckpointError(
                f"`{path}` holds no training progress",
                hint="it was not written by this version's `n2n train`; "
                "`n2n train` without `--resume` starts a new training",
            )
        return cls(**found)


_MOST = 2**63


def is_number(value: Any) -> bool:
    """True for floats, and for integers that JSON readers accept."""
    return isinstance(value, float) or (type(value) is int and abs(value) < _MOST)


def _is_epoch(line: Any) -> bool:
    """Check an epoch in a checkpoint, which is written to `metrics.jsonl`."""
    return (
        isinstance(line, dict)
        and "psnr" in line
        and line.keys() <= Epoch.__annotations__.keys()
        and all(
            isinstance(value, bool) if name == "best" else is_number(value) or (name == "rms" and value is None)
            for name, value in line.items()
        )
    )


def _is_progress(epoch: Any, step: Any, loss: Any, seconds: Any, best: Any, history: Any) -> bool:
    """Check types and ranges of the values of a `Progress`."""
    return (
        (type(epoch), type(step)) == (int, int)
        and isinstance(history, list)
        and epoch == len(history) + 1
        and 0 <= step < _MOST
        and all(is_number(value) and math.isfinite(value) for value in (loss, seconds))
        and (is_number(best) if history else best is None)
        and all(map(_is_epoch, history))
    )
