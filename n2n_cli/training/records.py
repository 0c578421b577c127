"""What a training tells while it runs, and what it has to know to go on."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from n2n_cli.errors import CheckpointError


@dataclass(frozen=True)
class Started:
    """Everything is ready.

    Attributes
    ----------
    steps : int
        In an epoch.
    done : int
        Steps that an earlier sitting has taken.
    noisy_psnr : float
        Of the validation pictures before denoising, in dB.
    notes : tuple of str
        For the user, about the data.
    """

    epochs: int
    steps: int
    done: int
    parameters: int
    noisy_psnr: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """A step is done; `loss` is the mean so far in this epoch, `images_per_second` that of this epoch's steps."""

    epoch: int
    step: int
    loss: float
    images_per_second: float


@dataclass(frozen=True)
class Epoch:
    """An epoch is done, measured and saved: one line of `metrics.jsonl`.

    Attributes
    ----------
    loss : float
        Mean over the epoch's pairs.
    noisy_psnr, psnr : float
        Of the validation pictures before and after denoising, in dB: mean of each picture's PSNR.
    noisy_pooled_psnr, pooled_psnr : float
        The same with the error averaged over all pictures first, in dB.
    best : bool
        Whether every earlier epoch had a lower `psnr`.
    lr : float
        Learning rate of its last step.
    images_per_second : float
        Of the training steps alone.
    loading : float
        What part of their time they waited for pictures.
    seconds : float
        That training has taken, all sittings together.
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


@dataclass(frozen=True)
class Finished:
    """Training is over. `checkpoint` is the best epoch's, with the validation PSNR it reached, in dB."""

    checkpoint: Path
    noisy_psnr: float
    psnr: float


@dataclass(frozen=True)
class Stopped:
    """Training was asked to stop, and can go on from `checkpoint`: so many steps of this epoch are done."""

    checkpoint: Path
    epoch: int
    step: int


Record: TypeAlias = Started | Step | Epoch | Finished | Stopped


@dataclass
class Progress:
    """How far a training has come; with the weights, all that going on needs: orders and noise come from the seed.

    Attributes
    ----------
    epoch : int
        That is being taken, from 1.
    step : int
        Steps of it that are done.
    loss : float
        Sum over the pairs of these steps.
    seconds : float
        That training has taken.
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
        """What a checkpoint's facts say.

        Raises
        ------
        CheckpointError
            When they do not say it.
        """
        found = facts.get("progress")
        if not isinstance(found, dict) or found.keys() != asdict(cls()).keys() or not _is_progress(**found):
            raise CheckpointError(
                f"`{path}` does not say how far its training has come",
                hint="it was not written by this version's `n2n train`; without `--resume` a training begins anew",
            )
        return cls(**found)


def _is_progress(epoch: Any, step: Any, loss: Any, seconds: Any, best: Any, history: Any) -> bool:
    """Whether such values can be those of a `Progress`."""
    return (
        (type(epoch), type(step)) == (int, int)
        and isinstance(history, list)
        and epoch == len(history) + 1
        and step >= 0
        and all(isinstance(value, int | float) and math.isfinite(value) for value in (loss, seconds))
        and (isinstance(best, int | float) if history else best is None)
        and all(isinstance(line, dict) and isinstance(line.get("psnr"), int | float) for line in history)
    )
