"""Choice of the model for a picture by its noise.

The bundled models share the work: `white` removes noise that is independent from pixel to pixel and nearly normal;
`photo` removes all other noise, such as that of camera JPEGs, which is correlated between neighbouring pixels, and that
of few photons in a microscope, which has outlying pixels.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from n2n_cli.config import Config
from n2n_cli.images import Picture
from n2n_cli.models.choice import DEFAULT, Choice, bundled_models
from n2n_cli.models.model import Model
from n2n_cli.noise.analysis import CORRELATED, IMPULSES, NoiseAnalysis, analyse_noise
from n2n_cli.system.notes import note
from n2n_cli.system.progress import unreported

Effort: TypeAlias = Literal["fast", "normal", "best"]
EFFORTS: tuple[Effort, ...] = ("fast", "normal", "best")

WHITE = "white"
"""Bundled model for noise that is independent from pixel to pixel."""
_LONG = 5  # seconds from which a picture's time is announced
_TIMED = 256  # side in pixels of the part that is timed


@dataclass(frozen=True)
class ChosenModel:
    """A model, and why it was chosen.

    Attributes
    ----------
    model : Model or None
        None where all is learned from the picture.
    name : str
        Name of a bundled model; empty if there was no choice.
    reason : str
        For the user; empty if there was no choice.
    """

    model: Model | None
    name: str = ""
    reason: str = ""


class BundledModels:
    """The bundled models: each file gets the one for its noise.

    Parameters
    ----------
    threads : int, optional
    ensemble : bool
        Average over eight flips and rotations; work that takes long is announced with its time.
    """

    def __init__(self, *, threads: int | None = None, ensemble: bool = False) -> None:
        self._threads, self._ensemble = threads, ensemble
        self._models: dict[str, Model] = {}
        self._paces: dict[tuple[str, int], float] = {}  # seconds per pixel, by model and number of channels

    def choose(self, picture: Picture, noise: NoiseAnalysis | None = None) -> ChosenModel:
        """Choose the model for a picture, as networks see it, whose noise may be known."""
        name, reason = name_for(analyse_noise(picture.pixels) if noise is None else noise)
        model = self._model(name)
        if self._ensemble:
            pace = name, picture.pixels.shape[2]
            if pace not in self._paces:
                self._paces[pace] = _seconds_per_pixel(model, picture)
            seconds = self._paces[pace] * picture.pixels[..., 0].size
            reason += f"; about {seconds:.0f} s" if seconds >= _LONG else ""
        return ChosenModel(model, name, reason)

    def _model(self, name: str) -> Model:
        if name not in self._models:
            model = Model.from_checkpoint(bundled_models()[name], threads=self._threads)
            if self._ensemble:
                model.predict_as_ensemble()
            self._models[name] = model
        return self._models[name]


def models_for(
    effort: Effort,
    choice: Choice | None = None,
    config: Config | None = None,
    *,
    threads: int | None = None,
    ensemble: bool = False,
) -> Model | BundledModels:
    """Models for an effort: one for all pictures, or the bundled ones.

    Parameters
    ----------
    effort : "fast", "normal" or "best"
        Without a choice: the default model for all pictures; the model for the noise of each; the same, averaged over
        eight flips and rotations. A chosen model is averaged for "best".
    choice : Choice, optional
        A model that the user named, or a run.
    config : Config, optional
        Configuration of a checkpoint that has none.
    threads : int, optional
    ensemble : bool
        Average over flips and rotations, whatever the effort is.
    """
    ensemble |= effort == "best"
    if (choice is None or (choice.by_default and config is None)) and effort != "fast":
        return BundledModels(threads=threads, ensemble=ensemble)
    path = bundled_models()[DEFAULT] if choice is None else choice.path
    model = Model.from_checkpoint(path, config, threads=threads)
    if ensemble:
        model.predict_as_ensemble()
    return model


class FileModel:
    """The model for the pages of a file.

    It is one model for all pictures, or chosen by the noise of the first page.

    Pages with another number of channels than the first get a model of their own.

    Attributes
    ----------
    fixed : Model or None
        The model for all pictures, if there is no choice.
    """

    def __init__(self, models: Model | BundledModels | None) -> None:
        self._bundled = models if isinstance(models, BundledModels) else None
        self.fixed = None if isinstance(models, BundledModels) else models
        self._chosen: dict[int, ChosenModel] = {}

    def of(self, picture: Picture, noise: NoiseAnalysis | None = None) -> ChosenModel:
        """The model of a page, as networks see it; a choice is reported in a note.

        `noise` is the page's noise, if it is known.
        """
        channels = picture.pixels.shape[2]
        if channels not in self._chosen:
            chosen = ChosenModel(self.fixed) if self._bundled is None else self._bundled.choose(picture, noise)
            if chosen.reason:
                note(f"model: {chosen.name}, {chosen.reason}")
            self._chosen[channels] = chosen
        return self._chosen[channels]


def name_for(noise: NoiseAnalysis) -> tuple[str, str]:
    """Name of the bundled model for a kind of noise, and why."""
    if math.isnan(noise.sigma):
        return DEFAULT, "for a picture that is too small to measure its noise"
    if noise.impulses > IMPULSES:
        return DEFAULT, "for noise with outlying pixels"
    if max(noise.luma_correlation[0], noise.chroma_correlation[0]) < CORRELATED:
        return WHITE, "for noise that is independent from pixel to pixel"
    return DEFAULT, "for noise that is correlated between neighbouring pixels"


def _seconds_per_pixel(model: Model, picture: Picture) -> float:
    """Time that a model needs for a pixel of a picture, measured on a part of it."""
    part = np.moveaxis(picture.to_unit(picture.pixels[:_TIMED, :_TIMED]), -1, 0)
    predictor = model.predictor.for_channels(len(part))
    with unreported():
        predictor.predict(part[None])  # the first time also prepares the network
        began = time.perf_counter()
        predictor.predict(part[None])
    seconds: float = (time.perf_counter() - began) / part[0].size
    return seconds
