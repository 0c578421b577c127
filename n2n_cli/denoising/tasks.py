"""Denoising tasks: a picture and its output, options, and outcome."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from n2n_cli.images import MAX_PIXELS

if TYPE_CHECKING:
    from n2n_cli.noise.analysis import NoiseAnalysis
    from n2n_cli.single_image.learner import Learned
    from n2n_cli.values.choice import Mode


_NUMBER = re.compile(r"[-+.\de]*\d")


@dataclass(frozen=True)
class DenoiseTask:
    """A picture to denoise: where it is read and where the result is written.

    Attributes
    ----------
    source, target : path
        Input and output file.
    input_stream, output_stream : binary file, optional
        Used in place of the files, whose paths then only appear in messages.
    """

    source: Path
    target: Path
    input_stream: BinaryIO | None = None
    output_stream: BinaryIO | None = None


@dataclass(frozen=True)
class DenoiseOptions:
    """Options for denoising and writing pictures.

    Attributes
    ----------
    strength : float
        Weight of the denoised picture in a blend with the input, from 0 to 1.
    image_format : str, optional
        Format of the outputs. By default from the output's file name extension; for a stream, the input's.
    quality : int, optional
        JPEG and WebP quality, 1 to 100.
    max_pixels : int
        Maximum size of an input, in pixels; larger ones are refused.
    max_memory : int, optional
        Maximum memory of the process, in bytes.
    skip_existing : bool
        Skip inputs whose output exists and is not empty.
    estimates : bool
        Estimate the noise level before and after denoising.
    values : "auto", "display", "linear" or "photons"
        Transform between a picture's values and network input, see `values.choice`.
    axes : str, optional
        Letters of all axes of a stack, such as "TZCYX", see `images.page_axes`. By default read from the file.
    learn : bool
        Denoise each picture with a network that learns from it alone, see `learn_to_denoise`, in place of a model.
    seconds : float, optional
        Maximum time to learn from one picture, in seconds.
    threads : int, optional
        CPU threads of the network for `learn`.
    pd : int
        Pixel-shuffle factor: each picture is split into pd^2 smaller ones, which are denoised separately.
    model_name : str
        Name of the model, for files that keep a history.
    """

    strength: float = 1
    image_format: str | None = None
    quality: int | None = None
    max_pixels: int = MAX_PIXELS
    max_memory: int | None = None
    skip_existing: bool = False
    estimates: bool = False
    values: Mode = "auto"
    axes: str | None = None
    learn: bool = False
    seconds: float | None = None
    threads: int | None = None
    pd: int = 1
    model_name: str = ""


@dataclass
class Outcome:
    """Outcome of one task.

    Attributes
    ----------
    task : DenoiseTask
    status : "done", "skipped" or "failed"
    width, height : int or None
        Size of the first page, in pixels; None when it could not be read.
    pages : int
        Number of pages denoised.
    seconds : float
        Time for reading, denoising and writing, in seconds.
    sigma_before, sigma_after : float or None
        Estimated standard deviation of the noise, in grey levels of 255, or in the units of measured values; the mean
        over pages.
    noise_before, noise_after : NoiseAnalysis or None
        Noise of the first page.
    model : str
        Name of the model; empty for a network that learned from the picture.
    lossy : str or None
        Format of the output, when it is lossy and the input's was not.
    learned : list of Learned
        Report on every network that was trained on a page.
    error : Exception or None
        Cause of a failure.
    """

    task: DenoiseTask
    status: Literal["done", "skipped", "failed"] = "done"
    width: int | None = None
    height: int | None = None
    pages: int = 0
    seconds: float = 0
    sigma_before: float | None = None
    sigma_after: float | None = None
    noise_before: NoiseAnalysis | None = None
    noise_after: NoiseAnalysis | None = None
    model: str = ""
    lossy: str | None = None
    learned: list[Learned] = field(default_factory=list)
    error: Exception | None = None
    _noted: dict[str, list[tuple[int, str]]] = field(default_factory=dict)  # (page, note) by the note without numbers

    def note(self, notes: Iterable[str]) -> None:
        """Add notes on the current page.

        If the notes on several pages differ only in their numbers, `notes` holds the first.
        """
        for note in notes:
            self._noted.setdefault(_NUMBER.sub("0", note), []).append((self.pages, note))

    @property
    def notes(self) -> list[str]:
        """Messages for the user: changes in reading and writing, doubtful results."""
        notes = []
        for noted in self._noted.values():
            first = list(dict.fromkeys(note for page, note in noted if page == noted[0][0]))
            more = len({page for page, note in noted if note not in first})
            similar = f" (similar on {more} more page{'s' * (more > 1)})" if more else ""
            notes += [*first[:-1], first[-1] + similar]
        return notes

    def record(self) -> dict[str, Any]:
        """Return the fields of a line in a manifest."""
        return {
            "input": str(self.task.source),
            "output": str(self.task.target),
            "status": self.status,
            "width": self.width,
            "height": self.height,
            "pages": self.pages,
            "seconds": round(self.seconds, 4),
            "model": self.model or None,
            "sigma_before": _rounded(self.sigma_before),
            "sigma_after": _rounded(self.sigma_after),
            "noise_before": _rounded_noise(self.noise_before),
            "noise_after": _rounded_noise(self.noise_after),
            "error": None if self.error is None else str(self.error) or type(self.error).__name__,
        }


def output_exists(task: DenoiseTask) -> bool:
    """Test whether a task's output file exists, and so is complete.

    Outputs are renamed into place when they are complete.
    """
    return task.output_stream is None and task.target.is_file() and task.target.stat().st_size > 0


def _rounded(sigma: float | None) -> float | None:
    return None if sigma is None else round(sigma, 3)


def _rounded_noise(noise: NoiseAnalysis | None) -> dict[str, Any] | None:
    """All measures of noise, to four digits."""
    return None if noise is None else {name: _to_digits(value) for name, value in asdict(noise).items()}


def _to_digits(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_to_digits(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
